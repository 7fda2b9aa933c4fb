"""How the time stamps of series lie, in words: a wrong format is seen by first and last time, step and gaps."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

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
