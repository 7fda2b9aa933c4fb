"""A file of rows, whatever its format: which columns it has, and its rows in batches of the columns asked for.

Where nobody says the format, the first bytes do, and only then the suffix (`form_of`).

CSV and TSV: `pipeline/formats/delimited.py`. JSON lines: UTF-8, one object per line; a column may be a path into it
(`json_rows.value_at`); a key twice, `NaN` and half a surrogate pair are refused. Parquet: only the columns that are
asked for are read. Millions of rows pass through without ever being in memory together.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import IO, Any, Literal, NoReturn

import pyarrow as pa
import pyarrow.parquet

from pipeline.formats.delimited import (
    BLOCK_BYTES,
    Batch,
    DelimiterOption,
    Dialect,
    QuotingOption,
    Record,
    SkipOption,
    Table,
    dialect_of,
    in_batches,
    in_words,
    is_nameless,
    read_delimited,
)
from pipeline.formats.json_rows import ABSENT, array_items, is_array, nested_keys, value_at
from pipeline.formats.problems import Problems, shown
from pipeline.formats.text_file import BOM, EncodingOption, first_beyond_ascii, lines
from pipeline.formats.written_numbers import NumberOptions, NumberWriting
from pipeline.runtime.errors import DataRefused

Format = Literal["csv", "tsv", "jsonl", "parquet"]
Unlabelled = Literal["fail", "reject", "leave_out"]
UnlabelledRows = Literal["fail", "reject", "leave_out", "no_labels"]
FormatOption = Literal["auto", "csv", "tsv", "jsonl", "parquet"]
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
TEXT_SUFFIXES = frozenset([".csv", ".tsv", ".tab", ".txt", ".jsonl", ".ndjson", ".json", ".arff", ".ts"])
BATCH_ROWS = 4096
FORM_BYTES = 1 << 12
ZIP = b"PK\x03\x04"
OLD_SPREADSHEET = bytes.fromhex("d0cf11e0a1b11ae1")
JSON_OBJECT = re.compile(rb'\{[ \t\r\n]*(?:"(?:[^"\\]|\\.)*+"[ \t]*:|\})')
JSON_ARRAY = re.compile(rb"\[[ \t\r\n]*[{\]]")
JSON_FIX = (
    "Write one JSON object per line, with every column in each (null where there is no value); what lies inside "
    "another object or a list has a path, which stands for its column: data.text, annotations.0.value."
)


class TextTableOptions(
    NumberOptions, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """What a source may say about tables that are text: what stands above the rows, between fields, in numbers."""

    label_columns: tuple[str, ...] = ()
    """Columns that are a label each, 0 or 1: a sample may have several of them, or none. In place of `label`."""
    unlabelled: UnlabelledRows = "fail"
    """Samples without an answer (label, target, or one of label_columns): fail; reject them, which counts against
    data.max_rejected_share; or leave them out, which is counted apart. Of windows with classes those without one are
    rejected unless they are left out. Beside labels_separator, no_labels: an empty label says none of the labels."""
    header: bool = True
    """Whether the first row of a text file names the columns; if not, they are called 1, 2, 3."""
    skip: SkipOption = 0
    """Lines above the table of a text file (name of a device, a date) that are passed over."""
    units_row: bool = False
    """Whether the row below the names holds units (`°C`), and is passed over."""
    quoting: QuotingOption = "minimal"
    """`minimal`: fields may stand in double quotes; `none`: a quote is a character like any other; `auto`: as it
    looks."""
    delimiter: DelimiterOption = "auto"
    """Of text files: auto, comma, tab, semicolon, pipe, or blank (any number of blanks and tabs)."""
    encoding: EncodingOption = "auto"
    """Of text files: auto (UTF-8, else cp1252), or a codec of Python: cp1251, gb18030."""


class TableOptions(
    TextTableOptions, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """What a source may say about tables of any format."""

    format: FormatOption = "auto"
    """`auto` goes by the first bytes, and where they say nothing by the suffix."""
    quoting: QuotingOption = "auto"
    """`minimal`: fields may stand in double quotes; `none`: a quote is a character like any other; `auto`: as it
    looks."""


@dataclass(frozen=True)
class Writing:
    """What the user stated about how the files are written; `auto` where nothing.

    Attributes:
        json: Whether JSON is read.
        plain_names: Whether blanks around names of columns, and a `#` before the first, do not belong to them.
        skip: Lines above the table.
        units_row: Whether the row below the header holds units.
        in_numbers: Signs that stand in numbers, and therefore not between fields unless somebody says so.
    """

    format: FormatOption = "auto"
    delimiter: DelimiterOption = "auto"
    quoting: QuotingOption = "auto"
    encoding: EncodingOption = "auto"
    header: bool = True
    json: bool = True
    plain_names: bool = False
    skip: int = 0
    units_row: bool = False
    in_numbers: str = ""

    @classmethod
    def of(cls, options: TableOptions) -> "Writing":
        """Return what the options of a source say, names of columns as they stand."""
        written = cls.of_text(options)
        return replace(written, format=options.format, json=True, plain_names=False)

    @classmethod
    def of_text(cls, options: TextTableOptions) -> "Writing":
        """Return what the options of a source of series say, which reads no JSON."""
        return cls(
            "auto",
            options.delimiter,
            options.quoting,
            options.encoding,
            options.header,
            json=False,
            plain_names=True,
            skip=options.skip,
            units_row=options.units_row,
            in_numbers=NumberWriting.of(options).signs,
        )


def format_of(name: str, option: FormatOption) -> Format:
    """Return the format of a file: the stated one, or the one its suffix says; delimited text if none does."""
    # `.json` is no suffix that makes a file a table: lists of classes and settings are called so, too.
    known = FORMATS | {".json": "jsonl"}
    return known.get(PurePosixPath(name).suffix.lower(), "csv") if option == "auto" else option


def form_of(file: IO[bytes], name: str, option: FormatOption) -> Format:
    """Return the format of a file: the stated one, or what its first bytes say; where they say nothing, its suffix.

    Args:
        file: Opened at its start, where it is again afterwards.
        name: For its suffix, and for messages.
        option: What the user stated.

    Raises:
        DataRefused: A spreadsheet.
    """
    begin = file.read(FORM_BYTES)
    file.seek(0)
    return form_of_bytes(begin, name, option)


def form_of_bytes(begin: bytes, name: str, option: FormatOption) -> Format:
    """Return what `form_of` does, of the beginning of a file."""
    by_name = format_of(name, option)
    if option != "auto":
        return by_name
    if begin.startswith((ZIP, OLD_SPREADSHEET)):
        raise spreadsheet_refused(name)
    if begin.startswith(b"PAR1") and b"\0" in begin:
        return "parquet"
    text = begin.removeprefix(BOM).lstrip(b" \t\r\n")
    if JSON_OBJECT.match(text) or JSON_ARRAY.match(text):
        return "jsonl"
    if by_name == "jsonl" and not text.startswith((b"{", b"[")) and b"{" not in text.partition(b"\n")[0]:
        return "csv" if len(re.split(rb"[,;\t|]", text.partition(b"\n")[0])) > 1 else by_name
    if by_name == "parquet" and begin and b"\0" not in begin and not begin.startswith(b"PAR1"):
        return "csv"
    return by_name


def spreadsheet_refused(name: str) -> DataRefused:
    """Return the refusal of a workbook, with two ways to make a table of it.

    What its cells look like and what they hold are two things (dates, 007, results of formulas), and it has several
    sheets: whoever exports it sees what comes out.
    """
    last = PurePosixPath(name)
    # Without the filter NA and None, which may be labels, would become blank.
    reading = f"pandas.read_excel({literal(last.name)}, dtype=str, na_filter=False)"
    command = python_command("pandas", f"{reading}.{_to_csv_beside(last)}")
    return DataRefused(
        f"{name} is a spreadsheet, or another file that is packed. Expected a table of text or Parquet. Received: the "
        "first bytes of one. Save the sheet as CSV UTF-8 in the program that made it, or convert its first sheet: "
        f"`{command}` (needs `pip install pandas openpyxl`; of .xls xlrd, of .ods odfpy)."
    )


def not_read(file: IO[bytes], name: str, form: Format) -> DataRefused:
    """Return the refusal of a format that a kind does not read, with the command that converts it."""
    array = form == "jsonl" and is_array(file)
    received = "Parquet" if form == "parquet" else "a JSON array" if array else "JSON lines"
    last = PurePosixPath(name)
    reading = (
        f"pandas.read_parquet({literal(last.name)})"
        if form == "parquet"
        else f"pandas.read_json({literal(last.name)}, lines={not array}, dtype=False, convert_dates=False)"
    )
    return DataRefused(
        f"{name} is {received}. Expected a format that this kind of source reads, such as CSV. Received: {received}. "
        f"Convert it: `{python_command('pandas', f'{reading}.{_to_csv_beside(last)}')}`."
    )


def _to_csv_beside(path: PurePosixPath) -> str:
    """Return the end of a snippet that writes a table to a new file, or fails where that name is taken."""
    made = f"{path.stem}.csv" if path.suffix.lower() != ".csv" else f"{path.stem}-1.csv"
    return f'to_csv({literal(made)}, index=False, mode="x")'


def python_command(imported: str, done: str) -> str:
    """Return a command for a shell; literals in it stand in double quotes, so that it reads what is read here."""
    return f"python -c {shlex.quote(f'import {imported}; {done}')}"


def literal(text: str) -> str:
    """Return a text as Python writes it, in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def describe_table(file: IO[bytes], name: str, writing: Writing) -> str:
    """Return in words how a file is read, detected parts marked as such.

    Raises:
        DataRefused: The encoding cannot be told.
    """
    form = form_of(file, name, writing.format)
    if form == "parquet":
        return f"{name}: Parquet"
    if form == "jsonl":
        if not writing.json:
            raise not_read(file, name, form)
        return f"{name}: {'a JSON array' if is_array(file) else 'JSON lines'}, UTF-8"
    dialect = dialect_as_stated(file, name, writing)
    words = in_words(dialect)
    if "encoding" in dialect.detected and dialect.encoding != "utf-8":
        # A guess, for any byte is some letter: who knows the text sees whether it is the right one.
        line = first_beyond_ascii(file).decode(dialect.encoding, errors="replace")
        words += f"; by which a line reads {shown(line)}"
    file.seek(0)
    try:
        columns = read_delimited(file, name, dialect, Problems(limit=None)).columns or ()
    except DataRefused:
        columns = ()  # whoever reads the file says what is wrong with it
    nameless = [column for column in columns if is_nameless(column)]
    told = f"; no name of their own, and read only when asked for: {', '.join(nameless)}" if nameless else ""
    return f"{name}: {words}{told}"


