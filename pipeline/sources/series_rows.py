"""Rows of a long table as they come in: time, series and values, in arrays that grow, and where each row stood."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.sources.column_batch import Batch

GROWTH = 1.25
"""Room is made for a quarter more than needed: memory is what limits the longest series."""


class GrowingArray:
    """Rows of fixed width appended to one array, which is moved by the operating system instead of copied."""

    def __init__(self, dtype: type, width: int = 1) -> None:
        self._array: np.ndarray = np.empty(0, dtype)
        self._width = width
        self._used = 0

    def append(self, values: np.ndarray) -> None:
        """Add values, shape (rows,) or (rows, width)."""
        end = self._used + values.size
        if end > self._array.size:
            self._array.resize(max(int(end * GROWTH), 1024), refcheck=False)
        self._array[self._used : end] = values.reshape(-1)
        self._used = end

    def take(self) -> np.ndarray:
        """Return all values, shape (rows, width); nothing is here any more."""
        array, self._array = self._array, np.empty(0, self._array.dtype)
        array.resize(self._used, refcheck=False)
        return array.reshape(-1, self._width)


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
        self._batches.append(Batch(batch.member, batch.unit, batch.first, batch.skipped, {}))
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
        times, values = self._times.take()[:, 0], self._values.take()
        ranks = np.empty(len(order), np.int32)
        ranks[order] = np.arange(len(order), dtype=np.int32)
        ranked = ranks[self._keys.take()[:, 0]]
        rows = None if _ascending(ranked, times) else np.lexsort((times, ranked))
        if rows is not None:
            ranked = ranked[rows]
        bounds = np.searchsorted(ranked, np.arange(len(order) + 1)).tolist()
        del ranked
        for rank, key in enumerate(order):
            part = slice(bounds[rank], bounds[rank + 1])
            if rows is None:
                yield OneSeries(key, times[part], values[part], None, part.start)
            else:
                yield OneSeries(key, times[rows[part]], values[rows[part]], rows[part], 0)


def _ascending(ranked: np.ndarray, times: np.ndarray) -> bool:
    """Say whether rows lie in order of series, then time: the usual case, which needs no sorting."""
    later = times[1:] >= times[:-1]
    later &= ranked[1:] == ranked[:-1]
    later |= ranked[1:] > ranked[:-1]
    return bool(later.all())
