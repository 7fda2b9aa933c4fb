"""Workers on the machines of a Ray cluster, and the door to Ray: a job is one of its tasks.

A task does its job as this machine would (`LocalWorkers`, in the process that Ray started there), in a folder of its
own, and brings the files back. So a limit, a crash or a full disk means the same everywhere; which machine is free,
how often a lost one is tried again and what is left when we go is Ray's. The code travels with the work; packages do
not, and a machine without those of our requirements.lock is refused.

Nobody reaches a cluster without its token (`RAY_AUTH_TOKEN`), unless `RAY_AUTH_MODE` says otherwise: whoever may hand
over a task may run anything there.
"""

import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import numpy as np

import pipeline
from pipeline.engine.local import LocalWorkers
from pipeline.engine.work import HERE, Do, Ended, Job, Machine, Opener
from pipeline.provenance.locked import differing_packages, in_words
from pipeline.provenance.processor import ONEDNN_SWITCH, processor_kind, switches
from pipeline.runtime.errors import Busy, InputMissing, NotPermitted, ServiceDown, StorageFailed
from pipeline.runtime.files import atomic_path

CODE = Path(pipeline.__file__).parent
LOCK = CODE.parent / "requirements.lock"
LISTENING_SECONDS = 5.0
"""For the head to take a connection; what it says afterwards Ray waits for, half a minute."""
CONNECTIONS = 3
NOT_STARTED = "Initialization failure"
"""A busy head does not start what serves us within the half minute that Ray gives it; the next time it may."""
SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # of tasks that nobody waits for any more
}
"""Of Ray, where the user has none of their own; read when it is imported."""
Files = Mapping[str, np.ndarray]
"""Path below a folder to content, uint8: arrays are handed on without a copy."""


class Ray:
    """A cluster.

    Args:
        address: `ray://host:port`, of its client server.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def workers(
        self,
        opener: Opener,
        *,
        num_workers: int,
        cores: int = 1,
        root: Path = HERE,
        needs: Sequence[Path] = (),
    ) -> "RayWorkers":
        """Return workers: as many as there are cores for, wherever they are."""
        del num_workers
        return RayWorkers(self.address, opener, cores=cores, root=root, needs=needs)

    def everywhere(self, ask: Callable[[str], Any], given: str) -> list[Machine]:
        """Return what a function of a module answers on each machine."""
        with _reached(self.address) as ray:
            return _asked(ray, ask, given)


class RayWorkers:
    """Tasks of a cluster; each process there stays open for the next job of the same kind.

    Args:
        address: Of the cluster.
        opener: What a worker calls first.
        cores: That a job takes.
        root: Folder of what it reads.
        needs: Files and folders in it.
    """

    def __init__(
        self, address: str, opener: Opener, *, cores: int, root: Path, needs: Sequence[Path]
    ) -> None:
        self.address = address
        self.cores = cores
        self.root = root
        self.needs = needs
        self._opener = opener
        self._shared: Any = None

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Let go of what the workers share; Ray ends those that wait."""
        self._shared = None

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Ended]]:
        """Yield the place of each job and how it ended; see `Workers.run`. What is left at the end is cancelled."""
        lock = _our_lock()
        with _reached(self.address) as ray:
            self._share(ray, lock)
            task = ray.remote(num_cpus=self.cores, max_retries=1)(_do)
            waiting = {}
            for place, job in enumerate(jobs):
                # Handed over apart from the task: Ray's client is made for small arguments.
                work = ray.put((replace(job, folder=None), _files(job.folder, [HERE])))
                waiting[task.remote(self._shared, work)] = place
            try:
                while waiting:
                    (first,), _ = ray.wait(list(waiting), num_returns=1)
                    ended, files = _answer(ray, first, jobs[waiting[first]].name)
                    folder = jobs[waiting[first]].folder
                    if files is not None and folder is not None:
                        _lay(files, folder)
                    yield waiting.pop(first), ended
            finally:
                for left in waiting:
                    ray.cancel(left, force=True)

    def _share(self, ray: Any, lock: str) -> None:
        """Hand over, once, what all workers share.

        Args:
            ray: The module, connected.
            lock: Our requirements.lock.

        Raises:
            Busy: No machine has so many cores.
        """
        if self._shared is not None:
            return
        processor = _require_fit(self.address, _asked(ray, processor_kind, ""), self.cores)
        kind = _Kind(uuid.uuid4().hex, self._opener, lock, processor, _switches())
        self._shared = ray.put((kind, _files(self.root, self.needs)))


