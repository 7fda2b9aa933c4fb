"""A table as a CSV file: equal bytes for equal rows."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.artifacts import write_text


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a header and rows, lines ended by LF, all or nothing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())
