"""Workers as child processes of this machine: they may hang, crash or run out of memory, and the work goes on.

They die with their parent. A limit is in CPU seconds: how busy the machine is, and whether somebody closes the lid,
must not decide what comes out. A worker that is waited for far longer than that stops everything.
"""

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.engine.work import HERE, Do, Ended, Job, Machine, Opener
from pipeline.runtime.errors import Busy, StorageFailed, UserError
from pipeline.runtime.processes import cpu_seconds, die_with_parent

START_LIMIT_SECONDS = 600.0
"""A worker that is not ready after this time will not be: TensorFlow starts in seconds, on a busy machine
in a minute or two."""
ATTEMPTS = 2
WALL_PER_CPU_SECOND = 10
"""A job that takes so many times its limit by the clock gets no processor, or waits for what never comes."""
JOBS_OF_A_WORKER = 50
"""Then another takes its place: what TensorFlow compiles it never frees, each shape some megabytes and a hundred of the
65,530 pieces that Linux lets the memory of a process have, behind which it ends without a word."""
LOOK_SECONDS = 0.5
"""Between two looks at the CPU time of a worker."""


class Local:
    """Processes of this machine."""

    address = "local"

    def workers(
        self,
        opener: Opener,
        *,
        num_workers: int,
        cores: int = 1,
        root: Path = HERE,
        needs: Sequence[Path] = (),
    ) -> "LocalWorkers":
        """Return workers; how many cores each takes its opener says, and what it needs is here."""
        del cores, root, needs
        return LocalWorkers(opener, num_workers=num_workers)

    def everywhere(self, ask: Callable[[str], Any], given: str) -> list[Machine]:
        """Return what a function answers here."""
        return [Machine("here", len(os.sched_getaffinity(0)), ask(given))]


