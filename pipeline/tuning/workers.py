"""Child processes that train trials: they may hang, crash or run out of memory, and the search goes on.

A worker lives for many rungs, because starting TensorFlow costs more than many a rung. It must therefore
forget one rung before the next; that is the duty of the function it runs. Workers die with their parent.

An exception is the trial's failure, except trouble with files: a full disk says nothing about settings and
stops the search. A crash is tried once more from the trial's checkpoint, so that one stray `kill` does not
change the answer; settings that crash a second time are at fault.

A trial's limit is in CPU seconds: how busy the machine is, and whether somebody closes the lid, must not decide who
wins. A worker that is waited for far longer than that stops the search, which goes on when it is called again.
"""

import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Self

from pipeline.runtime.errors import Busy, StorageFailed
from pipeline.runtime.processes import cpu_seconds, die_with_parent
from pipeline.tuning.trials import OnOutcome, Rung, RunRung, TrialOutcome, accepted, failed, seconds_used

Opener = Callable[[], RunRung]
"""Called once in a worker (imports, data); gives the function that runs one rung. Must be picklable."""

START_LIMIT_SECONDS = 600.0
"""A worker that is not ready after this time will not be: TensorFlow starts in seconds, on a busy machine
in a minute or two."""
ATTEMPTS = 2
WALL_PER_CPU_SECOND = 10
"""A trial that takes so many times its limit by the clock gets no processor, or waits for what never comes."""
LOOK_SECONDS = 0.5
"""Between two looks at the CPU time of a worker."""


class TrialWorkers:
    """A number of workers, started when needed, replaced when one had to be killed.

    Args:
        opener: What a worker calls first.
        num_workers: How many work side by side; has no influence on the outcomes.
        trial_limit_seconds: CPU time of all threads that one trial may take over all its rungs.
    """

    def __init__(
        self,
        opener: Opener,
        *,
        num_workers: int,
        trial_limit_seconds: float,
    ) -> None:
        self.opener = opener
        self.num_workers = num_workers
        self.trial_limit_seconds = trial_limit_seconds
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

    def __call__(self, rungs: Sequence[Rung], on_outcome: OnOutcome) -> list[TrialOutcome]:
        """Run rungs side by side and return their outcomes in the order of the rungs.

        Args:
            rungs: Of different trials.
            on_outcome: Called with each outcome as soon as it is there, in the order of arrival.

        Raises:
            RuntimeError: A worker could not start; that is no trial's fault.
            StorageFailed: A worker could not read or write a file.
            Busy: A rung took far longer by the clock than its CPU time explains.
        """
        outcomes: dict[int, TrialOutcome] = {}
        crashes: Counter[int] = Counter()
        queue = list(rungs)
        while queue or self._busy:
            while queue and len(self._busy) < self.num_workers:
                self._begin(queue.pop(0))
            nearest = min(worker.deadline for worker in self._busy) - time.monotonic()
            wait([worker.connection for worker in self._busy], timeout=max(0.0, min(nearest, LOOK_SECONDS)))
            for worker in list(self._busy):
                outcome = self._collect(worker)
                crashes[worker.rung.number] += worker.crashed
                if worker.crashed and crashes[worker.rung.number] < ATTEMPTS:
                    queue.insert(0, worker.rung)
                elif outcome is not None:
                    outcomes[worker.rung.number] = outcome
                    on_outcome(worker.rung, outcome)
        return [outcomes[rung.number] for rung in rungs]

    def _begin(self, rung: Rung) -> None:
        worker = self._idle.pop() if self._idle else _Worker(self.opener)
        self._busy.append(worker)
        worker.begin(rung, self.trial_limit_seconds - seconds_used(rung))

    def _collect(self, worker: "_Worker") -> TrialOutcome | None:
        """Return what a worker has to say, if anything, and move it from the busy ones to the idle ones."""
        outcome = worker.outcome(self.trial_limit_seconds)
        if outcome is None:
            return None
        self._busy.remove(worker)
        if worker.alive:
            self._idle.append(worker)
        return accepted(outcome)


