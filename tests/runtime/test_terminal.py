"""Texts out of people's data have no power over a terminal; colours of ours stay."""

import io

import pytest
from rich.progress import Progress
from rich.table import Table

from pipeline.runtime.errors import say, visible
from pipeline.runtime.terminal import Terminal

TITLE = "\x1b]0;title\x07"


def printed(*things):
    """Return what a colour terminal gets."""
    file = io.StringIO()
    console = Terminal(file=file, force_terminal=True, color_system="standard", width=100, highlight=False)
    for thing in things:
        console.print(thing)
    return file.getvalue()


def test_a_text_is_shown_and_not_obeyed():
    """Alone, in markup, and in cells, headers and titles of a table."""
    table = Table(TITLE, title=TITLE)
    table.add_row(f"[red]{TITLE}[/red]")
    shown = printed(TITLE, f"[bold]{TITLE}", table)
    assert 5 == shown.count(r"\x1b]0;title\x07")
    assert TITLE not in shown
    assert "\x07" not in shown


def test_colours_of_ours_stay():
    """Rich writes them beside the texts."""
    assert "\x1b[31mred\x1b[0m\n" == printed("[red]red[/red]")


def test_bars_still_move():
    """Their cursor is rich's own; their names are not."""
    file = io.StringIO()
    with Progress(console=Terminal(file=file, force_terminal=True, color_system=None, width=80)) as bars:
        bars.add_task(TITLE, total=2)
    assert "\x1b[?25l" in file.getvalue()
    assert "\x1b]0" not in file.getvalue()
    assert r"\x1b]0" in file.getvalue()


@pytest.mark.parametrize("letter", ["\x00", "\x08", "\r", "\x1b", "\x7f", "\x85", "\x9b", "\u202e", "\u2066"])
def test_every_letter_that_moves_something_is_shown_as_its_code(letter, capsys):
    """C0, DEL, C1, and what turns the direction of writing; other letters, line ends and tabs stay."""
    assert visible(f"a{letter}b") == f"a{letter.encode('unicode_escape').decode()}b"
    say(f"ü\t漢\n{letter}")
    assert letter not in capsys.readouterr().out.removesuffix("\n").replace("\n", "")
    assert "ü\t漢\n" == visible("ü\t漢\n")
