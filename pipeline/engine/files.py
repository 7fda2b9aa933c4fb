"""The files of a job as one set: as its folder held them at one moment, handed on, and laid down whole.

A set is what a kill at that moment would have left in the folder, so that whatever goes on after a kill goes on from
it, to the same bytes. Files of two moments are no set: a curve could lack the epochs that a checkpoint has.
"""

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np

from pipeline.engine.work import HERE
from pipeline.runtime.errors import say
from pipeline.runtime.files import atomic_path, fsync_dir

LOOK_SECONDS = 2.0
"""Between two looks at a folder: who watches sees a line that soon, and a machine that is lost costs little more."""
SHARE = 0.1
"""Of the time, for bringing files back: a set that takes a minute to arrive goes every ten."""
Files = Mapping[str, np.ndarray]
"""Path below a folder to content, uint8: arrays are handed on without a copy."""
Stamps = Mapping[str, tuple[int, int, int]]
"""Path below a folder to inode, size (bytes) and time of the last change (ns)."""


def read(folder: Path, below: Sequence[Path] = (HERE,)) -> Files:
    """Return files of a folder that nobody writes to.

    Args:
        folder: Where they lie; there may be none.
        below: Files and folders in it.
    """
    found = [path for start in below for path in (folder / start, *(folder / start).rglob("*"))]
    return {
        path.relative_to(folder).as_posix(): np.fromfile(path, np.uint8)
        for path in found
        if path.is_file() and "__pycache__" not in path.parts
    }


def stamps(folder: Path) -> Stamps:
    """Return how the files of a folder look from outside, without the drafts of `atomic_path`."""
    found = {}
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names if not name.startswith(".")):
            with suppress(FileNotFoundError):  # gone since it was listed
                status = path.stat()
                found[path.relative_to(folder).as_posix()] = (
                    status.st_ino,
                    status.st_size,
                    status.st_mtime_ns,
                )
    return found


def of_one_moment(folder: Path) -> tuple[Stamps, Files]:
    """Return the files of a folder that is written to, all as they were at one moment.

    Whoever writes there replaces files by renaming or adds to their end, so that one that is open keeps what it held.
    """
    while True:
        with suppress(FileNotFoundError), ExitStack() as opened:
            before = stamps(folder)
            files = {name: opened.enter_context((folder / name).open("rb")) for name in before}
            # Opening takes microseconds, reading does not: hardly ever has something changed meanwhile.
            if stamps(folder) == before:
                sizes = {name: size for name, (_, size, _) in before.items()}
                return before, {name: np.fromfile(files[name], np.uint8, sizes[name]) for name in before}


@contextmanager
def brought_back(folder: Path, send: Callable[[Files], None]) -> Iterator[None]:
    """Send the files of a folder whenever some have changed, until the block ends, and once more where it fails.

    Args:
        folder: Of a job that runs in the block.
        send: Returns when they have arrived.
    """
    over = threading.Event()
    sent, told = stamps(folder), False

    def bring() -> None:
        nonlocal sent, told
        try:
            if stamps(folder) != sent:
                seen, files = of_one_moment(folder)
                send(files)
                sent = seen
        except Exception as error:  # noqa: BLE001 - no trouble on the way ends a job, or hides what ended it
            if not told:
                say(f"Files of a job could not be sent: {error!r}", file=sys.stderr)
            told = True

    def look() -> None:
        pause = LOOK_SECONDS
        while not over.wait(pause):
            begun = time.monotonic()
            bring()
            pause = max(LOOK_SECONDS, (time.monotonic() - begun) * (1 / SHARE - 1))

    # Not the job, but this in a thread: the kernel ends a child with the thread that started it.
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    failed = True
    try:
        yield
        failed = False
    finally:
        over.set()
        thread.join()
        if failed:
            bring()


def write(files: Files, folder: Path) -> None:
    """Write files into an empty folder."""
    for name, content in files.items():
        with atomic_path(folder / name) as draft:
            content.tofile(draft)


def lay(files: Files, folder: Path) -> None:
    """Make a folder hold these files and no others: a kill leaves all of the old ones or all of the new ones."""
    if not files and not folder.exists():
        return
    new, old = _beside(folder)
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    new.mkdir(parents=True)
    write(files, new)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    fsync_dir(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def settle(folder: Path) -> None:
    """Bring back the old files where `lay` was killed after it had put them aside."""
    _, old = _beside(folder)
    if old.exists() and not folder.exists():
        old.rename(folder)


def _beside(folder: Path) -> tuple[Path, Path]:
    return folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
