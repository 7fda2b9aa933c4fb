"""Delimited text is read strictly; expected fields are written by hand, or come from `csv` and pandas.

How a file is written is found out by one rule and told in words; expected dialects are written by hand.
"""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.formats import delimited, text_file
from pipeline.formats.delimited import SAMPLE_BYTES, Dialect, dialect_of, in_words, read_delimited, records
from pipeline.formats.problems import Problems
from pipeline.formats.text_file import MAX_LINE_BYTES
from pipeline.runtime.errors import DataRefused
from tests.helpers.mutations import mutations

COMMA = Dialect(",")


def fields(content, dialect=COMMA, *, header=False):
    """Return the fields of all rows, or raise with all problems."""
    problems = Problems()
    _, rows = read(content, replace(dialect, header=header), problems)
    problems.check()
    return [row for _, row in rows]


def read(content, dialect, problems):
    """Return the columns, and each row's line and fields."""
    table = read_delimited(io.BytesIO(content), "a.csv", dialect, problems)
    batches = list(table.batches(table.columns))
    rows = [list(row) for batch in batches for row in batch.rows(table.columns)]
    return table.columns, list(zip([line for batch in batches for line in batch.numbers], rows, strict=True))


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


def test_one_cause_is_one_problem_however_many_lines_it_has():
    """Counted to the end of the file, with the first lines: a file that is read by the wrong rules fills no terminal."""
    message = refusal(b"a,b\n" + b"x\n" * 100)
    assert message.count("expected 2 fields") == 1
    assert "a.csv, line 2: expected 2 fields" in message
    assert "so in 100 lines: 2, 3, 4, 5, 6, ..." in message
    assert "\n100 problems. " in message


def test_a_quote_that_is_never_closed_does_not_swallow_memory():
    """Reading gives up after 16 MiB and names the line where the field began."""
    endless = b"a,b\n" + b'"' + (b"x" * 1023 + b"\n") * (MAX_LINE_BYTES // 1024 + 2)
    assert "line 2, column 1: expected a closing quote" in refusal(endless)


def test_a_line_is_too_long_by_its_bytes_in_the_file(monkeypatch):
    """Not by those of UTF-8, which are half as many here: a block that ends within a line is no whole rows."""
    for module in (delimited, text_file):
        monkeypatch.setattr(module, "MAX_LINE_BYTES", 64)
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 8)
    content = b"a\n" + ("\u00c0" * 20 + "\n").encode("gb18030")
    assert 2 + 4 * 20 + 1 == len(content)
    assert "line 2 is too long" in refusal(content, replace(COMMA, encoding="gb18030"))


def test_a_line_without_end_is_refused():
    """A file of 17 MiB without line break is no table."""
    assert "line 1 is too long" in refusal(b"x" * (17 << 20))


def test_columns_come_from_the_header_or_are_numbered():
    """Without a header the columns are called 1, 2, 3 and the first row is data."""
    assert (("a", "b"), [(2, ["1", "2"])]) == read(b"a,b\n1,2\n", COMMA, Problems())
    assert (("1", "2"), [(1, ["a", "b"]), (2, ["1", "2"])]) == read(
        b"a,b\n1,2\n", Dialect(",", header=False), Problems()
    )


def test_blanks_and_a_hash_may_be_no_part_of_the_names():
    """Where a source says so; two columns that are called alike then are told apart."""
    content = io.BytesIO(b"# id , x\n1,2\n")
    assert ("id", "x") == read_delimited(content, "a.csv", COMMA, Problems(), plain_names=True).columns
    twice = io.BytesIO(b"x, x\n1,2\n")
    assert ("x (column 1)", "x (column 2)") == read_delimited(
        twice, "a.csv", COMMA, Problems(), plain_names=True
    ).columns


PLAIN = b"a,b\n" + "1,x \u00e9\r\n".encode() + b",\n-2e3,NA\n" + b"4,\xc2\x85\n"
QUOTED = b'a,b\n1,"x, ""y"""\r\n"",\n"-2e3",NA\n'
OVER_LINES = b'a,b\n1,"x\n\n, ""y""\r\n"\r\n"",\n"\n",NA\n'


