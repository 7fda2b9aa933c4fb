"""What a search asks for, what it gets back, and the results it remembers on disk.

A trial is one set of settings. It runs in rungs: so many epochs, a score, and on to the next rung if the
score was among the best. Plain data, so that the process that searches needs no TensorFlow and the
processes that train need no Optuna.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.inference import backend
from pipeline.inputs.train_data import load_train_data
from pipeline.runtime.errors import Busy, UserError
from pipeline.runtime.files import content_key, write_json
from pipeline.training.validation_scores import validation_metrics

FILES_TROUBLE = (66, 74, 77)
"""Exit codes of errors with files (docs/guides/exit-codes.md), which say nothing about settings."""
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
class TrialOutcome:
    """What came of a rung.

    Attributes:
        score: The monitored value of the best epoch so far; None if the rung failed.
        metrics: Validation metrics of the best epoch so far.
        epochs: How many epochs have been trained in all.
        finished: Training will not go on (early stopping, or all epochs done).
        error: Why the rung failed, in words that are the same each time; empty if it did not.
        seconds: CPU time of the rung; counts towards the time limit of the trial.
    """

    score: float | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    epochs: int = 0
    finished: bool = False
    error: str = ""
    seconds: float = 0.0


def failed(error: str, seconds: float = 0.0) -> TrialOutcome:
    """Return the outcome of a rung that failed."""
    return TrialOutcome(score=None, error=error, seconds=seconds)


def accepted(outcome: TrialOutcome) -> TrialOutcome:
    """Return the outcome, turned into a failure if a number in it is NaN or infinite.

    Optuna would let minus infinity win a study, and NaN compares as neither better nor worse.
    """
    numbers = {"score": outcome.score, **outcome.metrics}
    broken = [name for name, value in numbers.items() if value is not None and not math.isfinite(value)]
    if outcome.error or (outcome.score is not None and not broken):
        return outcome
    names = ", ".join(broken) or "score"
    return failed(f"{names} is not a finite number", outcome.seconds)


RunRung = Callable[[Rung], TrialOutcome]
# --- What a search asks for, what it gets back, and the results it remembers on disk.

OnOutcome = Callable[[Rung, TrialOutcome], None]
RunRungs = Callable[[Sequence[Rung], OnOutcome], list[TrialOutcome]]
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

    def __init__(self, run: RunRungs, on_outcome: Callable[[Rung, TrialOutcome, bool], None]) -> None:
        self.run = run
        self.on_outcome = on_outcome

    def __call__(self, rungs: Sequence[Rung]) -> list[TrialOutcome]:
        """Return the outcomes of the rungs, in their order."""
        remembered = {rung.number: outcome for rung in rungs if (outcome := self._recall(rung)) is not None}
        for rung in rungs:
            if rung.number in remembered:
                self.on_outcome(rung, remembered[rung.number], True)
        missing = [rung for rung in rungs if rung.number not in remembered]
        new = self.run(missing, self._remember) if missing else []
        found = remembered | {rung.number: outcome for rung, outcome in zip(missing, new, strict=True)}
        return [found[rung.number] for rung in rungs]

    def _remember(self, rung: Rung, outcome: TrialOutcome) -> None:
        write_json(_memo_path(rung), asdict(outcome))
        self.on_outcome(rung, outcome, False)

    @staticmethod
    def _recall(rung: Rung) -> TrialOutcome | None:
        """Return the outcome that was written down for a rung, if any."""
        path = _memo_path(rung)
        return TrialOutcome(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def seconds_used(rung: Rung) -> float:
    """Return the CPU seconds that earlier rungs of the same trial took."""
    outcomes = [json.loads(path.read_text(encoding="utf-8")) for path in rung.folder.glob("rung-*.json")]
    return float(sum(outcome["seconds"] for outcome in outcomes))


def trial_folder(parent: Path, number: int, settings: Mapping[str, Any]) -> Path:
    """Return where a trial keeps its checkpoint and outcomes; other settings never find them."""
    return parent / f"{number:03d}-{content_key(settings)[:16]}"


def _memo_path(rung: Rung) -> Path:
    return rung.folder / f"rung-{rung.epochs:06d}.json"


@dataclass
class Trial:
    """One set of settings and what became of it.

    Attributes:
        number: From 1; 0 is the baseline.
        sampled: Dotted key to value.
        state: `running`, then `complete` (trained to its end), `pruned` (left at a rung) or `failed`.
        rungs: `(epochs, score)` after each rung.
        last: The latest outcome, None before the first rung.
    """

    number: int
    sampled: dict[str, Any]
    state: Literal["running", "complete", "pruned", "failed"] = "running"
    rungs: list[tuple[int, float]] = field(default_factory=list)
    last: TrialOutcome | None = None

    @property
    def score(self) -> float:
        """Return the score after the latest rung.

        Raises:
            ValueError: There is none.
        """
        if not self.rungs:
            raise ValueError(f"Trial {self.number} has no score. Received: state={self.state}.")
        return self.rungs[-1][1]


# --- What a search says: a line per rung, a row per trial for trials.json, a verdict. No timings.

Row = dict[str, Any]


def baseline_row(sampled: Mapping[str, Any], metrics: Mapping[str, float], epochs: int, monitor: str) -> Row:
    """Return the row of trial 0.

    Args:
        sampled: The baseline's values of what is searched.
        metrics: Its validation metrics.
        epochs: How many it was trained for.
        monitor: Which of the metrics is the score.
    """
    return {
        "number": 0,
        "settings": dict(sampled),
        "state": "complete",
        "rungs": [{"epochs": epochs, "score": metrics[monitor]}],
        "metrics": dict(metrics),
        "epochs": epochs,
        "error": "",
    }


def trial_row(trial: "Trial") -> Row:
    """Return the row of a trial that has come to its end."""
    last = trial.last or TrialOutcome(score=None)
    return {
        "number": trial.number,
        "settings": trial.sampled,
        "state": trial.state,
        "rungs": [{"epochs": epochs, "score": score} for epochs, score in trial.rungs],
        "metrics": dict(last.metrics),
        # A failed rung has none of its own; what the trial had reached before still counts.
        "epochs": last.epochs or (trial.rungs[-1][0] if trial.rungs else 0),
        "error": last.error,
    }


def line(candidate: str, monitor: str, rung: Rung, outcome: TrialOutcome, remembered: bool) -> str:
    """Return one line on a rung that has ended."""
    result = f"failed: {outcome.error}" if outcome.score is None else f"{monitor} {outcome.score:.4f}"
    # Long trials that stopped early have fewer epochs than their rung.
    epochs = outcome.epochs or rung.epochs
    note = ", remembered" if remembered else ""
    return f"{candidate} trial {rung.number}, epoch {epochs}: {result} ({_settings(rung.sampled)}{note})"


def search_summary(candidate: str, monitor: str, rows: list[Row], chosen: int) -> str:
    """Return one line on which trial was chosen and by how much.

    Args:
        candidate: Its name.
        monitor: Name of the score.
        rows: Of the baseline and every trial.
        chosen: Number of the chosen one, 0 for the baseline.
    """
    baseline, best = rows[0], rows[chosen]
    states = [row["state"] for row in rows[1:]]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("complete", "pruned", "failed"))
    if chosen == 0:
        return f"{candidate}: baseline kept, {monitor} {_score(baseline):.4f}; trials: {counts}"
    change = f"{monitor} {_score(baseline):.4f} -> {_score(best):.4f}"
    return (
        f"{candidate}: trial {chosen} is better, {change} ({_settings(best['settings'])}); trials: {counts}"
    )


def all_failed(candidate: str, rows: list[Row]) -> str:
    """Return the message of a search without a single result: a table of causes."""
    table = "\n".join(
        f"  trial {row['number']:>3}  {row['error']}  ({_settings(row['settings'])})" for row in rows
    )
    return (
        f"{candidate}: every trial failed. Expected at least one of {len(rows)} to be trained. "
        f"Received:\n{table}\nMend the cause, narrow candidates.{candidate}.tune.space, or set "
        f"candidates.{candidate}.tune.trials: 0."
    )


def _settings(sampled: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in sampled.items()
    )


def _score(row: Row) -> float:
    return float(row["rungs"][-1]["score"])


# --- What a trial worker does: train a candidate's settings up to a rung and score them on validation.
#
# Importing this module imports no TensorFlow; `open_training` does, in the worker that calls it.


def open_training(family: str, *, seed: int, threads: int) -> RunRung:
    """Start TensorFlow, open the data, and return the function that runs one rung.

    A rung's outcome follows from its settings alone: Keras forgets earlier models and the seed is set anew,
    so it does not matter which worker runs it and after what.

    Args:
        family: Name of the file in `pipeline/models`.
        seed: The same for every trial and the baseline, so that only settings make a difference.
        threads: CPU threads of one operation.
    """
    backend.prepare_tensorflow(threads, seed)
    import keras

    from pipeline.inference.prediction import answers
    from pipeline.training.candidate import train_candidate, write_candidate
    from pipeline.training.workers import Train, training_with

    data = load_train_data(family)
    # Until this process ends, and the same for all trials (`space.FIXED`): starting them costs more than many a rung.
    workers, together = ExitStack(), list[Train]()

    def run_rung(rung: Rung) -> TrialOutcome:
        keras.backend.clear_session()
        model, training = rung.settings["model"], rung.settings["training"]
        if not together:
            together.append(workers.enter_context(training_with(train_candidate, training, threads)))
        try:
            trained = together[0](
                family, data, model, training, seed=seed, checkpoint_dir=rung.folder, stop_after=rung.epochs
            )
        except Busy as error:
            # One of the processes of this training was killed, which is no fault of the settings: as if this one had.
            raise SystemExit(error.exit_code) from error
        except UserError as error:
            if error.exit_code not in FILES_TROUBLE:
                raise
            # Of another process of this training, as if this one had met it: it stops the search.
            raise OSError(str(error)) from error
        given = answers(trained.model, data.inputs, data.val_rows, training, data.output_spec)
        measured = validation_metrics(data, given, training["monitor"])
        if trained.result.finished:
            settings = {**rung.settings, "family": family, "seed": seed, "threads": threads}
            write_candidate(rung.folder / FILES, trained, data, settings)
        return TrialOutcome(
            score=measured[training["monitor"]],
            metrics=measured,
            epochs=len(trained.result.history),
            finished=trained.result.finished,
        )

    return run_rung


def baseline_metrics(family: str, val_predictions: Path, monitor: str) -> dict[str, float]:
    """Return the same metrics of a trained baseline.

    Args:
        family: Name of the file in `pipeline/models`.
        val_predictions: File of what the baseline answers for the rows of val.
        monitor: `training.monitor`.
    """
    return validation_metrics(load_train_data(family), np.load(val_predictions), monitor)
