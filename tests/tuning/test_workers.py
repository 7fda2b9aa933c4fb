"""Trials run in processes of their own, and whatever happens to one of them the search goes on."""

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.engine import local
from pipeline.runtime.errors import Busy, StorageFailed
from pipeline.tuning.trials import Rung, TrialOutcome
from pipeline.tuning.workers import TrialWorkers
from tests.helpers import load
from tests.helpers.fake_trials import open_broken, open_fake, run_search

SAMPLED = {"training.learning_rate": 0.01, "model.units": 16}


def ignore(_rung: Rung, _outcome: TrialOutcome) -> None:
    """Hear of an outcome and do nothing."""


def rungs(folder: Path, behaviour: dict[str, str], numbers: tuple[int, ...] = (1, 2, 3)) -> list[Rung]:
    """Return rungs of 5 epochs that behave as told."""
    return [Rung(number, SAMPLED, {"behaviour": behaviour}, 5, folder / str(number)) for number in numbers]


def run(folder: Path, behaviour: dict[str, str], **changes: Any) -> list[TrialOutcome]:
    """Run three rungs with real processes."""
    arguments = {"num_workers": 1, "trial_limit_seconds": 20.0} | changes
    with TrialWorkers(functools.partial(open_fake, folder / "log.txt", 0.0), **arguments) as workers:
        return workers(rungs(folder, behaviour), ignore)


def log(folder: Path) -> list[list[int]]:
    """Return what the workers noted: number, epochs, process."""
    return [[int(word) for word in line.split()] for line in (folder / "log.txt").read_text().splitlines()]


def test_outcomes_come_back_in_the_order_of_the_rungs(tmp_path: Path) -> None:
    """One worker runs all rungs in one process, and their scores are those of the objective."""
    assert [outcome.score for outcome in run(tmp_path, {})] == [0.2, 0.2, 0.2]
    assert len({process for _, _, process in log(tmp_path)}) == 1


