"""CSV and TSV, read strictly (RFC 4180): every row has the header's number of fields, or the file is refused.

What is kept and what is refused:

- A field is the text that stands there: `NA`, `007`, blanks and line breaks inside quotes stay.
- Quotes (`minimal`) enclose a whole field and are doubled inside it; a quote anywhere else is refused.
  With `none` a quote is a character like any other, and no field holds the delimiter or a line break.
- A row ends with LF or CR LF; a CR elsewhere outside quotes is refused.
- Empty lines at the end of the file are passed over, others refused.

A block of lines without anything odd is cut up by Arrow. From the first block that has more to it, such as a
line break in quotes, rows are read one by one: what is kept and refused is said once, in `records`.

How a file is written (`dialect_of`) is found out where nobody said it: the first MiB is read in every way that
is left open, and the way with the fewest rows that do not fit wins. A wrong guess cannot pass in silence: the
dialect is shown, and reading is strict. The file is long because the strict grammar, Arrow's quick way and the
guess of a dialect must agree to the byte: apart, each would have rules of its own.
"""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from pathlib import PurePosixPath
from typing import IO, Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.csv

from pipeline.formats.problems import Problems, shown
from pipeline.formats.text_file import (
    BOM,
    MAX_LINE_BYTES,
    Encoding,
    EncodingOption,
    Line,
    encoding_in_words,
    encoding_of,
    lines,
)
from pipeline.runtime.errors import DataRefused

Quoting = Literal["minimal", "none"]
DelimiterOption = Literal["auto", "comma", "tab", "semicolon", "pipe"]
QuotingOption = Literal["auto", "minimal", "none"]
DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|"}
TAB_SUFFIXES = (".tsv", ".tab")
SAMPLE_BYTES = 1 << 20
BLOCK_BYTES = 1 << 20
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


