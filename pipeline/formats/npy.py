"""Arrays in `.npy` and `.npz` files, read row by row and never unpickled: a pickle in a file runs what it likes.

A header is believed only where the file is exactly as long as it says.
"""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

import numpy as np

from pipeline.runtime.errors import DataRefused

SUFFIXES = (".npy", ".npz")
ROWS_AT_ONCE, BYTES_AT_ONCE = 1024, 1 << 24
MAX_BYTES = 1 << 40
"""What a header may promise."""
DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError)
"""What reading a damaged zip file ends in."""
LAST_SIGN, SURROGATES = 0x10FFFF, 0xD800 >> 11
"""The highest code point of Unicode; and the upper bits of those that are halves of signs."""
AGAIN = "Write it again with numpy.save, without objects."


@dataclass(frozen=True)
class ArrayFile:
    """One array of a file, opened below its header.

    Attributes:
        place: File, and where it has several the array's name, for messages.
        shape: As the header says.
        dtype: The same; never of objects.
    """

    place: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool
    file: IO[bytes]

    def rows(self) -> Iterator[np.ndarray]:
        """Yield the array along its first axis, some rows at a time, each shape (rows, ...).

        Raises:
            DataRefused: The file is shorter or longer than its header says.
        """
        row_bytes = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        if not self.shape:
            raise self._damaged("a single value")
        if self.fortran_order and len(self.shape) > 1:
            content = self._read(self.shape[0] * row_bytes)
            yield np.frombuffer(content, self.dtype).reshape(self.shape[::-1]).T
        else:
            at_once = max(1, min(ROWS_AT_ONCE, BYTES_AT_ONCE // max(1, row_bytes)))
            for first in range(0, self.shape[0], at_once):
                count = min(at_once, self.shape[0] - first)
                content = self._read(count * row_bytes)
                yield np.frombuffer(content, self.dtype).reshape(count, *self.shape[1:])
        if self._next(1):
            raise self._damaged("more bytes than that")

    def _read(self, count: int) -> bytes:
        parts = []
        left = count
        while left:
            part = self._next(min(left, 1 << 24))
            if not part:
                raise self._damaged(f"the end of the file {left:,} bytes before")
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _next(self, count: int) -> bytes:
        try:
            return self.file.read(count)
        except DAMAGE as error:
            raise self._damaged(str(error) or "a damaged member") from error

    def _damaged(self, received: str) -> DataRefused:
        return DataRefused(
            f"{self.place} is damaged. Expected shape {self.shape} of {self.dtype}, as its header says. "
            f"Received: {received}. {AGAIN}"
        )


def array_names(file: IO[bytes], name: str) -> list[str]:
    """Return the names of the arrays in a file: those of a `.npz`; of a `.npy` its own, without folder and suffix.

    Raises:
        DataRefused: It is no zip file, or holds something else than arrays.
    """
    if PurePosixPath(name).suffix.lower() == ".npy":
        return [PurePosixPath(name).stem]
    with _zip(file, name) as packed:
        return [PurePosixPath(inner).stem for inner in packed.namelist()]


@contextmanager
def opened_array(file: IO[bytes], name: str, array: str) -> Iterator[ArrayFile]:
    """Yield one array of a file.

    Args:
        file: Opened at its start, seekable.
        name: For messages; its suffix says what it is.
        array: One of `array_names`.

    Raises:
        DataRefused: It is damaged, or of objects.
    """
    if PurePosixPath(name).suffix.lower() == ".npy":
        yield _array(file, name)
        return
    with _zip(file, name) as packed:
        inner = next(one for one in packed.namelist() if PurePosixPath(one).stem == array)
        try:
            with packed.open(inner) as member:
                yield _array(member, f"{name}, array {array!r}")
        except DAMAGE as error:
            raise _unreadable(name, str(error)) from error


@contextmanager
def _zip(file: IO[bytes], name: str) -> Iterator[zipfile.ZipFile]:
    if file.read(4) != b"PK\x03\x04":
        raise _unreadable(name, "no zip file with arrays")
    try:
        packed = zipfile.ZipFile(file)
        strange = [inner for inner in packed.namelist() if not inner.endswith(".npy") or "/" in inner]
    except DAMAGE as error:
        raise _unreadable(name, str(error)) from error
    names = packed.namelist()
    if strange or len(set(names)) < len(names) or not names:
        raise _unreadable(name, f"the members {', '.join(strange or names) or '(none)'}")
    with packed:
        yield packed


def _array(file: IO[bytes], place: str) -> ArrayFile:
    try:
        # Version 3.0 is for names of columns, which no such array has: a KeyError here.
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran_order, dtype = readers[np.lib.format.read_magic(file)](file)
    # NumPy's reading of a damaged header ends in whatever Python's parser ends in.
    except Exception as error:
        raise _unreadable(place, str(error).split("\n")[0]) from error
    if dtype.hasobject or dtype.names or dtype.subdtype or dtype.itemsize == 0:
        raise DataRefused(
            f"{place} holds {dtype}. Expected numbers or texts of a fixed length. Received: what could only be "
            "read by running what stands in the file, or has no plain values. Write numbers, or names by "
            "`numpy.save(PATH, names.astype(str))`."
        )
    if (
        any(size < 0 for size in shape)
        or float(np.prod([float(size) for size in shape])) * dtype.itemsize > MAX_BYTES
    ):
        raise _unreadable(place, f"shape {shape}")
    return ArrayFile(place, shape, dtype, fortran_order, file)


def _unreadable(place: str, received: str) -> DataRefused:
    return DataRefused(
        f"{place} cannot be read. Expected an array of NumPy (.npy, .npz). Received: {received}. {AGAIN}"
    )


def whole(array: ArrayFile) -> np.ndarray:
    """Return all of an array, for those that are small: answers, groups.

    Raises:
        DataRefused: As `rows`; or text of four bytes a sign holds what is no sign at all, which Python would make
            another one of.
    """
    rows = list(array.rows())
    values = np.concatenate(rows) if rows else np.empty(array.shape, array.dtype)
    if values.dtype.kind == "U" and values.size:
        signs = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("=")).view(np.uint32)
        if wrong := signs[(signs > LAST_SIGN) | ((signs >> 11) == SURROGATES)].tolist():
            raise DataRefused(
                f"{array.place} holds what is no text. Expected Unicode, signs up to U+10FFFF. Received: "
                f"{wrong[0]:#x}. Write names by `numpy.save(PATH, names.astype(str))`."
            )
    return values
