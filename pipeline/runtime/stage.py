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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import lock_descriptor

from pipeline.runtime import paths
from pipeline.runtime.addresses import without_secrets
from pipeline.runtime.dvc_place import require_private_place
from pipeline.runtime.errors import Busy, ParamsError, StorageFailed, Terminated, UserError, say
from pipeline.runtime.files import content_key, path_digest, write_json
from pipeline.runtime.processes import acquire_lock, die_with_parent, terminal
from pipeline.runtime.strict_yaml import read_yaml, value_at

if TYPE_CHECKING:
    from rich.console import Console


CODE = "pipeline/"
DVC_GUARD = Path(".dvc/tmp/lock")
"""Locked by whichever dvc command reads or writes dvc.lock."""


# --- What a stage reads, as dvc.yaml lists it, and whether it stays the same.
#
# DVC computes hashes of dependencies after the command has ended, so an edit during a run is recorded as the
# input of a result it never produced. A stage therefore hashes its inputs itself, first and last.


@dataclass(frozen=True)
class Snapshot:
    """The inputs of one stage at one moment.

    Attributes:
        name: The stage, `train@cnn`.
        digests: md5 per dependency, as DVC writes it.
        params: Value per parameter key the stage declares.
        stamps: Size, inode and mtime (ns) of every file below each dependency.
    """

    name: str
    digests: dict[str, str]
    params: dict[str, Any]
    stamps: dict[str, list[tuple[str, int, int, int]]]

    @classmethod
    def take(cls, name: str) -> "Snapshot":
        """Return the present inputs of a stage.

        Raises:
            FileNotFoundError: A dependency does not exist.
            KeyError: dvc.yaml knows no such stage, or params.yaml no such key.
        """
        declared = declared_inputs(name)
        # Stamps first: a change between the two reads then shows as a changed stamp, not as a false calm.
        stamps = {dependency: _stamp(Path(dependency)) for dependency in declared.dependencies}
        digests = {dependency: path_digest(Path(dependency)) for dependency in declared.dependencies}
        return cls(name, digests, _values(declared.params), stamps)

    def edited_since(self, moment: float) -> list[str]:
        """Return the code files written after `moment` (seconds since 1970): Python may have read older ones.

        A dependency may be such a file or a folder that holds them.
        """
        now = time.time()
        return [
            file
            for stamp in self.stamps.values()
            for file, *_, changed_ns in stamp
            if file.endswith(".py") and moment < changed_ns / 1e9 <= now
        ]

    def changed(self) -> list[str]:
        """Return the dependencies and parameters that are no longer what they were."""
        moved = [
            dependency
            for dependency, stamp in self.stamps.items()
            if _stamp(Path(dependency)) != stamp and _digest_or_gone(dependency) != self.digests[dependency]
        ]
        now = read_yaml(paths.PARAMS_YAML) if self.params else {}
        return moved + [
            f"params.yaml:{key}" for key, value in self.params.items() if value_at(now, key, None) != value
        ]

    def differing_from_lock(self) -> list[str]:
        """Return the dependencies whose bytes are not those that dvc.lock says their stage wrote."""
        if not paths.DVC_LOCK.is_file():
            return []
        with _dvc_waits():
            locked = read_yaml(paths.DVC_LOCK).get("stages", {})
        recorded = {
            out["path"]: out["md5"]
            for name, stage in locked.items()
            if _exists(name)
            for out in stage.get("outs", [])
        }
        read = {
            out: md5
            for out, md5 in recorded.items()
            for dependency in self.digests
            if out == dependency or out.startswith(f"{dependency}/")
        }
        return [out for out, md5 in read.items() if (self.digests.get(out) or _digest_or_gone(out)) != md5]


@contextmanager
def _dvc_waits() -> Iterator[None]:
    """Keep every dvc command from writing for the time of the body; wait for one that is at it.

    DVC writes dvc.lock anew in place, and lets go of its lock only while a stage runs; so does the DVC of this one.
    """
    try:
        # The lock that DVC itself takes (zc.lockfile), whose import takes longer than a stage to start.
        file = DVC_GUARD.open("r+b")
    except FileNotFoundError:  # no DVC has been here
        yield
        return
    with file:
        lock_descriptor(file.fileno())
        yield


@dataclass(frozen=True)
class DeclaredInputs:
    """The `deps` and `params` of a stage in dvc.yaml, templates filled in."""

    dependencies: list[str]
    params: list[str]


def declared_inputs(name: str) -> DeclaredInputs:
    """Return what dvc.yaml declares as inputs of a stage.

    Args:
        name: The stage; `train@cnn` for an item of a `foreach` over `candidates`.

    Raises:
        KeyError: There is no such stage or candidate.
    """
    base, _, candidate = name.partition("@")
    stages = read_yaml(paths.DVC_YAML)["stages"]
    if base not in stages:
        raise KeyError(f"dvc.yaml has no stage {base}. Known: {', '.join(stages)}.")
    stage = stages[base]
    filled = {}
    if "foreach" in stage:
        stage = stage["do"]
        candidates = read_yaml(paths.PARAMS_YAML)["candidates"]
        if candidate not in candidates:
            raise KeyError(f"params.yaml has no candidate {candidate!r}. Known: {', '.join(candidates)}.")
        filled = {"${key}": candidate, "${item.family}": candidates[candidate]["family"]}

    def fill(text: str) -> str:
        for template, value in filled.items():
            text = text.replace(template, value)
        return text

    params = stage.get("params", [])
    return DeclaredInputs(
        # `- params.yaml:` without keys stands for the whole file.
        [fill(dependency) for dependency in stage.get("deps", [])]
        + [file for entry in params if isinstance(entry, dict) for file in entry],
        [fill(key) for key in params if isinstance(key, str)],
    )


