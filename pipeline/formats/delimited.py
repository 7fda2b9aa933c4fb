"""CSV and TSV, read strictly (RFC 4180): every row has the header's number of fields, or the file is refused.

What is kept and what is refused:

- A field is the text that stands there: `NA`, `007`, blanks and line breaks inside quotes stay.
- Quotes (`minimal`) enclose a whole field and are doubled inside it; a quote anywhere else is refused.
  With `none` a quote is a character like any other, and no field holds the delimiter or a line break.
- A row ends with LF or CR LF; a CR elsewhere outside quotes is refused.
- Empty lines at the end of the file are passed over, others refused.
- Lines above the table (`skip`), and a row of units below its header, are passed over where somebody said so.
- Between fields may stand blanks, as many as there are (`blank`); those around a line do not count.

A block of rows without anything odd is cut up by Arrow. From the first block that has more to it, such as a quote
within a field, rows are read one by one: what is kept and refused is said once, in `records`.

How a file is written (`dialect_of`) is found out where nobody said it: the first MiB is read in every way that
is left open, and the way with the fewest rows that do not fit wins. A wrong guess cannot pass in silence: the
dialect is shown, and reading is strict. The file is long because the strict grammar, Arrow's quick way and the
guess of a dialect must agree to the byte: apart, each would have rules of its own.
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial, reduce
from itertools import accumulate, chain, compress, count
from pathlib import PurePosixPath
from typing import IO, Annotated, Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from msgspec import Meta

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
DelimiterOption = Literal["auto", "comma", "tab", "semicolon", "pipe", "blank"]
QuotingOption = Literal["auto", "minimal", "none"]
SkipOption = Annotated[int, Meta(ge=0)]
DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|"}
END = object()
"""After the last row."""
BLANK = " "
"""As a delimiter: any number of blanks and tabs."""
BLANKS = re.compile(rb"[ \t]+")
BLANK_ENDS = re.compile(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)")
BLANK_FIELD = re.compile(r'[ \t]*(?:"((?:[^"]|"")*)"|([^" \t]+))(?=[ \t]|$)')
NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?|[Nn][Aa][Nn]|NA|\?", re.ASCII)
NAMELESS = re.compile(r"(?:.* )?\(column \d+\)", re.DOTALL)
TAB_SUFFIXES = (".tsv", ".tab")
SAMPLE_BYTES = 1 << 20
BLOCK_BYTES = 1 << 20
ALONE = "Write it in quotes, doubled inside them; or, where quotes are only characters, --set quoting=none."
OTHER_DIALECT = (
    "Repair these rows; if all are odd, state the dialect: --set delimiter=; if lines stand above the table: "
    "--set skip=NUMBER of them."
)
ENDED_FIX = "Rows end with a delimiter, and the header does not: `sed -i 's/{mark}$//' {name}` takes it off."
HEADER_FIX = "Files were put one after the other, each with its header: remove these lines."
PREAMBLE_LINES = 100
"""So far a table is looked for below lines that are none of its rows."""


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
        skip: Lines above the table, whatever they hold.
        units_row: Whether the row below the header (without one: the first) holds units.
        preamble: Lines above the table that nobody stated, as far as it can be seen.
    """

    delimiter: str
    quoting: Quoting = "minimal"
    encoding: Encoding = "utf-8"
    header: bool = True
    bom: bool = False
    detected: frozenset[str] = frozenset()
    skip: int = 0
    units_row: bool = False
    preamble: int = 0


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
    skip: int = 0,
    units_row: bool = False,
    in_numbers: str = "",
) -> Dialect:
    """Return the dialect of a file: what was stated, completed by what its first MiB says.

    Args:
        file: Opened at its start, seekable; it is at its start again afterwards.
        name: Its name; the suffix decides between delimiters that fit equally well.
        delimiter: `auto`, or a key of `DELIMITERS`.
        quoting: `auto`, `minimal` or `none`.
        encoding: `auto` reads the whole file.
        header: Whether the first row names the columns; never guessed.
        skip: Lines above the table.
        units_row: Whether the row below the header holds units.
        in_numbers: Signs that stand in numbers: `auto` does not take them for what stands between fields, unless such
            numbers are in quotes ("1,234").

    Raises:
        DataRefused: The encoding cannot be told.
    """
    known, bom = encoding_of(file, name, encoding)
    _pass_over(file, skip)
    sample = file.read(SAMPLE_BYTES)
    file.seek(0)
    whole = len(sample) < SAMPLE_BYTES
    if not whole:
        sample = sample[: sample.rfind(b"\n") + 1] or sample
    rules: list[Quoting] = ["minimal", "none"] if quoting == "auto" else [quoting]
    shown = sample.decode(known, errors="replace")
    marks = [
        mark
        for mark in _delimiters(name, delimiter)
        if delimiter != "auto" or mark not in in_numbers or _in_quotes(shown, mark)
    ]
    ways = [(mark, rule) for mark in marks for rule in rules]
    best = min(ways, key=lambda way: _misfit(sample, known, *way, whole=whole)) if len(ways) > 1 else ways[0]
    shown_lines = shown.replace("\r\n", "\n").split("\n")[:PREAMBLE_LINES]
    if delimiter == "auto" and BLANK not in in_numbers and _blanks_between_numbers(shown_lines):
        best = (BLANK, best[1]) if any(_misfit(sample, known, *best, whole=whole)) else best
    above = _preamble(shown_lines, marks, header=header)
    stated = {"delimiter": delimiter, "quoting": quoting, "encoding": encoding}
    return Dialect(
        delimiter=best[0],
        quoting=best[1],
        encoding=known,
        header=header,
        bom=bom,
        detected=frozenset(part for part, option in stated.items() if option == "auto"),
        skip=skip,
        units_row=units_row,
        # Where what stands above has one field, so has every row: no row is odd then.
        preamble=above if not skip and above and any(_misfit(sample, known, *best, whole=whole)) else 0,
    )