def _our_lock() -> str:
    """Return our requirements.lock.

    Raises:
        InputMissing: There is none: a wheel has none.
    """
    if not LOCK.is_file():
        raise InputMissing(
            "A cluster is asked whether its machines have our packages. Expected a clone of the project, which has "
            f"requirements.lock. Received: an installed Millrace without one ({CODE}). Run the same command from a "
            "clone after `make setup`, or without MILLRACE_ENGINE and engine.yaml here."
        )
    return LOCK.read_text(encoding="utf-8")


def _require_fit(address: str, machines: Sequence[Machine], cores: int) -> str:
    """Check that jobs can run, and that it does not matter where, and return the kind of their processors.

    Args:
        address: Of the cluster.
        machines: Of it, with the kind of their processor.
        cores: That a job takes.

    Raises:
        Busy: No machine has so many cores.
        NotPermitted: Those that take jobs have processors of several kinds.
    """
    most = max((one.cores for one in machines), default=0.0)
    if most < cores:
        raise Busy(
            f"No machine of {address} is large enough. Expected {cores} cores for one job (threads in params.yaml). "
            f"Received: {most:g} at most. Add a larger one (`ray start --num-cpus`)."
        )
    kinds = {one.answer: one.name for one in machines if one.cores}
    if len(kinds) > 1:
        told = "; ".join(f"{name}: {kind}" for kind, name in kinds.items())
        raise NotPermitted(
            f"{address} has processors of several kinds, so that the last bits of a result would depend on who was "
            f"free. Expected one kind. Received: {told}. Start those of others with `--num-cpus 0`."
        )
    return str(next(iter(kinds)))


def _answer(ray: Any, task: Any, name: str) -> tuple[Ended, Files | None]:
    """Return how a task ended, and its files where it brings some."""
    try:
        found: tuple[Ended, Files] = ray.get(task)
    except ray.exceptions.OutOfMemoryError:
        # As where the kernel had killed it.
        killed = "the process was killed by SIGKILL (out of memory?)"
        return Ended(error=killed, exit_code=StorageFailed.exit_code), None
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
        raise ServiceDown(
            f"{name} lost its machine twice. Expected machines that stay. Received: {type(error).__name__}. Run the "
            "same command again: what has ended is remembered."
        ) from error
    return found


# --- Reaching a cluster.


@contextmanager
def _reached(address: str) -> Iterator[Any]:
    """Yield the module of Ray, connected; what it raises becomes ours.

    Raises:
        InputMissing: The extra is not installed.
        ServiceDown: Nobody answers, or not any more.
        NotPermitted: The token is missing.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        from ray.exceptions import AuthenticationError, RayError, RayTaskError
    except ModuleNotFoundError as error:
        raise InputMissing(
            f"What work on {address} stands on is not installed. Expected the packages of the extra ray. Received: no "
            f"{error.name}. `make setup` installs them, or `pip install 'millrace[ray]'`; without MILLRACE_ENGINE and "
            "engine.yaml everything runs here."
        ) from error
    try:
        if not ray.is_initialized():
            _connect(ray, address)
        yield ray
    except RayTaskError as error:
        raise (error.cause if isinstance(error.cause, Exception) else error) from error
    except AuthenticationError as error:
        raise NotPermitted(
            f"{address} asks for a token. Expected RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token as on its "
            "machines. Received: none that Ray takes. See docs/guides/scale.md."
        ) from error
    except (ConnectionError, TimeoutError, socket.gaierror, RayError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        said = " ... ".join(dict.fromkeys((lines[0], lines[-1])))
        raise ServiceDown(
            f"{address} does not answer. Expected the head of a Ray cluster of the same version, with the same token. "
            f"Received: {said} Look at `ray status` there, and run the same command again."
        ) from error


def _connect(ray: Any, address: str) -> None:
    place = urlsplit(address)
    # Or half a minute would pass before Ray says that nobody listens.
    socket.create_connection((place.hostname or "", place.port or 0), LISTENING_SECONDS).close()
    code = {"py_modules": [str(CODE)], "excludes": ["**/__pycache__/**"]}
    for left in reversed(range(CONNECTIONS)):
        try:
            ray.init(address, runtime_env=code, log_to_driver=False, logging_level="ERROR")
        except ConnectionError as error:
            if not left or NOT_STARTED not in str(error):
                raise
        except RuntimeError as error:
            raise NotPermitted(
                f"{address} is of another kind than we. Expected our versions of Ray and Python. Received: "
                f"{str(error).splitlines()[0]} Run `make setup` there, with this Python."
            ) from error
        else:
            return


def _asked(ray: Any, ask: Callable[[str], Any], given: str) -> list[Machine]:
    """Return what a function of a module answers on each machine that is alive."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=1)(ask)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    there = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
    answers = ray.get([task.options(scheduling_strategy=strategy).remote(given) for strategy in there])
    return [
        Machine(
            f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})",
            float(node["Resources"].get("CPU", 0)),
            answer,
        )
        for node, answer in zip(nodes, answers, strict=True)
    ]


