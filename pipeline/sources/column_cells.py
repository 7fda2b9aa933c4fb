"""What the cells of a column mean: numbers, names and time stamps, a whole batch at a time.

Text is parsed as `pipeline/sources/cells.py` says; Parquet says itself what its columns hold.
"""

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from pipeline.sample_rows import MISSING
from pipeline.sources.cells import LARGEST
from pipeline.sources.column_batch import Batch
from pipeline.sources.problems import Problems, shown

NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
NUMBER_FIX = "Correct these cells, or leave the column out: --set drop=COLUMN."
NAME_FIX = "Fill in these cells."
TIME_FIX = "Correct these cells, or state how times are written: --set time_format='%d.%m.%Y %H:%M'."
MICROSECONDS = {"seconds": 1_000_000, "milliseconds": 1_000}
TimeKind = Literal["", "wall clock", "with an offset", "months"]


def number_cells(batch: Batch, column: str, problems: Problems) -> np.ndarray:
    """Return a column as numbers.

    Args:
        batch: Has the column.
        column: Its name.
        problems: Takes every cell that is no number float32 can hold.

    Returns:
        float64, shape (num_rows,); NaN where a value is missing or wrong.
    """
    cells = _plain(batch.columns[column])
    if types.is_string(cells.type):
        cells, wrong = _parsed(cells)
    elif types.is_boolean(cells.type) or types.is_decimal(cells.type) or _is_numeric(cells.type):
        wrong = np.zeros(len(cells), dtype=bool)
        cells = pc.cast(cells, pa.float64(), safe=False)
    else:
        problems.add(batch.place(0, column), "a column of numbers", str(cells.type), NUMBER_FIX)
        return np.full(len(cells), np.nan)
    values: np.ndarray = cells.to_numpy(zero_copy_only=False).astype(np.float64)
    wrong |= np.abs(values) > LARGEST
    for row in np.flatnonzero(wrong).tolist():
        received = shown(batch.columns[column][row].as_py())
        problems.add(batch.place(row, column), "a number below 3.4e38, or nothing", received, NUMBER_FIX)
    return np.where(wrong, np.nan, values) if wrong.any() else values


def name_cells(batch: Batch, column: str) -> pa.Array:
    """Return a column as text, "" where nothing stands; numbers of Parquet as they are written shortest."""
    cells = _plain(batch.columns[column])
    if not types.is_string(cells.type):
        cells = pc.cast(cells, pa.string())
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
        cells = _plain(batch.columns[column])
        if self._format in MICROSECONDS:
            values = number_cells(batch, column, problems)
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
        pass  # at least one is wrong; which ones is asked cell by cell
    return pa.array([_iso_time(cell, zone) for cell in cells], pa.int64())


def _iso_time(cell: pa.StringScalar, zone: str | None) -> int | None:
    try:
        value: int | None = _microseconds(pc.cast(cell, pa.timestamp("us", zone))).as_py()
    except pa.ArrowInvalid:
        return None
    return value


def _microseconds(times: pa.Array) -> pa.Array:
    return pc.cast(times, pa.int64())


def _plain(cells: pa.Array) -> pa.Array:
    """Return cells without dictionary, and text without blanks around it."""
    if types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if types.is_large_string(cells.type):
        cells = cells.cast(pa.string())
    return pc.utf8_trim(cells, " \t") if types.is_string(cells.type) else cells


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_null(kind))


def _parsed(cells: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Return text as float64 with nulls, and which cells are no numbers."""
    cells = pc.if_else(pc.is_in(cells, value_set=pa.array(sorted(MISSING))), None, cells)
    try:
        values = pc.cast(cells, pa.float64())
    except pa.ArrowInvalid:
        right = pc.fill_null(pc.match_substring_regex(cells, NUMBER), True)
        values = pc.cast(pc.if_else(right, cells, None), pa.float64())
        return values, ~right.to_numpy(zero_copy_only=False)
    # Arrow also takes `nan` in any case for a number; `inf` is too large for the caller.
    return values, pc.fill_null(pc.is_nan(values), False).to_numpy(zero_copy_only=False)