@dataclass(frozen=True)
class Batch:
    """Some rows of a table, column by column, that know where in their file they stand.

    Attributes:
        name: The file.
        unit: What is counted in messages: `line` of a text file, `row` of Parquet.
        numbers: Of the rows, counted in that unit from 1, ascending.
        columns: Cells by the column's name: an Arrow array, of strings where the file is delimited text; of JSON
            lines a list.
    """

    name: str
    unit: Literal["line", "row"]
    numbers: Sequence[int]
    columns: dict[str, Any]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.numbers)

    def place(self, row: int, column: str = "") -> str:
        """Return where a row of this batch stands, for messages."""
        return f"{self.name}, {self.unit} {self.numbers[row]}" + (f", column {column!r}" if column else "")

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows, each with the cells of these columns, as Python has them."""
        cells = [self.columns[column] for column in columns]
        return zip(*(part if isinstance(part, list) else part.to_pylist() for part in cells), strict=True)


@dataclass(frozen=True)
class Table:
    """A file of rows, opened.

    Attributes:
        columns: Names from the header, or "1", "2", ... without one; None for JSON lines, where rows have them.
        batches: Yields the rows below the header, some at a time, with the columns that it is given.
        dialect: Of delimited text.
    """

    columns: tuple[str, ...] | None
    batches: Callable[[Sequence[str]], Iterator[Batch]]
    dialect: Dialect | None = None


class Record(NamedTuple):
    """One row: the line it begins at, counted from 1, its cells, and their characters."""

    line: int
    fields: list[Any]
    size: int


def dialect_of(
    file: IO[bytes],
    name: str,
    *,
    delimiter: DelimiterOption = "auto",
    quoting: QuotingOption = "auto",
    encoding: EncodingOption = "auto",
    header: bool = True,
) -> Dialect:
    """Return the dialect of a file: what was stated, completed by what its first MiB says.

    Args:
        file: Opened at its start, seekable; it is at its start again afterwards.
        name: Its name; the suffix decides between delimiters that fit equally well.
        delimiter: `auto`, or a key of `DELIMITERS`.
        quoting: `auto`, `minimal` or `none`.
        encoding: `auto` reads the whole file.
        header: Whether the first row names the columns; never guessed.

    Raises:
        DataRefused: The encoding cannot be told.
    """
    known, bom = encoding_of(file, name, encoding)
    sample = file.read(SAMPLE_BYTES)
    file.seek(0)
    whole = len(sample) < SAMPLE_BYTES
    if not whole:
        sample = sample[: sample.rfind(b"\n") + 1] or sample
    rules: list[Quoting] = ["minimal", "none"] if quoting == "auto" else [quoting]
    ways = [(mark, rule) for mark in _delimiters(name, delimiter) for rule in rules]
    best = min(ways, key=lambda way: _misfit(sample, known, *way, whole=whole)) if len(ways) > 1 else ways[0]
    stated = {"delimiter": delimiter, "quoting": quoting, "encoding": encoding}
    return Dialect(
        delimiter=best[0],
        quoting=best[1],
        encoding=known,
        header=header,
        bom=bom,
        detected=frozenset(part for part, option in stated.items() if option == "auto"),
    )


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


def read_delimited(
    file: IO[bytes], name: str, dialect: Dialect, problems: Problems, *, plain_names: bool = False
) -> Table:
    """Return the columns of a file and, a batch at a time, its rows.

    Args:
        file: Opened at its start, seekable.
        name: For messages.
        dialect: Stated, or from `dialect_of`.
        problems: Where rows that cannot be read are kept; the caller asks it at the end.
        plain_names: Whether blanks around names of columns, and a `#` before the first, do not belong to them.

    Raises:
        DataRefused: The file is empty, or its header has empty names or one name twice.
    """
    first = next(filter(None, records(file, name, dialect, problems)), None)
    if first is None:
        problems.check()
        raise DataRefused(
            f"{name} is empty. Expected {'a row of column names' if dialect.header else 'rows'}. "
            "Received: no row. Check the file."
        )
    columns = tuple(str(number) for number in range(1, len(first.fields) + 1))
    if dialect.header:
        columns = _stripped(first.fields) if plain_names else tuple(first.fields)
        check_names(columns, f"{name}, line 1")
    batches = partial(
        _batches, file=file, name=name, dialect=dialect, problems=problems, columns=columns, first=first
    )
    return Table(columns, batches, dialect)


def check_names(names: Sequence[str], place: str) -> None:
    """Refuse names of columns that do not tell them apart.

    Raises:
        DataRefused: A name is empty or blank, or there twice.
    """
    twice = sorted({column for column in names if names.count(column) > 1 or not column.strip()})
    if twice:
        raise DataRefused(
            f"{place} does not name the columns. Expected a different name for each. Received: "
            f"{', '.join(map(shown, twice))} empty or more than once. Correct the header, or --set header=false."
        )


def records(
    file: IO[bytes], name: str, dialect: Dialect, problems: Problems, *, line: int = 1, expected: int = 0
) -> Iterator[Record | None]:
    """Yield all rows, the header's included; None where rows cannot be read, which become problems.

    Args:
        file: Opened at the start of a line.
        name: For messages.
        dialect: How it is written.
        problems: Where problems are kept.
        line: Number of the line.
        expected: Number of fields; 0: as many as the first row has.

    Raises:
        DataRefused: Too many problems, or a row longer than 16 MiB.
    """
    numbered = lines(file, name, dialect.encoding, problems, first=line)
    empty: list[int] = []
    for row in numbered:
        if not row.text:
            empty.append(row.number)
            continue
        for number in empty:
            problems.add(
                f"{name}, line {number}", "a row", "an empty line", "Remove empty lines between rows."
            )
        empty.clear()
        fields = _fields(row, numbered, name, dialect, problems)
        expected = expected or len(fields or ())
        if fields is None:
            yield None
        elif len(fields) == expected:
            yield Record(row.number, fields, sum(map(len, fields)))
        else:
            problems.add(
                f"{name}, line {row.number}",
                f"{expected} field{'s' * (expected > 1)}, as in the first row",
                f"{len(fields)} in {shown(row.text)}",
                OTHER_DIALECT,
            )
            yield None


def in_batches(
    rows: Iterator[Record | None],
    columns: Sequence[str],
    made: Callable[[list[Any]], Any],
    *,
    name: str,
    held: Problems,
    problems: Problems,
) -> Iterator[Batch]:
    """Yield rows about a mebibyte at a time; at a problem what is before it, so that all are named in order.

    Args:
        rows: Whose fields are those of `columns`.
        columns: Names of the fields.
        made: Makes a column of its cells.
        name: The file.
        held: Where `rows` keeps problems.
        problems: Where they belong once the rows before them were looked at.

    Raises:
        DataRefused: Too many problems.
    """
    ready: list[Record] = []
    size = 0
    for row in chain(rows, [None]):
        if row is None or held.count or size > BLOCK_BYTES:
            if ready:
                numbers = [record.line for record in ready]
                if numbers[-1] - numbers[0] < len(numbers):
                    numbers = range(numbers[0], numbers[-1] + 1)  # type: ignore[assignment]  # needs no memory
                cells = map(list, zip(*(record.fields for record in ready), strict=True))
                yield Batch(name, "line", numbers, dict(zip(columns, map(made, cells), strict=True)))
            ready, size = [], 0
            held.pass_on(problems)
        if row is not None:
            ready.append(row)
            size += row.size


def _batches(
    wanted: Sequence[str],
    *,
    file: IO[bytes],
    name: str,
    dialect: Dialect,
    problems: Problems,
    columns: Sequence[str],
    first: Record,
) -> Iterator[Batch]:
    """Yield the rows below the first, and the first one where it is no header."""
    wanted = list(dict.fromkeys(wanted))
    places = [columns.index(column) for column in wanted]
    text = partial(pa.array, type=pa.string())
    line = first.line + 1 + sum(field.count("\n") for field in first.fields)
    start = file.tell()
    if not dialect.header:
        cells = [text([first.fields[place]]) for place in places]
        yield Batch(name, "line", [first.line], dict(zip(wanted, cells, strict=True)))
    while block := file.read(BLOCK_BYTES) + file.readline(MAX_LINE_BYTES):
        cut = _cut_up(block, dialect, len(columns), places)
        if cut is None:
            break
        numbers = range(line, line + len(cut[0]))
        yield Batch(name, "line", numbers, dict(zip(wanted, cut, strict=True)))
        line, start = numbers.stop, file.tell()
    file.seek(start)
    held = Problems(limit=None)
    found = records(file, name, dialect, held, line=line, expected=len(columns))
    picked = (row and Record(row.line, [row.fields[place] for place in places], row.size) for row in found)
    yield from in_batches(picked, wanted, text, name=name, held=held, problems=problems)


def _cut_up(block: bytes, dialect: Dialect, num_columns: int, places: Sequence[int]) -> list[pa.Array] | None:
    """Return columns of whole lines, or None where anything is odd, or a field goes on in the next line."""
    quotes = b'"' in block and dialect.quoting == "minimal"
    if (
        len(block) > MAX_LINE_BYTES
        or b"\0" in block
        or block.count(b"\r") != block.count(b"\r\n")
        or block.startswith((b"\n", b"\r\n", BOM))  # Arrow takes the mark off
        or b"\n\n" in block
        or b"\n\r\n" in block
        or (quotes and not _well_quoted(dialect.delimiter).fullmatch(block))
    ):
        return None
    names = [str(number) for number in range(num_columns)]
    try:
        block = block.decode(dialect.encoding).encode()
        found = pyarrow.csv.read_csv(
            pa.BufferReader(block),
            pyarrow.csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
            pyarrow.csv.ParseOptions(delimiter=dialect.delimiter, quote_char=quotes and '"'),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=[names[place] for place in places],
            ),
        )
    except (UnicodeDecodeError, pa.ArrowInvalid):
        return None
    return [cells.combine_chunks() for cells in found.columns]


@cache
def _well_quoted(delimiter: str) -> re.Pattern[bytes]:
    """Return what lines look like whose quotes enclose whole fields: Arrow takes `"1"2` for 12."""
    mark = re.escape(delimiter)
    field = rf'(?:"(?:[^"\r\n]++|"")*+"|[^"{mark}\r\n]*+)'
    return re.compile(rf"(?:{field}(?:{mark}|\r?\n|\Z))*+".encode())


def _fields(
    line: Line, more: Iterator[Line], name: str, dialect: Dialect, problems: Problems
) -> list[str] | None:
    try:
        if dialect.quoting == "minimal" and '"' in line.text:
            return _Row(line, more, dialect).fields()
    except _OddRow as odd:
        problems.add(f"{name}, line {odd.line}, column {odd.column}", *odd.message)
        return None
    column = line.text.find("\r") + 1
    if column:
        place = f"{name}, line {line.number}, column {column}"
        problems.add(place, "LF or CR LF as line end", "CR alone", "Convert the line ends to LF.")
        return None
    return line.text.split(dialect.delimiter)


class _OddRow(Exception):
    """A row that breaks a rule, with the line, the column (characters from 1) and the message's three parts."""

    def __init__(self, column: int, expected: str, received: str, line: int) -> None:
        super().__init__(received)
        self.line = line
        self.column = column
        self.message = (expected, received, ALONE)


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
        return _OddRow(column + 1, expected, received, self._line.number)


def _stripped(names: Sequence[str]) -> tuple[str, ...]:
    stripped = [name.strip(" \t") for name in names]
    return (stripped[0].removeprefix("#").strip(" \t"), *stripped[1:])


def _delimiters(name: str, option: DelimiterOption) -> list[str]:
    """Return what may stand between fields, the likeliest first."""
    if option != "auto":
        return [DELIMITERS[option]]
    tabs = PurePosixPath(name).suffix.lower() in TAB_SUFFIXES
    return sorted(DELIMITERS.values(), key=lambda mark: (mark == "\t") != tabs)


def _misfit(
    sample: bytes, encoding: Encoding, delimiter: str, quoting: Quoting, *, whole: bool
) -> tuple[bool, int]:
    """Return how badly a sample fits: whether it is a single column, then how many rows are odd."""
    problems = Problems(limit=1_000)
    columns = 0
    try:
        for record in records(io.BytesIO(sample), "", Dialect(delimiter, quoting, encoding), problems):
            columns = len(record.fields) if record else columns
    except DataRefused:
        return columns < 2, problems.count
    # The end of the sample may have cut through a field in quotes.
    return columns < 2, max(0, problems.count - (not whole))