def read_table(file: IO[bytes], name: str, writing: Writing, problems: Problems) -> Table:
    """Return a file's columns and, in batches, its rows.

    Args:
        file: Opened at its start, seekable; open as long as the table is read.
        name: For messages.
        writing: What the user stated.
        problems: Where rows that cannot be read are kept; the caller asks it at the end.

    Raises:
        DataRefused: The file is empty or damaged, or its header does not name the columns. Reading a batch
            raises it too, for damage inside and for too many problems.
    """
    form = form_of(file, name, writing.format)
    if form == "jsonl":
        if not writing.json:
            raise not_read(file, name, form)
        return Table(None, partial(_json_batches, file, name, problems))
    if form == "parquet":
        opened = _parquet(file, name)
        columns = tuple(opened.schema_arrow.names)
        if writing.plain_names and len(set(columns)) < len(columns):
            twice = ", ".join(sorted({shown(column) for column in columns if columns.count(column) > 1}))
            raise DataRefused(
                f"{name} does not name the columns. Expected a different name for each. Received: {twice} more than "
                "once. Write the file again with other names."
            )
        return Table(columns, partial(_parquet_batches, opened, name))
    dialect = dialect_as_stated(file, name, writing)
    return read_delimited(file, name, dialect, problems, plain_names=writing.plain_names)


