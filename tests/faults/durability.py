"""What a power cut could still take away, read off a trace of system calls."""

import re
from collections.abc import Iterable
from pathlib import Path

FILE_CALL = re.compile(r"(write|pwrite64|writev|ftruncate|fsync|fdatasync)\(\d+<([^>]*)>.*= \d+")
RENAME_CALL = re.compile(
    r'rename(?:at2?)?\((?:AT_FDCWD[^,]*, )?"([^"]*)", (?:AT_FDCWD[^,]*, )?"([^"]*)".*\) = 0'
)


def not_durable(lines: Iterable[str], project: Path) -> list[str]:
    """Return what is wrong with the order of calls: a rename before the sync of its file, or one never synced.

    Args:
        lines: Of `strace -y`.
        project: The working directory; files outside of it do not count.
    """
    unsynced: set[Path] = set()
    problems = []
    for line in lines:
        if call := FILE_CALL.search(line):
            path = Path(call[2])
            if "sync" in call[1]:
                unsynced.discard(path)
            elif path.is_relative_to(project):
                unsynced.add(path)
        elif call := RENAME_CALL.search(line):
            before, after = (project / name for name in call.groups())
            if before in unsynced:
                problems.append(f"{after.name} was renamed before it was synced")
                unsynced.discard(before)
            unsynced.add(after.parent)
    return problems + [f"{path.relative_to(project)} was never synced" for path in sorted(unsynced)]
