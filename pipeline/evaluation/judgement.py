"""Candidates judged on validation and on test: predictions in, numbers with intervals out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.measures import Measures, OperatingPoint, Predictions
from pipeline.evaluation.rows import JudgedRows
from pipeline.evaluation.selection import Choice
from pipeline.inputs.specs import OutputSpec
from pipeline.metrics.classification import IntArray, f1_per_class, precision_per_class, recall_per_class
from pipeline.metrics.intervals import (
    LARGEST_UNDEFINED_SHARE_OF_GROUPS,
    DrawnTogether,
    Groups,
    Interval,
    class_intervals,
    metric_intervals,
)
from pipeline.metrics.names import Primary
from pipeline.metrics.paired import honest_confidence
from pipeline.runtime.files import read_json
from pipeline.runtime.stage import DataRefused


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
        val: Name of a metric to its value on validation; those that do not exist there are left out.
        point: What its answers on validation taught about using it, see `pipeline.evaluation.measures`.
    """

    name: str
    family: str
    folder: Path
    metrics: dict[str, Any]
    history: dict[str, Any]
    trials: list[dict[str, Any]]
    val: dict[str, float]
    point: OperatingPoint

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

    def over(self, blocks: DrawnTogether | None) -> dict[str, Any]:
        """Return how `pipeline.metrics.intervals` draws, by the names of its arguments.

        Groups are few, so their percentiles are taken further out. One group alone says nothing of others: there
        its rows are drawn, and the interval is about that group.

        Args:
            blocks: What is drawn together; None: each row alone.
        """
        confidence = self.confidence
        if isinstance(blocks, Groups) and len(blocks) == 1:
            blocks = None
        if isinstance(blocks, Groups):
            confidence = honest_confidence(confidence, blocks.effective_number())
            # A class of one or two groups is missed by many resamples; the interval is about those that have it.
            blocks = replace(blocks, largest_undefined_share=LARGEST_UNDEFINED_SHARE_OF_GROUPS)
        return {
            "resamples": self.resamples,
            "confidence": confidence,
            "seed": self.seed,
            "blocks": blocks,
        }


@dataclass(frozen=True)
class Judgement:
    """Everything the reports show, once the test set was opened.

    Attributes:
        choice: Which candidate, by validation alone.
        primary: The metric that decides on test.
        candidates: By name, in the order of params.yaml.
        baselines: Names of those that could not be chosen.
        spec: What was asked of the models.
        rows: The test rows.
        measures: What answers for them are measured by.
        predictions: Candidate to its predictions on test, as `prediction.answers` gives them.
        test: Candidate to its test metrics.
        per_class: Classification: `precision`, `recall` and `f1` of the chosen candidate per class; None
            where undefined.
    """

    choice: Choice
    primary: Primary
    candidates: dict[str, Candidate]
    baselines: tuple[str, ...]
    spec: OutputSpec
    rows: JudgedRows
    measures: Measures
    predictions: dict[str, Predictions]
    test: dict[str, dict[str, Interval]]
    per_class: dict[str, list[Interval | None]]

    @property
    def chosen(self) -> Candidate:
        """Return the chosen candidate."""
        return self.candidates[self.choice.chosen]

    @property
    def answers(self) -> Predictions:
        """Return the chosen candidate's predictions on test."""
        return self.predictions[self.choice.chosen]

    @property
    def y_true(self) -> npt.NDArray[Any]:
        """Return what is true of each test row."""
        return self.measures.y_true

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return self.spec.classes

    def judged(self, name: str) -> npt.NDArray[np.floating]:
        """Return a candidate's predictions as the metrics take them."""
        return self.measures.judged(self.predictions[name], self.candidates[name].point)

    def mistakes(self) -> npt.NDArray[np.intp]:
        """Return the positions of wrongly classified test rows, the most confident first."""
        wrong = np.flatnonzero(self.answers.argmax(axis=1) != self.y_true)
        sure = self.answers.max(axis=1)[wrong]
        return wrong[np.argsort(-sure, kind="stable")]


def read_candidate(name: str, family: str, folder: Path, measures: Measures) -> Candidate:
    """Return a candidate with its scores on validation, computed anew from its stored predictions.

    Args:
        name: As in params.yaml.
        family: Name of its family.
        folder: What `tune` wrote.
        measures: Of the validation rows.

    Raises:
        FileNotFoundError: A file is missing; says which stage makes it.
        ValueError: Predictions are not finite, or do not belong to these rows.
    """
    files = {
        stem: read_json(folder / f"{stem}.json", f"tune@{name}") for stem in ("metrics", "history", "trials")
    }
    predictions = np.load(folder / "val_predictions.npy", allow_pickle=False)
    try:
        point = measures.operating_point(predictions)
        val = measures.values(predictions, point)
    except ValueError as error:
        raise ValueError(
            f"{folder}/val_predictions.npy: {error} Run `dvc repro --force tune@{name}`."
        ) from error
    return Candidate(name, family, folder, **files, val=val, point=point)


def judge(
    measures: Measures,
    predictions: Mapping[str, Predictions],
    points: Mapping[str, OperatingPoint],
    bootstrap: Bootstrap,
) -> dict[str, dict[str, Interval]]:
    """Return every candidate's test metrics with intervals; all are judged on the same resamples.

    A metric that does not exist for a candidate (the precision of alarms where none was raised) is left out.

    Args:
        measures: Of the test rows.
        predictions: Candidate to its predictions for them.
        points: Candidate to its operating point.
        bootstrap: How intervals are made.

    Raises:
        DataRefused: A metric exists on these rows, but not on too many of their resamples.
    """
    answer = {}
    for name, given in predictions.items():
        existing = measures.values(given, points[name])
        metrics = {key: metric for key, metric in measures.metrics(points[name]).items() if key in existing}
        judged = measures.judged(given, points[name])
        try:
            answer[name] = metric_intervals(
                metrics, measures.y_true, judged, trials=measures.trials, **bootstrap.over(measures.blocks)
            )
        except ValueError as error:
            raise DataRefused(
                f"The test set is too small to say how sure a metric is: {error} Where samples name groups, "
                "more groups with every class are needed."
            ) from error
    return answer


def judge_classes(
    y_true: IntArray, probabilities: Predictions, bootstrap: Bootstrap, blocks: DrawnTogether | None = None
) -> dict[str, list[Interval | None]]:
    """Return precision, recall and F1 of one candidate, each a list with an interval per class."""
    metrics = {"precision": precision_per_class, "recall": recall_per_class, "f1": f1_per_class}
    return {
        name: class_intervals(metric, y_true, probabilities, **bootstrap.over(blocks))
        for name, metric in metrics.items()
    }
