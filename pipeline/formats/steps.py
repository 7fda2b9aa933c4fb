"""Which step a series has, and what to say where it has none: jitter, drift, ends of months, holes or events.

A step is taken by itself only where at least half of the times between rows are equal. Else the advice is tried on the
series before it is given: where it makes two rows fall on one step, or leaves most steps without a row, it says so.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.formats.time_formats import DAY, HOUR, MINUTE, SECOND

NATURAL = (
    *(1, 2, 5, 10, 20, 25, 40, 50, 100, 125, 200, 250, 500, 1_000, 2_000, 2_500, 4_000, 5_000, 8_000, 10_000),
    *(20_000, 25_000, 40_000, 50_000, 100_000, 125_000, 200_000, 250_000, 500_000),
    *(SECOND * count for count in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)),
    *(MINUTE * count for count in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)),
    *(HOUR * count for count in (1, 2, 3, 4, 6, 8, 12)),
    *(DAY * count for count in (1, 2, 7, 14)),
)
"""Microseconds that somebody sets a clock to."""
STEP_FIX = "Correct the time stamps, or state the step: --set step=SECONDS (or step=months)."
HALF = 0.5


@dataclass(frozen=True)
class NoStep:
    """Why a series has no step of its own.

    Attributes:
        expected: What would be one.
        received: How its time stamps lie.
        fix: The options with which it can be read.
    """

    expected: str
    received: str
    fix: str


def seconds(step: float) -> str:
    """Return microseconds in seconds, as an option takes them."""
    return f"{step / SECOND:.6f}".rstrip("0").rstrip(".")


def most_frequent(times: np.ndarray) -> tuple[int, float]:
    """Return the most frequent time between two rows, and its share of all; 0 where all rows have one time.

    Args:
        times: int64, shape (rows,), ascending.
    """
    steps = np.diff(times)
    if len(steps) and steps[0] > 0 and bool((steps == steps[0]).all()):
        return int(steps[0]), 1.0  # the usual case, without sorting
    lengths, counts = np.unique(steps[steps > 0], return_counts=True)
    if not len(lengths):
        return 0, 0.0
    return int(lengths[counts.argmax()]), float(counts.max() / counts.sum())


def natural(times: np.ndarray) -> int:
    """Return the natural step that is nearest to the median time between rows, in proportion."""
    steps = np.diff(times)
    median = float(np.median(steps[steps > 0]))
    return min(NATURAL, key=lambda step: abs(np.log(step / median)))


def about(times: np.ndarray) -> int:
    """Return the step that rows are about apart: a natural one within 5 % of their median, else that, rounded."""
    steps = np.diff(times)
    median = float(np.median(steps[steps > 0]))
    step = natural(times)
    if abs(step / median - 1) <= 0.05:
        return step
    unit = next(unit for unit in (MINUTE, SECOND, SECOND // 10, 1_000, 1) if median >= 10 * unit or unit == 1)
    return max(round(median / unit), 1) * unit


def keeps_to(times: np.ndarray, step: int) -> bool:
    """Say whether rows lie near the steps of a clock, one at each: jitter, which does not add up."""
    off = np.abs(deviations(times, step))
    return bool(np.quantile(off, 0.95) < step / 4) and _falls(times, step).one_each


def origin(times: np.ndarray, step: int) -> int:
    """Return where the steps lie that rows with jitter are moved to: the time of step 0, near the first row.

    Where most rows lie exactly, if they do; else on the round times of a clock, if rows keep to them; else in the
    middle of where rows lie.

    Args:
        times: Microseconds since 1970, int64, shape (rows,), ascending.
        step: Microseconds.
    """
    first = int(times[0])
    phases, counts = np.unique((times - first) % step, return_counts=True)
    phase = int(phases[counts.argmax()])
    if counts.max() * 2 >= len(times):
        return first + phase - (step if phase > step // 2 else 0)
    start = (first + step // 2) // step * step if DAY % step == 0 or step % DAY == 0 else first
    off = deviations(times, step, start)
    if float(np.quantile(np.abs(off), 0.95)) < step / 4:
        return start
    angles = (times - first) % step * (2 * np.pi / step)
    middle = first + round(float(np.angle(np.exp(1j * angles).mean()) * step / (2 * np.pi)))
    return middle if float(np.quantile(np.abs(deviations(times, step, middle)), 0.95)) < step / 4 else start


def deviations(times: np.ndarray, step: int, start: int | None = None) -> np.ndarray:
    """Return how far rows lie from the nearest step, microseconds, shape (rows,); steps from `origin` on."""
    start = origin(times, step) if start is None else start
    return (times - start + step // 2) % step - step // 2


def no_step(times: np.ndarray) -> NoStep:
    """Return what there is to say of a series without a most frequent step.

    Args:
        times: Microseconds since 1970, int64, shape (rows,), ascending, of two times at least.
    """
    steps = np.diff(times)
    steps = steps[steps > 0]
    shortest, median, longest = int(steps.min()), float(np.median(steps)), int(steps.max())
    apart = (
        f"rows {seconds(shortest)} to {seconds(longest)} s apart, half of them less than {seconds(median)} s"
    )
    months = np.unique(times.astype("datetime64[us]").astype("datetime64[M]"))
    if len(months) == len(times) and median >= 27 * DAY:
        fix = "There is a row in a month: --set step=months counts the calendar's months."
        return NoStep("time stamps that are whole steps apart", f"{apart}, each in a month of its own", fix)
    frequent, _ = most_frequent(times)
    whole = bool((steps % frequent == 0).all())
    step = frequent if whole else about(times)
    falls = _falls(times, step)
    options, more, note = _options(step, falls, off_grid=not whole)
    if whole:
        received = f"{apart}, all of them whole steps of {seconds(step)} s"
        return NoStep("one step that most rows are apart", received, f"State it: {options}{more}.{note}")
    if keeps_to(times, step):
        far = int(np.abs(deviations(times, step)).max())
        received = f"{apart}: looks like a step of {seconds(step)} s with up to {seconds(far)} s of jitter"
        return NoStep(
            "one step that most rows are apart", received, f"Move rows to it: {options}{more}.{note}"
        )
    far = int(np.abs(steps - median).max())
    if far < median / 2:
        received = f"{apart}: no clock, but a row about every {seconds(step)} s"
        fix = f"Rows can be moved to steps, each by up to half of one: {options}{more}.{note}"
        return NoStep("one step that most rows are apart", received, fix)
    step = natural(times)
    falls = _falls(times, step)
    options, more, note = _options(step, falls, off_grid=True)
    received = f"{apart}: these are events, or several series in one"
    fix = (
        "Name the column that tells series apart (--set id=COLUMN). Of events a step has to be chosen, "
        f"such as {options}{more}.{note}"
    )
    return NoStep("one step that most rows are apart", received, fix)


def _options(step: int, falls: "_Falls", *, off_grid: bool) -> tuple[str, str, str]:
    """Return the options that read a series by a step, those that it needs beside, and what these mean."""
    options = f"--set step={seconds(step)}{' --set off_grid=nearest' * off_grid}"
    more = " --set duplicates=mean" * (not falls.one_each) + " --set gaps=hold" * (not falls.most_there)
    notes = {
        " duplicates=mean averages rows that fall on one step": not falls.one_each,
        " gaps=hold keeps the last row until the next (gaps=fill: values are missing meanwhile)": not falls.most_there,
    }
    note = ";".join(text for text, said in notes.items() if said)
    return options, more, f"{note}." if note else ""


@dataclass(frozen=True)
class _Falls:
    """How rows fall on steps: whether no two on one, and whether at least half of the steps have one."""

    one_each: bool
    most_there: bool


def _falls(times: np.ndarray, step: int) -> _Falls:
    times = np.unique(times)
    places = np.unique((times - origin(times, step) + step // 2) // step)
    return _Falls(len(places) == len(times), len(places) >= HALF * (int(places[-1] - places[0]) + 1))


# --- How the time stamps of series lie, in words: a wrong format is seen by first and last time, step and gaps.

SHOWN_SERIES = 12
"""More are told together, by their steps."""


@dataclass(frozen=True)
class Timeline:
    """How the time stamps of a series lie.

    Attributes:
        first: Time of the first step, ISO 8601.
        last: Of the last.
        step: In words: `3600 s`, `3 months`.
        rows: That were read.
        gaps: Steps without a row.
        duplicates: Rows that share their step with another.
        moved: Largest distance in seconds that a row was moved by to its step.
        note: What else there is to know about it; "" for nothing.
    """

    first: str
    last: str
    step: str
    rows: int
    gaps: int = 0
    duplicates: int = 0
    moved: float = 0.0
    note: str = ""


def in_words(timelines: Sequence[tuple[str, Timeline]]) -> list[str]:
    """Return a line per series, `name: first to last, step, ...`; of many series a line per step.

    Args:
        timelines: Name and time stamps of every series.
    """
    if len(timelines) <= SHOWN_SERIES:
        return [f"{name}: {_of_one(timeline)}" for name, timeline in timelines]
    by_step: dict[str, list[Timeline]] = defaultdict(list)
    for _, timeline in timelines:
        by_step[timeline.step].append(timeline)
    return [_of_many(step, group) for step, group in sorted(by_step.items(), key=lambda item: -len(item[1]))]


def _of_one(timeline: Timeline) -> str:
    parts = [
        f"{timeline.first} to {timeline.last}",
        f"step {timeline.step}",
        f"{timeline.rows:,} row{'s' * (timeline.rows != 1)}",
        _gaps(timeline.gaps),
        _duplicates(timeline.duplicates),
    ]
    if timeline.moved:
        parts.append(f"rows moved by up to {timeline.moved:g} s to their steps")
    return ", ".join(parts + [timeline.note] * bool(timeline.note))


def _of_many(step: str, group: Sequence[Timeline]) -> str:
    rows = [timeline.rows for timeline in group]
    with_gaps, twice = ([getattr(timeline, name) for timeline in group] for name in ("gaps", "duplicates"))
    gaps, duplicates = _gaps(sum(with_gaps)), _duplicates(sum(twice))
    parts = [
        f"the first from {min(timeline.first for timeline in group)}",
        f"the last to {max(timeline.last for timeline in group)}",
        f"{min(rows):,} to {max(rows):,} rows each",
        gaps + _in_series(with_gaps),
        duplicates + _in_series(twice),
    ]
    moved = max(timeline.moved for timeline in group)
    if moved:
        parts.append(f"rows moved by up to {moved:g} s to their steps")
    notes = [timeline.note for timeline in group if timeline.note]
    if notes:
        parts.append(f"{len(notes):,} with notes, such as {notes[0]}")
    return f"{len(group):,} series, step {step}: {', '.join(parts)}"


def _gaps(count: int) -> str:
    return f"{count:,} step{'s' * (count != 1)} without a row" if count else "no gaps"


def _duplicates(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)} at a step that has one already" if count else "no duplicates"


def _in_series(counts: Sequence[int]) -> str:
    return f" in {sum(count > 0 for count in counts):,} series" if any(counts) else ""