@pytest.mark.parametrize("dialect", [COMMA, Dialect(",", "none"), Dialect(",", encoding="latin-1")])
@pytest.mark.parametrize("block_bytes", [1, 16, 1 << 20])
def test_blocks_that_are_cut_up_at_once_hold_what_reading_row_by_row_finds(monkeypatch, dialect, block_bytes):
    """Rows, lines and problems do not depend on where a block ends or which of the two ways reads it."""
    monkeypatch.setattr(delimited, "BLOCK_BYTES", block_bytes)
    headless = replace(dialect, header=False)
    over_lines = [OVER_LINES, *mutations(OVER_LINES * 2, 400, seed=7)]
    for content in [
        PLAIN,
        QUOTED,
        b"a,b\n\xef\xbb\xbfc,d\n",
        *mutations(PLAIN * 2, 200, seed=5),
        *mutations(QUOTED * 2, 200, seed=6),
        *over_lines,
    ]:
        found, expected = [], []
        for rows, read_all in ((found, row_by_row), (expected, at_once)):
            problems = Problems()
            try:
                rows += read_all(content, headless, problems)
                problems.check()
            except DataRefused as refused:
                # Problems of one row over several lines may be told in another order, with the same words.
                rows += sorted(str(refused).split()) if content in over_lines else [str(refused)]
        assert expected == found, content


def test_fields_over_several_lines_are_cut_up_at_once_too(monkeypatch):
    """Pages in a column would be read ten times slower row by row; their rows know where they begin."""
    begun = []

    def counted(*given, **named):
        begun.append(given)
        return records(*given, **named) if len(begun) == 1 else iter(())

    monkeypatch.setattr(delimited, "records", counted)  # reads the header, and nothing below it
    assert [(2, ["1", 'x\n\n, "y"\r\n']), (6, ["", ""]), (7, ["\n", "NA"])] == at_once(
        OVER_LINES, COMMA, Problems()
    )


def row_by_row(content, dialect, problems):
    """Return lines and fields as `records` has them."""
    rows = list(filter(None, records(io.BytesIO(content), "a.csv", dialect, problems)))
    if not rows and not problems.count:
        raise DataRefused("a.csv is empty. Expected rows. Received: no row. Check the file.")
    return [(row.line, row.fields) for row in rows] if not problems.count else []


def at_once(content, dialect, problems):
    """Return lines and fields as batches have them."""
    rows = read(content, dialect, problems)[1]
    return rows if not problems.count else []


@pytest.mark.parametrize("content", [b"", b"\n\n", b"1.5,1.5\n1,2\n", b"3,\n1,2\n"])
def test_a_header_that_names_no_columns_is_refused(content):
    """An empty file, and a row of data where names should be."""
    with pytest.raises(DataRefused, match=r"a\.csv"):
        read(content, COMMA, Problems())


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("a,a", ("a (column 1)", "a (column 2)")),
        ("a,", ("a", "(column 2)")),
        (",a", ("(column 1)", "a")),
        ("a, ", ("a", "(column 2)")),
    ],
)
def test_columns_without_a_name_of_their_own_are_told_by_their_number(header, columns):
    """pandas' index, a delimiter at the end of rows, two columns of comments: they matter only when asked for."""
    names, rows = read(f"{header}\n1,2\n".encode(), COMMA, Problems())
    assert (columns, [(2, ["1", "2"])]) == (names, rows)


@given(
    st.lists(
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=3, max_size=3),
        min_size=1,
    )
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
def test_real_files_equal_what_pandas_reads(name, stated, quoting, num_rows, benchmarks):
    """Every cell of the real files is the one pandas finds when it is told the dialect and to convert nothing."""
    import pandas as pd

    path = benchmarks / name
    with path.open("rb") as file:
        dialect = dialect_of(file, path.name, **stated)
        problems = Problems()
        table = read_delimited(file, path.name, dialect, problems)
        rows = [row for batch in table.batches(table.columns) for row in batch.rows(table.columns)]
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


def detected(content, name="a.csv", **stated):
    """Return the dialect that is found for a content."""
    return dialect_of(io.BytesIO(content), name, **stated)


