"""Arrays in `.npz` files that travel with a model: equal arrays give equal bytes, and no header is trusted."""

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts import canonical_zip
from pipeline.plain_zip import read_bounded, read_plain_zip, refused
from pipeline.runtime import StorageFailed

MAX_NPZ_BYTES = 256 << 20
KINDS = "biuf"
"""Booleans, whole numbers, floats: no objects, which are pickles, and no records or texts."""


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name to `path`, all or nothing."""
    named: dict[str, Any] = dict(arrays)
    # In memory: a folder of temporary files would outlive a kill.
    with io.BytesIO() as as_numpy_writes:
        np.savez(as_numpy_writes, **named)
        # Python 3.11.2 and 3.11.7 write other bytes for the same arrays; rewritten, they are equal.
        canonical_zip(as_numpy_writes, path)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file by name.

    Args:
        path: As `write_npz` writes it.

    Raises:
        FileNotFoundError: There is no such file.
        StorageFailed: It is damaged.
        NotPermitted: It holds more than plain arrays, or is too large.
    """
    members = read_plain_zip(read_bounded(path, MAX_NPZ_BYTES), path)
    return {name.removesuffix(".npy"): _array(name, content, path) for name, content in members.items()}


def _array(name: str, content: bytes, path: Path) -> np.ndarray:
    """Return the array of one member, once its header fits the bytes that follow."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise refused(path, "has arrays in an unknown format", "version (1, 0)", f"{name}: {version}")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    except ValueError as error:
        raise StorageFailed(
            f"{path} is damaged. Expected arrays as NumPy writes them. Received: {name}: {str(error)[:200]}. "
            "Fetch or make it again."
        ) from error
    held, declared = len(content) - file.tell(), math.prod(shape) * dtype.itemsize
    if dtype.kind not in KINDS or dtype.hasobject or fortran:
        raise refused(path, "has arrays that are no plain numbers", "numbers in C order", f"{name}: {dtype}")
    if held != declared:
        raise refused(
            path, "declares arrays that it does not hold", f"{held:,} bytes", f"{name}: {declared:,}"
        )
    return np.frombuffer(content, dtype, offset=file.tell()).reshape(shape).copy()
