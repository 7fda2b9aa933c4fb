"""The frame around every stage: one owner, frozen inputs, a clear end.

A stage started by DVC can be orphaned (DVC killed, the stage runs on beside its successor), can read
inputs that change while it runs (DVC hashes them only afterwards) and can be handed a damaged cache
object. `stage` closes these three holes and turns exceptions into messages and exit codes.
"""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from pipeline.runtime import paths
from pipeline.runtime.files import content_key, write_json
from pipeline.runtime.processes import end_with_parent
from pipeline.runtime.stage_inputs import Snapshot
from pipeline.runtime.strict_yaml import ParamsError

if TYPE_CHECKING:
    from rich.console import Console

LOCK_WAIT_SECONDS = 5.0
"""How long to wait for a predecessor that was killed a moment ago and has not let go of its lock yet."""


class UserError(Exception):
    """A problem that the user can mend; the message says how."""

    exit_code = 70
    meaning = "internal error"


class WronglyCalled(UserError):
    """The options of a command do not fit together."""

    exit_code = 64
    meaning = "wrongly called"


class GateRefused(UserError):
    """All went well, and the new model is not the champion."""

    exit_code = 3
    meaning = "the gate refused"


class DataRefused(UserError):
    """The data is not fit for training."""

    exit_code = 65
    meaning = "data refused"


class InputMissing(UserError):
    """A file that an earlier step makes is not there."""

    exit_code = 66
    meaning = "input missing"


class ServiceDown(UserError):
    """A server did not answer."""

    exit_code = 69
    meaning = "service down"


class StorageFailed(UserError):
    """Reading or writing failed, or stored bytes are damaged."""

    exit_code = 74
    meaning = "input/output error"


class Busy(UserError):
    """Somebody else is at it; the same command works later."""

    exit_code = 75
    meaning = "busy, try again"


class NotPermitted(UserError):
    """Refused for safety, or by the file system."""

    exit_code = 77
    meaning = "not permitted"


class Terminated(BaseException):
    """SIGTERM arrived."""


@dataclass
class Stage:
    """What the body of a stage may use.

    Attributes:
        name: As in dvc.yaml, `train@cnn`.
        inputs_key: sha256 (hex) over the content of all inputs and parameters of the stage.
        console: Standard output, aware of whether it is a terminal.
    """

    name: str
    inputs_key: str
    console: "Console"
    _lock: IO[str] | None = field(default=None, repr=False)


@contextmanager
def running_stage(name: str) -> Iterator[Stage]:
    """Run the body of a stage: alone, on inputs that do not change, with a clear exit code.

    Args:
        name: The stage as dvc.yaml calls it, with `@candidate` where there is one.

    Yields:
        The running stage. The working directory is the project's root.

    Raises:
        SystemExit: With the exit code of `docs/guides/exit-codes.md` when anything goes wrong.
    """
    with exit_codes(name):
        die_with_parent()
        os.chdir(paths.project_root())
        lock = acquire_lock(name)
        snapshot = Snapshot.take(name)
        edited = snapshot.edited_since(_started())
        if edited:
            raise Busy(
                f"{name}: {', '.join(edited)} changed while the stage started, so that it may run older code than "
                "dvc.lock would record. Expected code that stays as it is. Run `dvc repro` again."
            )
        damaged = snapshot.differing_from_lock() if "DVC_STAGE" in os.environ else []
        if damaged:
            raise StorageFailed(
                f"{name}: {', '.join(damaged)} differ from what dvc.lock recorded when they were made: edited by "
                "hand, or damaged in DVC's cache. Expected the recorded md5. Remove the file (and its object under "
                ".dvc/cache if damaged) and run `dvc repro` again."
            )
        yield Stage(name, content_key([snapshot.digests, snapshot.params]), terminal(), lock)
        changed = snapshot.changed()
        if changed:
            raise Busy(
                f"{name}: {', '.join(changed)} changed while the stage ran, so its result belongs to neither "
                "version and was not recorded. Expected inputs that stay as they are. Run `dvc repro` again."
            )


@contextmanager
def exit_codes(name: str, *, recorded: bool = True) -> Iterator[None]:
    """Turn exceptions of the body into one message, `.millrace/status.json` and an exit code.

    With `recorded=False` the status file is left alone: a command that only shows how the last attempt ended must
    not replace what it shows. The traceback is shown with `MILLRACE_DEBUG=1` (`millrace --debug`) only.
    """
    signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        yield
    except SystemExit:
        raise
    except BaseException as error:
        code, meaning = code_of(error)
        if os.environ.get("MILLRACE_DEBUG"):
            traceback.print_exc()
        message = str(error) or type(error).__name__
        if isinstance(error, KeyboardInterrupt):
            message = "Interrupted; the same command continues where this one stopped."
        if code == 70:
            message = f"{type(error).__name__}: {message}\nThis is a bug in Millrace or in your own code. "
            message += "MILLRACE_DEBUG=1 shows the traceback."
        if recorded:
            _write_status(name, code, message)
        print(message, file=sys.stderr)
        print(f"millrace: {name} stopped with exit code {code} ({meaning})", file=sys.stderr, flush=True)
        raise SystemExit(code) from error
    if recorded:
        _write_status(name, 0, "ok")


def code_of(error: BaseException) -> tuple[int, str]:
    """Return the exit code of an error and what it means, as in `docs/guides/exit-codes.md`."""
    known: list[tuple[type[BaseException] | tuple[type[BaseException], ...], tuple[int, str]]] = [
        (ParamsError, (78, "parameters refused")),
        (Terminated, (143, "terminated")),
        (KeyboardInterrupt, (130, "interrupted")),
        (FileNotFoundError, (66, "input missing")),
        (PermissionError, (77, "not permitted")),
        (OSError, (74, "input/output error")),
    ]
    if isinstance(error, UserError):
        return error.exit_code, error.meaning
    for kind, answer in known:
        if isinstance(error, kind):
            return answer
    return 70, "internal error"


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


def acquire_lock(name: str, wait_seconds: float = LOCK_WAIT_SECONDS) -> IO[str]:
    """Take the lock of that name until this process ends, however it ends.

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


def terminal() -> "Console":
    """Return standard output as rich sees it; logs get lines of 120 columns."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 120)


def _started() -> float:
    """Return when `pipeline/run` started this process (seconds since 1970); infinity where nobody noted it."""
    try:
        return float(os.environ.pop("MILLRACE_STARTED", "inf"))
    except ValueError:  # a `date` without nanoseconds
        return float("inf")


def _write_status(name: str, code: int, message: str) -> None:
    try:
        content: dict[str, Any] = {"stage": name, "exit_code": code, "message": message}
        write_json(paths.STATE_DIR / "status.json", content)
    except OSError as error:  # the disk may be what failed; the exit code still says so
        print(f"could not write .millrace/status.json: {json.dumps(str(error))}", file=sys.stderr)


def _raise_terminated(_signal: int, _frame: object) -> None:
    raise Terminated("SIGTERM arrived; the same command continues where this one stopped.")
