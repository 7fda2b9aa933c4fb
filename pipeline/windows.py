"""Windows over series: an index that says where each one stands, never a copy of what is in it.

A window is named by its number and placed by its *position*: the first step of what is to be said about it,
counted on axis 0 of the payload. A forecast reads the `length` steps before its position and predicts the
`horizon` steps from it on; without a horizon (anomalies) the window is the `length` steps from it on.

A window belongs to a split when all steps from its position on that are predicted (or, for anomalies, looked
at) lie in a segment of that split. What it reads may reach back over the segment's begin, as it would in use,
but not over the begin of the series. Windows whose predicted steps hold a missing value are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

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
