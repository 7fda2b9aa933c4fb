"""CSV and TSV, read strictly (RFC 4180): every row has the header's number of fields, or the file is refused.

What is kept and what is refused:

- A field is the text that stands there: `NA`, `007`, blanks and line breaks inside quotes stay.
- Quotes (`minimal`) enclose a whole field and are doubled inside it; a quote anywhere else is refused.
  With `none` a quote is a character like any other, and no field holds the delimiter or a line break.
- A row ends with LF or CR LF; a CR elsewhere outside quotes is refused.
- Empty lines at the end of the file are passed over, others refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import IO, Literal, NamedTuple

from pipeline.runtime import DataRefused
from pipeline.sources.problems import Problems, shown
from pipeline.sources.text_file import MAX_LINE_BYTES, Encoding, Line, encoding_in_words, lines

Quoting = Literal["minimal", "none"]
DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|"}
ALONE = "Write it in quotes, doubled inside them; or, where quotes are only characters, --set quoting=none."
OTHER_DIALECT = "Repair these rows; if all are odd, state the dialect: --set delimiter=, --set quoting=."


@dataclass(frozen=True)
class Dialect:
    """How a file of delimited text is written.

    Attributes:
        delimiter: One character, a value of `DELIMITERS`.
        quoting: `minimal`: fields may stand in double quotes; `none`: quotes mean nothing.
        encoding: Of the whole file.
        header: Whether the first row names the columns.
        bom: Whether the file begins with a byte order mark.
        detected: Which of these attributes nobody stated.
    """

    delimiter: str
    quoting: Quoting = "minimal"
    encoding: Encoding = "utf-8"
    header: bool = True
    bom: bool = False
    detected: frozenset[str] = frozenset()


class Record(NamedTuple):
    """One row: the line it begins at, counted from 1, and its fields."""

    line: int
    fields: list[str]


@dataclass(frozen=True)
class Table:
    """A file of delimited text, opened.

    Attributes:
        columns: Names from the header, or "1", "2", ... without one.
        rows: The rows below the header; each has as many fields as there are columns.
    """

    columns: tuple[str, ...]
    rows: Iterator[Record]


def in_words(dialect: Dialect) -> str:
    """Return a dialect as a sentence for people; what was detected says so."""
    delimiter = {value: key for key, value in DELIMITERS.items()}.get(
        dialect.delimiter, repr(dialect.delimiter)
    )
    quoting = {"minimal": "fields may stand in double quotes", "none": "quotes mean nothing"}[dialect.quoting]
    parts = {
        "delimiter": f"{delimiter} between fields",
        "quoting": quoting,
        "encoding": encoding_in_words(dialect.encoding, bom=dialect.bom),
    }
    said = [f"{words} (detected)" if part in dialect.detected else words for part, words in parts.items()]
    return ", ".join([*said, "first row names the columns" if dialect.header else "no header"])


def read_table(file: IO[bytes], name: str, dialect: Dialect, problems: Problems) -> Table:
    """Return the columns and, one at a time, the rows of a file.

    Args:
        file: Opened at its start.
        name: For messages.
        dialect: Stated, or from `pipeline.sources.dialects.dialect_of`.
        problems: Where rows that cannot be read are kept; the caller asks it at the end.

    Raises:
        DataRefused: The file is empty, or its header has empty names or one name twice.
    """
    rows = records(file, name, dialect, problems)
    first = next(rows, None)
    if first is None:
        problems.check()
        raise DataRefused(
            f"{name} is empty. Expected {'a row of column names' if dialect.header else 'rows'}. "
            "Received: no row. Check the file."
        )
    if not dialect.header:
        columns = tuple(str(number) for number in range(1, len(first.fields) + 1))
        return Table(columns, chain([first], rows))
    _check_header(first.fields, name)
    return Table(tuple(first.fields), rows)


def records(file: IO[bytes], name: str, dialect: Dialect, problems: Problems) -> Iterator[Record]:
    """Yield all rows, the header's included; rows that cannot be read become problems and are left out.

    Raises:
        DataRefused: Too many problems, or a row longer than 16 MiB.
    """
    numbered = lines(file, name, dialect.encoding, problems)
    expected = 0
    empty: list[int] = []
    for line in numbered:
        if not line.text:
            empty.append(line.number)
            continue
        for number in empty:
            problems.add(
                f"{name}, line {number}", "a row", "an empty line", "Remove empty lines between rows."
            )
        empty.clear()
        fields = _fields(line, numbered, name, dialect, problems)
        if fields is None:
            continue
        expected = expected or len(fields)
        if len(fields) == expected:
            yield Record(line.number, fields)
            continue
        problems.add(
            f"{name}, line {line.number}",
            f"{expected} field{'s' * (expected > 1)}, as in the first row",
            f"{len(fields)} in {shown(line.text)}",
            OTHER_DIALECT,
        )


def _fields(
    line: Line, more: Iterator[Line], name: str, dialect: Dialect, problems: Problems
) -> list[str] | None:
    quotes = dialect.quoting == "minimal" and '"' in line.text
    if not quotes and "\r" not in line.text:
        return line.text.split(dialect.delimiter)  # nearly every line of nearly every file
    try:
        return _Row(line, more, dialect).fields() if quotes else _plain(line.text, dialect.delimiter)
    except _OddRow as odd:
        problems.add(f"{name}, line {odd.line or line.number}, column {odd.column}", *odd.message)
        return None


class _OddRow(Exception):
    """A row that breaks a rule, with the line, the column (characters from 1) and the message's three parts."""

    def __init__(self, column: int, expected: str, received: str, fix: str, line: int = 0) -> None:
        super().__init__(received)
        self.line = line
        self.column = column
        self.message = (expected, received, fix)


