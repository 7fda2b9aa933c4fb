"""From rows with time stamps to a regular grid: what a missing, a repeated or an odd time stamp becomes, by policy.

Rows of a long table wait, as they come in, in arrays that grow (`SeriesRows`), and know where each stood.

A step is a fixed time, or a number of calendar months where time stamps lie a month, a quarter or a year apart.
"""

import datetime as dt
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline.formats import steps as series_steps
from pipeline.formats.delimited import Batch
from pipeline.formats.problems import Problems
from pipeline.formats.steps import HALF, NATURAL, STEP_FIX, Timeline, seconds
from pipeline.formats.time_formats import DAY, FIRST_TIME, HOUR, LAST_TIME, SECOND
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.growing import ROWS_AT_ONCE, GrowingArray

Duplicates = Literal["fail", "first", "last", "mean"]
Gaps = Literal["auto", "fill", "hold", "fail"]
"""Room is made for a quarter more than needed: memory is what limits the longest series."""
MONTH_SECONDS = 365.2425 / 12 * 86_400
"""The Gregorian calendar's mean month."""
EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001  # wall clock, or UTC; never a machine's own zone
MAX_GROWTH = 10
"""A grid with more than this many steps per row, and more than SMALL steps, has the wrong step or a wrong time."""
SMALL = 10_000
DUPLICATES_FIX = (
    "Name the column that tells the series apart (--set id=), or --set duplicates=first, last or mean."
)
CLOCK_CHANGE_FIX = "If this is a local clock that was set back, name its zone: --set timezone=Europe/Berlin."
MOSTLY_GAPS_FIX = (
    "Say what a step without a row is: --set gaps=fill (missing values) or gaps=hold (the last row stays true); or "
    "state a longer step: --set step=SECONDS."
)
GAPS_FIX = "Fill them in, or --set gaps=fill (missing values) or hold (the last row stays true)."


@dataclass(frozen=True)
class Policy:
    """What happens to time stamps that are not one step after the one before.

    Attributes:
        step_seconds: Length of a step; None for the most frequent one of a series.
        months: Whether a step is counted in calendar months; None finds out.
        gaps: Whether steps without a row are filled with NaN, hold the row before them, or are refused; `auto`
            fills them where they are fewer than the others.
        duplicates: Which of several rows at one step counts, or that they are refused.
        off_grid: Whether a time stamp between steps is refused or moved to the nearest.
    """

    step_seconds: float | None = None
    months: bool | None = None
    gaps: Gaps = "auto"
    duplicates: Duplicates = "fail"
    off_grid: Literal["fail", "nearest"] = "fail"


