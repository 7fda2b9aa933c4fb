"""Time stamps of a table, all written in one way, as microseconds since 1970; finer parts of a second are cut off.

ISO 8601 is read without being told: `2024-05-03T10:00:00.5+02:00`, 24:00, a month, a quarter, a week. All else is
stated: a format of strptime (`pipeline/formats/time_formats.py`), a unit of Unix times, a second column with the time
of day, the zone of a local clock (`pipeline/formats/local_clock.py`).
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from pipeline.formats import local_clock, time_formats
from pipeline.formats.cells import iso_text, numbers
from pipeline.formats.delimited import Batch
from pipeline.formats.problems import Problems, shown
from pipeline.formats.time_advice import advice
from pipeline.formats.time_formats import DAY, FIRST_TIME, LAST_TIME, UNITS, TimeFormat, time_format

TimeKind = Literal["", "wall clock", "with an offset", "months", "quarters", "weeks"]
KINDS: tuple[TimeKind, ...] = ("wall clock", "with an offset", "months", "quarters", "weeks")
PERIODS = {
    "months": (r"^\d{4}-\d{2}$", "%Y-%m"),
    "quarters": (r"^\d{4}-?Q[1-4]$", "%Y-Q%q"),
    "weeks": (r"^\d{4}-?W\d{2}(-\d)?$", "%G-W%V-%u"),
}
"""How they are written, and the format of strptime once they are brought to one form."""
END_OF_DAY = r"^(\d{4}-\d{2}-\d{2}[T ])24(:00(?::00(?:\.0+)?)?(?:Z|[+-].*)?)$"
CLOCKS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%H:%M:%S,%f", "%I:%M %p", "%I:%M:%S %p")
"""How the time of day in a column of its own may be written; else the format says it."""
IMPOSSIBLE_FIX = "No calendar and no clock has these times: correct them, or remove these rows."
CLOCK_FIX = (
    "Write 17:05 or 17:05:00; whole hours are --set hour=COLUMN; another form goes on in the format of the date, "
    "time_format='%d.%m.%Y %H%M'."
)
ZONE_FIX = "Leave --set timezone= out: times with an offset are instants already."
NAME_FIX = "State the clock by its IANA name, which knows its abbreviations: --set timezone=Europe/Berlin."
NEVER_CHANGED_FIX = (
    "A clock that is never changed has a zone without changes (--set timezone=Etc/GMT-1 is an hour ahead of UTC all "
    "year) or none: leave timezone= out."
)
MARGIN = 2 * DAY
"""At both ends of the years 1 to 9999: a time of day and a zone may still be added."""
WRITTEN, MALFORMED, IMPOSSIBLE = 0, 1, 2


def time_problems(time_format: str, timezone: str, clock: str = "") -> list[str]:
    """Return why options of times cannot be used together; none if they can."""
    problems = [*filter(None, [format_problem(time_format, clock), zone_problem(timezone)])]
    if timezone and time_format in UNITS:
        problems.append(f"timezone={timezone} with {time_format}. Expected no zone: Unix times are instants")
    return problems


def format_problem(text: str, clock: str = "") -> str:
    """Return why a time format cannot be used; "" if it can."""
    if text in ("auto", *UNITS):
        return (
            f"time_format={text} and clock={clock}. Expected a date in the column time"
            if text in UNITS and clock
            else ""
        )
    try:
        if time_format(text).has_date:
            return ""
        reason = (
            "it gives no date. A date in a column of its own is --set time=, the time of day --set clock="
        )
    except ValueError as error:
        reason = str(error)
    return f"time_format={text}: {reason}, or auto, {', '.join(UNITS)}"


def zone_problem(name: str) -> str:
    """Return why a zone cannot be used; "" if it can."""
    try:
        if name:
            local_clock.zone(name)
    except ValueError as error:
        return f"timezone={name}. {error}"
    return ""


class Fault(NamedTuple):
    """What is wrong with a cell: the last three parts of a problem."""

    expected: str
    received: str
    fix: str


class TimeReader:
    """Reads time stamps of one table, all written in one way.

    Args:
        time_format: `auto` for ISO 8601 (also 2026-11, 2026-Q4 and 2026-W48), a format of strptime, or the unit of
            Unix times, a key of `UNITS`.
        clock: Column with the time of day, where the other has only the date; "" for none.
        timezone: IANA name of the zone of a local clock; "": stamps without an offset are taken as they are.
    """

    def __init__(self, time_format: str = "auto", *, clock: str = "", timezone: str = "") -> None:
        self._format = time_format
        self._clock = clock
        self._timezone = timezone
        self._kind: TimeKind = ""
        self._named = (
            time_format not in ("auto", *UNITS) and "Z" in time_formats.time_format(time_format).directives
        )
        self._has_zone = False
        self._advice = ""

    @property
    def has_offset(self) -> bool:
        """Return whether the times read so far are instants, given in UTC, and not those of a wall clock."""
        return self._kind == "with an offset" or self._has_zone

    def read(self, batch: Batch, column: str, problems: Problems) -> np.ndarray:
        """Return a column as microseconds since 1970, in UTC where an offset is written; else wall clock.

        Returns:
            int64, shape (num_rows,); 0 where a cell is wrong, which is in `problems` then.
        """
        times, fault, faults = self._read(batch, column)
        for row, wrong in faults.items():
            problems.add(batch.place(row, column), *wrong)
        if self._clock and not self._joined:
            clock, odd = self._clock_of(batch, problems)
            times, fault = times + clock, np.maximum(fault, odd)
        return np.where(fault == WRITTEN, times, 0)

    def texts(self, batch: Batch, column: str) -> list[str | Fault]:
        """Return a column as ISO 8601, in UTC where that is known; where a cell is wrong, what is wrong with it.

        Of an hour that a local clock shows twice it is the first: rows of texts are in no order. Without a stated
        format or zone every cell may have an offset or not.
        """
        if self._format == "auto" and not self._timezone:
            return self._iso_texts(batch, column)
        times, _, faults = self._read(batch, column)
        offset = "+00:00" if self.has_offset or self._timezone else ""
        if self._timezone and not self.has_offset:
            found = local_clock.instants(times, self._timezone)
            times = found.times
            never = jumped(self._timezone)
            faults = dict.fromkeys(np.flatnonzero(found.missing).tolist(), never) | faults
        return [faults.get(row) or iso(time) + offset for row, time in enumerate(times.tolist())]

    def _iso_texts(self, batch: Batch, column: str) -> list[str | Fault]:
        cells = batch.columns[column]
        found = [iso_text(value) for value in (cells if isinstance(cells, list) else cells.to_pylist())]
        if None in found and not self._advice:
            self._advice = advice(_as_text(_arrow(cells)), "auto", found.count(None) == len(found))
        expected = "a time as in ISO 8601"
        return [
            Fault(expected, _shown(batch, column, row), self._advice) if time is None else time
            for row, time in enumerate(found)
        ]

    @property
    def _joined(self) -> bool:
        """Return whether date and time of day are read by one format, and not each by its own."""
        stated = self._clock and self._format not in ("auto", *UNITS)
        return bool(stated) and time_format(self._format).has_clock

    def _read(self, batch: Batch, column: str) -> tuple[np.ndarray, np.ndarray, dict[int, Fault]]:
        """Return microseconds, whether a cell is WRITTEN, MALFORMED or IMPOSSIBLE, and what to say of wrong rows."""
        cells = _arrow(batch.columns[column])
        if self._joined:
            clock = _as_text(_arrow(batch.columns[self._clock]))
            cells = pc.binary_join_element_wise(_as_text(cells), clock, " ")
        times, fault = self._found(cells)
        if self._clock and not self._joined:
            fault = np.where((fault == WRITTEN) & (times % DAY != 0), IMPOSSIBLE, fault)
        outside = (times < FIRST_TIME + MARGIN) | (times > LAST_TIME - MARGIN)
        fault = np.where((fault == WRITTEN) & outside, IMPOSSIBLE, fault)
        faults = dict(self._faults(batch, column, cells, fault))
        if self._timezone and self.has_offset and not self._named and len(batch):
            expected = f"times without an offset, by the clock of {self._timezone}"
            faults = {0: Fault(expected, _shown(batch, column, 0), ZONE_FIX)} | faults
        return np.where(fault == WRITTEN, times, 0), fault, faults

    def _found(self, cells: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        if self._format in UNITS:
            return _unix_times(cells, UNITS[self._format])
        if types.is_date(cells.type) or types.is_timestamp(cells.type):
            self._has_zone |= types.is_timestamp(cells.type) and cells.type.tz is not None
            times = pc.cast(pc.cast(cells, pa.timestamp("us"), safe=False), pa.int64())
        elif self._format != "auto":
            return self._by_format(_as_text(cells), time_format(self._format))
        else:
            times = self._iso(cells) if types.is_string(cells.type) else pa.nulls(len(cells), pa.int64())
        fault = np.where(times.is_null().to_numpy(zero_copy_only=False), MALFORMED, WRITTEN)
        return pc.fill_null(times, 0).to_numpy(), fault

    def _by_format(self, cells: pa.Array, stated: TimeFormat) -> tuple[np.ndarray, np.ndarray]:
        found = stated.read(cells)
        times, exists = found.times, found.exists
        self._has_zone |= stated.has_offset or found.zones is not None
        if found.zones is not None:
            times, known = local_clock.named_instants(times, found.zones, self._timezone)
            exists = exists & known
        return times, np.where(found.written, np.where(exists, WRITTEN, IMPOSSIBLE), MALFORMED)

    def _iso(self, cells: pa.Array) -> pa.Array:
        """Return text as microseconds, null where it cannot be read."""
        found: list[tuple[int, TimeKind, pa.Array]] = []
        for kind in (self._kind,) if self._kind else KINDS:
            times = _iso_times(cells, kind)
            found.append((times.null_count, kind, times))
            if not times.null_count:
                break
        nulls, kind, times = min(found, key=lambda way: way[0])
        self._kind = self._kind or (kind if nulls < len(cells) else "")
        return times

    def _faults(
        self, batch: Batch, column: str, cells: pa.Array, fault: np.ndarray
    ) -> Iterator[tuple[int, Fault]]:
        """Yield what to say of every row that is wrong."""
        wrong = np.flatnonzero(fault)
        if not wrong.size:
            return
        stated = self._format != "auto"
        self._advice = self._advice or advice(_as_text(cells), self._format, len(wrong) == len(cells))
        for row in wrong.tolist():
            impossible = fault[row] == IMPOSSIBLE
            expected = f"a time as {self._format}" if stated else "a time as in ISO 8601"
            if not stated and self._kind:
                expected += f" ({self._kind}, as above)"
            if impossible:
                expected += " of a day and an hour that exist, in the years 1 to 9999"
            fix = NAME_FIX if self._named and impossible and not self._timezone else self._advice
            fix = IMPOSSIBLE_FIX if impossible and self._format not in UNITS and fix is not NAME_FIX else fix
            yield row, Fault(expected, _shown(batch, column, row), fix)

    def _clock_of(self, batch: Batch, problems: Problems) -> tuple[np.ndarray, np.ndarray]:
        """Return the time of day in the column `clock`, in microseconds, and what is wrong with a cell."""
        cells = _as_text(_arrow(batch.columns[self._clock]))
        times = np.zeros(len(cells), np.int64)
        fault = np.full(len(cells), MALFORMED)
        for text in CLOCKS:
            found = time_format(text).read(cells)
            times = np.where(found.written, found.times, times)
            fault = np.where(found.written, np.where(found.exists, WRITTEN, IMPOSSIBLE), fault)
        for row in np.flatnonzero(fault).tolist():
            expected = "a time of day, 17:05 or 17:05:00"
            problems.add(batch.place(row, self._clock), expected, _shown(batch, self._clock, row), CLOCK_FIX)
        return times, fault


def iso(time: int) -> str:
    """Return microseconds since 1970 as ISO 8601, without an offset."""
    return (dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=time)).isoformat()  # noqa: DTZ001  # wall clock, or UTC


def jumped(timezone: str) -> Fault:
    """Return what to say where a local clock never showed a time."""
    expected = f"a time that the clock of {timezone} showed"
    return Fault(expected, "one in the hour that it jumped over", NEVER_CHANGED_FIX)


def iso_time(text: str, zone: str | None) -> int | None:
    """Return one time as microseconds since 1970, None where it is none with (`UTC`) or without an offset."""
    times = _iso_times(pa.array([text], pa.string()), "with an offset" if zone else "wall clock")
    value: int | None = times[0].as_py()
    return value


def _iso_times(cells: pa.Array, kind: TimeKind) -> pa.Array:
    """Return text as microseconds, null where it is not written in this way."""
    if kind in PERIODS:
        return _periods(cells, kind)
    wanted = pa.timestamp("us", "UTC" if kind == "with an offset" else None)
    try:
        return pc.cast(pc.cast(cells, wanted), pa.int64())
    except pa.ArrowInvalid:
        pass  # At least one is wrong, or written as Arrow does not know it: 24:00, a comma, nanoseconds.
    cells = pc.replace_substring_regex(cells, r"(:\d{2}),(\d+)", r"\1.\2")
    cells = pc.replace_substring_regex(cells, r"(:\d{2}\.\d{6})\d{1,3}", r"\1")
    ends = pc.match_substring_regex(cells, END_OF_DAY)
    cells = pc.replace_substring_regex(cells, END_OF_DAY, r"\100\2")  # \1, then 00
    try:
        times = pc.cast(pc.cast(cells, wanted), pa.int64())
    except pa.ArrowInvalid:
        times = pa.array([_iso_cell(cell, wanted) for cell in cells], pa.int64())  # which ones, cell by cell
    return pc.if_else(ends, pc.add(times, DAY), times)


def _iso_cell(cell: pa.StringScalar, wanted: pa.DataType) -> int | None:
    try:
        value: int | None = pc.cast(pc.cast(cell, wanted), pa.int64()).as_py()
    except pa.ArrowInvalid:
        return None
    return value


def _periods(cells: pa.Array, kind: str) -> pa.Array:
    """Return months, quarters or weeks as the microseconds of their beginning, null for all else."""
    pattern, text = PERIODS[kind]
    fits = pc.match_substring_regex(cells, pattern)
    cells = pc.if_else(fits, cells, None)
    if kind == "quarters":
        cells = pc.replace_substring_regex(cells, r"-?Q", "-Q")
    if kind == "weeks":
        cells = pc.replace_substring_regex(cells, r"-?W(\d{2})$", r"-W\1-1")
        cells = pc.replace_substring_regex(cells, r"^(\d{4})W", r"\1-W")
    found = time_format(text).read(cells)
    return pa.array(found.times, mask=~(found.written & found.exists))


def _unix_times(cells: pa.Array, power: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Unix times as microseconds, and what is wrong with a cell.

    Args:
        cells: Numbers, or text.
        power: A unit has 10 ** power microseconds.
    """
    if types.is_decimal(cells.type):
        cells = pc.cast(cells, pa.string())
    if types.is_integer(cells.type):
        values = pc.fill_null(cells, 0).to_numpy(zero_copy_only=False)
        limit = LAST_TIME // 10**power if power >= 0 else np.iinfo(np.int64).max
        inside = np.abs(values.astype(np.float64)) <= limit
        small = np.where(inside, values, 0).astype(np.int64)
        times = small * 10**power if power >= 0 else small // 10**-power
        missing = cells.is_null().to_numpy(zero_copy_only=False)
        return times, np.where(missing, MALFORMED, np.where(inside, WRITTEN, IMPOSSIBLE))
    if types.is_floating(cells.type):
        return _float_times(pc.cast(cells, pa.float64()).to_numpy(zero_copy_only=False), power)
    if not types.is_string(cells.type):
        return np.zeros(len(cells), np.int64), np.full(len(cells), MALFORMED)
    if power >= 0:
        pattern = rf"^(?P<sign>[+-]?)(?P<whole>\d{{1,{18 - power}}})(?:\.(?P<rest>\d*))?$"
    else:
        pattern = r"^(?P<sign>[+-]?)(?P<whole>\d{0,17}?)(?P<rest>\d{1,3})(?:\.\d*)?$"
    parts = pc.extract_regex(cells, pattern)
    written = pc.is_valid(parts).to_numpy(zero_copy_only=False)
    times = _whole(pc.struct_field(parts, "whole")) * 10 ** max(power, 0)
    if power > 0:
        rest = pc.utf8_slice_codeunits(pc.utf8_rpad(pc.struct_field(parts, "rest"), power, "0"), 0, power)
        times = times + np.where(written, _whole(rest), 0)
    minus = pc.fill_null(pc.equal(pc.struct_field(parts, "sign"), "-"), False).to_numpy(zero_copy_only=False)
    times, fault = np.where(minus, -times, times), np.where(written, WRITTEN, MALFORMED)
    odd = np.flatnonzero(~written)
    if odd.size:  # in another notation (1.7e9), too large, or no number at all
        values, wrong = numbers(
            ["" if cells[row].as_py() is None else cells[row].as_py() for row in odd.tolist()]
        )
        values[wrong] = np.nan
        times[odd], fault[odd] = _float_times(values, power)
    return times, fault