def test_a_worker_that_has_done_its_share_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two jobs to each: what TensorFlow has compiled for them is gone with the process."""
    monkeypatch.setattr(local, "JOBS_OF_A_WORKER", 2)
    assert [outcome.score for outcome in run(tmp_path, {})] == [0.2, 0.2, 0.2]
    first, second, third = (process for _, _, process in log(tmp_path))
    assert first == second
    assert second != third
    assert not psutil.pid_exists(first)


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        ("raise", "ValueError: units must fit."),
        ("kill", "the process was killed by SIGKILL (out of memory?)"),
        ("exit", "the process ended with exit code 5"),
        ("infinity", "score is not a finite number"),
    ],
)
def test_a_trial_that_fails_is_recorded_and_the_others_go_on(
    tmp_path: Path, behaviour: str, error: str
) -> None:
    """An exception, a kill and a crash are outcomes with a cause, and a fresh worker takes over."""
    outcomes = run(tmp_path, {"2": behaviour})
    assert [outcome.error for outcome in outcomes] == ["", error, ""]
    assert [outcome.score for outcome in outcomes] == [0.2, None, 0.2]


@pytest.mark.slow
def test_one_stray_kill_does_not_change_the_answer(tmp_path: Path) -> None:
    """A worker that is killed once is replaced and its rung run again."""
    assert [outcome.error for outcome in run(tmp_path, {"2": "kill once"})] == ["", "", ""]
    assert [number for number, _, _ in log(tmp_path)] == [1, 2, 2, 3]


def test_the_time_limit_stops_a_running_trial(tmp_path: Path) -> None:
    """A trial that computes on and on is killed at its limit of CPU time, while it runs."""
    began = time.monotonic()
    outcomes = run(tmp_path, {"1": "burn"}, trial_limit_seconds=0.5)
    assert outcomes[0].error == "stopped at the limit of 0.5 seconds (tune.trial_limit_seconds)"
    assert [outcome.score for outcome in outcomes[1:]] == [0.2, 0.2]
    assert time.monotonic() - began < 60
    assert not psutil.pid_exists(log(tmp_path)[0][2])


def test_earlier_rungs_count_towards_the_limit(tmp_path: Path) -> None:
    """The limit is per trial: what its earlier rungs took is no longer there for the next."""
    rung = rungs(tmp_path, {"1": "burn"}, (1,))[0]
    rung.folder.mkdir()
    (rung.folder / "rung-000002.json").write_text('{"seconds": 99.8}')
    with TrialWorkers(
        functools.partial(open_fake, tmp_path / "log.txt", 0.0), num_workers=1, trial_limit_seconds=100.0
    ) as workers:
        assert workers([rung], ignore)[0].error.startswith("stopped at the limit of 100 seconds")


def test_waiting_does_not_count_towards_the_limit(tmp_path: Path) -> None:
    """A busy machine or a closed lid changes no answer: three seconds that took no CPU time are within one second."""
    opener = functools.partial(open_fake, tmp_path / "log.txt", 3.0)
    with TrialWorkers(opener, num_workers=1, trial_limit_seconds=1.0) as workers:
        (outcome,) = workers(rungs(tmp_path, {}, (1,)), ignore)
    assert ("", 0.2) == (outcome.error, outcome.score)
    assert outcome.seconds < load.seconds(1)


def test_a_trial_that_gets_no_further_stops_the_search(tmp_path: Path) -> None:
    """Nothing is recorded as failed because of a clock: the stage ends with 75 and goes on the next time."""
    began = time.monotonic()
    heard: list[int] = []
    with TrialWorkers(
        functools.partial(open_fake, tmp_path / "log.txt", 0.0), num_workers=1, trial_limit_seconds=0.2
    ) as workers:
        with pytest.raises(Busy, match=r"Trial 2 got no further\. Expected 0\.2 CPU seconds") as error:
            workers(rungs(tmp_path, {"2": "hang"}, (1, 2)), lambda rung, _outcome: heard.append(rung.number))
    assert (75, [1]) == (error.value.exit_code, heard)
    assert time.monotonic() - began < 60
    assert not psutil.pid_exists(log(tmp_path)[1][2])


def test_a_full_disk_stops_the_search(tmp_path: Path) -> None:
    """Trouble with files is nobody's settings' fault: no trial is recorded as failed for it."""
    with pytest.raises(StorageFailed, match="No space left on device"):
        run(tmp_path, {"2": "disk"})


def test_a_worker_that_cannot_start_stops_the_search(tmp_path: Path) -> None:
    """Missing data is said at once and not as the failure of each trial."""
    with TrialWorkers(open_broken, num_workers=1, trial_limit_seconds=5.0) as workers:
        with pytest.raises(RuntimeError, match="could not start"):
            workers(rungs(tmp_path, {}), ignore)


def test_one_and_two_workers_give_the_same_trials(tmp_path: Path) -> None:
    """The answer does not depend on how many work side by side."""
    one, _ = run_search(tmp_path / "one", num_workers=1)
    two, _ = run_search(tmp_path / "two", num_workers=2, seconds=0.05)
    assert [(trial.number, trial.sampled, trial.state, trial.rungs) for trial in one] == [
        (trial.number, trial.sampled, trial.state, trial.rungs) for trial in two
    ]
    assert len({process for _, _, process in log(tmp_path / "two")}) == 2


PARENT = """
import sys
from pathlib import Path
from tests.helpers.fake_trials import run_search

if __name__ == "__main__":
    run_search(Path(sys.argv[1]), num_workers=2, seconds=float(sys.argv[2]))
"""


def killed_search(folder: Path, seconds: float, there: Callable[[], bool]) -> list[int]:
    """Start a search with rungs of so many seconds, kill -9 it once something is there, return its children."""
    script = folder.parent / "parent.py"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen([sys.executable, str(script), str(folder), str(seconds)], env=environment)
    while not there():
        assert process.poll() is None
        time.sleep(0.02)
    children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    return children


@pytest.mark.slow
def test_a_killed_search_continues_to_the_same_answer(tmp_path: Path) -> None:
    """After kill -9 nothing is run twice that was remembered, no proposal repeats, and the answer is the same."""
    expected, _ = run_search(tmp_path / "whole")
    killed_search(tmp_path / "killed", 0.3, lambda: len(list(tmp_path.glob("killed/*/rung-*.json"))) >= 4)
    remembered_before = len(list(tmp_path.glob("killed/*/rung-*.json")))
    found, seen = run_search(tmp_path / "killed")
    assert found != []
    assert [(trial.sampled, trial.state, trial.rungs) for trial in found] == [
        (trial.sampled, trial.state, trial.rungs) for trial in expected
    ]
    assert sum(known for _, _, known in seen) == remembered_before
    assert len({tuple(trial.sampled.values()) for trial in found}) == len(found)


def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    """After kill -9 of the search no process of it is left, although its trials were running."""
    children = killed_search(tmp_path / "killed", 25.0, lambda: any(tmp_path.glob("killed/log.txt")))
    assert len(children) >= 2
    deadline = time.monotonic() + 10
    while any(psutil.pid_exists(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [child for child in children if psutil.pid_exists(child)] == []
