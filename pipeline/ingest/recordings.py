"""Recordings whose steps have classes, cut into windows of equal length: each is a sample like any other then.

It belongs to the group of its recording, or to the recording itself where that has none, so that a split by group keeps
windows of one recording, or of one person, together; what overlaps is no independent evidence. Cut here and not later,
everything that holds for whole series (families, baselines, duplicates, leaks, intervals by group) holds for windows.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

import numpy as np

from pipeline.formats.time_grid import later
from pipeline.raw.sample import RawSample
from pipeline.runtime.errors import DataRefused

DIGITS = 9
"""Of the first step in the name of a window, so that names stand in order of time."""


def labelled_windows(
    recordings: Iterable[RawSample],
    *,
    num_recordings: int,
    length: int,
    stride: int,
    label: Literal["majority", "last"],
) -> Iterator[RawSample]:
    """Yield the windows of all recordings, ordered by `sample_id`: `RECORDING FIRST_STEP`.

    A window without a class is yielded with label "", a recording that is too short as a sample without steps: the
    ingest stage counts what it cannot use.

    Args:
        recordings: Ordered by `sample_id`, with `step_labels`.
        num_recordings: How many there must be.
        length: Steps of a window.
        stride: Steps from one window to the next, from the first step on.
        label: Which class a window has: the most frequent one of its steps (of several the one that is there first), or
            that of its last step.

    Raises:
        DataRefused: A recording has no classes of steps, or there are more or fewer recordings.
    """
    count = 0
    held: list[RawSample] = []
    for recording in recordings:
        count += 1
        # Of `a` and `a !` the windows do not stand in the order of the recordings; else they do.
        if held and not _may_stand_between(recording.sample_id, held[0].sample_id):
            yield from _in_order(held, length, stride, label)
            held.clear()
        held.append(recording)
    yield from _in_order(held, length, stride, label)
    if count != num_recordings:
        raise DataRefused(
            "The archive and data/source.json disagree on the number of recordings. Expected "
            f"{num_recordings:,}. Received: {count:,}. Run `millrace refresh`."
        )


def _may_stand_between(name: str, earlier: str) -> bool:
    return name.startswith(earlier) and name[len(earlier) :][:1] <= " "


def _in_order(
    recordings: list[RawSample], length: int, stride: int, label: Literal["majority", "last"]
) -> Iterator[RawSample]:
    if len(recordings) == 1:
        yield from _windows(recordings[0], length, stride, label)
        return
    windows = [window for one in recordings for window in _windows(one, length, stride, label)]
    yield from sorted(windows, key=lambda window: window.sample_id)


def _windows(
    recording: RawSample, length: int, stride: int, label: Literal["majority", "last"]
) -> Iterator[RawSample]:
    series, steps = recording.series, recording.step_labels
    if series is None or steps is None:
        raise DataRefused(
            f"{recording.sample_id} has no class per step. Expected one for data.labelled_windows. Received: none. "
            "Name its column: `millrace init ... --set step_label=COLUMN`, or remove data.labelled_windows."
        )
    whole = replace(recording, step_labels=None, group=recording.group or recording.sample_id)
    if len(series) < length:
        yield replace(whole, sample_id=_name(recording, 0), series=series[:0])
        return
    for start in range(0, len(series) - length + 1, stride):
        codes = steps.codes[start : start + length]
        code = int(codes[-1]) if label == "last" else _most_frequent(codes)
        yield replace(
            whole,
            sample_id=_name(recording, start),
            label=steps.names[code] if code >= 0 else "",
            series=series[start : start + length],
            time=later(recording.time, start * recording.step_seconds),
        )


def _name(recording: RawSample, start: int) -> str:
    return f"{recording.sample_id} {start:0{DIGITS}d}"


def _most_frequent(codes: np.ndarray) -> int:
    """Return the most frequent code; of several the one that stands first."""
    found, first, counts = np.unique(codes, return_index=True, return_counts=True)
    best = counts == counts.max()
    return int(found[best][first[best].argmin()])
