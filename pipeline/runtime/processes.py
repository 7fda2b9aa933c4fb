"""Other programs that ours starts, and what time it is: the places where a process meets the machine."""

import ctypes
import datetime as dt
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

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
        encoding="utf-8",
        errors="surrogateescape",
        start_new_session=own_group,
        preexec_fn=end_with_parent if own_group else None,  # noqa: PLW1509  # one thread only
    )
    try:
        told, errors = process.communicate(given, timeout=seconds)
    except BaseException:
        if own_group:
            end_group(process)
        else:
            process.kill()
            process.wait()
        raise
    return Answer(process.returncode, told or "", errors or "")


def end_group(process: subprocess.Popen[str], grace_seconds: float = GRACE_SECONDS) -> None:
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
    """Return the environment for a program of ours that dies with this process: see `runtime.die_with_parent`."""
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
