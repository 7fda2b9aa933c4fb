"""What a cell of a table means: a text, a name (label, group, id), a number or a time; alone, or a column at once.

Delimited files hold text only, so a number is what is written as one (`pipeline/formats/cells.py`); JSON lines
and Parquet say it themselves. A missing value is an empty cell or null; among numbers also the spellings of
`MISSING`, which in a column of words are words. `007` is a name, never 7.
"""

import datetime as dt
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from pipeline.data.label_sets import as_cell
from pipeline.data.samples import MISSING
from pipeline.formats.delimited import Batch
from pipeline.formats.problems import Problems, shown
from pipeline.runtime.errors import DataRefused

# --- Single cells of text files: what is a number, what is missing, and how a label is written.
#
# One rule for all series sources, so that a value means the same in every format. Numbers are decimal
# (`-1.5`, `2e-3`), in ASCII; what Python would also take (`1_000`, `inf`, other scripts' digits) is refused.

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
LARGEST = float(np.finfo(np.float32).max)
WRITTEN_AS_FLOAT = re.compile(r"[+-]?\d+(\.\d*([eE][+-]?\d+)?|[eE][+-]?\d+)", re.ASCII)
EXACT_INTEGERS = 2.0**53
DIGITS_AND_SIGNS = re.compile(r"[-+.0-9eE]*")


def is_number(cell: str) -> bool:
    """Say whether a cell without surrounding spaces is a number that float32 can hold."""
    return NUMBER.fullmatch(cell) is not None and abs(float(cell)) <= LARGEST


def numbers(cells: Sequence[str], missing: frozenset[str] = MISSING) -> tuple[np.ndarray, list[int]]:
    """Return cells as numbers, and which of them are none.

    Args:
        cells: As they stand in the file; spaces and tabs around a number do not matter.
        missing: What stands for no value.

    Returns:
        float64, shape (num_cells,), NaN where a value is missing or wrong; and the indices of the wrong ones.
    """
    stripped = [cell.strip(" \t") for cell in cells]
    fast = _all_numbers(stripped)
    if fast is not None:
        return fast, []
    wrong = [index for index, cell in enumerate(stripped) if not (cell in missing or is_number(cell))]
    refused = set(wrong)
    values = [
        math.nan if index in refused or cell in missing else float(cell)
        for index, cell in enumerate(stripped)
    ]
    return np.array(values), wrong


def _all_numbers(cells: list[str]) -> np.ndarray | None:
    """Return the cells as numbers if there is nothing but plain numbers among them: the usual, fast case."""
    if not DIGITS_AND_SIGNS.fullmatch("".join(cells)):
        return None
    try:
        values = np.array([float(cell) for cell in cells])
    except ValueError:
        return None
    return values if bool((np.abs(values) <= LARGEST).all()) else None


def label_text(cell: str) -> str:
    """Return a label, with a number that is written as a float brought to its short form.

    `1.0000000e+00` in a .txt file and `1` in a .ts file are the same class; `007` and `NA` stay as they are.
    """
    label = cell.strip(" \t")
    if not WRITTEN_AS_FLOAT.fullmatch(label) or abs(float(label)) >= EXACT_INTEGERS:
        return label
    value = float(label)
    return str(int(value)) if value.is_integer() else repr(value)


# --- What a cell of a table means.

SideKind = Literal["number", "category"]
TimeKind = Literal["", "wall clock", "with an offset", "months"]
PADDED = re.compile(r"[+-]?0[0-9]+")
"""An id: no number is written with leading zeros."""
MISSING_CELLS = pa.array(sorted(MISSING))
MICROSECONDS = {"seconds": 1_000_000, "milliseconds": 1_000}
EXPECTED_NUMBER = "a number below 3.4e38 (float32), or nothing"
CLEAN_TEXT = "Write Unicode text without NUL."
NAME_FIX = "Fill in or remove these rows."
TRUTHS = {"1": True, "true": True, "0": False, "false": False}
TRUTH_FIX = "Correct these cells: each label either applies or does not."
NUMBER_FIX = "Correct these cells; a missing value is an empty cell."
LEAVE_OUT = "A column can be left out: --set drop=COLUMN."
ISO_FIX = "Write times as 2026-11-23 or 2026-11-23T17:05:00, all with an offset or all without."
TIME_FIX = "Correct these cells, or state how times are written: --set time_format='%d.%m.%Y %H:%M'."


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


def as_label(cell: Cell, problems: Problems) -> str | None:
    """Return a label as text, of a list of labels (JSON lines, Parquet) the JSON list; else as `as_name`."""
    if not isinstance(cell.value, list | tuple | np.ndarray):
        return as_name(cell, problems)
    names = [as_name(Cell(cell.place, item), problems) for item in cell.value]
    return None if None in names else as_cell(filter(None, names))


def as_truth(cell: Cell, problems: Problems) -> bool:
    """Return whether the label of a column of its own applies; False and a problem for what is neither 0 nor 1."""
    name = plain_name(cell.value)
    if isinstance(cell.value, str) and is_number(cell.value.strip(" \t")):
        name = plain_name(float(cell.value))
    truth = TRUTHS.get((name or "").strip(" \t").casefold())
    if truth is None:
        problems.add(cell.place, "0 or 1 (true or false)", shown(cell.value), TRUTH_FIX)
    return bool(truth)


