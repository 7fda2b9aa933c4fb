"""Workers on the machines of a Ray cluster, and the door to Ray: a job is one of its tasks.

A task does its job as this machine would (`LocalWorkers`, in the process that Ray started there), in a folder of its
own. So a limit, a crash or a full disk means the same everywhere; which machine is free and what is left when we go is
Ray's. The code travels with the work; packages do not, and a machine without those of our requirements.lock is refused.

The files of a job come back while it runs. A thread beside it reads the folder as it is at one moment and hands that to
the one actor of a call, `_Mail`; from there we lay it into the job's folder here, whole. Nothing else is remembered: a
job that is begun again, because its machine was lost or by the same command later, is given its folder as it lies here.

Nobody reaches a cluster without its token (`RAY_AUTH_TOKEN`), unless `RAY_AUTH_MODE` says otherwise: whoever may hand
over a task may run anything there.
"""

import asyncio
import os
import shutil
import socket
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import pipeline
from pipeline.engine import files
from pipeline.engine.files import Files
from pipeline.engine.local import ATTEMPTS, LocalWorkers
from pipeline.engine.work import HERE, Do, Ended, Job, Machine, Opener
from pipeline.provenance.locked import differing_packages, in_words
from pipeline.provenance.processor import ONEDNN_SWITCH, processor_kind, switches
from pipeline.runtime.errors import Busy, InputMissing, NotPermitted, ServiceDown, StorageFailed, say

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
        self._mail: Any = None
        self._letter: Any = None
        self._numbers = count()

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Let go of what the workers share; Ray ends those that wait."""
        self._shared = self._mail = self._letter = None

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Ended]]:
        """Yield the place of each job and how it ended; see `Workers.run`. What is left at the end is cancelled."""
        lock = _our_lock()
        with _reached(self.address) as ray:
            self._share(ray, lock)
            if self._mail is None and any(job.folder for job in jobs):
                self._open_mail(ray)
            # Not again by Ray: it would hand over the files of the first time.
            task = ray.remote(num_cpus=self.cores, max_retries=0)(_do)
            tasks: dict[Any, _Begun] = {}

            def begin(place: int, attempt: int) -> None:
                number, mail = next(self._numbers), self._mail if jobs[place].folder else None
                # Apart from the task: Ray's client is made for small arguments.
                work = ray.put(_handed_over(jobs[place]))
                tasks[task.remote(self._shared, work, mail, number)] = _Begun(place, attempt, number)

            try:
                for place in range(len(jobs)):
                    begin(place, 1)
                while tasks:
                    letters = [] if self._letter is None else [self._letter]
                    (first,), _ = ray.wait([*letters, *tasks], num_returns=1)
                    if first not in tasks:
                        self._receive(ray, {begun.number: jobs[begun.place] for begun in tasks.values()})
                        continue
                    place, attempt, _ = tasks.pop(first)
                    answer = _answer(ray, first, jobs[place].name, last=attempt == ATTEMPTS)
                    if answer is None:
                        begin(place, attempt + 1)
                        continue
                    ended, came = answer
                    if came is not None and (folder := jobs[place].folder) is not None:
                        files.lay(came, folder)
                    yield place, ended
            finally:
                for left in tasks:
                    ray.cancel(left, force=True)

    def _open_mail(self, ray: Any) -> None:
        # Wherever it is: should that machine be lost, Ray starts another and asks it what the first has not answered.
        mail = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Mail)
        self._mail = mail.remote()
        self._letter = self._mail.next.remote()

    def _receive(self, ray: Any, running: Mapping[int, Job]) -> None:
        """Lay the files that have come into the folder of their job, if it still runs, and wait for the next."""
        number, came = ray.get(self._letter)
        job = running.get(number)
        if job is not None and job.folder is not None:
            files.lay(came, job.folder)
            if job.on_files is not None:
                job.on_files()
        self._letter = self._mail.next.remote()

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
        self._shared = ray.put((kind, files.read(self.root, self.needs)))


class _Begun(NamedTuple):
    """A task.

    Attributes:
        place: Of its job.
        attempt: From 1.
        number: Tells its letters from those of a task that was lost, and may not know.
    """

    place: int
    attempt: int
    number: int


def _handed_over(job: Job) -> tuple[Job, Files]:
    """Return what a task is given: the job, and its folder as it lies here."""
    if job.folder is None:
        return job, {}
    files.settle(job.folder)
    return replace(job, folder=None, on_files=None), files.read(job.folder)


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


def _answer(ray: Any, task: Any, name: str, *, last: bool) -> tuple[Ended, Files | None] | None:
    """Return how a task ended, and its files where it brings some; None where its job shall be begun again.

    Args:
        ray: The module, connected.
        task: That has ended.
        name: Of its job.
        last: It is not begun again.

    Raises:
        ServiceDown: Its machine was lost, and so was one before.
    """
    try:
        found: tuple[Ended, Files] = ray.get(task)
    except (*_lost(ray), ray.exceptions.OutOfMemoryError) as error:
        reason = type(error).__name__
        if not last:
            told = f"{name} was lost there ({reason}). It begins again with the files that had come back."
            say(told, file=sys.stderr)
            return None
        if isinstance(error, ray.exceptions.OutOfMemoryError):
            # As where the kernel had killed it.
            killed = "the process was killed by SIGKILL (out of memory?)"
            return Ended(error=killed, exit_code=StorageFailed.exit_code), None
        raise ServiceDown(
            f"{name} lost its machine twice. Expected machines that stay. Received: {reason}. Run the same command "
            "again: what has ended is remembered, and what ran goes on from the files that had come back."
        ) from error
    return found


def _lost(ray: Any) -> tuple[type[Exception], ...]:
    """Return what Ray raises for a task whose machine is lost."""
    return (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.ObjectLostError)


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
    except Exception as error:
        # Of a head that dies while it is asked, Ray's client says a bare exception.
        gone = isinstance(error, ConnectionError | TimeoutError | socket.gaierror | RayError)
        ours = isinstance(error, BrokenPipeError)  # of whoever reads what is said here
        if ours or (not gone and type(error) is not Exception):
            raise
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
    gone = (*_lost(ray), ray.exceptions.TaskUnschedulableError)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    there = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
    asked = [task.options(scheduling_strategy=strategy).remote(given) for strategy in there]
    answers = []
    for node, question in zip(nodes, asked, strict=True):
        with suppress(*gone):  # it takes the head some seconds to see that a machine is dead
            name = f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})"
            answers.append(Machine(name, float(node["Resources"].get("CPU", 0)), ray.get(question)))
    return answers


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


def _do(shared: tuple[_Kind, Files], work: tuple[Job, Files], mail: Any, number: int) -> tuple[Ended, Files]:
    """Do a job here, as this machine's own engine would; the body of a task.

    Args:
        shared: What all jobs of a call have.
        work: The job, and its files.
        mail: The actor to which they go while it runs; None where it has none.
        number: Of this task.
    """
    job, given = work
    if not _OPENED or _OPENED[0].key != shared[0].key:
        _open(*shared)
    with tempfile.TemporaryDirectory(dir=_OPENED[0].root) as name, ExitStack() as running:
        folder = Path(name)
        files.write(given, folder)
        if mail is not None:
            running.enter_context(files.brought_back(folder, partial(_send, mail, number)))
        ((_, ended),) = _OPENED[0].workers.run([replace(job, folder=folder)])
        running.close()
        return ended, files.read(folder)


def _send(mail: Any, number: int, sent: Files) -> None:
    """Send the files of a job, and wait until they lie where the job came from."""
    import ray

    ray.get(mail.send.remote(number, sent))


class _Mail:
    """Files of jobs that run, on their way from a task to us; an actor that takes no core."""

    def __init__(self) -> None:
        self._letters: asyncio.Queue[tuple[int, Files, asyncio.Event]] = asyncio.Queue()
        self._laid = asyncio.Event()

    async def send(self, number: int, sent: Files) -> None:
        """Keep the files of a task until they were asked for, and laid."""
        laid = asyncio.Event()
        await self._letters.put((number, sent, laid))
        await laid.wait()

    async def next(self) -> tuple[int, Files]:
        """Return the number of a task and its files, once there are some; whoever asks has laid those of before."""
        self._laid.set()
        number, sent, self._laid = await self._letters.get()
        return number, sent


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
    files.write(needed, root)
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
