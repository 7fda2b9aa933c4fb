"""Send the live log of one training to MLflow while it is written: `python -m pipeline.tracking.follower CANDIDATE`.

A process beside the training, started by it and dying with it, so that a server that is slow, down or
hung costs the training nothing. Whatever fails is tried again later; what never arrives is filled in by
the last stage from the same file, under the same time stamps.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pipeline.runtime.addresses import without_secrets
from pipeline.runtime.progress import LiveTrace, live_trace
from pipeline.tracking import OURS

POLL_SECONDS = 0.5
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
IMPATIENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
}
"""Shorter than the door's defaults: the breaker tries again, and what is late is filled in at the end."""


@dataclass
class Breaker:
    """Lets calls through until one fails, then pauses: each failure in a row doubles the pause.

    Attributes:
        clock: Seconds that only ever grow.
        report: Told of failures and recovery, one line each.
    """

    clock: Callable[[], float] = time.monotonic
    report: Callable[[str], None] = print
    _failures: int = 0
    _closed_until: float = field(default=0.0, repr=False)

    def call(self, action: Callable[[], None]) -> bool:
        """Run an action unless the breaker pauses; return whether it ran to its end. Never raises."""
        if self.clock() < self._closed_until:
            return False
        try:
            action()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is tried again
            pause = min(FIRST_PAUSE_SECONDS * 2**self._failures, LONGEST_PAUSE_SECONDS)
            self._failures += 1
            self._closed_until = self.clock() + pause
            self.report(
                f"next attempt in {pause:.0f} s: {type(error).__name__}: {without_secrets(str(error))}"
            )
            return False
        if self._failures:
            self.report("the server answers again")
        self._failures = 0
        return True


class Follower:
    """Sends what is new in a live log, epoch by epoch.

    Args:
        candidate: Name of the candidate.
        experiment: Name of the MLflow experiment.
        root: The project's folder.
        path: The live log.
        since: Milliseconds since 1970. A log that ended before is an older training's, and its successor
            is waited for.
    """

    def __init__(self, candidate: str, experiment: str, root: Path, path: Path, since: int) -> None:
        self.candidate = candidate
        self.experiment = experiment
        self.root = root
        self.path = path
        self.since = since
        self.ended = False
        self._sent = 0
        self._live_id = ""

    def send_new(self) -> None:
        """Send the epochs that have not arrived yet, one batch each, and the end if it is there.

        Raises:
            Exception: Whatever MLflow raises; the epochs that arrived are not sent again.
        """
        trace = live_trace(self.path)
        if trace is None or not self._has_news(trace):
            return
        # Imported here: it takes seconds, and only once there is something to send.
        from pipeline.tracking import runs
        from pipeline.tracking.runs import sweep
        from pipeline.tracking.store import open_store

        # Opened anew for each batch: it costs milliseconds beside an epoch, and a server that comes back
        # with another database is met correctly.
        store = open_store(self.root, self.experiment)
        run = runs.live_run(store, self.candidate, trace)
        if trace.live_id != self._live_id:
            sweep(store)
            runs.adopt(store, run, os.getpid())
            self._live_id, self._sent = trace.live_id, 0
        while self._sent < len(trace.epochs):
            runs.send_epochs(store, run, trace.epochs[self._sent : self._sent + 1])
            self._sent += 1
        if trace.ended is not None:
            runs.end_live_run(store, run, trace.end_status, trace.ended)
            self.ended = True

    def _has_news(self, trace: LiveTrace) -> bool:
        if trace.ended is not None and trace.ended < self.since:
            return False
        return trace.live_id != self._live_id or self._sent < len(trace.epochs) or trace.ended is not None


def follow(follower: Follower, breaker: Breaker, sleep: Callable[[float], None] = time.sleep) -> None:
    """Send until the training has ended and all of it has arrived."""
    while not follower.ended:
        breaker.call(follower.send_new)
        if not follower.ended:
            sleep(POLL_SECONDS)


def main() -> None:
    """Follow the training of the candidate named on the command line."""
    from pipeline.params.load import load_params
    from pipeline.runtime import paths
    from pipeline.runtime.processes import die_with_parent
    from pipeline.runtime.progress import live_path

    since = time.time_ns() // 1_000_000
    os.environ.update({name: value for name, value in IMPATIENT.items() if name in OURS})
    die_with_parent()
    # Beside a training on all cores, the follower takes what is left over.
    os.nice(10)
    os.chdir(paths.project_root())
    candidate = sys.argv[1]
    experiment = load_params().register.experiment
    report = partial(print, flush=True)
    follow(Follower(candidate, experiment, Path.cwd(), live_path(candidate), since), Breaker(report=report))


if __name__ == "__main__":
    main()
