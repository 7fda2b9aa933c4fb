"""Zip files as Millrace writes them, read so that no byte is left unexplained.

A zip can carry more than its list of members says: bytes before, between and behind them, two members of one
name, sizes that lie, members that unpack to a thousand times their size. Readers disagree about such files.
Ours (`artifacts.canonical_zip`) has stored members one after the other, their list and the end; nothing else
is read.
"""

import io
import re
import stat
import struct
import zipfile
from collections.abc import Collection
from pathlib import Path

from pipeline.runtime.stage import NotPermitted, StorageFailed

MAX_BYTES = 1_900 << 20
"""Of a whole file, 1.9 GB; beyond 2 GiB zip files need extensions that nothing here reads."""
MAX_MEMBERS = 64
MAX_LIST_BYTES = 16 << 10
"""Of the list of members at the end."""
FIRST, ZIP64_END, END = b"PK\x03\x04", b"PK\x06\x07", b"PK\x05\x06"
LOCAL_BYTES, LISTED_BYTES, ZIP64_END_BYTES, END_BYTES = 30, 46, 20, 22
"""What zip spends per member beside its name and content, twice, and at the end (APPNOTE 4.3)."""
SAFE_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")


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


def read_plain_zip(content: bytes, path: Path, expected: Collection[str] | None = None) -> dict[str, bytes]:
    """Return the members of a zip by name, after checking that it holds nothing else.

    Args:
        content: The whole file.
        path: For messages.
        expected: Names that must be there, each once and none beside; None takes any that are plain file names.

    Raises:
        StorageFailed: The file is damaged: cut off, or with content that does not fit its checksum.
        NotPermitted: The file is not one that Millrace wrote.
    """
    _check_ends(content, path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            listed = archive.infolist()
            _check_names([info.filename for info in listed], path, expected)
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


def _check_names(names: list[str], path: Path, expected: Collection[str] | None) -> None:
    if expected is not None and sorted(names) != sorted(expected):
        raise NotPermitted(
            f"{path} is not a model that Millrace wrote. Expected exactly the members "
            f"{', '.join(sorted(expected))}. Received: {', '.join(sorted(names))[:500]}. Do not load it."
        )
    wrong = [name for name in names if not SAFE_NAME.fullmatch(name) or names.count(name) > 1]
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
        f"{path} is damaged or not a Keras model. Expected a zip as Millrace writes it. Received: {received}. "
        "Remove the file and fetch or make it again."
    )