def _exists(name: str) -> bool:
    """Tell whether a stage of dvc.lock is still one: DVC keeps the entries of removed candidates for ever."""
    base, _, candidate = name.partition("@")
    candidates = read_yaml(paths.PARAMS_YAML).get("candidates", {})
    return base in read_yaml(paths.DVC_YAML)["stages"] and (not candidate or candidate in candidates)


def _values(keys: list[str]) -> dict[str, Any]:
    content = read_yaml(paths.PARAMS_YAML) if keys else {}
    try:
        return {key: value_at(content, key) for key in keys}
    except KeyError as error:
        raise KeyError(
            f"params.yaml has no key {error.args[0]}, which dvc.yaml declares as an input."
        ) from error


def _stamp(path: Path) -> list[tuple[str, int, int, int]]:
    files = [path] if not path.is_dir() else sorted(file for file in path.rglob("*") if file.is_file())
    stamps = []
    for file in files:
        try:
            status = file.stat()
        except FileNotFoundError:
            continue  # reported by the digest, which names the file
        stamps.append((str(file), status.st_size, status.st_ino, status.st_mtime_ns))
    return stamps


def _digest_or_gone(dependency: str) -> str:
    try:
        return path_digest(Path(dependency))
    except FileNotFoundError:
        return "gone"


# --- The frame around every stage.


@dataclass
class Stage:
    """What the body of a stage may use.

    Attributes:
        name: As in dvc.yaml, `train@cnn`.
        inputs_key: sha256 (hex) over the content of all inputs and parameters of the stage.
        console: Standard output, aware of whether it is a terminal.
        files: What it reads that is no code.
    """

    name: str
    inputs_key: str
    console: "Console"
    files: tuple[Path, ...] = ()


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
    with exit_codes(name), ExitStack() as stack:
        die_with_parent()
        os.chdir(paths.project_root())
        if "DVC_STAGE" in os.environ:
            require_private_place(Path.cwd())
        stack.enter_context(acquire_lock(name))
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
        files = tuple(Path(path) for path in snapshot.digests if not path.startswith(CODE))
        yield Stage(name, content_key([snapshot.digests, snapshot.params]), terminal(), files)
        changed = snapshot.changed()
        if changed:
            raise Busy(
                f"{name}: {', '.join(changed)} changed while the stage ran, so its result belongs to neither "
                "version and was not recorded. Expected inputs that stay as they are. Run `dvc repro` again."
            )


KILLED = 137
"""What a shell answers for kill -9; stands in the status file from the beginning of a stage to its end."""
_BEGUN = (
    "{name} began as process {pid} and has not said how it ended. If it does not run any more it was killed, most "
    "often by the kernel because memory ran out (`dmesg` says so). The same command goes on from here."
)


@contextmanager
def exit_codes(name: str, *, recorded: bool = True) -> Iterator[None]:
    """Turn exceptions of the body into one message, `.millrace/status.json` and an exit code.

    With `recorded=False` the status file is left alone: a command that only shows how the last attempt ended must
    not replace what it shows. The traceback is shown with `MILLRACE_DEBUG=1` (`millrace --debug`) only.
    """
    signal.signal(signal.SIGTERM, _raise_terminated)
    if recorded:
        # kill -9, and the kernel where memory ran out, leave no time to say anything.
        _write_status(name, KILLED, _BEGUN.format(name=name, pid=os.getpid()))
    try:
        yield
    except SystemExit:
        raise
    except BaseException as error:
        code, meaning = code_of(error)
        if os.environ.get("MILLRACE_DEBUG"):
            say(without_secrets("".join(traceback.format_exception(error))), file=sys.stderr)
        message = without_secrets(str(error) or type(error).__name__)
        if isinstance(error, KeyboardInterrupt):
            message = "Interrupted; the same command continues where this one stopped."
        if is_out_of_memory(error):
            message = (
                f"Memory ran out. Expected enough for what is read and trained at once. Received: {message}. Give the "
                "process more, end other programs, or lower training.batch_size, the size of images or windows, or the "
                "number of workers; then run the same command again."
            )
        if code == 70:
            message = f"{type(error).__name__}: {message}\nThis is a bug in Millrace or in your own code. "
            message += "MILLRACE_DEBUG=1 shows the traceback."
        if recorded:
            _write_status(name, code, message)
        say(message, file=sys.stderr)
        say(f"millrace: {name} stopped with exit code {code} ({meaning})", file=sys.stderr)
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
        (MemoryError, (74, "out of memory")),
        (OSError, (74, "input/output error")),
    ]
    if isinstance(error, UserError):
        return error.exit_code, error.meaning
    for kind, answer in known:
        if isinstance(error, kind):
            return answer
    if is_out_of_memory(error):
        return 74, "out of memory"
    return 70, "internal error"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, by Python's own error or TensorFlow's, which is known by its name alone."""
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


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
