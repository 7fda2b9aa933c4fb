"""Delimited text in batches of columns: Arrow reads it fast, and what it would let pass is refused before or after.

Every cell comes as text. Lines are counted through, also over those that are no rows.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from pipeline.sources.column_batch import Batch
from pipeline.sources.delimited import Dialect, read_table, records
from pipeline.sources.joined_tables import plain_names
from pipeline.sources.problems import Problems, shown

BLOCK_BYTES = 1 << 20
FIX = "Correct the file, or state how it is written: --set delimiter=, --set encoding=."


def csv_batches(file: IO[bytes], member: str, written: Dialect, problems: Problems) -> Iterator[Batch]:
    """Yield the rows of a text file with a header, all columns, about a mebibyte at a time.

    Args:
        file: Opened at its start, seekable.
        member: Its name.
        written: How it is written.
        problems: Takes lines with too many or too few cells, empty lines and cells that go on in the next line.

    Raises:
        DataRefused: Quotes that are odd, or too many problems.
    """
    _check_quotes(file, member, written, problems)
    yield from _without_empty_lines(_batches(file, member, written, problems), problems)


def header_names(file: IO[bytes], member: str, written: Dialect) -> list[str]:
    """Return the names in the first line, without blanks around them and a `#` before the first.

    The file is at its start again afterwards.

    Raises:
        DataRefused: The file is empty, or its first line cannot be read.
    """
    problems = Problems()
    names = plain_names(read_table(file, member, written, problems).columns)
    problems.check()
    file.seek(0)
    return names


def _check_quotes(file: IO[bytes], member: str, written: Dialect, problems: Problems) -> None:
    """Read a file that has quotes strictly first: Arrow takes `"1"2` for 12 and lets an open quote swallow rows."""
    quotes = any(b'"' in block for block in iter(partial(file.read, BLOCK_BYTES), b""))
    file.seek(0)
    if quotes:
        for _ in records(file, member, written, problems):
            pass
        problems.check()
        file.seek(0)


def _batches(file: IO[bytes], member: str, written: Dialect, problems: Problems) -> Iterator[Batch]:
    names = header_names(file, member, written)
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
        # All columns are read: a line break in one that nobody wants would shift the numbers of lines.
        pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, null_values=[]
        ),
    )
    first = 2
    for rows in reader:
        batch = Batch(member, "line", first, skipped, dict(zip(names, rows.columns, strict=True)))
        first += len(rows)
        note()
        _refuse_line_breaks(batch, problems)
        yield batch
    note()


def _refuse_line_breaks(batch: Batch, problems: Problems) -> None:
    """Note cells that go on in the next line: numbers and times never do, and lines could not be counted."""
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