@pytest.mark.parametrize(
    ("content", "delimiter", "quoting"),
    [
        (b"a,b\n1,2\n", ",", "minimal"),
        (b"a;b\n1,5;2\n", ";", "minimal"),
        (b"a|b\n1|2\n", "|", "minimal"),
        (b"a\tb, c, d\n1\t2, x\n", "\t", "minimal"),
        (b'a\tb\n1\t"2" x\n', "\t", "none"),
        (b'a,b\n"x;y\nz;",2\n', ",", "minimal"),
        (b"a\n1\n", ",", "minimal"),
        (b"a,b,c\n1,2,3\n1,2\n", ",", "minimal"),
    ],
)
def test_the_dialect_is_the_one_with_the_fewest_odd_rows(content, delimiter, quoting):
    """A single odd row changes nothing, one column is the last resort."""
    found = detected(content)
    assert (delimiter, quoting) == (found.delimiter, found.quoting)


def test_the_suffix_decides_between_delimiters_that_fit():
    """Both tab and comma divide these rows in two."""
    content = b"a,x\tb\n1,y\t2\n"
    assert [",", "\t"] == [detected(content, name).delimiter for name in ("a.csv", "a.tsv")]


def test_a_stated_dialect_is_not_questioned():
    """Each part that is stated stays, and only the others are called detected."""
    found = detected(b"a,b;c\n", delimiter="semicolon", quoting="none", encoding="latin-1", header=False)
    assert Dialect(";", "none", "latin-1", header=False) == found
    assert {"quoting", "encoding"} == detected(b"a,b\n", delimiter="comma").detected


def test_a_dialect_reads_like_a_sentence():
    """People see how their file is read, and what of it was a guess."""
    found = detected(b"\xef\xbb\xbfa,b\n1,2\n", delimiter="comma")
    assert (
        "comma between fields, fields may stand in double quotes (detected), "
        "UTF-8 with byte order mark (detected), first row names the columns"
    ) == in_words(found)
    assert "tab between fields, quotes mean nothing, Latin-1, no header" == in_words(
        Dialect("\t", "none", "latin-1", header=False)
    )


def test_a_field_cut_by_the_end_of_the_sample_does_not_count():
    """A quoted field that begins before 1 MiB and ends after it is no reason to distrust quotes."""
    row = b'"a ""quoted"" text",b\n'
    content = row * (SAMPLE_BYTES // len(row) - 1) + b'"' + b"line\n" * 1000 + b'",b\n'
    assert "minimal" == detected(content).quoting


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"plain\n", ("utf-8", False)),
        ("\u00e9t\u00e9\n".encode(), ("utf-8", False)),
        (b"\xef\xbb\xbfa\n", ("utf-8", True)),
        ("\u00e9t\u00e9, na\u00efve \u2026\n".encode("cp1252"), ("cp1252", False)),
        (b"a\x85b\n", ("cp1252", False)),
        ("x\u00e9".encode()[:-1], ("cp1252", False)),
        (b"x" * ((1 << 20) - 1) + "\u00e9".encode(), ("utf-8", False)),
    ],
    ids=["ASCII", "UTF-8", "BOM", "cp1252", "NEL", "one byte", "across a chunk"],
)
def test_the_encoding_is_utf_8_or_else_cp1252(content, expected):
    """One rule, applied to the whole file."""
    found = detected(content)
    assert expected == (found.encoding, found.bom)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("\u00e9t\u00e9 na\u00efve\n".encode() + b"\xff\n", "damaged UTF-8"),
        (b"a\x81b\n", "bytes that cp1252 does not know"),
        ("a,b\n".encode("utf-16"), "UTF-16"),
    ],
    ids=["damaged", "undefined", "UTF-16"],
)
def test_an_encoding_that_cannot_be_told_is_refused(content, said):
    """Damaged UTF-8 does not become cp1252, and UTF-16 is recognised by its mark."""
    with pytest.raises(DataRefused, match=said):
        detected(content)


BLANKS = b"  1.0   2\t3\n4 5 6 \n"
LOGGER = "Device;TL-500\nSerial;0815\n\nTimestamp;Temp;RH\n;\u00b0C;%\n2024-01-01;1,5;20\n2024-01-02;2;21\n".encode()


def rows_of(content, problems=None, name="a.csv", **stated):
    """Return the names of the columns, and each row with the line it stands in."""
    file, problems = io.BytesIO(content), problems or Problems()
    table = read_delimited(file, name, dialect_of(file, name, **stated), problems)
    found = [
        (line, *fields)
        for batch in table.batches(table.columns)
        for line, fields in zip(batch.numbers, batch.rows(table.columns), strict=True)
    ]
    problems.check()
    return table.columns, found