class LocalWorkers:
    """A number of workers, started when needed, replaced when one had to be killed or has done its share.

    Args:
        opener: What a worker calls first.
        num_workers: How many work side by side; has no influence on what comes out.
    """

    def __init__(self, opener: Opener, *, num_workers: int) -> None:
        self.opener = opener
        self.num_workers = num_workers
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Kill every worker."""
        for worker in [*self._idle, *self._busy]:
            worker.kill()
        self._idle, self._busy = [], []

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Ended]]:
        """Yield the place of each job and how it ended; see `Workers.run`."""
        crashes: Counter[int] = Counter()
        queue = list(range(len(jobs)))
        while queue or self._busy:
            while queue and len(self._busy) < self.num_workers:
                self._begin(place := queue.pop(0), jobs[place])
            nearest = min(worker.deadline for worker in self._busy) - time.monotonic()
            wait([worker.connection for worker in self._busy], timeout=max(0.0, min(nearest, LOOK_SECONDS)))
            for worker in list(self._busy):
                ended = self._collect(worker)
                crashes[worker.place] += worker.crashed
                if worker.crashed and crashes[worker.place] < ATTEMPTS:
                    queue.insert(0, worker.place)
                elif ended is not None:
                    yield worker.place, ended

    def _begin(self, place: int, job: Job) -> None:
        worker = self._idle.pop() if self._idle else _Worker(self.opener)
        self._busy.append(worker)
        worker.begin(place, job)

    def _collect(self, worker: "_Worker") -> Ended | None:
        """Return what a worker has to say, if anything, and move it from the busy ones to the idle ones."""
        ended = worker.ended()
        if ended is None:
            return None
        self._busy.remove(worker)
        if worker.alive and worker.begun < JOBS_OF_A_WORKER:
            self._idle.append(worker)
        elif worker.alive:
            worker.kill()
        return ended


class _Worker:
    """One child process and the job it is on."""

    job: Job
    place: int

    def __init__(self, opener: Opener) -> None:
        # Spawn, not fork: TensorFlow's threads and a forked lock do not go together.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(opener, theirs), daemon=True)
        self.process.start()
        theirs.close()  # or the end of the child would not close the pipe
        self.ready = False
        self.alive = True
        self.crashed = False
        self.begun = 0
        self.used = 0.0
        self.deadline = 0.0
        self._seconds = 0.0
        self._began_at: float | None = 0.0

    def begin(self, place: int, job: Job) -> None:
        """Hand over a job, whose CPU seconds count from when the worker is ready."""
        self.place, self.job, self.used = place, job, 0.0
        self.begun += 1
        self._seconds = max(job.seconds, 0.0)
        self.deadline = time.monotonic() + START_LIMIT_SECONDS
        if self.ready:
            self._send()

    def ended(self) -> Ended | None:
        """Return how the job ended, None while it has not."""
        try:
            if self.connection.poll():
                return self._hear(self.connection.recv())
        except (EOFError, OSError):
            return self._crashed()
        if self.ready and self._took() > self._seconds:
            self.kill()
            return self._at_the_limit()
        if time.monotonic() < self.deadline:
            return None
        took = self._took()
        self.kill()
        if not self.ready:
            raise RuntimeError(f"A worker was not ready after {START_LIMIT_SECONDS:.0f} seconds.")
        raise Busy(
            f"{self.job.name} got no further. Expected {self._seconds:g} CPU seconds at most ({self.job.limit}) in "
            f"{WALL_PER_CPU_SECOND} times that by the clock. Received: {took:.1f} CPU seconds in that time. Free the "
            "machine, or find what it waits for, and run the same command again: what has ended is remembered."
        )

    def kill(self) -> None:
        """End the process, now."""
        self.alive = False
        self.process.kill()
        self.process.join()
        self.connection.close()

    def _hear(self, message: Ended | Exception | None) -> Ended | None:
        if isinstance(message, Ended):
            # Also if it ended between two looks: the limit decides, not when we looked.
            over = not message.error and self._took() > self._seconds
            return self._at_the_limit() if over else replace(message, seconds=self._took())
        if message is not None:
            self.kill()
            raise message
        self.ready = True
        self._send()
        return None

    def _send(self) -> None:
        self._began_at = cpu_seconds(self.process.pid)
        self.deadline = time.monotonic() + WALL_PER_CPU_SECOND * self._seconds + LOOK_SECONDS
        try:
            self.connection.send(self.job)
        except OSError:
            return  # it died meanwhile, which `ended` finds out

    def _crashed(self) -> Ended:
        self.crashed = True
        self.kill()
        code = self.process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if not self.ready:
            raise RuntimeError(f"A worker {how} while it started.")
        advice = " (out of memory?)" if code == -signal.SIGKILL else ""
        return Ended(
            error=f"the process {how}{advice}", seconds=self._took(), exit_code=StorageFailed.exit_code
        )

    def _at_the_limit(self) -> Ended:
        said = f"stopped at the limit of {self._seconds:g} seconds ({self.job.limit})"
        return Ended(error=said, seconds=self._took(), at_limit=True)

    def _took(self) -> float:
        """Return the CPU seconds of the job so far; of a process that is gone, what was seen last."""
        now = cpu_seconds(self.process.pid) if self.alive else None
        if now is not None:
            self.used = now - (self._began_at or 0.0)
        return self.used


def _serve(opener: Opener, connection: Connection) -> None:
    """Do jobs until the parent is gone; the body of a worker.

    Sends None when it is ready, then an `Ended` per job, or an exception that the parent shall raise.
    """
    die_with_parent()
    # Both reach a whole process group; the parent decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        do = opener()
        connection.send(None)
        while True:
            connection.send(_ended(do, connection.recv()))
    except EOFError:
        return
    except OSError as error:
        connection.send(StorageFailed(f"A worker could not go on. {_cause(error)}"))
    except Exception as error:  # noqa: BLE001  # whatever it is, the parent shall say it
        connection.send(RuntimeError(f"A worker could not start. {_cause(error)}"))


def _ended(do: Do, job: Job) -> Ended:
    try:
        return Ended(do(job.given, job.folder))
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001  # what is given may make it fail in any way
        known = error if isinstance(error, UserError) else UserError()
        return Ended(error=_cause(error), exit_code=known.exit_code)


def _cause(error: Exception) -> str:
    """Return the kind of an exception and the first line of its message, at most 300 characters."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}"[:300] if lines else type(error).__name__
