"""Files of JSON lines that only grow: a line is there completely, on the disk, or not at all."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.artifacts import fsync_dir


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Add a line and wait until the disk has it; half a line that a crash left is cut off first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("ab+") as file:
        _cut_torn_line(file.fileno(), path)
        file.seek(0, os.SEEK_END)
        file.write(json.dumps(record, sort_keys=True, allow_nan=False, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    if new:
        fsync_dir(path.parent)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a file, none where there is no file.

    Raises:
        ValueError: A complete line is not JSON: the file was edited or damaged.
    """
    if not path.is_file():
        return []
    complete, _, _torn = path.read_bytes().rpartition(b"\n")
    records = []
    for number, line in enumerate(complete.split(b"\n") if complete else [], 1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise ValueError(
                f"{path} is damaged at line {number}. Expected a JSON object per line. Received: {line[:60]!r}. "
                "Remove that line."
            ) from error
    return records


def _cut_torn_line(descriptor: int, path: Path) -> None:
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.ftruncate(descriptor, path.read_bytes().rfind(b"\n") + 1)
