"""One writer in a process of its own, in which the kernel fails or kills at the Nth call of a kind (strace).

The process is a fork of this one, so that nothing is imported anew, and counts only what it does after `go`: strace
is attached while it waits. How far it came stands in shared memory, which takes no system call that could fail.
"""

import mmap
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pipeline.runtime.stage import code_of

SYSCALLS = (
    "openat", "write", "pwrite64", "writev", "fsync", "fdatasync", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir",
    "chmod", "fchmodat", "ftruncate", "lseek", "close", "symlink", "rmdir",
)  # fmt: skip
"""What changes a disk, what says that it was changed, and the openings before it."""
NAMES = (
    "openat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "chmod",
    "fchmodat",
    "symlink",
    "rmdir",
)
"""Calls that take a name, which may be refused; those that move bytes run into a quota instead."""
LIMIT_SECONDS = 60.0


class Fault(NamedTuple):
    """The Nth call of a kind, and what becomes of it: an error of errno(3), or KILL before it is carried out."""

    syscall: str
    number: int
    error: str

    def __str__(self) -> str:
        return f"{self.syscall}:{self.number}:{self.error}"


def errors_of(syscall: str) -> tuple[str, ...]:
    """Return what can become of a call of that kind."""
    if syscall in ("close", "lseek"):
        return ("KILL",)
    return ("EIO", "ENOSPC", "EACCES" if syscall in NAMES else "EDQUOT", "KILL")


def parsed(text: str) -> Fault:
    """Return the fault of its text, `fsync:3:EIO`."""
    syscall, number, error = text.split(":")
    return Fault(syscall, int(number), error)


@dataclass(frozen=True)
class Ending:
    """How the process ended.

    Attributes:
        acknowledged: Number of the last write that returned.
        how: `finished`, `killed`, `hung`, or the message of the exception.
        exit_code: Of docs/guides/exit-codes.md, as a stage would have ended; 137 if killed.
        counts: How often each call was made.
    """

    acknowledged: int
    how: str
    exit_code: int
    counts: Counter


def strace_problem() -> str:
    """Return why calls cannot be made to fail here, or nothing."""
    if shutil.which("strace") is None:
        return "no strace; `apt-get install strace`"
    command = ["strace", "-o", os.devnull, "-e", "inject=fsync:error=EIO:when=1", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"strace cannot trace here: {done.stderr.strip()[-200:]}" if done.returncode else ""


def run(write: Callable[[int], None], first: int, last: int, fault: Fault | None, trace_path: Path) -> Ending:
    """Call `write(first)` to `write(last)` in a forked process, with a fault or without.

    Args:
        write: Writes the version of that number.
        first: Number of the first version to be written.
        last: Number of the last one.
        fault: What goes wrong; None only counts.
        trace_path: Where strace writes what it saw.
    """
    shared = mmap.mmap(-1, 4096)
    go_read, go_write = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.close(go_write)
        _write_all(write, first, last, shared, go_read)
    os.close(go_read)
    tracer = _attach(pid, fault, trace_path)
    os.write(go_write, b"g")
    os.close(go_write)
    status = _wait(pid)
    tracer.wait()
    assert tracer.stderr is not None
    tracer.stderr.close()
    acknowledged = first - 1 + shared[0]
    counts = Counter(
        line.split("(")[0].split()[-1] for line in trace_path.read_text().splitlines() if "(" in line
    )
    if status is None:
        return Ending(acknowledged, "hung", 1, counts)
    if os.WIFSIGNALED(status):
        return Ending(acknowledged, "killed", 128 + os.WTERMSIG(status), counts)
    message = bytes(shared[2:]).rstrip(b"\0").decode(errors="replace")
    return Ending(acknowledged, message or "finished", os.WEXITSTATUS(status), counts)


def _write_all(write: Callable[[int], None], first: int, last: int, shared: mmap.mmap, go: int) -> None:
    """The life of the forked process."""
    code = 0
    try:
        os.read(go, 1)
        for number in range(first, last + 1):
            write(number)
            shared[0] = number - first + 1
    except BaseException as error:
        code = code_of(error)[0]
        said = f"{type(error).__name__}: {error}".encode()[:4000]
        shared[2 : 2 + len(said)] = said
    finally:
        os._exit(code)


def _attach(pid: int, fault: Fault | None, trace_path: Path) -> subprocess.Popen:
    command = [
        "strace",
        "-f",
        "-y",
        "-p",
        str(pid),
        "-o",
        str(trace_path),
        "-e",
        f"trace={','.join(SYSCALLS)}",
    ]
    if fault is not None:
        what = "signal=SIGKILL" if fault.error == "KILL" else f"error={fault.error}"
        command += ["-e", f"inject={fault.syscall}:{what}:when={fault.number}"]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    said = ""
    while "attached" not in said:
        said = tracer.stderr.readline()
        if not said:
            os.kill(pid, signal.SIGKILL)
            raise RuntimeError(f"strace did not attach: {' '.join(command)}")
    return tracer


def _wait(pid: int) -> int | None:
    """Return the wait status of a process; None if it had to be killed."""
    hung = threading.Event()

    def give_up() -> None:
        hung.set()
        os.kill(pid, signal.SIGKILL)

    timer = threading.Timer(LIMIT_SECONDS, give_up)
    timer.start()
    _, status = os.waitpid(pid, 0)
    timer.cancel()
    return None if hung.is_set() else status
