"""Candidates judged on validation and on test: probabilities in, numbers with intervals out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import read_json
from pipeline.intervals import Interval, class_intervals, metric_intervals
from pipeline.metrics import (
    METRICS,
    Metric,
    expected_calibration_error,
    f1_per_class,
    precision_per_class,
    recall_per_class,
    short_name,
)
from pipeline.probabilities import IntArray
from pipeline.selection import Choice

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Candidate:
    """A tuned candidate as its folder tells, and its scores on validation.

    Attributes:
        name: As in params.yaml.
        family: Name of its family.
        folder: Where its files lie.
        metrics: Content of metrics.json.
        history: Content of history.json.
        trials: Content of trials.json.
        val: Short name of a metric to its value on validation.
    """

    name: str
    family: str
    folder: Path
    metrics: dict[str, Any]
    history: dict[str, Any]
    trials: list[dict[str, Any]]
    val: dict[str, float]

    @property
    def parameters(self) -> int:
        """Return how many weights the model has."""
        return int(self.metrics["parameters"])


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made.

    Attributes:
        resamples: How many.
        confidence: Share inside, (0.5, 1).
        seed: Of the resamples.
    """

    resamples: int
    confidence: float
    seed: int


@dataclass(frozen=True)
class Judgement:
    """Everything the reports show, once the test set was opened.

    Attributes:
        choice: Which candidate, by validation alone.
        candidates: By name, in the order of params.yaml.
        baselines: Names of those that could not be chosen.
        classes: Names in the order of the probabilities' columns.
        sample_ids: Of the test rows.
        y_true: Class index per test row.
        probabilities: Candidate to its answers on test, shape (num_rows, num_classes).
        test: Candidate to its test metrics.
        per_class: `precision`, `recall` and `f1` of the chosen candidate per class; None where undefined.
    """

    choice: Choice
    candidates: dict[str, Candidate]
    baselines: tuple[str, ...]
    classes: tuple[str, ...]
    sample_ids: tuple[str, ...]
    y_true: IntArray
    probabilities: dict[str, Probabilities]
    test: dict[str, dict[str, Interval]]
    per_class: dict[str, list[Interval | None]]

    @property
    def chosen(self) -> Candidate:
        """Return the chosen candidate."""
        return self.candidates[self.choice.chosen]

    @property
    def answers(self) -> Probabilities:
        """Return the chosen candidate's answers on test."""
        return self.probabilities[self.choice.chosen]

    def mistakes(self) -> npt.NDArray[np.intp]:
        """Return the positions of wrongly classified test rows, the most confident first."""
        wrong = np.flatnonzero(self.answers.argmax(axis=1) != self.y_true)
        sure = self.answers.max(axis=1)[wrong]
        return wrong[np.argsort(-sure, kind="stable")]


def named_metrics(num_bins: int) -> dict[str, Metric]:
    """Return every metric by its short name; the calibration error over that many bins."""
    metrics: dict[str, Metric] = {short_name(metric): metric for metric in METRICS}
    calibration: Callable[..., Any] = partial(expected_calibration_error, num_bins=num_bins)
    return metrics | {short_name(expected_calibration_error): calibration}


def read_candidate(
    name: str, family: str, folder: Path, y_val: IntArray, metrics: Mapping[str, Metric]
) -> Candidate:
    """Return a candidate with its scores on validation, computed anew from its stored probabilities.

    Args:
        name: As in params.yaml.
        family: Name of its family.
        folder: What `tune` wrote.
        y_val: Class index per validation row, ascending rows.
        metrics: Short name to metric.

    Raises:
        FileNotFoundError: A file is missing; says which stage makes it.
        ValueError: Probabilities are not finite, or do not belong to these rows.
    """
    files = {
        stem: read_json(folder / f"{stem}.json", f"tune@{name}") for stem in ("metrics", "history", "trials")
    }
    probabilities = np.load(folder / "val_probabilities.npy", allow_pickle=False)
    try:
        val = {key: float(metric(y_val, probabilities, None)) for key, metric in metrics.items()}
    except ValueError as error:
        raise ValueError(
            f"{folder}/val_probabilities.npy: {error} Run `dvc repro --force tune@{name}`."
        ) from error
    return Candidate(name, family, folder, **files, val=val)


def judge(
    y_true: IntArray,
    probabilities: Mapping[str, Probabilities],
    metrics: Mapping[str, Metric],
    bootstrap: Bootstrap,
) -> dict[str, dict[str, Interval]]:
    """Return every candidate's test metrics with intervals; all are judged on the same resamples.

    Args:
        y_true: Class index per test row.
        probabilities: Candidate to its answers.
        metrics: Short name to metric.
        bootstrap: How intervals are made.
    """
    return {
        name: metric_intervals(
            metrics,
            y_true,
            answers,
            resamples=bootstrap.resamples,
            confidence=bootstrap.confidence,
            seed=bootstrap.seed,
        )
        for name, answers in probabilities.items()
    }


def judge_classes(
    y_true: IntArray, probabilities: Probabilities, bootstrap: Bootstrap
) -> dict[str, list[Interval | None]]:
    """Return precision, recall and F1 of one candidate, each a list with an interval per class."""
    metrics = {"precision": precision_per_class, "recall": recall_per_class, "f1": f1_per_class}
    return {
        name: class_intervals(
            metric,
            y_true,
            probabilities,
            resamples=bootstrap.resamples,
            confidence=bootstrap.confidence,
            seed=bootstrap.seed,
        )
        for name, metric in metrics.items()
    }