def table_with(
    file: IO[bytes], name: str, wanted: Sequence[str], writing: Writing, problems: Problems, *, fix: str
) -> Table:
    """Return a file that has the wanted columns; of JSON every row is asked for them later.

    Args:
        file: As in `read_table`.
        name: For messages.
        wanted: Columns, some perhaps twice.
        writing: What the user stated.
        problems: As in `read_table`.
        fix: What to do where one is missing.

    Raises:
        DataRefused: Some are not there; or as in `read_table`.
    """
    table = read_table(file, name, writing, problems)
    there = wanted if table.columns is None else table.columns
    missing = [column for column in dict.fromkeys(wanted) if column not in there]
    if missing:
        known = ", ".join(there[:30]) + (", ..." if len(there) > 30 else "")
        written = f" It was read as: {in_words(table.dialect)}." if table.dialect else ""
        raise DataRefused(
            f"{name} has no column {', '.join(missing)}. Expected one of its {len(there)} columns: {known}. "
            f"Received: {', '.join(missing)}.{written} {fix}"
        )
    return table


def dialect_as_stated(file: IO[bytes], name: str, writing: Writing) -> Dialect:
    """Return how a file is written: `.tsv` is delimited by tabs, unless somebody or its first line says otherwise.

    Raises:
        DataRefused: It is no delimited text.
    """
    form = form_of(file, name, writing.format)
    if form not in ("csv", "tsv"):
        raise not_read(file, name, form)
    tabs = form == "tsv" and writing.delimiter == "auto"
    if tabs and writing.format == "auto":
        line = file.read(FORM_BYTES).partition(b"\n")[0]
        tabs = not writing.plain_names and (b"\t" in line or not re.search(rb"[,;|]", line))
        file.seek(0)
    return dialect_of(
        file,
        name,
        delimiter="tab" if tabs else writing.delimiter,
        quoting=writing.quoting,
        encoding=writing.encoding,
        header=writing.header,
        skip=writing.skip,
        units_row=writing.units_row,
        in_numbers=writing.in_numbers,
    )