@dataclass(frozen=True)
class Grid:
    """A series whose rows are one step apart.

    Attributes:
        values: float32, shape (steps, channels); at steps that had no row all NaN, or the row before.
        first: Time of the first step, microseconds since 1970; months count as their first day.
        step: Microseconds, or months.
        months: Which of them.
        timeline: How its time stamps lay.
    """

    values: np.ndarray
    first: int
    step: int
    months: bool
    timeline: Timeline

    @property
    def step_seconds(self) -> float:
        """Return the time from one step to the next; of months the mean."""
        return self.step * MONTH_SECONDS if self.months else self.step / SECOND

    @property
    def time(self) -> str:
        """Return the time of the first step, ISO 8601; of months their middle.

        From the middle of a month on, steps of a mean month stay within the right months for centuries.
        """
        middle = dt.timedelta(days=14, hours=12) if self.months else dt.timedelta()
        return (EPOCH + dt.timedelta(microseconds=self.first) + middle).isoformat()

    def marked(self, windows: list[tuple[int, int]]) -> np.ndarray:
        """Return which steps lie in one of the windows.

        Args:
            windows: First and last time, microseconds since 1970; both belong to it.

        Returns:
            bool, shape (steps,).
        """
        marks = np.zeros(len(self.values), dtype=bool)
        for window in windows:
            times = np.array([self.first, *window])
            zero, start, end = (_months(times) if self.months else times).tolist()
            marks[max(-((zero - start) // self.step), 0) : max((end - zero) // self.step + 1, 0)] = True
        return marks


@dataclass(frozen=True)
class Rows:
    """Whose rows they are, for messages.

    Attributes:
        name: The series.
        place: Where a row stands, by its index among the rows of the series in order of time.
        problems: Takes what the policy refuses.
    """

    name: str
    place: Callable[[int], str]
    problems: Problems

    def refuse(self, rows: np.ndarray, expected: str, received: str, fix: str) -> None:
        """Note rows that all have the same problem, if there are any; the first is named."""
        if rows.size:
            count = f"{rows.size} such row{'s' * (rows.size > 1)} in {self.name}"
            self.problems.add(self.place(int(rows[0])), expected, f"{received}; {count}", fix)


def on_grid(times: np.ndarray, values: np.ndarray, policy: Policy, rows: Rows) -> Grid | None:
    """Return the rows of one series on a regular grid, or None after problems.

    Args:
        times: Microseconds since 1970, int64, shape (rows,), ascending; changed in place.
        values: float32, shape (rows, channels). The grid shares it where nothing has to be done.
        policy: What to do where time stamps are not regular.
        rows: Whose they are.
    """
    before = rows.problems.count
    months = _in_months(times) if policy.months is None else policy.months
    ends = f"{_iso(int(times[0]))} to {_iso(int(times[-1]))}"
    positions = _months(times) if months else times
    step = _step(positions, policy, rows, months=months, ends=ends)
    if step < 1:
        return None
    words = f"{step} month{'s' * (step > 1)}" if months else f"{seconds(step)} s"
    first, moved = _start(positions, step, policy, months=months)
    positions -= first
    if policy.off_grid == "fail":
        expected = f"a time that is whole steps of {words} after the first row"
        fix = _off_grid_fix(step, months=months)
        rows.refuse(np.flatnonzero(positions % step), expected, "one between two steps", fix)
    else:
        positions += step // 2
    positions //= step
    first += int(positions[0]) * step
    positions -= int(positions[0])
    steps = int(positions[-1]) + 1
    count = len(positions)
    if steps > max(MAX_GROWTH * count, SMALL):
        received = f"{count} rows over {steps} steps of {words}, {ends}"
        rows.problems.add(rows.name, f"at most {MAX_GROWTH} steps per row", received, STEP_FIX)
        return None
    if policy.gaps == "fail":
        late = np.flatnonzero(np.diff(positions) > 1) + 1
        rows.refuse(late, f"a row one step of {words} after the one before", "a row after a gap", GAPS_FIX)
    positions, values = _one_row_per_step(positions, values, policy, rows, first=first, step=step)
    if policy.gaps == "auto" and len(positions) < HALF * steps and rows.problems.count == before:
        received = f"{len(positions)} over {steps} steps, {ends}"
        rows.problems.add(rows.name, f"rows at half of the steps of {words}", received, MOSTLY_GAPS_FIX)
    if rows.problems.count > before:
        return None
    if months:
        first = int(np.array(first, "datetime64[M]").astype("datetime64[us]").astype(np.int64))
    last = _after(first, (steps - 1) * step, months=months)
    if first < FIRST_TIME or last > LAST_TIME - 31 * DAY:
        rows.problems.add(
            rows.name, "steps within the years 1 to 9999", f"{ends}, in steps of {words}", STEP_FIX
        )
        return None
    timeline = Timeline(
        _iso(first),
        _iso(last),
        words,
        rows=count,
        gaps=steps - len(positions),
        duplicates=count - len(positions),
        moved=moved / SECOND,
        note=_note(first, positions, step, steps, months=months),
    )
    grid = _scattered(positions, values, steps, hold=policy.gaps == "hold")
    return Grid(grid, first, step, months, timeline)


def _iso(time: int) -> str:
    return (EPOCH + dt.timedelta(microseconds=time)).isoformat()


def _after(first: int, steps: int, *, months: bool) -> int:
    if not months:
        return first + steps
    month = np.array(first, "datetime64[us]").astype("datetime64[M]") + steps
    return int(month.astype("datetime64[us]").astype(np.int64))


def _note(first: int, positions: np.ndarray, step: int, steps: int, *, months: bool) -> str:
    """Say that only Saturdays and Sundays have no rows, an hour of spring has none, or times look like counts."""
    if not months and first >= 0 and first + (steps - 1) * step < 365 * DAY:
        return "in 1970: times that are counts, or Unix times in another unit than was stated"
    if not months and steps - len(positions) > 0 and step <= HOUR:
        return _jumped(first, positions, step, steps)
    if months or step != DAY or steps < 8 or len(positions) == steps:
        return ""
    start = first // DAY
    weekend = (start + positions + 3) % 7 >= 5
    if weekend.any():
        return ""
    of_weekends = int(((start + np.arange(steps) + 3) % 7 >= 5).sum())
    return (
        f"weekdays only: {of_weekends:,} of the steps without a row are Saturdays and Sundays, and count as missing "
        "values (--set gaps=hold keeps Friday's)"
    )


def _jumped(first: int, positions: np.ndarray, step: int, steps: int) -> str:
    """Say that the hour which clocks jump over in spring has no row, of the first year in which that is so."""
    absent = np.ones(steps, bool)
    absent[positions] = False
    last = first + (steps - 1) * step
    for year in range(1970 + first // (366 * DAY), 1971 + last // (365 * DAY)):
        march = np.datetime64(f"{year}-03-01", "D").astype(int)
        sundays = [int(march) + (3 - int(march)) % 7 + 7 * week for week in range(5)]
        for zone, day in (
            ("Europe/Berlin", max(day for day in sundays if day < march + 31)),
            ("America/New_York", sundays[1]),
        ):
            hour = day * DAY + 2 * HOUR
            inside = np.arange(-((first - hour) // step), -((first - hour - HOUR) // step))
            around = [inside[0] - 1, inside[-1] + 1] if inside.size else []
            if (
                inside.size
                and around[0] >= 0
                and around[1] < steps
                and absent[inside].all()
                and not absent[around].any()
            ):
                return (
                    f"no row in the hour from {_iso(hour)}, which clocks jump over there: if one wrote these times, "
                    f"--set timezone={zone}"
                )
    return ""


def _months(times: np.ndarray) -> np.ndarray:
    """Return the number of the month since January 1970."""
    return times.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)


def _in_months(times: np.ndarray) -> bool:
    """Say whether all time stamps lie on the same day of a month, or all on its last, and at least 28 days apart."""
    if len(times) < 2 or int(np.diff(times[:1000]).min()) < 28 * DAY or int(np.diff(times).min()) < 28 * DAY:
        return False
    stamps = times.astype("datetime64[us]")
    starts = stamps.astype("datetime64[M]")
    inside = stamps - starts.astype("datetime64[us]")
    left = (starts + 1).astype("datetime64[us]") - stamps
    return bool((inside == inside[0]).all() or ((left == left[0]).all() and left[0].astype(np.int64) <= DAY))


def _step(times: np.ndarray, policy: Policy, rows: Rows, *, months: bool, ends: str) -> int:
    """Return the stated step, or that which most rows are apart; 0 after a problem where there is none."""
    if policy.step_seconds is not None:
        return max(round(policy.step_seconds * SECOND), 1)
    step, share = series_steps.most_frequent(times)
    if not step and not months:
        expected = "at least two rows of different times, or a stated step"
        rows.problems.add(rows.name, expected, f"{len(times)} row{'s' * (len(times) > 1)}", STEP_FIX)
        return 0
    if months:
        return step if share >= HALF else int(np.gcd.reduce(np.diff(times))) or 1
    odd = (
        bool(((times - times[0]) % step).any()) if step >= 27 * DAY or policy.off_grid == "nearest" else False
    )
    if share < HALF or (odd and step >= 27 * DAY):
        natural = series_steps.natural(times)
        if policy.off_grid == "nearest" and series_steps.keeps_to(times, natural):
            return natural
        found = series_steps.no_step(times)
        rows.problems.add(rows.name, found.expected, f"{found.received} ({ends})", found.fix)
        return 0
    if policy.off_grid == "nearest" and step not in NATURAL and odd:
        expected = "a stated step, or one of a clock, where rows are moved to the nearest"
        received = f"{seconds(step)} s, found as the most frequent"
        rows.problems.add(rows.name, expected, received, f"State it: --set step={seconds(step)}.")
        return 0
    return step


def _start(times: np.ndarray, step: int, policy: Policy, *, months: bool) -> tuple[int, int]:
    """Return the time of a step near the first row, and how far rows lie from theirs at most."""
    if policy.off_grid == "fail" or months:
        return int(times[0]), 0
    start = series_steps.origin(times, step)
    return start, int(np.abs(series_steps.deviations(times, step, start)).max())


def _off_grid_fix(step: int, *, months: bool) -> str:
    if months:
        return "Correct the time stamps."
    return (
        f"Move time stamps to the nearest step: --set step={seconds(step)} --set off_grid=nearest; or state another "
        "step: --set step=SECONDS."
    )


def _one_row_per_step(
    positions: np.ndarray, values: np.ndarray, policy: Policy, rows: Rows, *, first: int, step: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and positions with one row per step, which begin at `first` and are `step` apart."""
    new = np.ones(len(positions), dtype=bool)
    np.not_equal(positions[1:], positions[:-1], out=new[1:])
    if new.all():
        return positions, values
    if policy.duplicates == "fail":
        times = first + positions[~new] * step
        nights = ((times // DAY + 3) % 7 == 6) & (times % DAY < 4 * HOUR)
        fix = f"{CLOCK_CHANGE_FIX} {DUPLICATES_FIX}" if nights.all() and step < DAY else DUPLICATES_FIX
        rows.refuse(np.flatnonzero(~new), "one row per step", "another row at the step before", fix)
        return positions, values
    firsts = np.flatnonzero(new)
    if policy.duplicates == "first":
        return positions[firsts], values[firsts]
    lasts = np.append(firsts[1:], len(positions)) - 1
    if policy.duplicates == "last":
        return positions[lasts], values[lasts]
    there = ~np.isnan(values)
    sums = np.add.reduceat(np.where(there, values, 0), firsts, axis=0, dtype=np.float64)
    counts = np.add.reduceat(there, firsts, axis=0, dtype=np.int64)
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return positions[firsts], means.astype(np.float32)


def _scattered(positions: np.ndarray, values: np.ndarray, steps: int, *, hold: bool) -> np.ndarray:
    """Return the values with a row of NaN, or the row before, at every step without one."""
    if len(positions) == steps:
        return values
    if hold:
        return np.repeat(values, np.diff(positions, append=steps), axis=0)
    grid = np.full((steps, values.shape[1]), np.nan, dtype=np.float32)
    grid[positions] = values
    return grid


def later(time: str, seconds: float) -> str:
    """Return an ISO 8601 time some seconds later; "" for none."""
    if not time:
        return ""
    try:
        return (dt.datetime.fromisoformat(time) + dt.timedelta(seconds=seconds)).isoformat()
    except OverflowError as error:
        raise DataRefused(
            f"A series goes beyond the end of the calendar. Expected times before the year 10000. Received: {time} and "
            f"{seconds:g} s later. Correct its times."
        ) from error


@dataclass(frozen=True)
class OneSeries:
    """The rows of one series in order of time.

    Attributes:
        key: Its number, in order of first appearance.
        times: Microseconds since 1970, int64, shape (rows,), ascending.
        values: float32, shape (rows, channels).
        rows: Number of each row in order of reading; None where that is first, first + 1, ...
        first: Number of the first row, where `rows` is None.
    """

    key: int
    times: np.ndarray
    values: np.ndarray
    rows: np.ndarray | None
    first: int

    def row(self, index: int) -> int:
        """Return the number of a row in order of reading."""
        return self.first + index if self.rows is None else int(self.rows[index])


class SeriesRows:
    """All rows of a long table.

    Args:
        num_channels: Values per row.
    """

    def __init__(self, num_channels: int) -> None:
        self._times = GrowingArray(np.int64)
        self._keys = GrowingArray(np.int32)
        self._values = GrowingArray(np.float32, num_channels)
        self._batches: list[Batch] = []
        self._starts: list[int] = []
        self._count = 0

    def append(self, batch: Batch, times: np.ndarray, keys: np.ndarray, values: np.ndarray) -> None:
        """Add the rows of a batch.

        Args:
            batch: Where they stand; its cells are not kept.
            times: Microseconds since 1970, shape (rows,).
            keys: Number of the series of each row, shape (rows,).
            values: Shape (rows, channels).
        """
        self._batches.append(replace(batch, columns={}))
        self._starts.append(self._count)
        self._count += len(times)
        self._times.append(times)
        self._keys.append(keys)
        self._values.append(values)

    def place(self, row: int) -> str:
        """Return where a row stands, by its number in order of reading."""
        index = bisect_right(self._starts, row) - 1
        return self._batches[index].place(row - self._starts[index])

    def series(self, order: list[int]) -> Iterator[OneSeries]:
        """Yield the series, one after the other; the rows are gone afterwards.

        Args:
            order: Numbers of the series in the order wanted.
        """
        ranks = np.empty(len(order), np.int32)
        ranks[order] = np.arange(len(order), dtype=np.int32)
        bounds = self._bounds_if_ascending(ranks)
        if bounds is not None:
            for key, start, stop in zip(order, bounds, bounds[1:], strict=False):
                yield OneSeries(
                    key, self._times.part(start, stop)[:, 0], self._values.part(start, stop), None, start
                )
            return
        times, ranked = self._times.part(0, self._count)[:, 0], ranks[self._keys.part(0, self._count)[:, 0]]
        rows = np.lexsort((times, ranked))
        bounds = np.searchsorted(ranked[rows], np.arange(len(order) + 1)).tolist()
        del ranked
        first = 0
        while first < len(order):
            # As many series as fit into memory at once, for one look through the values each.
            after = bisect_right(bounds, bounds[first] + ROWS_AT_ONCE, lo=first + 2) - 1
            values = self._values.taken(rows[bounds[first] : bounds[after]])
            for rank in range(first, after):
                own = rows[bounds[rank] : bounds[rank + 1]]
                part = slice(bounds[rank] - bounds[first], bounds[rank + 1] - bounds[first])
                yield OneSeries(order[rank], times[own], values[part], own, 0)
            first = after

    def _bounds_if_ascending(self, ranks: np.ndarray) -> list[int] | None:
        """Return where each series begins, if rows lie in order of series, then time: the usual case."""
        counts = np.zeros(len(ranks), np.int64)
        last_rank, last_time = -1, 0
        for start in range(0, self._count, ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, self._count)
            ranked, times = ranks[self._keys.part(start, stop)[:, 0]], self._times.part(start, stop)[:, 0]
            before, earlier = np.append(last_rank, ranked[:-1]), np.append(last_time, times[:-1])
            if not ((ranked > before) | ((ranked == before) & (times >= earlier))).all():
                return None
            counts += np.bincount(ranked, minlength=len(ranks))
            last_rank, last_time = int(ranked[-1]), int(times[-1])
        return [0, *np.cumsum(counts).tolist()]
