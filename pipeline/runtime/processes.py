"""Other programs that ours starts, and what time it is: the places where a process meets the machine."""

import ctypes
import datetime as dt
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from pipeline.runtime import paths
from pipeline.runtime.errors import Busy

if TYPE_CHECKING:
    from rich.console import Console


PIPE = subprocess.PIPE
PR_SET_PDEATHSIG = 1
GRACE_SECONDS = 20.0
"""For a stage to write its checkpoint after SIGTERM."""
# Bound here: between fork and exec nothing may be loaded.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Answer(NamedTuple):
    """How a program ended.

    Attributes:
        code: Exit code, negative for a signal.
        out: Standard output, where it was captured.
        err: Standard error, where it was captured.
    """

    code: int
    out: str
    err: str


def run(
    command: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    given: str | None = None,
    out: IO[str] | int | None = PIPE,
    seconds: float | None = None,
    own_group: bool = False,
) -> Answer:
    """Run a program to its end and return what it answered; it never outlives this call.

    Args:
        command: Program and arguments.
        folder: Where it runs.
        environment: In place of ours.
        given: Text for its standard input.
        out: Where its output goes; `PIPE` captures it with the errors, None leaves both where ours go.
        seconds: Time limit.
        own_group: Nobody is there to type: no input, and what it starts in turn ends with it, with time to put things
            away; the kernel ends it when this process dies. For callers with one thread only.

    Raises:
        TimeoutExpired: Of `subprocess`; the time was up.
        OSError: There is no such program.
    """
    stdin = PIPE if given is not None else subprocess.DEVNULL if own_group else None
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=stdin,
        stdout=out,
        stderr=PIPE if out == PIPE else None,
        start_new_session=own_group,
        preexec_fn=end_with_parent if own_group else None,  # noqa: PLW1509  # one thread only
    )
    try:
        # Bytes: text mode would turn every CR of what others keep, a crontab say, into the end of a line.
        content = None if given is None else given.encode("utf-8", "surrogateescape")
        told, errors = process.communicate(content, timeout=seconds)
    except BaseException:
        if own_group:
            end_group(process)
        else:
            process.kill()
            process.wait()
        raise
    return Answer(process.returncode, _text(told), _text(errors))


def _text(said: bytes | None) -> str:
    return (said or b"").decode("utf-8", "surrogateescape")


def end_group(process: subprocess.Popen[bytes], grace_seconds: float = GRACE_SECONDS) -> None:
    """Ask a program and all it started to end, then make them."""
    for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    # dvc may be gone while its stage writes a checkpoint: nothing of the group may outlive this call.
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def end_with_parent() -> None:
    """Let the kernel kill this process when the one that started it dies (Linux)."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def naming_us() -> dict[str, str]:
    """Return the environment for a program of ours that dies with this process: see `die_with_parent`."""
    return os.environ | {"MILLRACE_PARENT": str(os.getpid())}


def now() -> dt.datetime:
    """Return the present moment in UTC; `MILLRACE_NOW` (ISO 8601) stands in for it: a month of nights in an hour.

    Raises:
        ValueError: `MILLRACE_NOW` is not a moment.
    """
    stated = os.environ.get("MILLRACE_NOW", "")
    if not stated:
        return dt.datetime.now(dt.UTC)
    try:
        moment = dt.datetime.fromisoformat(stated)
    except ValueError:
        raise ValueError(
            "MILLRACE_NOW is not a moment. Expected ISO 8601, such as 2026-03-01T02:30:00. "
            f"Received: MILLRACE_NOW={stated}. Correct or unset it."
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


LOCK_WAIT_SECONDS = 5.0
"""How long to wait for a predecessor that was killed a moment ago and has not let go of its lock yet."""


def die_with_parent() -> None:
    """Let the kernel kill this process when the one that started it dies (Linux).

    `pipeline/run` passes on who that was, which closes the gap before this call.
    """
    if sys.platform != "linux":
        return
    parent = int(os.environ.pop("MILLRACE_PARENT", os.getppid()))
    end_with_parent()
    if os.getppid() != parent:
        raise Busy("The process that started this stage is gone. Run the command again.")


def cpu_seconds(process: int | None) -> float | None:
    """Return the CPU time of all threads of a process so far, None where nothing tells: it is gone, or no Linux.

    Args:
        process: Its id.
    """
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # Its name stands in brackets and may hold blanks; user and system time are the 14th and 15th field.
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def acquire_lock(name: str, wait_seconds: float = LOCK_WAIT_SECONDS) -> IO[str]:
    """Take the lock of that name until the file is closed, or this process ends, however it ends.

    Raises:
        Busy: Another process holds it.
    """
    from filelock import lock_descriptor

    path = paths.STATE_DIR / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+")
    deadline = time.monotonic() + wait_seconds
    while not lock_descriptor(file.fileno(), blocking=False):
        if time.monotonic() >= deadline:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise Busy(f"{name} is already running (process {holder}). Wait for it, or stop it.")
        time.sleep(0.1)
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def terminal(*, errors: bool = False) -> "Console":
    """Return standard output, or that of errors, as rich sees it; logs get lines of 120 columns."""
    from pipeline.runtime.terminal import Terminal

    file = sys.stderr if errors else None
    width = None if (file or sys.stdout).isatty() else 120
    return Terminal(file=file, width=width, highlight=not errors)
