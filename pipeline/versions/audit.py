"""What people did to the champion on this machine: `.millrace/audit.jsonl`, which only ever grows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.runtime import paths
from pipeline.runtime.json_lines import append_line, read_lines

AUDIT_LOG = paths.STATE_DIR / "audit.jsonl"


def append_audit(entry: Mapping[str, Any], path: Path = AUDIT_LOG) -> None:
    """Add one line, on the disk before this returns.

    Raises:
        OSError: The disk is full or failed; the entry counts as not written.
    """
    append_line(path, entry)


def read_audit(path: Path = AUDIT_LOG) -> list[dict[str, Any]]:
    """Return all entries, oldest first.

    Raises:
        StorageFailed: A line is damaged.
    """
    return read_lines(path)
