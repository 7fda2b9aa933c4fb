"""What a model file may hold, byte by byte: the zip around it, and the weights inside, before Keras opens either."""

import hashlib
import io
import math
import re
import stat
import struct
import zipfile
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import h5py
import numpy as np

from pipeline.runtime.errors import NotPermitted, StorageFailed

# --- Zip files as Millrace writes them, read so that no byte is left unexplained.
#
# A zip can carry more than its list of members says: bytes before, between and behind them, two members of
# one name, sizes that lie, members that unpack to a thousand times their size. Readers disagree about such
# files. Ours (`files.canonical_zip`) has stored members one after the other, their list and the end;
# nothing else is read.

MAX_BYTES = 1_900 << 20
"""Of a whole file, 1.9 GB; beyond 2 GiB zip files need extensions that nothing here reads."""
MAX_MEMBERS = 64
MAX_LIST_BYTES = 16 << 10
"""Of the list of members at the end."""
FIRST, ZIP64_END, END = b"PK\x03\x04", b"PK\x06\x07", b"PK\x05\x06"
LOCAL_BYTES, LISTED_BYTES, ZIP64_END_BYTES, END_BYTES = 30, 46, 20, 22
"""What zip spends per member beside its name and content, twice, and at the end (APPNOTE 4.3)."""
SAFE_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
SAFE_PATH = re.compile(r"[A-Za-z0-9_-]+([./][A-Za-z0-9_-]+)*")
"""The same below folders: no part begins with a dot, so none leads upwards."""


def read_bounded(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a file that is not too large.

    Raises:
        NotPermitted: It is larger.
    """
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise NotPermitted(
            f"{path} is too large to be read. Expected at most {max_bytes:,} bytes. Received: "
            f"{path.stat().st_size:,}. Make a smaller model; do not use a file that others made."
        )
    return content


def read_plain_zip(
    content: bytes,
    path: Path,
    expected: Collection[str] | None = None,
    names: re.Pattern[str] = SAFE_NAME,
) -> dict[str, bytes]:
    """Return the members of a zip by name, after checking that it holds nothing else.

    Args:
        content: The whole file.
        path: For messages.
        expected: Names that must be there, each once and none beside; None takes any that `names` allows.
        names: What a name may be: plain file names, or paths below the zip's own place.

    Raises:
        StorageFailed: The file is damaged: cut off, or with content that does not fit its checksum.
        NotPermitted: The file is not one that Millrace wrote.
    """
    _check_ends(content, path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            listed = archive.infolist()
            _check_names([info.filename for info in listed], path, expected, names)
            _check_listed(listed, content, path)
            damaged = archive.testzip()
            if damaged is None:
                return {info.filename: archive.read(info) for info in listed}
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError, struct.error) as error:
        raise _damaged(path, str(error)) from error
    raise StorageFailed(
        f"{path} is damaged. Expected {damaged} to fit its checksum. Received: other content. "
        "Remove the file and fetch or make it again."
    )


def refused(path: Path, fault: str, expected: str, received: object) -> NotPermitted:
    """Return the error for a file that is not as Millrace writes it.

    Args:
        path: The file.
        fault: What is wrong, after the name of the file.
        expected: What its place should hold.
        received: What it holds.
    """
    return NotPermitted(
        f"{path} {fault}. Expected {expected}. Received: {received}. No file of Millrace is like that: do not load "
        "it, and find out who wrote it."
    )


def _check_ends(content: bytes, path: Path) -> None:
    """Look at the first and the last bytes, before zipfile reads a list of any length."""
    if not content.startswith(FIRST):
        raise _damaged(path, "a file that does not begin as a zip")
    if content[-END_BYTES:-18] != END:
        cut = "bytes behind its end" if END in content[-(1 << 16) :] else "a file without its end"
        raise _damaged(path, cut)
    disk, list_disk, here, members, size, start, comment = struct.unpack("<4H2LH", content[-18:])
    if content[-END_BYTES - ZIP64_END_BYTES :].startswith(ZIP64_END):
        raise refused(path, "has a second end (zip64), with sizes of its own", "one end", "two")
    if (disk, list_disk, comment) != (0, 0, 0) or here != members:
        raise refused(path, "is in parts or has a comment", "one part without one", f"parts={disk + 1}")
    if members > MAX_MEMBERS or size > MAX_LIST_BYTES:
        raise refused(path, "has too many members", f"at most {MAX_MEMBERS}", f"{members} in {size:,} bytes")
    if start + size + END_BYTES != len(content):
        raise refused(
            path,
            "has bytes that belong to no member",
            f"its list at {len(content) - END_BYTES - size:,}",
            start,
        )


def _check_names(
    names: list[str], path: Path, expected: Collection[str] | None, allowed: re.Pattern[str]
) -> None:
    if expected is not None and sorted(names) != sorted(expected):
        raise NotPermitted(
            f"{path} is not a model that Millrace wrote. Expected exactly the members "
            f"{', '.join(sorted(expected))}. Received: {', '.join(sorted(names))[:500]}. Do not load it."
        )
    wrong = [name for name in names if not allowed.fullmatch(name) or names.count(name) > 1]
    if wrong:
        raise refused(path, "has members with unsafe names", "plain file names, each once", repr(wrong[0]))


def _check_listed(listed: list[zipfile.ZipInfo], content: bytes, path: Path) -> None:
    """Check that stored members, one after the other, and their list account for every byte."""
    position, length_of_list = 0, 0
    for info in listed:
        name = info.filename
        if info.flag_bits & 1:
            raise refused(path, "has an encrypted member", "none", name)
        if info.compress_type != zipfile.ZIP_STORED:
            packed = f"{name}, {info.compress_size:,} bytes that unpack to {info.file_size:,}"
            raise refused(path, "has a compressed member, which may be a bomb", "stored members", packed)
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise refused(path, "has a member that is a link or a device", "plain files", name)
        if info.file_size != info.compress_size:
            sizes = f"{info.compress_size:,} bytes of {name}", f"{info.file_size:,} bytes"
            raise refused(path, "lies about the size of a member", *sizes)
        if info.header_offset != position or info.extra or info.comment:
            places = f"{name} at byte {position:,}, and no more said of it", f"byte {info.header_offset:,}"
            raise refused(path, "has something between its members", *places)
        name_bytes = len(name.encode())
        position += LOCAL_BYTES + name_bytes + info.file_size
        length_of_list += LISTED_BYTES + name_bytes
    if position + length_of_list + END_BYTES != len(content):
        accounted = position + length_of_list + END_BYTES
        raise refused(path, "has bytes that belong to no member", f"{accounted:,} bytes", f"{len(content):,}")


def _damaged(path: Path, received: str) -> StorageFailed:
    return StorageFailed(
        f"{path} is damaged, or no file that Millrace wrote. Expected a zip as it writes them. Received: {received}. "
        "Remove the file and fetch or make it again."
    )


# --- The weights inside a model file: plain arrays in an HDF5 file, and nothing that leads out of it.
#
# HDF5 can point to other files (links, external storage, virtual data sets), run filters from plug-ins,
# declare arrays of any size without holding them, and let a group contain itself. Keras' own file has none of
# that.

SIGNATURE = b"\x89HDF\r\n\x1a\n"
DTYPE = "float32"
MAX_OBJECTS = 20_000
MAX_DEPTH = 32
MAX_NAME_BYTES = 1_000
SAFE_GROUP_NAME = re.compile(r"[A-Za-z0-9_]{1,200}")
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
            if not SAFE_GROUP_NAME.fullmatch(name):
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