def plain_name(value: Any) -> str | None:
    """Return a cell as a name: text as it stands, `true` and `false`, whole numbers; None for all else.

    pandas writes whole numbers as floats where one of them is missing: 2.0 is 2.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
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


def as_target(cell: Cell, problems: Problems) -> float | None:
    """Return what regression predicts; None and a problem where it is missing or no number."""
    before = problems.count
    target = as_number(cell, problems)
    if target is None and problems.count == before:
        problems.add(cell.place, "a number", shown(cell.value), "Remove what has no target.")
    return target


def as_side(kind: SideKind, cell: Cell, problems: Problems) -> str | float | None:
    """Return a side feature, None where it is missing; None and a problem for what is not of its kind."""
    if is_missing(cell.value):
        return None
    if kind == "number":
        return as_number(cell, problems)
    return as_name(cell, problems)


def as_time(cell: Cell, problems: Problems) -> str | None:
    """Return a time as ISO 8601, in UTC where it has an offset; None and a problem for anything else."""
    try:
        time = cell.value if isinstance(cell.value, dt.date) else dt.datetime.fromisoformat(cell.value)
        if not isinstance(time, dt.datetime):
            time = dt.datetime(time.year, time.month, time.day)  # noqa: DTZ001  # a date has no zone
        return (time.astimezone(dt.UTC) if time.tzinfo else time).isoformat()
    except (ValueError, TypeError, OverflowError):
        problems.add(cell.place, "a time as in ISO 8601", shown(cell.value), ISO_FIX)
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


def without_blank_end(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield batches of delimited text without the rows at its end that hold nothing: spreadsheets write them."""
    held: list[Batch] = []
    for batch in batches:
        end = len(batch)
        while end and not any(cells[end - 1].as_py().strip() for cells in batch.columns.values()):
            end -= 1
        if end:
            yield from held
            held.clear()
        filled, blank = _part(batch, 0, end), _part(batch, end, len(batch))
        if end:
            yield filled
        if len(blank):
            held.append(blank)


def _part(batch: Batch, start: int, stop: int) -> Batch:
    columns = {name: cells[start:stop] for name, cells in batch.columns.items()}
    return replace(batch, numbers=batch.numbers[start:stop], columns=columns)


