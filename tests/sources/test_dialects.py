"""How a file is written is found out by one rule and told in words; expected dialects are written by hand."""

import io

import pytest

from pipeline.runtime import DataRefused
from pipeline.sources.delimited import Dialect, in_words
from pipeline.sources.dialects import SAMPLE_BYTES, dialect_of


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