# --- What happens in a process of the cluster.


@dataclass(frozen=True)
class _Kind:
    """What jobs of one call have in common.

    Attributes:
        key: Tells it from other calls.
        opener: What a worker calls first.
        lock: Our requirements.lock.
        processor: Kind of those of the machines that were there when the call began.
        switches: Our variables that choose kernels; Ray sets some of its own.
    """

    key: str
    opener: Opener
    lock: str
    processor: str
    switches: Mapping[str, str]


class _Opened(NamedTuple):
    key: str
    root: Path
    workers: LocalWorkers


_OPENED: list[_Opened] = []
"""At most one: the kind of job that this process of a cluster did last."""


def _do(shared: tuple[_Kind, Files], work: tuple[Job, Files]) -> tuple[Ended, Files]:
    """Do a job here, as this machine's own engine would; the body of a task."""
    job, files = work
    if not _OPENED or _OPENED[0].key != shared[0].key:
        _open(*shared)
    with tempfile.TemporaryDirectory(dir=_OPENED[0].root) as folder:
        _lay(files, Path(folder))
        ((_, ended),) = _OPENED[0].workers.run([replace(job, folder=Path(folder))])
        return ended, _files(Path(folder), [HERE])


def _open(kind: _Kind, needed: Files) -> None:
    differing = differing_packages(kind.lock)
    if differing:
        raise NotPermitted(
            f"{socket.gethostname()} has other packages. Expected those of requirements.lock. Received: "
            f"{in_words(differing)}. Run `make setup` there, or take an image of this "
            "requirements.lock; `millrace doctor` looks at every machine."
        )
    if (mine := processor_kind()) != kind.processor:
        raise NotPermitted(
            f"{socket.gethostname()} joined with a processor of another kind. Expected {kind.processor}. Received: "
            f"{mine}. Start it with `--num-cpus 0`, and run the same command again."
        )
    while _OPENED:
        old = _OPENED.pop()
        old.workers.__exit__(None, None, None)
        shutil.rmtree(old.root, ignore_errors=True)
    for name in _switches():
        del os.environ[name]
    os.environ.update(kind.switches)
    root = _own_folder()
    _lay(needed, root)
    opener = partial(_open_in, root, kind.opener)
    _OPENED.append(_Opened(kind.key, root, LocalWorkers(opener, num_workers=1)))


def _open_in(root: Path, opener: Opener) -> Do:
    os.chdir(root)
    return opener()


def _own_folder() -> Path:
    """Return a new folder of this process, and remove those of processes that are gone: Ray kills them at the end."""
    begin = f"millrace-{os.getuid()}-"
    for left in Path(tempfile.gettempdir()).glob(f"{begin}*"):
        if not Path("/proc", left.name.removeprefix(begin).partition("-")[0]).exists():
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{begin}{os.getpid()}-"))


def _switches() -> dict[str, str]:
    mine = switches()
    return mine | ({ONEDNN_SWITCH: os.environ[ONEDNN_SWITCH]} if ONEDNN_SWITCH in os.environ else {})


def _files(folder: Path | None, below: Sequence[Path]) -> Files:
    """Return the content of files, by their paths below a folder.

    Args:
        folder: Where they lie; None: there are none.
        below: Files and folders in it.
    """
    if folder is None:
        return {}
    found = [path for start in below for path in (folder / start, *(folder / start).rglob("*"))]
    return {
        path.relative_to(folder).as_posix(): np.fromfile(path, np.uint8)
        for path in found
        if path.is_file() and "__pycache__" not in path.parts
    }


def _lay(files: Files, folder: Path) -> None:
    """Make a folder hold these files and no others."""
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in files:
            path.unlink()
    for name, content in files.items():
        with atomic_path(folder / name) as draft:
            content.tofile(draft)
