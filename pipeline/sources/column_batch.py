"""Some rows of a long table, column by column, that know where in their file they stand."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa


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