class _Row:
    """The fields of one row that has quotes in it, which may go on over several lines."""

    def __init__(self, line: Line, more: Iterator[Line], dialect: Dialect) -> None:
        self._line = line
        self._more = more
        self._delimiter = dialect.delimiter

    def fields(self) -> list[str]:
        fields: list[str] = []
        position = 0
        while True:
            quoted = self._line.text.startswith('"', position)
            field, position = self._quoted(position) if quoted else self._unquoted(position)
            fields.append(field)
            if position == len(self._line.text):
                return fields
            position += 1

    def _unquoted(self, start: int) -> tuple[str, int]:
        """Return the field that begins at `start`, and where the delimiter or the line's end is."""
        text = self._line.text
        end = text.find(self._delimiter, start)
        end = len(text) if end < 0 else end
        for character, word in (('"', "a quote"), ("\r", "CR")):
            column = text.find(character, start, end)
            if column >= 0:
                near = shown(text[start:end])
                raise self._odd(column, "a field without quotes, or one within them", f"{word} inside {near}")
        return text[start:end], end

    def _quoted(self, start: int) -> tuple[str, int]:
        """Return the content of the field whose quote is at `start`, and where it ends."""
        opened = self._odd(
            start,
            "a closing quote before the file ends",
            f"a field that begins {shown(self._line.text[start:])}",
        )
        pieces: list[str] = []
        size = 0
        start += 1
        while True:
            end = self._line.text.find('"', start)
            if end < 0:
                pieces.append(self._line.text[start:] + self._line.end)
                size += len(pieces[-1])
                self._next_line(opened, size)
                start = 0
            elif self._line.text.startswith('"', end + 1):
                pieces.append(self._line.text[start : end + 1])
                start = end + 2
            else:
                pieces.append(self._line.text[start:end])
                break
        after = self._line.text[end + 1 : end + 2]
        if after not in ("", self._delimiter):
            near = shown(self._line.text[end : end + 20])
            raise self._odd(end + 1, "the delimiter or the line's end after a closing quote", near)
        return "".join(pieces), end + 1

    def _next_line(self, opened: _OddRow, size: int) -> None:
        line = next(self._more, None)
        if line is None or size > MAX_LINE_BYTES:
            raise opened
        self._line = line

    def _odd(self, column: int, expected: str, received: str) -> _OddRow:
        return _OddRow(column + 1, expected, received, ALONE, self._line.number)


def _plain(text: str, delimiter: str) -> list[str]:
    column = text.find("\r")
    if column >= 0:
        raise _OddRow(column + 1, "LF or CR LF as line end", "CR alone", "Convert the line ends to LF.")
    return text.split(delimiter)


def _check_header(names: list[str], name: str) -> None:
    twice = sorted({column for column in names if names.count(column) > 1 or not column.strip()})
    if twice:
        raise DataRefused(
            f"{name}, line 1 does not name the columns. Expected a different name for each. Received: "
            f"{', '.join(map(shown, twice))} empty or more than once. Correct the header, or --set header=false."
        )