def _parquet(file: IO[bytes], name: str) -> pyarrow.parquet.ParquetFile:
    try:
        # A small buffer and no pre-buffering: a row group of ten million rows is read page by page.
        return pyarrow.parquet.ParquetFile(file, buffer_size=BLOCK_BYTES, pre_buffer=False)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: of a column's name
        raise _damaged(name, error) from error


def _parquet_batches(
    opened: pyarrow.parquet.ParquetFile, name: str, wanted: Sequence[str]
) -> Iterator[Batch]:
    columns = list(dict.fromkeys(wanted))
    first = 1
    try:
        for rows in opened.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
            rows.validate(full=True)  # text that is no UTF-8 would only be found when somebody looks at it
            numbers = range(first, first + len(rows))
            yield Batch(name, "row", numbers, {column: rows.column(column) for column in columns})
            first += len(rows)
    except (pa.ArrowException, OSError, UnicodeDecodeError, KeyError) as error:  # KeyError: one name twice
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> DataRefused:
    reason = str(error).strip().split("\n")[0]
    return DataRefused(
        f"{name} cannot be read. Expected an intact Parquet file. Received: {reason}. Write or download it again."
    )


def _json_batches(file: IO[bytes], name: str, problems: Problems, wanted: Sequence[str]) -> Iterator[Batch]:
    """Yield the objects of a JSON lines file; every one must have the wanted keys."""
    held = Problems(limit=None)
    columns = list(dict.fromkeys(wanted))
    if is_array(file):
        rows = _array_rows(file, name, columns, held)
        yield from in_batches(rows, columns, list, name=name, held=held, problems=problems, unit="row")
        return
    rows = _json_rows(file, name, columns, held)
    yield from in_batches(rows, columns, list, name=name, held=held, problems=problems)


def _array_rows(
    file: IO[bytes], name: str, columns: Sequence[str], problems: Problems
) -> Iterator[Record | None]:
    """Yield the objects of a JSON array as rows, None for items that are none."""
    number = 0
    try:
        for row, size in array_items(file, _without_twins, _refuse_constant):
            number += 1
            cells = _json_cells(row, f"{name}, row {number}", columns, problems)
            yield None if cells is None else Record(number, cells, size)
    except (ValueError, RecursionError) as error:
        reason = "brackets nested too deeply" if isinstance(error, RecursionError) else str(error)
        problems.add(f"{name}, after row {number}", "an object of a JSON array", reason, JSON_FIX)


def _json_cells(row: Any, place: str, columns: Sequence[str], problems: Problems) -> list[Any] | None:
    """Return the wanted values of an object, None and a problem for what is none or lacks a key."""
    if not isinstance(row, dict):
        problems.add(place, "a JSON object", shown(row), JSON_FIX)
        return None
    cells = [value_at(row, column) for column in columns]
    missing = [column for column, cell in zip(columns, cells, strict=True) if cell is ABSENT]
    if missing:
        only = f"only {shown(', '.join(nested_keys(row)))}"
        problems.add(place, f"the keys {', '.join(missing)}", only, JSON_FIX)
        return None
    return cells


def _json_rows(
    file: IO[bytes], name: str, columns: Sequence[str], problems: Problems
) -> Iterator[Record | None]:
    """Yield objects as rows, None for lines that are none; empty lines at the end are passed over."""
    empty: list[int] = []
    for line in lines(file, name, "utf-8", problems):
        if not line.text.strip(" \t\r"):
            empty.append(line.number)
            continue
        for number in empty:
            problems.add(f"{name}, line {number}", "a JSON object", "an empty line", JSON_FIX)
            yield None
        empty.clear()
        place = f"{name}, line {line.number}"
        row = _json_object(line.text, place, problems)
        if row is None:
            yield None
        else:
            cells = _json_cells(row, place, columns, problems)
            yield None if cells is None else Record(line.number, cells, len(line.text))


def _json_object(text: str, place: str, problems: Problems) -> Mapping[str, Any] | None:
    try:
        row = json.loads(text, object_pairs_hook=_without_twins, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        column = f", column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        reason = "brackets nested too deeply" if isinstance(error, RecursionError) else str(error)
        problems.add(place + column, "a JSON object", f"{shown(text)} ({reason})", JSON_FIX)
        return None
    if not isinstance(row, dict):
        problems.add(place, "a JSON object", shown(text), JSON_FIX)
        return None
    return row


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {shown(next(key for key in keys if keys.count(key) > 1))} twice")
    return row


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")
