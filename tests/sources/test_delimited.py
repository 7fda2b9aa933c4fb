"""Delimited text is read strictly; expected fields are written by hand, or come from `csv` and pandas."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime import DataRefused
from pipeline.sources.delimited import Dialect, read_table, records
from pipeline.sources.dialects import dialect_of
from pipeline.sources.problems import Problems
from pipeline.sources.text_file import MAX_LINE_BYTES

SHARED = Path(__file__).parents[3] / "shared" / "data"
COMMA = Dialect(",")


def fields(content, dialect=COMMA):
    """Return the fields of all rows, or raise with all problems."""
    problems = Problems()
    rows = [row.fields for row in records(io.BytesIO(content), "a.csv", dialect, problems)]
    problems.check()
    return rows


def refusal(content, dialect=COMMA):
    """Return the message that refuses a content."""
    with pytest.raises(DataRefused) as refused:
        fields(content, dialect)
    return str(refused.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a,b\n1,2\n", [["a", "b"], ["1", "2"]]),
        (b"a,b\r\n1,2", [["a", "b"], ["1", "2"]]),
        (b"NA,007\nnull, x \n", [["NA", "007"], ["null", " x "]]),
        (b'"a,b","c ""d"""\n,""\n', [["a,b", 'c "d"'], ["", ""]]),
        (b'"one\ntwo\r\n\nfour",x\n', [["one\ntwo\r\n\nfour", "x"]]),
        (b"\xef\xbb\xbfa,b\n", [["a", "b"]]),
        (b"a,b\n\n\r\n\n", [["a", "b"]]),
        ("a,\u00e9t\u00e9\u2028\u0085\x0c\n".encode(), [["a", "\u00e9t\u00e9\u2028\u0085\x0c"]]),
    ],
    ids=["plain", "CR LF", "NA and 007", "quotes", "line breaks", "BOM", "empty end", "odd line separators"],
)
def test_fields_are_what_stands_in_the_file(content, expected):
    """Nothing is stripped, converted or split at anything but LF and the delimiter."""
    assert expected == fields(content)


def test_without_quoting_a_quote_is_a_character():
    """`none` keeps stray and enclosing quotes, as in the SMS collection."""
    assert [['"a"', 'b"'], ['"', "c"]] == fields(b'"a"\tb"\n"\tc\n', Dialect("\t", "none"))


def test_cp1252_and_latin_1_differ_where_they_should():
    """Byte 85 is an ellipsis in cp1252 and NEL in Latin-1, and ends no line in either."""
    assert [["a", "\u2026b"]] == fields(b"a,\x85b\n", Dialect(",", encoding="cp1252"))
    assert [["a", "\x85b"]] == fields(b"a,\x85b\n", Dialect(",", encoding="latin-1"))


@pytest.mark.parametrize(
    ("content", "place", "said"),
    [
        (b"a,b\n1,2,3\n", "line 2", "2 fields, as in the first row; received 3 in '1,2,3'"),
        (b"a,b\n1\n", "line 2", "2 fields, as in the first row; received 1 in '1'"),
        (b'a,b\n"1"x,2\n', "line 2, column 4", "after a closing quote"),
        (b'a,b\n"x\n"1"",2\n', "line 3, column 2", "after a closing quote"),
        (b'a,b\n1,5" pipe\n', "line 2, column 4", "a quote inside"),
        (b'a,b\n1,"open\n2,3\n', "line 2, column 3", "a closing quote before the file ends"),
        (b"a,b\n\n1,2\n", "line 2", "an empty line"),
        (b"a,b\n1,2\r3,4\n", "line 2, column 4", "CR alone"),
        (b"a,b\n1,\0\n", "line 2, byte 3", "a NUL byte"),
        (b"a,b\n1,\xff\n", "line 2, byte 3", "expected UTF-8; received the bytes ff"),
    ],
    ids=[
        "more",
        "fewer",
        "after quote",
        "after quote below",
        "stray",
        "open",
        "empty",
        "CR",
        "NUL",
        "not UTF-8",
    ],
)
def test_a_row_that_breaks_a_rule_is_named(content, place, said):
    """The message has line, column, what was expected and what is there."""
    message = refusal(content)
    assert f"a.csv, {place}: expected" in message
    assert said in message