def _whole(part: pa.Array) -> np.ndarray:
    digits = pc.if_else(pc.equal(part, ""), "0", part)
    values: np.ndarray = pc.fill_null(pc.cast(digits, pa.int64()), 0).to_numpy(zero_copy_only=False)
    return values


def _float_times(values: np.ndarray, power: int) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(over="ignore", invalid="ignore"):
        times = np.round(values * 10.0**power)
    inside = np.abs(times) <= LAST_TIME
    fault = np.where(np.isnan(values), MALFORMED, np.where(inside, WRITTEN, IMPOSSIBLE))
    return np.where(inside, times, 0).astype(np.int64), fault


def _arrow(cells: Any) -> pa.Array:
    """Return cells as an Arrow array without dictionary, and text without blanks around it."""
    if isinstance(cells, list):  # of JSON lines
        known = [
            str(cell) if isinstance(cell, (str, int, float)) and not isinstance(cell, bool) else None
            for cell in cells
        ]
        cells = pa.array(
            [None if cell is None or not cell.isprintable() else cell for cell in known], pa.string()
        )
    if types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if types.is_large_string(cells.type) or types.is_string_view(cells.type):
        cells = cells.cast(pa.string())
    return pc.utf8_trim(cells, " \t") if types.is_string(cells.type) else cells


def _as_text(cells: pa.Array) -> pa.Array:
    """Return typed cells as text: dates and whole numbers as they are written; other types as nothing."""
    if types.is_string(cells.type):
        return cells
    if (
        types.is_integer(cells.type)
        or types.is_date(cells.type)
        or types.is_time(cells.type)
        or types.is_decimal(cells.type)
    ):
        return pc.cast(cells, pa.string())
    if types.is_floating(cells.type):
        whole = pc.fill_null(pc.equal(pc.floor(cells), cells), False)
        return pc.cast(pc.cast(pc.if_else(whole, cells, None), pa.int64(), safe=False), pa.string())
    return pa.nulls(len(cells), pa.string())


def _shown(batch: Batch, column: str, row: int) -> str:
    cell = batch.columns[column][row]
    try:
        return shown(cell if isinstance(batch.columns[column], list) else cell.as_py())
    except (OverflowError, ValueError):
        return str(cell.type)  # a date beyond those of Python
