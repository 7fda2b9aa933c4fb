"""Where windows stand: of which series, and from which step on. What overlaps there is not independent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.metrics import IntArray

BoolArray = npt.NDArray[np.bool_]


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