def test_all_problems_are_reported_at_once():
    """Four different ones, each with its line; the same advice only once."""
    message = refusal(b'a,b\n1\n2,3\n4\n5,"6"7\n8,9\xff\n')
    assert [line.split(":")[0].strip() for line in message.split("\n")[1:-1]] == [
        "a.csv, line 2",
        "a.csv, line 4",
        "a.csv, line 5, column 6",
        "a.csv, line 6, byte 4",
    ]
    assert message.count("--set delimiter=") == 1


def test_reading_stops_at_twenty_problems():
    """A file that is read by the wrong rules does not fill the terminal."""
    message = refusal(b"a,b\n" + b"x\n" * 100)
    assert message.count("expected 2 fields") == 20
    assert "The first 20 problems, where reading stopped" in message


def test_a_quote_that_is_never_closed_does_not_swallow_memory():
    """Reading gives up after 16 MiB and names the line where the field began."""
    endless = b"a,b\n" + b'"' + (b"x" * 1023 + b"\n") * (MAX_LINE_BYTES // 1024 + 2)
    assert "line 2, column 1: expected a closing quote" in refusal(endless)


def test_a_line_without_end_is_refused():
    """A file of 17 MiB without line break is no table."""
    assert "line 1 is too long" in refusal(b"x" * (17 << 20))


def test_columns_come_from_the_header_or_are_numbered():
    """Without a header the columns are called 1, 2, 3 and the first row is data."""
    problems = Problems()
    table = read_table(io.BytesIO(b"a,b\n1,2\n"), "a.csv", COMMA, problems)
    assert (("a", "b"), [(2, ["1", "2"])]) == (table.columns, [tuple(row) for row in table.rows])
    table = read_table(io.BytesIO(b"a,b\n1,2\n"), "a.csv", Dialect(",", header=False), problems)
    assert (("1", "2"), [["a", "b"], ["1", "2"]]) == (table.columns, [row.fields for row in table.rows])


@pytest.mark.parametrize("content", [b"", b"\n\n", b"a,a\n1,2\n", b"a,\n1,2\n", b"a, \n1,2\n"])
def test_a_header_that_names_no_columns_is_refused(content):
    """An empty file, one name twice, and names that are empty or blank."""
    with pytest.raises(DataRefused, match=r"a\.csv"):
        read_table(io.BytesIO(content), "a.csv", COMMA, Problems())


@given(
    st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=3, max_size=3))
)
def test_what_csv_writes_is_read_back(rows):
    """Any table that Python's csv module writes comes back field by field."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    assert rows == fields(written.getvalue().encode())


@pytest.mark.parametrize(
    ("name", "stated", "quoting", "num_rows"),
    [
        ("sms-spam/SMSSpamCollection", {"header": False}, csv.QUOTE_NONE, 5574),
        ("banking77/train.csv", {}, csv.QUOTE_MINIMAL, 10003),
        ("banking77/test.csv", {}, csv.QUOTE_MINIMAL, 3080),
        ("bike-sharing/hour.csv", {}, csv.QUOTE_MINIMAL, 17379),
    ],
)
def test_real_files_equal_what_pandas_reads(name, stated, quoting, num_rows):
    """Every cell of the real files is the one pandas finds when it is told the dialect and to convert nothing."""
    import pandas as pd

    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    with path.open("rb") as file:
        dialect = dialect_of(file, path.name, **stated)
        problems = Problems()
        rows = [row.fields for row in read_table(file, path.name, dialect, problems).rows]
        problems.check()
    expected = pd.read_csv(
        path,
        sep=dialect.delimiter,
        quoting=quoting,
        header=None if stated else 0,
        dtype=str,
        keep_default_na=False,
        encoding="utf-8",
    )
    assert num_rows == len(rows)
    np.testing.assert_array_equal(expected.to_numpy(dtype=object), np.array(rows, dtype=object))
