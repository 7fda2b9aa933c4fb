"""Trials without training: a score that follows from the settings, and every way to fail."""

import functools
import os
import signal
import time
from pathlib import Path
from typing import Any

from pipeline.tuning.search import search
from pipeline.tuning.trials import RememberedRungs, Rung, RunRung, Trial, TrialOutcome, trial_folder
from pipeline.tuning.workers import Opener, TrialWorkers

SPACE: dict[str, dict[str, Any]] = {
    "training.learning_rate": {"kind": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "model.units": {"kind": "choice", "values": [8, 16, 32]},
}


def score(sampled: Any, epochs: int) -> float:
    """Return a loss: best at a learning rate of 0.01 and 16 units, and falling with the epochs."""
    return abs(sampled["training.learning_rate"] - 0.01) + abs(sampled["model.units"] - 16) / 100 + 1 / epochs


def open_fake(log: Path, seconds: float) -> RunRung:
    """Return a rung that notes itself in a log, takes its time and may misbehave as its settings say."""

    def run_rung(rung: Rung) -> TrialOutcome:
        with log.open("a") as file:
            file.write(f"{rung.number} {rung.epochs} {os.getpid()}\n")
        time.sleep(seconds)
        behave(rung)
        if behaviour_of(rung) == "infinity":
            return TrialOutcome(float("-inf"), {"val_loss": 0.5}, rung.epochs)
        return TrialOutcome(score(rung.sampled, rung.epochs), {"val_loss": 0.5}, rung.epochs)

    return run_rung


def behaviour_of(rung: Rung) -> str | None:
    """Return what the settings ask for."""
    behaviour: str | None = rung.settings.get("behaviour", {}).get(str(rung.number))
    return behaviour


def behave(rung: Rung) -> None:
    """Do what the settings ask for: raise, die, hang, or nothing."""
    behaviour = behaviour_of(rung)
    if behaviour == "raise":
        raise ValueError("units must fit.\nsecond line")
    if behaviour == "disk":
        raise OSError(28, "No space left on device")
    if behaviour == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "kill once" and not (rung.folder / "killed").exists():
        rung.folder.mkdir(parents=True, exist_ok=True)
        (rung.folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    while behaviour == "burn":
        pass
    if behaviour == "hang":
        time.sleep(600)
    if behaviour == "exit":
        os._exit(5)


def open_broken() -> RunRung:
    """Fail at the start, as a worker whose data is gone does."""
    raise ValueError("no data")


def run_search(
    folder: Path, *, num_workers: int = 1, trials: int = 6, seconds: float = 0.0, opener: Opener | None = None
) -> tuple[list[Trial], list[tuple[int, int, bool]]]:
    """Search with real processes and fake rungs.

    Returns:
        The trials, and every outcome as (number, epochs, was it remembered) in order of arrival.
    """
    seen: list[tuple[int, int, bool]] = []
    folder.mkdir(parents=True, exist_ok=True)
    opener = opener or functools.partial(open_fake, folder / "log.txt", seconds)
    with TrialWorkers(opener, num_workers=num_workers, trial_limit_seconds=30.0) as workers:
        remembered = RememberedRungs(
            workers, lambda rung, _, known: seen.append((rung.number, rung.epochs, known))
        )

        def run(group: list[Trial], epochs: int) -> list[TrialOutcome]:
            return remembered(
                [
                    Rung(
                        trial.number,
                        trial.sampled,
                        {},
                        epochs,
                        trial_folder(folder, trial.number, trial.sampled),
                    )
                    for trial in group
                ]
            )

        found = search(
            SPACE, run, baseline=None, baseline_score=1.0, direction="minimize", trials=trials,
            generation=3, reduction=2, rungs=[2, 4, 5], seed=1,
        )  # fmt: skip
    return found, seen