@pytest.mark.parametrize("stated", [{"delimiter": "blank"}, {}])
def test_blanks_between_fields_count_as_one(stated):
    """However many there are, tabs among them, at the ends of a line too; numbers between blanks are found out."""
    columns, rows = rows_of(BLANKS, header=False, **stated)
    assert (("1", "2", "3"), [(1, "1.0", "2", "3"), (2, "4", "5", "6")]) == (columns, rows)
    words = in_words(detected(BLANKS, header=False, **stated))
    assert words.startswith("blanks between fields" + " (detected)" * (not stated))


def test_between_blanks_quotes_enclose_a_field():
    """As R writes words; a row with more fields, and an open quote, are refused with their line."""
    content = b'name x\n"a b" 1\n"say ""hi""" 2\n \nlast 3\n'.replace(b"\n \n", b"\n")
    assert [(2, "a b", "1"), (3, 'say "hi"', "2"), (4, "last", "3")] == rows_of(content, delimiter="blank")[1]
    for wrong in (b"x y\n1 2 3\n", b'x y\n"1 2\n', b'x y\n1 2"3\n', b"x y\n1 2\n \n3 4\n"):
        with pytest.raises(DataRefused, match=r"line [23]"):
            rows_of(wrong, delimiter="blank", quoting="minimal")


def test_texts_with_blanks_are_not_cut_at_them():
    """Only rows of numbers are."""
    assert ("hello world",) == rows_of(b"hello world\nbuy now\n")[0]


@pytest.mark.parametrize("num_rows", [3, 60_000])
def test_blanks_are_read_as_numpy_reads_them(num_rows):
    """A block at once, and row by row where something is odd."""
    content = "\n".join(f" {number}   {number / 8} \t{-number}" for number in range(num_rows)).encode()
    expected = np.loadtxt(io.BytesIO(content))
    for text in (content, content.replace(b"\n", b"\r\n")):
        _, rows = rows_of(text, header=False, delimiter="blank")
        np.testing.assert_array_equal(expected, np.array([row[1:] for row in rows], float))


def test_lines_above_the_table_and_a_row_of_units_are_passed_over():
    """Lines keep the numbers that they have in the file."""
    columns, rows = rows_of(LOGGER, skip=3, units_row=True)
    assert ("Timestamp", "Temp", "RH") == columns
    assert [(6, "2024-01-01", "1,5", "20"), (7, "2024-01-02", "2", "21")] == rows
    assert in_words(detected(LOGGER, skip=3, units_row=True)).endswith(
        "3 lines above it passed over, a row of units passed over"
    )
    assert [(2, "1"), (3, "2")] == rows_of(b"\xef\xbb\xbf\0preamble\n1\n2\n", skip=1, header=False)[1]
    with pytest.raises(DataRefused, match="empty below the 9 lines"):
        rows_of(LOGGER, skip=9)


def test_a_table_that_begins_further_down_is_found_and_told():
    """The advice, followed literally, reads it; a header that is one field short is no such thing."""
    with pytest.raises(DataRefused, match=r"begins in line 4.*--set skip=3"):
        rows_of(LOGGER)
    with pytest.raises(DataRefused, match="line 2: expected 2 fields") as refused:
        rows_of(b"x,y\n1,2,3\n4,5,6\n")
    assert "--set skip=3" not in str(refused.value)


def test_a_row_of_values_is_no_row_of_units():
    """It would be lost."""
    with pytest.raises(DataRefused, match="line 2 holds no units"):
        rows_of(b"x,y\n1,2\n3,4\n", units_row=True)


@pytest.mark.parametrize("header", ["0,1", "-1.5, 2e3", "7,0,1"])
def test_a_row_that_equals_a_header_of_numbers_is_data(header):
    """As pandas names columns without names: the second time step may hold 0 and 1. Words are told as ever."""
    cells = header.split(",")
    content = f"{header}\n5{',5' * (len(cells) - 1)}\n{header}\n".encode()
    assert cells == fields(content, header=True)[-1]
    with pytest.raises(DataRefused, match="line 3: expected a row of data; received the header again"):
        fields(content.replace(cells[0].encode(), b"x"), header=True)
