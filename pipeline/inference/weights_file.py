"""The weights inside a model file: plain arrays in an HDF5 file, and nothing that leads out of it.

HDF5 can point to other files (links, external storage, virtual data sets), run filters from plug-ins, declare
arrays of any size without holding them, and let a group contain itself. Keras' own file has none of that.
"""

import hashlib
import io
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from pipeline.inference.plain_zip import refused
from pipeline.runtime.stage import StorageFailed

SIGNATURE = b"\x89HDF\r\n\x1a\n"
DTYPE = "float32"
MAX_OBJECTS = 20_000
MAX_DEPTH = 32
MAX_NAME_BYTES = 1_000
SAFE_NAME = re.compile(r"[A-Za-z0-9_]{1,200}")

Shapes = Counter[tuple[int, ...]]
"""How many arrays of each shape."""


def check_weights(content: bytes, path: Path) -> Shapes:
    """Check an HDF5 file of weights and return the shapes of its arrays.

    Args:
        content: Of `model.weights.h5`.
        path: For messages.

    Raises:
        StorageFailed: It is damaged.
        NotPermitted: It holds what a file of weights never does.
    """
    if not content.startswith(SIGNATURE):
        raise refused(path, "has weights that are no HDF5 file", "its signature first", repr(content[:8]))
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            arrays = _walk(file, path)
            total = sum(array.nbytes for array in arrays)
            if total > len(content):
                raise refused(
                    path, "declares more weights than it holds", f"{len(content):,} bytes", f"{total:,}"
                )
            return Counter(array.shape for array in arrays)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, MemoryError) as error:
        raise StorageFailed(
            f"{path} has weights that cannot be read. Expected an HDF5 file as Keras writes it. Received: "
            f"{str(error)[:300]}. Remove the file and fetch or make it again."
        ) from error


def arrays_missing(content: bytes, arrays: Sequence[np.ndarray], path: Path) -> int:
    """Return how many arrays do not stand in an HDF5 file of weights bit by bit, wherever they may stand.

    Args:
        content: Of `model.weights.h5`.
        arrays: What was to be written.
        path: For messages.

    Raises:
        OSError: It cannot be read.
        NotPermitted: It holds what a file of weights never does.
    """
    with h5py.File(io.BytesIO(content), "r") as file:
        held = Counter(_digest(array[()]) for array in _walk(file, path))
    return (Counter(map(_digest, arrays)) - held).total()


def _digest(array: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    return array.shape, hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()


def _walk(file: h5py.File, path: Path) -> list[h5py.Dataset]:
    """Return all arrays of a file, following nothing but plain links, each object once."""
    found, seen, waiting = [], {_address(file)}, [(file, 0)]
    while waiting:
        group, depth = waiting.pop()
        _check_attributes(group, path)
        if depth > MAX_DEPTH or len(seen) + len(group) > MAX_OBJECTS:
            raise refused(
                path, "has too many groups in each other", f"{MAX_DEPTH} levels", f"{depth} or more"
            )
        for name in group:
            if not SAFE_NAME.fullmatch(name):
                raise refused(
                    path, "has weights with unsafe names", "letters, digits and _", repr(name[:100])
                )
            link, kind = group.get(name, getlink=True), group.get(name, getclass=True, getlink=True)
            if kind is not h5py.HardLink:
                raise refused(
                    path,
                    "has weights that lie elsewhere",
                    "plain arrays",
                    f"{group.name}: {name} is {_told(link)}",
                )
            item = group[name]
            if _address(item) in seen:
                raise refused(path, "has one part at two places", "each part once", f"{group.name}: {name}")
            seen.add(_address(item))
            if isinstance(item, h5py.Group):
                waiting.append((item, depth + 1))
            else:
                _check_array(item, name, path)
                found.append(item)
    return found


def _check_attributes(item: h5py.Group, path: Path) -> None:
    """Allow the name that Keras gives a group; an attribute can be as large and strange as an array."""
    if len(item.attrs) == 0:
        return
    if len(item.attrs) > 1 or "name" not in item.attrs:
        raise refused(path, "has unknown attributes", "name", f"{item.name}: {len(item.attrs)} attributes")
    attribute = item.attrs.get_id("name")
    if (
        attribute.shape != ()
        or attribute.get_storage_size() > MAX_NAME_BYTES
        or attribute.dtype.kind not in "OS"
    ):
        raise refused(
            path, "has unknown attributes", "name as a short text", f"{item.name}: {attribute.dtype}"
        )


def _check_array(item: object, name: str, path: Path) -> None:
    """Check that an array is plain numbers that lie in this file, uncompressed and complete."""
    if not isinstance(item, h5py.Dataset):
        raise refused(
            path, "has a part that is neither group nor array", "arrays", f"{name}: {type(item).__name__}"
        )
    made = item.id.get_create_plist()
    if made.get_external_count() or made.get_layout() == h5py.h5d.VIRTUAL:
        raise refused(path, "has weights that lie in other files", "arrays in the file itself", name)
    if made.get_nfilters() or made.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT):
        raise refused(
            path, "has weights in pieces or behind filters, which may be plug-ins", "plain arrays", name
        )
    if str(item.dtype) != DTYPE:
        raise refused(path, "has weights that are no plain numbers", DTYPE, f"{name}: {item.dtype}")
    declared = math.prod(item.shape or ()) * item.dtype.itemsize
    if len(item.attrs) or item.shape is None or item.id.get_storage_size() != declared:
        held = f"{name}: {item.shape} in {item.id.get_storage_size():,} bytes"
        raise refused(path, "declares weights that it does not hold", "as many bytes as declared", held)


def _address(item: h5py.Group | h5py.Dataset) -> int:
    return int(h5py.h5o.get_info(item.id).addr)


def _told(link: object) -> str:
    """Return what a link says, for the message."""
    target = getattr(link, "filename", ""), getattr(link, "path", "")
    return f"{type(link).__name__} {':'.join(part for part in target if part)[:100]}"
