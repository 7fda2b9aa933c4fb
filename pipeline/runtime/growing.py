"""Rows that come in one after the other and are more than memory should hold."""

import math
import os
import tempfile
from typing import IO

import numpy as np

from pipeline.runtime import paths

MOST_IN_MEMORY = 64 << 20
"""Bytes of one array; of more the rest lies in a file."""
ROWS_AT_ONCE = 1 << 20
SPILLED = paths.STATE_DIR / "rows"


def large_array(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Return a new array, in memory or, beyond `MOST_IN_MEMORY`, mapped from a file that is gone with the process.

    Raises:
        OSError: There is no room for it.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= MOST_IN_MEMORY:
        return np.empty(shape, dtype)
    with spilled() as file:
        # Now: where a disk is full, a mapped file kills the process that writes it.
        os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, dtype, "r+", shape=shape)


def spilled() -> IO[bytes]:
    """Return a new file without a name: beside the data, not in /tmp, which may lie in memory."""
    SPILLED.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=SPILLED)


class GrowingArray:
    """Rows of fixed width, appended one after the other: in memory, and from `MOST_IN_MEMORY` bytes on in a file.

    The file has no name, so that it is gone with the process.
    """

    def __init__(self, dtype: type, width: int = 1) -> None:
        self._dtype, self._width = np.dtype(dtype), width
        self._parts: list[np.ndarray] = []
        self._waiting = self._rows = 0
        self._file: IO[bytes] | None = None

    def append(self, values: np.ndarray) -> None:
        """Add values, shape (rows,) or (rows, width)."""
        rows = np.array(values, self._dtype).reshape(-1, self._width)
        self._parts.append(rows)
        self._waiting += rows.nbytes
        self._rows += len(rows)
        if self._waiting > MOST_IN_MEMORY:
            self._write()

    def part(self, start: int, stop: int) -> np.ndarray:
        """Return rows that follow each other, shape (stop - start, width)."""
        if self._file is None:
            if len(self._parts) != 1:
                self._parts = [np.concatenate([np.empty((0, self._width), self._dtype), *self._parts])]
            return self._parts[0][start:stop]
        if self._parts:
            self._write()
        array = np.empty((stop - start, self._width), self._dtype)
        self._file.seek(start * self._width * self._dtype.itemsize)
        content = self._file.read(array.nbytes)
        array[:] = np.frombuffer(content, self._dtype).reshape(-1, self._width)
        return array

    def taken(self, rows: np.ndarray) -> np.ndarray:
        """Return rows by their numbers, shape (len(rows), width), after one look through the file."""
        array = np.empty((len(rows), self._width), self._dtype)
        order = np.argsort(rows, kind="stable")
        wanted = rows[order]
        for start in range(0, self._rows, ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, self._rows)
            first, last = np.searchsorted(wanted, (start, stop))
            if first < last:
                array[order[first:last]] = self.part(start, stop)[wanted[first:last] - start]
        return array

    def _write(self) -> None:
        if self._file is None:
            self._file = spilled()
        self._file.seek(0, os.SEEK_END)
        for rows in self._parts:
            self._file.write(rows.tobytes())
        self._parts, self._waiting = [], 0