def in_words(dialect: Dialect) -> str:
    """Return a dialect as a sentence for people; what was detected says so."""
    delimiter = {value: key for key, value in DELIMITERS.items()}.get(
        dialect.delimiter, "blanks" if dialect.delimiter == BLANK else repr(dialect.delimiter)
    )
    quoting = {"minimal": "fields may stand in double quotes", "none": "quotes mean nothing"}[dialect.quoting]
    parts = {
        "delimiter": f"{delimiter} between fields",
        "quoting": quoting,
        "encoding": encoding_in_words(dialect.encoding, bom=dialect.bom),
    }
    said = [f"{words} (detected)" if part in dialect.detected else words for part, words in parts.items()]
    said.append("first row names the columns" if dialect.header else "no header")
    above = [f"{dialect.skip} lines above it passed over"] if dialect.skip else []
    units = ["a row of units passed over"] if dialect.units_row else []
    return ", ".join([*said, *above, *units])


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
        DataRefused: The file is empty, its header is a row of data, or lines stand above it.
    """
    if dialect.preamble:
        raise DataRefused(
            f"{name} begins with lines that are no rows. Expected the table from line 1 on. Received: a table that "
            f"begins in line {dialect.preamble + 1}. Pass over what stands above it: --set skip={dialect.preamble}."
        )
    _pass_over(file, dialect.skip)
    rows = filter(None, records(file, name, dialect, problems, line=dialect.skip + 1))
    first = next(rows, None)
    if first is None:
        problems.check()
        raise DataRefused(
            f"{name} is empty{f' below the {dialect.skip} lines passed over' * (dialect.skip > 0)}. "
            f"Expected {'a row of column names' if dialect.header else 'rows'}. Received: no row. Check the file."
        )
    columns = tuple(str(number) for number in range(1, len(first.fields) + 1))
    if dialect.header:
        names = _stripped(first.fields) if plain_names else tuple(first.fields)
        columns = told_apart(names, f"{name}, line {first.line}")
    last = next(rows, first) if dialect.header and dialect.units_row else first
    if dialect.units_row:
        _check_units(last, name)
    batches = partial(
        _batches, file=file, name=name, dialect=dialect, problems=problems, columns=columns, above=last
    )
    if not dialect.header:
        return Table(columns, batches, dialect)
    spelt = dict(zip(columns, first.fields, strict=True))
    return Table(columns, lambda wanted: _without_headers(batches(wanted), spelt, problems), dialect)


def _without_headers(
    batches: Iterator[Batch], spelt: Mapping[str, str], problems: Problems
) -> Iterator[Batch]:
    """Pass batches on; rows that repeat the header become problems: labels and texts would take its words for data.

    Below a header of numbers alone, such as the `0,1` of pandas, a row that equals it may be data and stays.

    Args:
        batches: Of columns in `spelt`.
        spelt: Column to its cell in the header.
        problems: Where they are kept.
    """
    for batch in batches:
        same = [pc.equal(cells, spelt[column]) for column, cells in batch.columns.items()]
        words = any(NUMBER.fullmatch(spelt[column].strip()) is None for column in batch.columns)
        again = reduce(pc.and_, same).to_pylist() if words and len(same) > 1 else []
        if not any(again):
            yield batch
            continue
        for row in compress(count(), again):
            problems.add(batch.place(row), "a row of data", "the header again", HEADER_FIX)
        kept = pa.array([not header for header in again])
        numbers = [number for number, header in zip(batch.numbers, again, strict=True) if not header]
        yield replace(
            batch,
            numbers=numbers,
            columns={name: cells.filter(kept) for name, cells in batch.columns.items()},
        )


def _check_units(row: Record, name: str) -> None:
    """Refuse a row of units that is a row of values: it would be lost."""
    cells = [cell.strip() for cell in row.fields if cell.strip()]
    if 2 * sum(NUMBER.fullmatch(cell) is not None for cell in cells) > len(cells):
        raise DataRefused(
            f"{name}, line {row.line} holds no units. Expected words such as degC below the header (option units_row). "
            f"Received: {shown(', '.join(cells))}. Leave --set units_row out."
        )


def told_apart(names: Sequence[str], place: str) -> tuple[str, ...]:
    """Return names of columns, those that have none or one of another column by their number: `(column 1)`.

    pandas writes an index without a name, spreadsheets a delimiter at the end of every row, people two columns of
    comments. Such columns matter only to somebody who asks for them; nobody takes them for data unasked.

    Args:
        names: As the header has them.
        place: For messages.

    Raises:
        DataRefused: Numbers stand where names should: the header is a row of data.
    """
    odd = sorted({name for name in names if names.count(name) > 1 or not name.strip()})
    if odd and any(NUMBER.fullmatch(name.strip()) for name in names):
        raise DataRefused(
            f"{place} does not name the columns. Expected a different name for each. Received: "
            f"{', '.join(map(shown, odd))} empty or more than once, among numbers. Correct the header; where it is a "
            "row of data: --set header=false."
        )
    return tuple(
        f"{name} (column {number})".strip() if name in odd else name
        for number, name in enumerate(names, start=1)
    )


def is_nameless(name: str) -> bool:
    """Tell whether a column has no name of its own, see `told_apart`."""
    return NAMELESS.fullmatch(name) is not None


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
        if not (row.text.strip(" \t") if dialect.delimiter == BLANK else row.text):
            empty.append(row.number)
            continue
        for number in empty:
            problems.add(
                f"{name}, line {number}", "a row", "an empty line", "Remove empty lines between rows."
            )
            yield None
        empty.clear()
        fields = _fields(row, numbered, name, dialect, problems)
        expected = expected or len(fields or ())
        if fields is None:
            yield None
        elif len(fields) == expected:
            yield Record(row.number, fields, sum(map(len, fields)))
        else:
            ended = len(fields) == expected + 1 and not fields[-1]
            problems.add(
                f"{name}, line {row.number}",
                f"{expected} field{'s' * (expected > 1)}, as in the first row",
                f"{len(fields)} in {shown(row.text)}",
                ENDED_FIX.format(mark=dialect.delimiter, name=name) if ended else OTHER_DIALECT,
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
    unit: Literal["line", "row"] = "line",
) -> Iterator[Batch]:
    """Yield rows about a mebibyte at a time; at a problem what is before it, so that all are named in order.

    Args:
        rows: Whose fields are those of `columns`.
        columns: Names of the fields.
        made: Makes a column of its cells.
        name: The file.
        held: Where `rows` keeps problems.
        problems: Where they belong once the rows before them were looked at.
        unit: What their numbers count.

    Raises:
        DataRefused: Too many problems.
    """
    ready: list[Record] = []
    size = 0
    for row in chain(rows, [END]):
        if not isinstance(row, Record) or held.count or size > BLOCK_BYTES:
            if ready:
                numbers = [record.line for record in ready]
                if numbers[-1] - numbers[0] < len(numbers):
                    numbers = range(numbers[0], numbers[-1] + 1)  # type: ignore[assignment]  # needs no memory
                cells = map(list, zip(*(record.fields for record in ready), strict=True))
                yield Batch(name, unit, numbers, dict(zip(columns, map(made, cells), strict=True)))
            ready, size = [], 0
            held.pass_on(problems)
            problems.unread += row is None
        if isinstance(row, Record):
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
    above: Record,
) -> Iterator[Batch]:
    """Yield the rows below the one given, and that itself where it holds neither names nor units."""
    wanted = list(dict.fromkeys(wanted))
    places = [columns.index(column) for column in wanted]
    text = partial(pa.array, type=pa.string())
    line = above.line + 1 + sum(field.count("\n") for field in above.fields)
    start = file.tell()
    if not (dialect.header or dialect.units_row):
        cells = [text([above.fields[place]]) for place in places]
        yield Batch(name, "line", [above.line], dict(zip(wanted, cells, strict=True)))
    while block := _block(file, dialect):
        cut = _cut_up(block, dialect, len(columns), places)
        if cut is None:
            break
        num_lines = block.count(b"\n") + (not block.endswith(b"\n"))
        numbers: Sequence[int] = range(line, line + num_lines)
        if len(cut) < num_lines:  # fields go on in the next line
            breaks = reduce(pc.add, (pc.count_substring(cells, "\n") for cells in cut.columns)).to_pylist()
            numbers = list(accumulate((1 + within for within in breaks[:-1]), initial=line))
        cells = [cut[str(place)].chunk(0) for place in places]
        yield Batch(name, "line", numbers, dict(zip(wanted, cells, strict=True)))
        line, start = line + num_lines, file.tell()
    file.seek(start)
    held = Problems(limit=None)
    found = records(file, name, dialect, held, line=line, expected=len(columns))
    picked = (row and Record(row.line, [row.fields[place] for place in places], row.size) for row in found)
    yield from in_batches(picked, wanted, text, name=name, held=held, problems=problems)


def _block(file: IO[bytes], dialect: Dialect) -> bytes:
    """Return about a mebibyte of whole rows; b"" at the end. A row of over 16 MiB may be cut."""
    block = file.read(BLOCK_BYTES) + file.readline(MAX_LINE_BYTES)
    if dialect.quoting == "none":
        return block
    pieces, inside, size = [block], block.count(b'"') % 2, len(block)
    while inside and size <= MAX_LINE_BYTES and (more := file.readline(MAX_LINE_BYTES)):
        pieces.append(more)
        inside, size = inside ^ more.count(b'"') % 2, size + len(more)
    return b"".join(pieces)


def _cut_up(block: bytes, dialect: Dialect, num_columns: int, places: Sequence[int]) -> pa.Table | None:
    """Return columns of whole rows by their place, all where a field may hold a line break; None where rows are odd."""
    quotes = b'"' in block and dialect.quoting == "minimal"
    if (
        len(block) > MAX_LINE_BYTES
        or b"\0" in block
        or block.count(b"\r") != block.count(b"\r\n")
        or block.startswith((b"\n", b"\r\n", BOM))  # Arrow takes the mark off
        or (quotes and dialect.delimiter == BLANK)
    ):
        return None
    try:
        block = block.decode(dialect.encoding).encode()
    except UnicodeDecodeError:
        return None
    mark, over_lines = dialect.delimiter, False
    if mark == BLANK:
        mark, block = "\t", BLANKS.sub(b"\t", BLANK_ENDS.sub(b"", block))
    if quotes:
        over_lines = not _well_quoted(mark, r'[^"\r\n]').fullmatch(block)
        if over_lines and not _well_quoted(mark, '[^"]').fullmatch(block):
            return None
    elif b"\n\n" in block or b"\n\r\n" in block:
        return None
    names = [str(number) for number in range(num_columns)]
    try:
        found = pyarrow.csv.read_csv(
            pa.BufferReader(block),
            pyarrow.csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
            pyarrow.csv.ParseOptions(
                delimiter=mark, quote_char=quotes and '"', newlines_in_values=over_lines
            ),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=names if over_lines else [names[place] for place in places],
            ),
        )
    except pa.ArrowInvalid:
        return None
    return found.combine_chunks()


@cache
def _well_quoted(delimiter: str, within: str) -> re.Pattern[bytes]:
    """Return what rows look like of which none is empty and quotes enclose whole fields: Arrow takes `"1"2` for 12.

    Args:
        delimiter: Between fields.
        within: What a character in quotes may be, beside two quotes.
    """
    mark = re.escape(delimiter)
    field = rf'(?:"(?:{within}++|"")*+"|[^"{mark}\r\n]*+)'
    return re.compile(rf"(?:{field}(?:{mark}|\r?\n(?!\r?\n)|\Z))*+".encode())


def _fields(
    line: Line, more: Iterator[Line], name: str, dialect: Dialect, problems: Problems
) -> list[str] | None:
    quotes = dialect.quoting == "minimal" and '"' in line.text
    try:
        if quotes and dialect.delimiter == BLANK:
            return _fields_between_blanks(line)
        if quotes:
            return _Row(line, more, dialect).fields()
    except _OddRow as odd:
        problems.add(f"{name}, line {odd.line}, column {odd.column}", *odd.message)
        return None
    column = line.text.find("\r") + 1
    if column:
        place = f"{name}, line {line.number}, column {column}"
        problems.add(place, "LF or CR LF as line end", "CR alone", "Convert the line ends to LF.")
        return None
    if dialect.delimiter == BLANK:
        return re.split("[ \t]+", line.text.strip(" \t"))
    return line.text.split(dialect.delimiter)


def _fields_between_blanks(line: Line) -> list[str]:
    """Return the fields of a row with quotes, each of which encloses a whole field that ends in its line."""
    fields, position = [], 0
    text = line.text.rstrip(" \t")
    while position < len(text):
        match = BLANK_FIELD.match(text, position)
        if match is None or "\r" in match[0]:
            near = shown(text[position : position + 20])
            raise _OddRow(position + 1, "a field without quotes, or one within them", near, line.number)
        fields.append(match[2] if match[1] is None else match[1].replace('""', '"'))
        position = match.end()
    return fields


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


def _pass_over(file: IO[bytes], count: int) -> None:
    for _ in range(count):
        if not file.readline(MAX_LINE_BYTES):
            return


def _blanks_between_numbers(rows: Sequence[str]) -> bool:
    """Say whether all rows (the first may be a header) are as many numbers each, with blanks between them."""
    filled = [row for row in rows if row.strip()]
    counts = {len(row.split()) for row in filled}
    whole = len(filled) > 1 and len(counts) == 1 and counts != {1}
    return whole and all(NUMBER.fullmatch(cell) for row in filled[1:] for cell in row.split())


def _preamble(rows: Sequence[str], marks: Sequence[str], *, header: bool) -> int:
    """Return how many rows stand above a table that none of them is a row of; 0 where that is not clear.

    Below them all rows have as many fields as its first, which looks like a header (no number) above numbers.
    """
    rows = "\n".join(rows).rstrip("\n").split("\n")
    for mark in marks:
        cells = [row.split() if mark == BLANK else row.split(mark) for row in rows]
        filled = [len(row) if row != [""] else 0 for row in cells]
        width = filled[-1] if filled else 0
        start = len(filled)
        while start and filled[start - 1] == width:
            start -= 1
        below = cells[start:]
        if (
            width < 2
            or not start
            or len(below) < max(2, start // 2)
            or any(count > width for count in filled)
        ):
            continue
        numbers = [any(NUMBER.fullmatch(cell.strip()) for cell in row) for row in below[:3]]
        if not header or (not numbers[0] and any(numbers[1:])):
            return start
    return 0


def _delimiters(name: str, option: DelimiterOption) -> list[str]:
    """Return what may stand between fields, the likeliest first."""
    if option != "auto":
        return [BLANK if option == "blank" else DELIMITERS[option]]
    tabs = PurePosixPath(name).suffix.lower() in TAB_SUFFIXES
    return sorted(DELIMITERS.values(), key=lambda mark: (mark == "\t") != tabs)


def _in_quotes(sample: str, mark: str) -> bool:
    """Tell whether a number with this sign stands in quotes, as it must where the sign divides fields as well."""
    return bool(re.search(rf'"[^"\n]*\d{re.escape(mark)}\d[^"\n]*"', sample))


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
