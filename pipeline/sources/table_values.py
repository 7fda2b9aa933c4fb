"""What a cell of a table means: a text, a name (label, group, id), a number or a time.

Delimited files hold text only, so a number is what is written as one; JSON lines and Parquet say it
themselves. A missing value is an empty cell or null; among numbers also the spellings of
`pipeline.sample_rows.MISSING`, which in a column of words are words. `007` is a name, never 7.
"""

import datetime as dt
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from pipeline.runtime import DataRefused
from pipeline.sample_rows import MISSING
from pipeline.sources.cells import LARGEST, is_number
from pipeline.sources.problems import Problems, shown

SideKind = Literal["number", "category"]
PADDED = re.compile(r"[+-]?0[0-9]+")
"""An id: no number is written with leading zeros."""
CLEAN_TEXT = "Write Unicode text without NUL."
EXPECTED_NUMBER = "a number below 3.4e38 (float32), or nothing"
NAME_FIX = "Fill in or remove these rows."
NUMBER_FIX = "Correct these cells; a missing value is an empty cell."
TIME_FIX = "Write times as 2026-11-23 or 2026-11-23T17:05:00, all with an offset or all without."


@dataclass(frozen=True)
class Cell:
    """One cell and where it stands.

    Attributes:
        place: `train.csv, line 7, label 'category'`.
        value: As the format gives it.
    """

    place: str
    value: Any


def is_missing(value: Any) -> bool:
    """Tell whether a cell holds nothing: empty, null, or the NaN that pandas writes for it."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def as_text(cell: Cell, problems: Problems) -> str | None:
    """Return a text as it stands, possibly empty; None and a problem for anything that is no text."""
    if not isinstance(cell.value, str):
        problems.add(cell.place, "a text", shown(cell.value), NAME_FIX)
        return None
    return cell.value if _storable(cell, problems) else None


def as_name(cell: Cell, problems: Problems) -> str | None:
    """Return a label, group or id as text; None and a problem where there is none, or a fraction."""
    name = plain_name(cell.value)
    if not name:
        problems.add(cell.place, "a name or a whole number", shown(cell.value), NAME_FIX)
        return None
    return name if _storable(Cell(cell.place, name), problems) else None


def plain_name(value: Any) -> str | None:
    """Return a cell as a name: text as it stands, `true` and `false`, whole numbers; None for all else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else None


def as_number(cell: Cell, problems: Problems) -> float | None:
    """Return a number; None where it is missing; None and a problem for anything else."""
    if is_missing(cell.value) or (isinstance(cell.value, str) and cell.value.strip(" \t") in MISSING):
        return None
    number = plain_number(cell.value)
    if number is None:
        problems.add(cell.place, EXPECTED_NUMBER, shown(cell.value), NUMBER_FIX)
    return number


def plain_number(value: Any) -> float | None:
    """Return a cell as a number, or None if it is none that float32 can hold; blanks around it do not matter."""
    if isinstance(value, str):
        text = value.strip(" \t")
        return float(text) if is_number(text) else None
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    # Compared as it is: a whole number of JSON may be too large for any float. NaN is never smaller.
    return float(value) if -LARGEST <= value <= LARGEST else None


def as_time(cell: Cell, problems: Problems) -> str | None:
    """Return a time as ISO 8601, in UTC where it has an offset; None and a problem for anything else."""
    try:
        time = cell.value if isinstance(cell.value, dt.date) else dt.datetime.fromisoformat(cell.value)
        if not isinstance(time, dt.datetime):
            time = dt.datetime(time.year, time.month, time.day)  # noqa: DTZ001  # a date has no zone
        return (time.astimezone(dt.UTC) if time.tzinfo else time).isoformat()
    except (ValueError, TypeError, OverflowError):
        problems.add(cell.place, "a time as in ISO 8601", shown(cell.value), TIME_FIX)
        return None


class SideCells:
    """What the cells of one side column are, seen one by one.

    Args:
        column: Its name.
        typed: Whether the format tells text from numbers; else numbers are what is written as such.
    """

    def __init__(self, column: str, *, typed: bool) -> None:
        self._column = column
        self._typed = typed
        self._padded = False
        self._number = ""
        self._word = ""

    def see(self, place: str, value: Any) -> None:
        """Look at one cell; `place` is for messages."""
        if is_missing(value):
            return
        text = value.strip(" \t") if isinstance(value, str) else ""
        written = bool(text) and self._typed
        self._padded = self._padded or (not self._typed and PADDED.fullmatch(text) is not None)
        if not written and plain_number(value) is not None:
            self._number = self._number or f"{shown(value)} at {place}"
        elif text not in MISSING - {""}:
            self._word = self._word or f"{shown(value)} at {place}"

    def kind(self) -> SideKind:
        """Return `category` where any cell is padded with zeros (an id), or all are words; else `number`.

        Raises:
            DataRefused: Words and numbers are mixed.
        """
        if self._number and self._word and not self._padded:
            raise DataRefused(
                f"The side column {self._column!r} mixes numbers and words. Expected one or the other. Received: "
                f"{self._number}, and {self._word}. Correct the cells, or say that they are categories: "
                f"--set categorical={self._column}."
            )
        return "category" if self._word or self._padded else "number"


def refuse_twin_classes(labels: Sequence[str]) -> None:
    """Refuse classes that are one class to a reader: they differ by case or blanks around them only.

    Raises:
        DataRefused: Naming all of them.
    """
    spellings: dict[str, list[str]] = {}
    for label in sorted(labels):
        spellings.setdefault(label.strip().casefold(), []).append(label)
    twins = [label for group in spellings.values() if len(group) > 1 for label in group]
    if twins:
        raise DataRefused(
            "Classes differ only by upper and lower case or by blanks around them. Expected one spelling per "
            f"class. Received: {', '.join(map(shown, twins))}. Write them alike."
        )


def _storable(cell: Cell, problems: Problems) -> bool:
    """Keep a problem for a text that UTF-8 cannot hold (half a surrogate pair from JSON), or one with NUL."""
    # Text files cannot get here with either; their lines are refused already.
    odd = "a NUL character" if "\0" in cell.value else ""
    if not odd and not cell.value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in cell.value):
        odd = "half a surrogate pair"
    if odd:
        problems.add(cell.place, "Unicode text without NUL", f"{odd} in {shown(cell.value)}", CLEAN_TEXT)
    return not odd
