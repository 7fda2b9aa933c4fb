"""Tables of numbers and time stamps, column by column and batch by batch: delimited text and Parquet.

Millions of rows pass through without ever being in memory together. Everything in a text file comes as text;
what a cell means is decided by `pipeline/sources/column_cells.py`, with its line in every message.
"""

import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from pipeline.runtime import DataRefused
from pipeline.sources.delimited import Dialect, in_words, read_table, records
from pipeline.sources.dialects import DelimiterOption, dialect_of
from pipeline.sources.joined_tables import plain_names
from pipeline.sources.problems import Problems, shown
from pipeline.sources.text_file import EncodingOption

BLOCK_BYTES = 1 << 20
BATCH_ROWS = 1 << 16
PARQUET = (".parquet", ".pq")
FIX = "Correct the file, or state how it is written: --set delimiter=, --set encoding=."


@dataclass(frozen=True)
class Batch:
    """Some rows of a table.

    Attributes:
        member: The file.
        unit: What is counted in messages: `line` of a text file, `row` of Parquet.
        first: Number of the first row here, counted in that unit, without those that were skipped.
        skipped: Numbers of lines that are no rows, ascending; over all batches so far.
        columns: Cells by the column's name.
    """

    member: str
    unit: str
    first: int
    skipped: Sequence[int]
    columns: dict[str, pa.Array]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.columns.values())))

    def place(self, row: int, column: str = "") -> str:
        """Return where a row of this batch stands, for messages."""
        number = self.first + row
        for line in self.skipped:
            number += line <= number
        return f"{self.member}, {self.unit} {number}" + (f", column {column!r}" if column else "")


@dataclass(frozen=True)
class Writing:
    """What the user stated about how text files are written; `auto` where nothing."""

    delimiter: DelimiterOption = "auto"
    encoding: EncodingOption = "auto"


def column_names(archive: tarfile.TarFile, member: str, writing: Writing) -> list[str]:
    """Return the names of the columns, without blanks around them and a `#` before the first.

    Raises:
        DataRefused: The file is damaged, empty or has no usable header.
    """
    with _opened(archive, member) as file:
        if _is_parquet(member):
            return [str(name) for name in pyarrow.parquet.ParquetFile(file).schema_arrow.names]
        return _header_names(file, member, dialect(file, member, writing))


def written_in_words(archive: tarfile.TarFile, member: str, writing: Writing) -> str:
    """Return how a file is read, for people.

    Raises:
        DataRefused: The encoding of a text file cannot be told.
    """
    with _opened(archive, member) as file:
        words = "Parquet" if _is_parquet(member) else in_words(dialect(file, member, writing))
        return f"{member}: {words}"


def dialect(file: IO[bytes], member: str, writing: Writing) -> Dialect:
    """Return how a text file is written; the file is at its start again afterwards."""
    return dialect_of(file, member, delimiter=writing.delimiter, quoting="minimal", encoding=writing.encoding)


def _header_names(file: IO[bytes], member: str, written: Dialect) -> list[str]:
    """Return the names in the first line; the file is at its start again afterwards.

    Raises:
        DataRefused: A name is there twice, empty, or goes on in the next line.
    """
    names = plain_names(read_table(file, member, written, Problems()).columns)
    file.seek(0)
    if "" in names or len(set(names)) != len(names) or any("\n" in name for name in names):
        raise DataRefused(
            f"{member}, line 1 does not name the columns. Expected a different name for each, in one line. "
            f"Received: {shown(', '.join(names))}. {FIX}"
        )
    return names


def batches(
    archive: tarfile.TarFile, member: str, names: Sequence[str], writing: Writing, problems: Problems
) -> Iterator[Batch]:
    """Yield the rows of a table, at most some ten thousand at a time.

    Args:
        archive: Holds the file.
        member: Parquet by its suffix, or text.
        names: Columns to yield; must be there.
        writing: What the user stated about text files.
        problems: Takes lines with too many or too few cells, and cells that go on in the next line.

    Raises:
        DataRefused: The file is damaged, or there were too many problems.
    """
    with _opened(archive, member) as file:
        if _is_parquet(member):
            yield from _parquet_batches(file, member, names)
        else:
            written = dialect(file, member, writing)
            _check_quotes(file, member, written, problems)
            yield from _without_empty_lines(_csv_batches(file, member, written, problems), problems)


