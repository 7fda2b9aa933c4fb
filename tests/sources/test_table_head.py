"""What is guessed from the first rows of a table."""

import json
import re
import shlex
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet
import pytest

from pipeline.sources.table_head import Look, seen, table_head, whole_lines


def head(folder, name, content):
    """Return the first rows of a file."""
    (folder / name).write_bytes(content)
    return table_head(folder / name, name)


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (b"a,b\nx,1\n", {}),
        (b"1,2\n3,4\n", {"header": "false"}),
        (b"ham,x\nham,y\nham,z\n", {"header": "false"}),
    ],
)
def test_a_header_that_looks_like_a_row_is_none(tmp_path, content, options):
    """A number, or a word that comes again below."""
    assert options == dict(head(tmp_path, "a.csv", content).options)


def test_json_lines_and_parquet_have_the_same_columns(tmp_path):
    """Whatever the suffix says, the first bytes decide where it says nothing."""
    rows = [{"text": "a b c", "n": number} for number in range(5)]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    pa.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "rows")
    for found in (
        head(tmp_path, "rows.jsonl", lines),
        head(tmp_path, "data", lines),
        table_head(tmp_path / "rows", "rows"),
    ):
        assert ["text", "n"] == [column.name for column in found.columns]
        assert [False, True] == [column.numeric for column in found.columns]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"{not json}\n", b"PAR1 damaged"])
def test_what_is_no_table_is_none_of_them(tmp_path, content):
    """A guess ends in no traceback."""
    found = head(tmp_path, "odd", content)
    assert isinstance(found, str) or not found.columns


def test_the_last_line_of_a_beginning_is_left_out():
    """It may have been cut in the middle; that of a short file was not."""
    assert b"a\nb\n" == whole_lines(b"a\nb\nc", size=5)
    assert b"a\nb\nc" == whole_lines(b"a\nb\nc", size=6)


def test_columns_that_are_called_by_times_say_how_the_table_is_turned(tmp_path):
    """A row per shop, a column per day; what the command makes is a series per shop."""
    days = [f"2026-01-{day:02d}" for day in range(1, 10)]
    lines = [",".join(["shop", *days])] + [
        ",".join([shop, *(str(n) for n in range(9))]) for shop in ("a", "b")
    ]
    (tmp_path / "sales.csv").write_text("\n".join(lines), encoding="utf-8")
    said = seen(Look({"sales.csv": tmp_path / "sales.csv"}))[-1]
    command = re.search(r"python -c '(.+?)'`", said)[1]
    subprocess.run([sys.executable, "-c", command], cwd=tmp_path, check=True)
    assert (
        (tmp_path / "sales-turned.csv").read_text(encoding="utf-8").startswith("time,a,b\n2026-01-01,0,0\n")
    )
    assert "--set wide=true" in said


@pytest.mark.parametrize("name", ["Umsätze (2026).csv", "O'Brien.csv", 'the "b" $HOME.csv'])
def test_what_a_shell_is_told_of_a_table_names_the_file_whole(tmp_path, name):
    """Both the command that turns it, and the path of what that makes."""
    days = [f"2026-01-{day:02d}" for day in range(1, 10)]
    (tmp_path / name).write_text(f"shop,{','.join(days)}\na,{','.join('123456789')}\n", encoding="utf-8")
    said = seen(Look({name: tmp_path / name}))[-1]
    command, path = re.search(r"`(python.+)`; --path (.+) --set wide=true", said).groups()
    there = subprocess.run(
        ["bash", "-c", f"{command.replace('python', shlex.quote(sys.executable), 1)} && cat {path}"],
        cwd=tmp_path, check=True, capture_output=True, encoding="utf-8",
    )  # fmt: skip
    assert there.stdout.startswith("time,a\n2026-01-01,1\n")