class _Worker:
    """One child process and the rung it is on."""

    rung: Rung

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
        self.used = 0.0
        self.deadline = 0.0
        self._seconds = 0.0
        self._began_at: float | None = 0.0

    def begin(self, rung: Rung, seconds: float) -> None:
        """Hand over a rung that may take so many CPU seconds, counted from when the worker is ready."""
        self.rung, self.used = rung, 0.0
        self._seconds = max(seconds, 0.0)
        self.deadline = time.monotonic() + START_LIMIT_SECONDS
        if self.ready:
            self._send()

    def outcome(self, limit_seconds: float) -> TrialOutcome | None:
        """Return how the rung ended, None while it has not."""
        try:
            if self.connection.poll():
                return self._hear(self.connection.recv(), limit_seconds)
        except (EOFError, OSError):
            return self._crashed()
        if self.ready and self._took() > self._seconds:
            self.kill()
            return _at_the_limit(limit_seconds, self._took())
        if time.monotonic() < self.deadline:
            return None
        took = self._took()
        self.kill()
        if not self.ready:
            raise RuntimeError(f"A trial worker was not ready after {START_LIMIT_SECONDS:.0f} seconds.")
        raise Busy(
            f"Trial {self.rung.number} got no further. Expected {self._seconds:g} CPU seconds at most "
            f"(tune.trial_limit_seconds) in {WALL_PER_CPU_SECOND} times that by the clock. Received: {took:.1f} CPU "
            "seconds in that time. Free the machine, or find what it waits for, and run `dvc repro` again: trials that "
            "have ended are remembered."
        )

    def kill(self) -> None:
        """End the process, now."""
        self.alive = False
        self.process.kill()
        self.process.join()
        self.connection.close()

    def _hear(self, message: TrialOutcome | Exception | None, limit_seconds: float) -> TrialOutcome | None:
        if isinstance(message, TrialOutcome):
            # Also if it ended between two looks: the limit decides, not when we looked.
            over = message.score is not None and self._took() > self._seconds
            return (
                _at_the_limit(limit_seconds, self._took()) if over else replace(message, seconds=self._took())
            )
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
            self.connection.send(self.rung)
        except OSError:
            return  # it died meanwhile, which `outcome` finds out

    def _crashed(self) -> TrialOutcome:
        self.crashed = True
        self.kill()
        code = self.process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if not self.ready:
            raise RuntimeError(f"A trial worker {how} while it started.")
        advice = " (out of memory?)" if code == -signal.SIGKILL else ""
        return failed(f"the process {how}{advice}", self._took())

    def _took(self) -> float:
        """Return the CPU seconds of the rung so far; of a process that is gone, what was seen last."""
        now = cpu_seconds(self.process.pid) if self.alive else None
        if now is not None:
            self.used = now - (self._began_at or 0.0)
        return self.used


def _at_the_limit(limit_seconds: float, took: float) -> TrialOutcome:
    return failed(f"stopped at the limit of {limit_seconds:g} seconds (tune.trial_limit_seconds)", took)


def _serve(opener: Opener, connection: Connection) -> None:
    """Run rungs until the parent is gone; the body of a worker.

    Sends None when it is ready, then an outcome per rung, or an exception that the parent shall raise.
    """
    die_with_parent()
    # Both reach a whole process group; the parent decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        run_rung = opener()
        connection.send(None)
        while True:
            connection.send(_outcome(run_rung, connection.recv()))
    except EOFError:
        return
    except OSError as error:
        connection.send(StorageFailed(f"A trial could not go on. {_cause(error)}"))
    except Exception as error:  # noqa: BLE001  # whatever it is, the parent shall say it
        connection.send(RuntimeError(f"A trial worker could not start. {_cause(error)}"))


def _outcome(run_rung: RunRung, rung: Rung) -> TrialOutcome:
    try:
        return run_rung(rung)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001  # settings may fail in any way
        return failed(_cause(error))


def _cause(error: Exception) -> str:
    """Return the kind of an exception and the first line of its message, at most 300 characters."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}"[:300] if lines else type(error).__name__
