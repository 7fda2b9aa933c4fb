"""Trials as jobs of an engine: rungs go out together, and each comes back as an outcome, whatever became of it.

A limit is per trial: what its earlier rungs took is no longer there for the next. One that is stopped at it, raises
or crashes twice has failed, and the search goes on.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.engine.local import Local
from pipeline.engine.work import Do, Ended, Engine, Job
from pipeline.tuning.trials import OnOutcome, Rung, RunRung, TrialOutcome, accepted, failed, seconds_used

Opener = Callable[[], RunRung]
"""Called once in a worker (imports, data); gives the function that runs one rung. Must be picklable."""
LIMIT = "tune.trial_limit_seconds"


class TrialWorkers:
    """Runs rungs on an engine.

    Args:
        opener: What a worker calls first.
        num_workers: How many work side by side on this machine; has no influence on the outcomes.
        trial_limit_seconds: CPU time of all threads that one trial may take over all its rungs.
        engine: Where they run; has no influence on the outcomes.
        cores: That one trial takes.
        needs: Files of the project that the opener reads.
    """

    def __init__(
        self,
        opener: Opener,
        *,
        num_workers: int,
        trial_limit_seconds: float,
        engine: Engine | None = None,
        cores: int = 1,
        needs: Sequence[Path] = (),
    ) -> None:
        opened = functools.partial(_open_rungs, opener)
        self.trial_limit_seconds = trial_limit_seconds
        self._workers = (engine or Local()).workers(opened, num_workers=num_workers, cores=cores, needs=needs)

    def __enter__(self) -> Self:
        """Start nothing yet."""
        self._workers.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop every worker."""
        self._workers.__exit__(kind, error, trace)

    def __call__(self, rungs: Sequence[Rung], on_outcome: OnOutcome) -> list[TrialOutcome]:
        """Run rungs side by side and return their outcomes in the order of the rungs.

        Args:
            rungs: Of different trials.
            on_outcome: Called with each outcome as soon as it is there, in the order of arrival.

        Raises:
            RuntimeError: A worker could not start; that is no trial's fault.
            StorageFailed: A worker could not read or write a file.
            Busy: A rung took far longer by the clock than its CPU time explains.
            ServiceDown: The cluster is gone.
        """
        outcomes: dict[int, TrialOutcome] = {}
        jobs = [
            Job(
                f"Trial {rung.number}",
                rung,
                rung.folder,
                self.trial_limit_seconds - seconds_used(rung),
                LIMIT,
            )
            for rung in rungs
        ]
        for place, ended in self._workers.run(jobs):
            outcomes[place] = self._outcome(ended)
            on_outcome(rungs[place], outcomes[place])
        return [outcomes[place] for place in range(len(rungs))]

    def _outcome(self, ended: Ended) -> TrialOutcome:
        if ended.at_limit:  # of the trial, not of what earlier rungs left of it
            said = f"stopped at the limit of {self.trial_limit_seconds:g} seconds ({LIMIT})"
            return failed(said, ended.seconds)
        if ended.error:
            return failed(ended.error, ended.seconds)
        return accepted(replace(ended.value, seconds=ended.seconds))


def _open_rungs(opener: Opener) -> Do:
    run_rung = opener()
    return lambda rung, folder: run_rung(replace(rung, folder=folder))