def _is_parquet(member: str) -> bool:
    return member.lower().endswith(PARQUET)


@contextmanager
def _opened(archive: tarfile.TarFile, member: str) -> Iterator[IO[bytes]]:
    file = archive.extractfile(member)
    if file is None:
        raise DataRefused(f"{member} is no regular file. Run `millrace init` on the original data.")
    try:
        with file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataRefused(
            f"{member} cannot be read. Expected an intact table with a header, as text or Parquet. "
            f"Received: {str(error).strip().splitlines()[0]}. {FIX}"
        ) from error


def _check_quotes(file: IO[bytes], member: str, written: Dialect, problems: Problems) -> None:
    """Read a file that has quotes strictly first: Arrow takes `"1"2` for 12 and lets an open quote swallow rows."""
    quotes = any(b'"' in block for block in iter(partial(file.read, BLOCK_BYTES), b""))
    file.seek(0)
    if quotes:
        for _ in records(file, member, written, problems):
            pass
        problems.check()
        file.seek(0)


def _parquet_batches(file: IO[bytes], member: str, names: Sequence[str]) -> Iterator[Batch]:
    # A small buffer and no pre-buffering: a row group of ten million rows is read page by page.
    table = pyarrow.parquet.ParquetFile(file, buffer_size=BLOCK_BYTES, pre_buffer=False)
    first = 1
    for rows in table.iter_batches(BATCH_ROWS, columns=list(names), use_threads=False):
        yield Batch(member, "row", first, (), {name: rows.column(name) for name in names})
        first += len(rows)


def _csv_batches(file: IO[bytes], member: str, written: Dialect, problems: Problems) -> Iterator[Batch]:
    names = _header_names(file, member, written)
    skipped: list[int] = []
    wrong: list[Any] = []

    def skip(row: Any) -> str:
        # Only noted: an exception would not come through pyarrow's C++.
        skipped.append(row.number)
        wrong.append(row)
        return "skip"

    def note() -> None:
        for row in wrong:
            problems.add(
                f"{member}, line {row.number}", f"{row.expected_columns} cells", str(row.actual_columns), FIX
            )
        wrong.clear()

    reader = pyarrow.csv.open_csv(
        file,
        pyarrow.csv.ReadOptions(
            use_threads=False,  # else rows that cannot be read have no number
            block_size=BLOCK_BYTES,
            skip_rows=1,
            column_names=names,
            encoding=written.encoding,
        ),
        pyarrow.csv.ParseOptions(
            delimiter=written.delimiter, ignore_empty_lines=False, invalid_row_handler=skip
        ),
        pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, null_values=[]
        ),
    )
    first = 2
    for rows in reader:
        batch = Batch(member, "line", first, skipped, {name: rows.column(name) for name in names})
        first += len(rows)
        note()
        _refuse_line_breaks(batch, problems)
        yield batch
    note()


def _refuse_line_breaks(batch: Batch, problems: Problems) -> None:
    """Note cells that go on in the next line: among numbers and times that is always an open quote."""
    for name, cells in batch.columns.items():
        content = cells.buffers()[2]
        if content is not None and b"\n" in content.to_pybytes():
            row = pc.index(pc.match_substring(cells, "\n"), True).as_py()
            expected = "a cell that ends in its line"
            problems.add(batch.place(max(row, 0), name), expected, shown(cells[max(row, 0)].as_py()), FIX)


def _without_empty_lines(found: Iterator[Batch], problems: Problems) -> Iterator[Batch]:
    """Pass over empty lines at the end of a file, and note those before the end."""
    held = ""
    for batch in found:
        blank = np.logical_and.reduce(
            [pc.equal(cells, "").to_numpy(zero_copy_only=False) for cells in batch.columns.values()]
        )
        filled = np.flatnonzero(~blank)
        end = int(filled[-1]) + 1 if filled.size else 0
        first_blank = batch.place(int(blank.argmax())) if blank.any() else ""
        if end and (held or blank[:end].any()):
            problems.add(held or first_blank, "a row", "an empty line", "Remove empty lines between rows.")
        held = (held if not end else "") or (batch.place(end) if end < len(batch) else "")
        if end:
            columns = {name: cells.slice(0, end) for name, cells in batch.columns.items()}
            yield replace(batch, columns=columns)
