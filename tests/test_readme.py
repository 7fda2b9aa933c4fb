"""What README.md says exists, and it stays short enough to be read before lunch."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
MOST_LINES = 180
MOST_CHARACTERS = 120
"""Of a line that is no row of a table."""


def test_the_readme_is_short():
    """At most 180 lines, and no monsters among them."""
    lines = README.splitlines()
    assert len(lines) <= MOST_LINES
    assert [line for line in lines if len(line) > MOST_CHARACTERS and not line.startswith("|")] == []


def test_every_path_that_it_names_exists():
    """Paths in backquotes and links lead somewhere."""
    named = re.findall(r"`((?:pipeline|docs|examples|tests|benchmarks)/[^`<>* ]+)`", README) + re.findall(
        r"\]\((?!https?:)([^)#]+)\)", README
    )
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_make_target_that_it_names_exists():
    """In backquotes or in a block of commands."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`|  )make ([a-z-]+)", README, re.MULTILINE))
    assert named
    assert named - targets == set()


def test_every_room_stands_in_it():
    """The table of rooms has a row for each package under pipeline/, and for nothing else."""
    table = README.partition("\n## The rooms of ")[2].partition("\n## ")[0]
    rooms = {path.parent.name for path in (ROOT / "pipeline").glob("*/__init__.py")}
    assert set(re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE)) == rooms
