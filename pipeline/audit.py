"""What people did to the champion on this machine: `.millrace/audit.jsonl`, which only ever grows."""

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import paths

AUDIT_LOG = paths.STATE_DIR / "audit.jsonl"


def append_audit(entry: Mapping[str, Any], path: Path = AUDIT_LOG) -> None:
    """Add one line, on the disk before this returns.

    The line is written in one call at the end of the file, so that two writers do not mix; a line that a power cut
    tore gets a line of its own.

    Raises:
        OSError: The disk is full or failed; the entry counts as not written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dict(entry), sort_keys=True) + "\n"
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        line = (("\n" if torn else "") + text).encode()
        written = os.write(descriptor, line)
        if written != len(line):
            # The rest in a second call would either fail as well, or land behind another writer's line.
            raise OSError(errno.ENOSPC, f"{written} of {len(line)} bytes fit", str(path))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_audit(path: Path = AUDIT_LOG) -> list[dict[str, Any]]:
    """Return all entries, oldest first; a torn line is left out."""
    if not path.is_file():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return entries
