"""What a search asks for, what it gets back, and the results it remembers on disk.

A trial is one set of settings. It runs in rungs: so many epochs, a score, and on to the next rung if the
score was among the best. Plain data, so that the process that searches needs no TensorFlow and the
processes that train need no Optuna.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.runtime.files import content_key, write_json

FILES = "files"


@dataclass(frozen=True)
class Rung:
    """One piece of work: train these settings up to that many epochs, continuing where they stopped.

    Attributes:
        number: Of the trial, from 1; the baseline is 0.
        sampled: Dotted key to value, what the search drew.
        settings: All settings, `{"model": {...}, "training": {...}}`.
        epochs: Train until this many epochs are done; schedules span the full number all the same.
        folder: Where the checkpoints and outcomes of the trial live and, once its training is over, in
            `FILES` below it, its model and all that `models/tuned/<candidate>` needs.
    """

    number: int
    sampled: Mapping[str, Any]
    settings: Mapping[str, Any]
    epochs: int
    folder: Path


@dataclass(frozen=True)
class Outcome:
    """What came of a rung.

    Attributes:
        score: The monitored value of the best epoch so far; None if the rung failed.
        metrics: Validation metrics of the best epoch so far.
        epochs: How many epochs have been trained in all.
        finished: Training will not go on (early stopping, or all epochs done).
        error: Why the rung failed, in words that are the same each time; empty if it did not.
        seconds: Wall-clock time of the rung; counts towards the time limit of the trial.
    """

    score: float | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    epochs: int = 0
    finished: bool = False
    error: str = ""
    seconds: float = 0.0


def failed(error: str, seconds: float = 0.0) -> Outcome:
    """Return the outcome of a rung that failed."""
    return Outcome(score=None, error=error, seconds=seconds)


def accepted(outcome: Outcome) -> Outcome:
    """Return the outcome, turned into a failure if a number in it is NaN or infinite.

    Optuna would let minus infinity win a study, and NaN compares as neither better nor worse.
    """
    numbers = {"score": outcome.score, **outcome.metrics}
    broken = [name for name, value in numbers.items() if value is not None and not math.isfinite(value)]
    if outcome.error or (outcome.score is not None and not broken):
        return outcome
    names = ", ".join(broken) or "score"
    return failed(f"{names} is not a finite number", outcome.seconds)


OnOutcome = Callable[[Rung, Outcome], None]
RunRungs = Callable[[Sequence[Rung], OnOutcome], list[Outcome]]
"""Runs rungs side by side and reports each outcome as soon as it is there; returns them in the order of the
rungs, whatever finished first."""


class RememberedRungs:
    """Runs only what was not run before, so that a killed search continues to the same answer.

    The search is replayed from its start; what it asks again is answered from `<folder of the trial>/
    rung-<epochs>.json`. Failures are remembered as well: a trial that ran out of time must not win its
    race on the second attempt, or the answer would depend on where the search was killed.

    Args:
        run: Runs the rest.
        on_outcome: Told of every outcome, with True if it was remembered.
    """

    def __init__(self, run: RunRungs, on_outcome: Callable[[Rung, Outcome, bool], None]) -> None:
        self.run = run
        self.on_outcome = on_outcome

    def __call__(self, rungs: Sequence[Rung]) -> list[Outcome]:
        """Return the outcomes of the rungs, in their order."""
        remembered = {rung.number: outcome for rung in rungs if (outcome := self._recall(rung)) is not None}
        for rung in rungs:
            if rung.number in remembered:
                self.on_outcome(rung, remembered[rung.number], True)
        missing = [rung for rung in rungs if rung.number not in remembered]
        new = self.run(missing, self._remember) if missing else []
        found = remembered | {rung.number: outcome for rung, outcome in zip(missing, new, strict=True)}
        return [found[rung.number] for rung in rungs]

    def _remember(self, rung: Rung, outcome: Outcome) -> None:
        write_json(_memo_path(rung), asdict(outcome))
        self.on_outcome(rung, outcome, False)

    @staticmethod
    def _recall(rung: Rung) -> Outcome | None:
        """Return the outcome that was written down for a rung, if any."""
        path = _memo_path(rung)
        return Outcome(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def seconds_used(rung: Rung) -> float:
    """Return the wall-clock seconds that earlier rungs of the same trial took."""
    outcomes = [json.loads(path.read_text(encoding="utf-8")) for path in rung.folder.glob("rung-*.json")]
    return float(sum(outcome["seconds"] for outcome in outcomes))


def trial_folder(parent: Path, number: int, settings: Mapping[str, Any]) -> Path:
    """Return where a trial keeps its checkpoint and outcomes; other settings never find them."""
    return parent / f"{number:03d}-{content_key(settings)[:16]}"


def _memo_path(rung: Rung) -> Path:
    return rung.folder / f"rung-{rung.epochs:06d}.json"
