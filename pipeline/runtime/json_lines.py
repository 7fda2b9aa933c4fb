"""Files of JSON lines that only grow: a line is there completely, on the disk, or not at all.

One writer at a time, by a lock on the file. Half a line that a crash left is cut off by the next writer and passed
over by readers; a complete line that is no JSON object is damage, and never passed over: whoever counts lines would
count too few.
"""

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

from pipeline.runtime.files import fsync_dir
from pipeline.runtime.stage import StorageFailed

Record = Mapping[str, Any]


def append_line(path: Path, record: Record) -> None:
    """Add a line and wait until the disk has it.

    Raises:
        OSError: The disk is full or failed; the line counts as not written.
    """
    append_lines(path, lambda _content: [record])


def append_lines(path: Path, choose: Callable[[bytes], Iterable[Record]]) -> None:
    """Add lines that depend on those that are there, and wait until the disk has them.

    Args:
        path: The file; made with its folder if it is new.
        choose: Gets the content, complete lines only, while nobody else writes; returns what to add.

    Raises:
        OSError: The disk is full or failed; the lines count as not written.
        StorageFailed: As `choose` does, if it reads a damaged line.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        lock_descriptor(descriptor, poll_interval=0.01)
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.ftruncate(descriptor, whole)
        lines = as_lines(choose(content[:whole]))
        if not lines:
            return
        written = os.write(descriptor, lines)
        if written != len(lines):
            # What fitted must not be taken for a line by whoever appends next.
            os.ftruncate(descriptor, whole)
            raise OSError(errno.ENOSPC, f"{written} of {len(lines)} bytes fit", str(path))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    # Also where the file was there: whoever made it may have died before this.
    fsync_dir(path.parent)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a file, none where there is no file.

    Raises:
        StorageFailed: A complete line is not a JSON object: the file was edited or damaged.
    """
    return parsed_lines(path.read_bytes(), path) if path.is_file() else []


def parsed_lines(content: bytes, path: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a file's content; as `read_lines`."""
    return list(_records(content, path))


def lines_before_damage(path: Path) -> list[dict[str, Any]]:
    """Return the complete lines up to the first damaged one: of a file that only shows what is also kept elsewhere."""
    found: list[dict[str, Any]] = []
    if path.is_file():
        with suppress(StorageFailed):
            found.extend(_records(path.read_bytes(), path))
    return found


def as_lines(records: Iterable[Record]) -> bytes:
    """Return records as the lines of a file."""
    return b"".join(
        json.dumps(record, sort_keys=True, allow_nan=False, ensure_ascii=False).encode() + b"\n"
        for record in records
    )


def damaged(path: Path, number: int, line: bytes) -> StorageFailed:
    """Return the error that a line is not what was written there."""
    return StorageFailed(
        f"{path} is damaged at line {number}. Expected a JSON object as Millrace writes it. Received: {line[:60]!r}. "
        "Restore the file from a copy, or remove that line."
    )


def _records(content: bytes, path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise damaged(path, number, line) from error
        if not isinstance(record, dict):
            raise damaged(path, number, line)
        yield record
