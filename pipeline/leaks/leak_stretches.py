"""Stretches of series under windows that train and are judged elsewhere, to the digit (leak L1.4).

The same meter exported twice under two names, one export later than the other, or an outage filled with the
readings of another month: a model has seen there what it is asked.
"""

from bisect import bisect_right

from pipeline.leaks.findings import Finding
from pipeline.leaks.leak_data import JUDGES, LeakData
from pipeline.leaks.stretches import Stretch, copied_stretches

SHORTEST = 24
"""Steps a copy must have where windows judge fewer."""
NAMED = 5
"""Stretches named in a message, the longest first."""

Places = list[tuple[int, str, str]]
"""First row of the payload, name of the series, split; ascending."""


def stretch_findings(data: LeakData) -> list[Finding]:
    """Return a finding if a stretch of val or test stands in train as well, of another series or of its own.

    Looked at are the columns that are predicted, together; without any all of them. What is known in advance
    may repeat, as calendars do.

    Args:
        data: Series under windows.
    """
    windows = data.windows
    if windows is None or data.kind != "series":
        return []
    channels, samples = data.samples.channels, data.samples
    columns = [channels.index(name) for name in windows.targets or channels]
    train = data.split.named_segments(samples, "train")
    judged = {split: data.split.named_segments(samples, split) for split in JUDGES}
    found = copied_stretches(
        data.payload,
        columns,
        list(zip(samples.starts.tolist(), (samples.starts + samples.lengths).tolist(), strict=True)),
        [(start, stop) for _, start, stop in train],
        [(start, stop) for segments in judged.values() for _, start, stop in segments],
        shortest=max(windows.horizon or windows.length, SHORTEST),
    )
    if not found:
        return []
    places = sorted(
        (start, name, split)
        for split, segments in {"train": train, **judged}.items()
        for name, start, _ in segments
    )
    return [_finding(data, found, places)]


def _finding(data: LeakData, found: list[Stretch], places: Places) -> Finding:
    begins = dict(zip(data.samples.sample_ids, data.samples.starts.tolist(), strict=True))

    def told(row: int, steps: int) -> tuple[str, str, str]:
        _, name, split = places[bisect_right(places, row, key=lambda place: place[0]) - 1]
        first = row - begins[name]
        return f"{first} to {first + steps - 1} of {name}", name, split

    longest = sorted(found, key=lambda stretch: (-stretch.steps, stretch.judged))
    lines, names = (
        [],
        dict.fromkeys(told(row, 1)[1] for stretch in found for row in (stretch.judged, stretch.train)),
    )
    for stretch in longest[:NAMED]:
        where, _, split = told(stretch.judged, stretch.steps)
        lines.append(f"{where} ({split}) are {told(stretch.train, stretch.steps)[0]}")
    more = f", and {len(found) - NAMED} more" if len(found) > NAMED else ""
    problem = (
        f"{len(found)} stretches of series that choose or judge stand in train as well, {sum(s.steps for s in found)} "
        f"steps in all. Expected steps that no training step repeats to the digit. Received: steps "
        f"{'; '.join(lines)}{more}."
    )
    fix = "Leave the copies out of the source, or cut all series at the same time (split.val_start, split.test_start)."
    return Finding(
        "copied-stretches", "L1.4", problem, fix, tuple(names), score=sum(stretch.steps for stretch in found)
    )
