"""One writer per store on this machine.

MLflow cannot be opened for the first time by several processes at once, finds no duplicates of runs and
versions, and moves aliases without compare-and-swap. A lock that dies with its holder closes all three
among the processes of a machine; the callers deal with other machines by looking again.
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from pipeline.runtime.stage import Busy, NotPermitted

LOCK_TIMEOUT_SECONDS = 600.0
"""Longer than any reconciliation; a holder that dies lets go at once."""


@contextmanager
def store_lock(uri: str, purpose: str, timeout_seconds: float = LOCK_TIMEOUT_SECONDS) -> Iterator[None]:
    """Hold the machine's only lock for a store and a purpose.

    Args:
        uri: The tracking URI, absolute: every process that means the same store writes it the same way.
        purpose: `open` or `record`; the two do not wait for each other.
        timeout_seconds: How long to wait for another holder.

    Raises:
        Busy: Another process held it all the time.
    """
    path = lock_path(uri, purpose)
    try:
        with filelock.FileLock(path, timeout=timeout_seconds):
            yield
    except filelock.Timeout:
        raise Busy(
            f"Another process has held {path} for {timeout_seconds:.0f} s. Expected it to finish with the "
            "MLflow store by now. Run the command again."
        ) from None


def lock_path(uri: str, purpose: str) -> Path:
    """Return the lock file: beside an sqlite database, otherwise in this user's private temporary folder."""
    if uri.startswith("sqlite:///"):
        return Path(uri.removeprefix("sqlite:///") + f".{purpose}.lock")
    name = hashlib.sha256(uri.encode()).hexdigest()[:16]
    return private_dir() / f"{name}.{purpose}.lock"


def private_dir() -> Path:
    """Return this user's folder for locks, made private.

    Raises:
        NotPermitted: Somebody else made a folder of that name, so it cannot be trusted.
    """
    folder = Path(tempfile.gettempdir()) / f"millrace-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise NotPermitted(
            f"{folder} is not a private folder of this user. Expected owner {os.getuid()} and mode 0700. "
            f"Received: owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):04o}. Remove it."
        )
    return folder
