"""Sees what a piece of code does: files it opens from Python, files of a folder that anybody opens, processes."""

import ctypes
import os
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

IN_NONBLOCK, IN_OPEN, IN_ACCESS = 0o4000, 0x20, 0x1
ACTIONS = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "socket.connect",
    "pickle.find_class",
)
WRITES = ("os.remove", "os.rename", "os.mkdir", "os.symlink", "os.link", "os.chmod")
_seen: list[tuple[str, str]] = []
_watching = False


def _hook(event, arguments):
    if not _watching:
        return
    if event == "open" and isinstance(arguments[0], str | bytes):
        _seen.append((event, os.fsdecode(arguments[0])))
    elif event in ACTIONS + WRITES:
        _seen.append((event, str(arguments[0] if arguments else "")))


sys.addaudithook(_hook)


@contextmanager
def witness(model: Path, secret_dir: Path):
    """Yield a list that afterwards holds everything the body did that loading a model does not need.

    Python's own audit events show what Python does; inotify shows who opens the victim's files, also from C.
    """
    global _watching
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(IN_NONBLOCK)
    libc.inotify_add_watch(descriptor, os.fsencode(secret_dir), IN_OPEN | IN_ACCESS)
    found: list[tuple[str, str]] = []
    _seen.clear()
    _watching = True
    try:
        yield found
    finally:
        _watching = False
        found += [what for what in _seen if not _needed(what, model)]
        with suppress(BlockingIOError):
            found.append(("opened", str(os.read(descriptor, 4096))))
        os.close(descriptor)


def _needed(what, model):
    event, name = what
    if what == ("os.remove", "model.keras") or name.startswith(str(Path(tempfile.gettempdir(), "millrace-"))):
        return True  # the loader's own temporary folder
    libraries = (
        sys.prefix,
        sys.base_prefix,
        str(Path(__file__).resolve().parents[2] / "pipeline"),
        "/proc/",
        "/sys/",
    )
    return event == "open" and (name == str(model) or name.startswith(libraries))