def number_cells(batch: Batch, columns: Sequence[str], problems: Problems) -> np.ndarray:
    """Return columns as numbers.

    Args:
        batch: Has the columns.
        columns: Their names.
        problems: Takes every cell that is no number float32 can hold, row by row.

    Returns:
        float64, shape (num_rows, num_columns); NaN where a value is missing or wrong.
    """
    values = np.full((len(batch), len(columns)), np.nan)
    wrong = np.zeros(values.shape, dtype=bool)
    for index, column in enumerate(columns):
        cells = _stripped(batch.columns[column])
        if types.is_string(cells.type):
            values[:, index], wrong[:, index] = _written_numbers(pc.fill_null(cells, ""))
        elif types.is_boolean(cells.type) or types.is_decimal(cells.type) or _is_numeric(cells.type):
            values[:, index] = pc.cast(cells, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            wrong[:, index] = np.abs(values[:, index]) > LARGEST
        else:
            fix = f"{NUMBER_FIX} {LEAVE_OUT}"
            problems.add(batch.place(0, column), "a column of numbers", str(cells.type), fix)
    for row, index in np.argwhere(wrong).tolist():
        place, received = batch.place(row, columns[index]), shown(batch.columns[columns[index]][row].as_py())
        problems.add(place, EXPECTED_NUMBER, received, f"{NUMBER_FIX} {LEAVE_OUT}")
    values[wrong] = np.nan
    return values


def _written_numbers(cells: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return text without blanks around it as numbers, NaN where there is none, and which cells are wrong."""
    missing = pc.is_in(cells, value_set=MISSING_CELLS)
    try:
        found = pc.cast(pc.if_else(missing, None, cells), pa.float64()).to_numpy(zero_copy_only=False)
        # Arrow also takes `nan` in any case for a number, `inf`, and what float32 cannot hold.
        if bool((missing.to_numpy(zero_copy_only=False) | (np.abs(found) <= LARGEST)).all()):
            return found, np.zeros(len(found), dtype=bool)
    except pa.ArrowInvalid:
        pass  # At least one is wrong, or written in a way that Arrow does not know: `+1`.
    found, indices = numbers(cells.to_pylist())
    wrong = np.zeros(len(found), dtype=bool)
    wrong[indices] = True
    return found, wrong


def name_cells(batch: Batch, column: str, problems: Problems) -> pa.Array:
    """Return a column as text, "" where nothing stands; numbers of Parquet as they are written shortest.

    Args:
        batch: Has the column.
        column: Its name.
        problems: Takes cells of text files that go on in the next line.
    """
    cells = _stripped(batch.columns[column])
    if not types.is_string(cells.type):
        cells = pc.cast(cells, pa.string())
    row = pc.index(pc.match_substring(cells, "\n"), True).as_py() if batch.unit == "line" else -1
    if row >= 0:
        received = shown(batch.columns[column][row].as_py())
        problems.add(
            batch.place(row, column), "a cell that ends in its line", received, "Correct these cells."
        )
    return pc.fill_null(cells, "")


class TimeReader:
    """Reads time stamps of one table, all written in one way.

    Args:
        time_format: `auto` for ISO 8601 (`2026-11`, a month, too), a format of strptime, or the unit of Unix
            times: `seconds`, `milliseconds`.
    """

    def __init__(self, time_format: str = "auto") -> None:
        self._format = time_format
        self._kind: TimeKind = ""
        self._has_zone = False

    @property
    def has_offset(self) -> bool:
        """Return whether the times read so far are instants, given in UTC, and not those of a wall clock."""
        return self._kind == "with an offset" or self._has_zone

    def read(self, batch: Batch, column: str, problems: Problems) -> np.ndarray:
        """Return a column as microseconds since 1970, in UTC where an offset is written; else wall clock.

        Returns:
            int64, shape (num_rows,); 0 where a cell is wrong, which is in `problems` then.
        """
        cells = _stripped(batch.columns[column])
        if self._format in MICROSECONDS:
            values = number_cells(batch, [column], problems)[:, 0]
            times = pa.array(np.round(values * MICROSECONDS[self._format]), from_pandas=True).cast(pa.int64())
        elif types.is_temporal(cells.type) and not types.is_time(cells.type):
            self._has_zone |= types.is_timestamp(cells.type) and cells.type.tz is not None
            times = _microseconds(cells.cast(pa.timestamp("us"), safe=False))
        elif types.is_string(cells.type):
            times = self._parsed(cells)
        else:
            times = pa.nulls(len(cells), pa.int64())
        for row in np.flatnonzero(times.is_null().to_numpy(zero_copy_only=False)).tolist():
            received = shown(batch.columns[column][row].as_py())
            problems.add(batch.place(row, column), self._expected(), received, TIME_FIX)
        microseconds: np.ndarray = pc.fill_null(times, 0).to_numpy()
        return microseconds

    def _expected(self) -> str:
        if self._format != "auto":
            return f"a time as {self._format}"
        return f"a time as in ISO 8601{f' ({self._kind}, as above)' if self._kind else ''}"

    def _parsed(self, cells: pa.Array) -> pa.Array:
        """Return text as microseconds, null where it cannot be read."""
        if self._format != "auto":
            return _microseconds(pc.strptime(cells, format=self._format, unit="us", error_is_null=True))
        found: list[tuple[int, TimeKind, pa.Array]] = []
        kinds: tuple[TimeKind, ...] = ("wall clock", "with an offset", "months")
        for kind in (self._kind,) if self._kind else kinds:
            times = _iso_times(cells, kind)
            found.append((times.null_count, kind, times))
            if not times.null_count:
                break
        nulls, kind, times = min(found, key=lambda way: way[0])
        self._kind = self._kind or (kind if nulls < len(cells) else "")
        return times


def _iso_times(cells: pa.Array, kind: TimeKind) -> pa.Array:
    """Return text as microseconds, null where it is not written in this way."""
    zone = "UTC" if kind == "with an offset" else None
    if kind == "months":
        months = pc.match_substring_regex(cells, r"^[0-9]{4}-[0-9]{2}$")
        cells = pc.if_else(months, pc.binary_join_element_wise(cells, "01", "-"), None)
    try:
        return _microseconds(pc.cast(cells, pa.timestamp("us", zone)))
    except pa.ArrowInvalid:
        pass  # At least one is wrong; which ones is asked cell by cell.
    return pa.array([iso_time(cell, zone) for cell in cells], pa.int64())


def iso_time(cell: pa.StringScalar, zone: str | None) -> int | None:
    """Return one cell as microseconds since 1970, None where it is no time with (`UTC`) or without an offset."""
    try:
        value: int | None = _microseconds(pc.cast(cell, pa.timestamp("us", zone))).as_py()
    except pa.ArrowInvalid:
        return None
    return value


def _microseconds(times: pa.Array) -> pa.Array:
    return pc.cast(times, pa.int64())


def _stripped(cells: pa.Array) -> pa.Array:
    """Return cells without dictionary, and text without blanks around it."""
    if types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if types.is_large_string(cells.type):
        cells = cells.cast(pa.string())
    return pc.utf8_trim(cells, " \t") if types.is_string(cells.type) else cells


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_null(kind))


def _storable(cell: Cell, problems: Problems) -> bool:
    """Keep a problem for a text that UTF-8 cannot hold (half a surrogate pair from JSON), or one with NUL."""
    # Text files cannot get here with either; their lines are refused already.
    odd = "a NUL character" if "\0" in cell.value else ""
    if not odd and not cell.value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in cell.value):
        odd = "half a surrogate pair"
    if odd:
        problems.add(cell.place, "Unicode text without NUL", f"{odd} in {shown(cell.value)}", CLEAN_TEXT)
    return not odd
