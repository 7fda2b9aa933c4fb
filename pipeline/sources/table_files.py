"""A file of rows, whatever its format: which columns it has, and its rows with the cells that are asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any, Literal, NamedTuple

from pipeline.runtime import DataRefused
from pipeline.sources.delimited import in_words, read_table
from pipeline.sources.dialects import DelimiterOption, QuotingOption, dialect_of
from pipeline.sources.problems import Problems
from pipeline.sources.text_file import EncodingOption
from pipeline.sources.typed_rows import json_rows, parquet_columns, parquet_rows

Format = Literal["csv", "tsv", "jsonl", "parquet"]
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


@dataclass(frozen=True)
class Writing:
    """What the user stated about how the files are written; `auto` where nothing."""

    format: FormatOption = "auto"
    delimiter: DelimiterOption = "auto"
    quoting: QuotingOption = "auto"
    encoding: EncodingOption = "auto"
    header: bool = True


class Row(NamedTuple):
    """One row: its line (Parquet: number), counted from 1, and the cells that were asked for."""

    line: int
    cells: Sequence[Any]


def format_of(name: str, option: FormatOption) -> Format:
    """Return the format of a file: the stated one, or the one its suffix says; delimited text if none does."""
    return FORMATS.get(PurePosixPath(name).suffix.lower(), "csv") if option == "auto" else option


def is_typed(name: str, writing: Writing) -> bool:
    """Tell whether the cells of a file know themselves whether they are text or numbers."""
    return format_of(name, writing.format) in ("jsonl", "parquet")


def describe(file: IO[bytes], name: str, writing: Writing) -> str:
    """Return in words how a file is read, detected parts marked as such.

    Raises:
        DataRefused: The encoding cannot be told.
    """
    form = format_of(name, writing.format)
    if form == "parquet":
        return f"{name}: Parquet"
    if form == "jsonl":
        return f"{name}: JSON lines, UTF-8"
    return f"{name}: {in_words(dialect_of(file, name, **_stated(form, writing)))}"


def read_rows(
    file: IO[bytes], name: str, columns: Sequence[str], writing: Writing, problems: Problems
) -> Iterator[Row]:
    """Yield the rows of a file, one at a time.

    Args:
        file: Opened at its start, seekable.
        name: For messages.
        columns: Which cells, in this order.
        writing: What the user stated.
        problems: Where rows that cannot be read are kept; the caller asks it at the end.

    Raises:
        DataRefused: A column is missing, the file is empty or damaged, or there are too many problems.
    """
    form = format_of(name, writing.format)
    if form == "jsonl":
        yield from (Row(*row) for row in json_rows(file, name, columns, problems))
    elif form == "parquet":
        _check_columns(columns, parquet_columns(file, name), name, "")
        file.seek(0)
        yield from (Row(*row) for row in parquet_rows(file, name, columns))
    else:
        dialect = dialect_of(file, name, **_stated(form, writing))
        table = read_table(file, name, dialect, problems)
        _check_columns(columns, table.columns, name, f" It was read as: {in_words(dialect)}.")
        places = [table.columns.index(column) for column in columns]
        for line, fields in table.rows:
            yield Row(line, [fields[place] for place in places])


def _stated(form: Format, writing: Writing) -> Any:
    """Return the arguments of `dialect_of`: a `.tsv` file is delimited by tabs unless somebody says otherwise."""
    tabs = form == "tsv" and writing.delimiter == "auto"
    return {
        "delimiter": "tab" if tabs else writing.delimiter,
        "quoting": writing.quoting,
        "encoding": writing.encoding,
        "header": writing.header,
    }


def _check_columns(wanted: Sequence[str], there: Sequence[str], name: str, dialect: str) -> None:
    missing = [column for column in dict.fromkeys(wanted) if column not in there]
    if missing:
        known = ", ".join(there[:30]) + (", ..." if len(there) > 30 else "")
        raise DataRefused(
            f"{name} has no column {', '.join(missing)}. Expected one of its {len(there)} columns: {known}. "
            f"Received: {', '.join(missing)}.{dialect} "
            "Name the right column (--set text=, label=, ...); a file whose first row is data needs --set header=false."
        )
