"""Windows over series: an index that says where each one stands, never a copy of what is in it.

A window is named by its number and placed by its *position*: the first step of what is to be said about it,
counted on axis 0 of the payload. A forecast reads the `length` steps before its position and predicts the
`horizon` steps from it on; without a horizon (anomalies) the window is the `length` steps from it on.

A window belongs to a split when all steps from its position on that are predicted (or, for anomalies, looked
at) lie in a segment of that split. What it reads may reach back over the segment's begin, as it would in use,
but not over the begin of the series. Windows whose predicted steps hold a missing value are left out.

A `Timeline` says the same by series and step, for those who judge: what overlaps there is not independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Segment = tuple[int, int, int]
"""First row of the series in the payload, first row of the segment, row after its last."""


@dataclass(frozen=True)
class WindowIndex:
    """Runs of windows, each with the same distance from one to the next.

    Attributes:
        starts: Position of the first window of each run, int64 (num_runs,).
        counts: Windows of each run, int64 (num_runs,).
        stride: Steps from one window of a run to the next.
    """

    starts: np.ndarray
    counts: np.ndarray
    stride: int

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum(self.counts)

    def __len__(self) -> int:
        """Return how many windows there are."""
        return int(self.counts.sum())

    def locate(self, window_numbers: np.ndarray) -> np.ndarray:
        """Return the positions of windows, int64, same shape as `window_numbers` (each below the length)."""
        runs = np.searchsorted(self._ends, window_numbers, side="right")
        within = window_numbers - (self._ends - self.counts)[runs]
        positions: np.ndarray = self.starts[runs] + within * self.stride
        return positions

    def followed_by(self, other: "WindowIndex") -> "WindowIndex":
        """Return an index of these windows and then those of `other`, which has the same stride."""
        return WindowIndex(
            np.concatenate([self.starts, other.starts]),
            np.concatenate([self.counts, other.counts]),
            self.stride,
        )


def find_windows(
    segments: Sequence[Segment],
    payload: np.ndarray,
    *,
    length: int,
    horizon: int,
    stride: int,
    columns: Sequence[int],
) -> WindowIndex:
    """Return the windows of one split.

    Args:
        segments: Of the split, in the order wanted.
        payload: float32 (total_steps, columns), NaN where a value is missing.
        length: Steps that are read.
        horizon: Steps that are predicted; 0 for none.
        stride: Steps from one window to the next, counted from the first that fits into a segment.
        columns: Columns of the payload that must be there in all predicted (without horizon: read) steps.
    """
    starts, counts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    history = length if horizon else 0
    span = horizon or length
    for series_start, start, stop in segments:
        first = max(start, series_start + history)
        positions = np.arange(first, stop - span + 1, stride, dtype=np.int64)
        if not len(positions):
            continue
        complete = _complete(payload, first, stop, span, columns)[positions - first]
        run_starts, run_counts = _runs(complete)
        starts.append(positions[run_starts])
        counts.append(run_counts)
    return WindowIndex(np.concatenate(starts), np.concatenate(counts), stride)


def _complete(payload: np.ndarray, first: int, stop: int, span: int, columns: Sequence[int]) -> np.ndarray:
    """Return for each step from `first` on whether the `span` steps from it on have all their values."""
    missing = np.zeros(stop - first, bool)
    chunk_steps = 1 << 20
    for start in range(first, stop, chunk_steps):
        chunk = np.asarray(payload[start : min(start + chunk_steps, stop)])
        missing[start - first :][: len(chunk)] = np.isnan(chunk[:, list(columns)]).any(axis=1)
    seen = np.concatenate([[0], np.cumsum(missing, dtype=np.int64)])
    complete: np.ndarray = seen[span:] == seen[:-span]
    return complete


def _runs(kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where runs of True begin and how long they are."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], kept, [False]]).astype(np.int8)))
    return edges[::2], edges[1::2] - edges[::2]


@dataclass(frozen=True)
class Timeline:
    """Windows ordered by series, then by time.

    Attributes:
        names: Of the series.
        series: Index into `names` per window, shape (num_windows,), ascending.
        starts: Step of its series at which a window begins, shape (num_windows,), ascending in a series.
        length: Steps of a window.
        stride: Steps from one window to the next, where none is left out.
        labelled: Anomalies as (index into `names`, first step, step after the last).
    """

    names: tuple[str, ...]
    series: IntArray
    starts: IntArray
    length: int
    stride: int = 1
    labelled: tuple[tuple[int, int, int], ...] = ()

    def __len__(self) -> int:
        """Return how many windows there are."""
        return len(self.starts)

    @property
    def ids(self) -> tuple[str, ...]:
        """Return a name per window: series and first step."""
        return tuple(
            f"{self.names[series]}@{start}" for series, start in zip(self.series, self.starts, strict=True)
        )

    @property
    def segments(self) -> tuple[int, ...]:
        """Return how many windows each series has; series without one are left out."""
        return tuple(int(count) for count in np.bincount(self.series) if count)

    def windows_of(self, series: int) -> slice:
        """Return which windows are of a series."""
        first, last = np.searchsorted(self.series, [series, series + 1])
        return slice(int(first), int(last))

    def touching(self, series: int, first: int, end: int) -> slice:
        """Return which windows of a series hold a step from `first` to before `end`."""
        own = self.windows_of(series)
        low, high = np.searchsorted(self.starts[own], [first - self.length + 1, end])
        return slice(own.start + int(low), own.start + int(high))

    def touched(self) -> list[tuple[tuple[int, int, int], slice]]:
        """Return the labelled anomalies that any window touches, each with these windows."""
        pairs = [(anomaly, self.touching(*anomaly)) for anomaly in self.labelled]
        return [(anomaly, windows) for anomaly, windows in pairs if windows.stop > windows.start]

    def anomalous(self) -> BoolArray:
        """Return which windows hold a labelled step, shape (num_windows,)."""
        answer = np.zeros(len(self), dtype=bool)
        for anomaly in self.labelled:
            answer[self.touching(*anomaly)] = True
        return answer

    def take(self, windows: npt.NDArray[np.integer]) -> "Timeline":
        """Return the timeline of some windows, given in ascending order."""
        return Timeline(
            self.names, self.series[windows], self.starts[windows], self.length, self.stride, self.labelled
        )


def labelled_intervals(marks: Sequence[npt.NDArray[np.bool_]]) -> tuple[tuple[int, int, int], ...]:
    """Return runs of labelled steps as (series, first step, step after the last).

    Args:
        marks: Per series which steps are labelled.
    """
    found = []
    for series, marked in enumerate(marks):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(np.int8), [0]])))
        found += [(series, int(first), int(end)) for first, end in edges.reshape(-1, 2)]
    return tuple(found)
