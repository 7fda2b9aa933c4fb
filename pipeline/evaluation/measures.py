"""What the answers for some rows are measured by: one small agreement, kept by a class per task.

`operating_point` is what a model's answers on validation teach about using it: a decision threshold, alarm
thresholds, or nothing. It travels with the model. `scored` turns predictions, as `prediction.answers` gives
them, into what the metrics take; `metrics` are functions `f(y_true, scored, weight)`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from pipeline.data.windows import Timeline
from pipeline.evaluation.label_measures import LabelMeasures
from pipeline.evaluation.rows import EvaluationRows
from pipeline.inputs.specs import OutputSpec
from pipeline.metrics.anomalies import (
    AlarmRules,
    Events,
    alarm_scores,
    alarm_thresholds,
    checked_scores,
    find_events,
)
from pipeline.metrics.classification import (
    USUAL_THRESHOLD,
    BoolArray,
    FloatArray,
    IntArray,
    Metric,
    best_threshold,
    checked,
)
from pipeline.metrics.decisions import Threshold, decided
from pipeline.metrics.intervals import (
    Blocks,
    DrawnTogether,
    Groups,
    blocks_of,
    groups_of,
    teaches_no_threshold,
)
from pipeline.metrics.names import bound_metrics, metrics_of
from pipeline.metrics.values import checked_values
from pipeline.runtime.errors import DataRefused

# --- What detectors of anomalies are measured by: their alarms against labelled anomalies.


@dataclass(frozen=True)
class AnomalyMeasures:
    """Keeps the agreement of `pipeline.evaluation.measures`; predictions are errors per window, shape (num_windows,).

    Attributes:
        timeline: Where the windows stand, and what is labelled.
        rules: From errors to alarms.
    """

    timeline: Timeline
    rules: AlarmRules

    @property
    def y_true(self) -> BoolArray:
        """Return which windows hold a labelled step."""
        return self.timeline.anomalous()

    @property
    def blocks(self) -> Blocks:
        """Return blocks as long as windows overlap; anomalies are few, so many resamples may miss them all."""
        overlapping = -(-self.timeline.length // self.timeline.stride)
        return replace(blocks_of(self.timeline.segments, overlapping), largest_undefined_share=0.95)

    @property
    def trials(self) -> dict[str, int]:
        """Return how many anomalies could have been missed."""
        count = max(1, len(self.timeline.touched()))
        return {metric.name: count for metric in metrics_of("anomaly")}

    def operating_point(self, predictions: npt.NDArray[np.floating]) -> dict[str, Any]:
        """Return the alarm threshold of each series, from errors on its normal windows."""
        checked_scores(self.y_true, predictions)
        return {"thresholds": alarm_thresholds(predictions, self.timeline, self.rules)}

    def scored(
        self, predictions: npt.NDArray[np.floating], point: Mapping[str, Any]
    ) -> npt.NDArray[np.floating]:
        """Return scores: smoothed errors in units of the threshold of their series."""
        checked_scores(self.y_true, predictions)
        return alarm_scores(predictions, self.timeline, point["thresholds"], self.rules)

    def metrics(self, _point: Mapping[str, Any]) -> dict[str, Metric]:
        """Return every metric of scores; none where nothing is labelled."""
        if not self.timeline.touched():
            return {}
        offered = {"timeline": self.timeline, "merge_steps": self.rules.merge_steps}
        return bound_metrics("anomaly", offered)

    def values(self, predictions: npt.NDArray[np.floating], point: Mapping[str, Any]) -> dict[str, float]:
        """Return every metric that exists for these windows, and the mean error on the normal ones."""
        scores = self.scored(predictions, point)
        found = {
            name: float(metric(self.y_true, scores, None)) for name, metric in self.metrics(point).items()
        }
        normal = np.asarray(predictions, dtype=float)[~self.y_true]
        found["reconstruction_error"] = float(normal.mean()) if len(normal) else float("nan")
        return {name: value for name, value in found.items() if np.isfinite(value)}

    def events(self, scores: npt.NDArray[np.floating]) -> Events:
        """Return what these scores raise, and what of the labelled anomalies they find."""
        return find_events(scores, self.timeline, self.rules.merge_steps)


# --- What classifiers are measured by; with two classes also with a decision threshold chosen on validation.

COUNT_EVERY_CLASS = frozenset(
    metric.name for metric in metrics_of("classification") if "at" in metric.settings
)
"""Metrics that count right answers of every class, not of the positive one."""


@dataclass(frozen=True)
class ClassMeasures:
    """Keeps the agreement of `pipeline.evaluation.measures`; predictions are probabilities (num_rows, num_classes).

    Attributes:
        y_true: Class index per row.
        classes: Names.
        positive: Of two classes the index of the one that is looked for; else None.
        num_bins: Of the calibration error.
        blocks: Groups of rows that are drawn together; None: rows are drawn one by one.
        select_by: Name of the metric that chooses; "" where nobody said.
    """

    y_true: IntArray
    classes: tuple[str, ...]
    positive: int | None
    num_bins: int
    blocks: Groups | None = None
    select_by: str = ""

    @classmethod
    def of(cls, rows: EvaluationRows, spec: OutputSpec, yardstick: "Yardstick") -> "ClassMeasures":
        """Return the measures of labelled rows.

        Raises:
            ValueError: A label, or the positive class, is not among the classes.
        """
        y_true = rows.class_indices(spec.classes)
        blocks = groups_of(rows.groups)
        positive = positive_index(spec, yardstick.positive_class)
        return cls(y_true, spec.classes, positive, yardstick.num_bins, blocks, yardstick.select_by)

    @property
    def trials(self) -> dict[str, int]:
        """Return how many answers could have been wrong; of F1 of the positive class, how many such there are.

        Groups count, not their rows: what is right for one row of a person tends to be right for all.
        """
        counting = [metric for metric in metrics_of("classification") if metric.one_without_error]
        answers = self._independent(np.ones(len(self.y_true), bool))
        counts = {metric.name: answers for metric in counting if "positive" not in metric.settings}
        if self.positive is not None:
            positives = max(1, self._independent(self.y_true == self.positive))
            counts |= {metric.name: positives for metric in counting if "positive" in metric.settings}
        return counts

    def _independent(self, inside: BoolArray) -> int:
        # One group alone says nothing of others: its rows count, see `Bootstrap.over`.
        if self.blocks is None or len(self.blocks) == 1:
            return int(np.sum(inside))
        return int(self.blocks.effective_number(inside))

    def operating_point(self, predictions: npt.NDArray[np.floating]) -> dict[str, Any]:
        """Return the positive class and the threshold chosen for its F1; nothing where there are more classes.

        Who says the same of every row has no threshold to learn. F1 would let it say the positive class of all; where
        right answers of both classes choose, it says the more frequent one, so that it stays a measure of them. A
        handful of groups teaches nobody else a threshold either, as it teaches no temperature: 0.5 stands.
        """
        if self.positive is None:
            return {}
        y_true, probabilities, _ = checked(self.y_true, predictions)
        is_positive, probability = y_true == self.positive, probabilities[:, self.positive]
        blind = np.ptp(probability) == 0
        learnt = blind or not teaches_no_threshold(self.blocks)
        threshold = best_threshold(is_positive, probability) if learnt else USUAL_THRESHOLD
        if blind and self.select_by in COUNT_EVERY_CLASS and is_positive.mean() < 1 / 2:
            threshold = (float(probability[0]) + 1) / 2
        return {"positive_class": self.classes[self.positive], "threshold": threshold}

    def scored(
        self, predictions: npt.NDArray[np.floating], _point: Mapping[str, Any]
    ) -> npt.NDArray[np.floating]:
        """Return the probabilities as they are, once they are known to be some."""
        checked(self.y_true, predictions)
        return predictions

    def metrics(self, point: Mapping[str, Any]) -> dict[str, Metric]:
        """Return every metric; those that count answers at the threshold of `point`."""
        at = threshold_of(self.classes, point)
        offered = {
            "num_bins": self.num_bins,
            "positive": self.positive,
            "threshold": at.value if at else USUAL_THRESHOLD,
        }
        return bound_metrics("classification", offered | ({"at": at} if at else {}))

    def values(self, predictions: npt.NDArray[np.floating], point: Mapping[str, Any]) -> dict[str, float]:
        """Return every metric of these predictions; NaN where it does not exist for these rows."""
        return {
            name: float(metric(self.y_true, predictions, None))
            for name, metric in self.metrics(point).items()
        }


def positive_index(spec: OutputSpec, positive_class: str | None) -> int | None:
    """Return the index of the class that is looked for; None where there are not exactly two.

    Args:
        spec: Classes and how often each is in train.
        positive_class: Its name; None: the rarer one, of equals the second.

    Raises:
        DataRefused: There is no class of that name, or there are not two.
    """
    if spec.num_classes != 2 and positive_class is None:
        return None
    if positive_class is None:
        return 0 if spec.class_counts[0] < spec.class_counts[1] else 1
    if positive_class not in spec.classes or spec.num_classes != 2:
        raise DataRefused(
            f"data.positive_class must be one of exactly two classes. The data has {list(spec.classes)}. "
            f"Received: positive_class={positive_class}. Correct it in params.yaml, or set it to null."
        )
    return spec.classes.index(positive_class)


def threshold_of(classes: Sequence[str], point: Mapping[str, Any]) -> Threshold | None:
    """Return the threshold of an operating point; None where it has none for these classes.

    Args:
        classes: Names, in the order of the columns of probabilities.
        point: See `ClassMeasures.operating_point`.
    """
    if len(classes) != 2 or point.get("positive_class") not in classes:
        return None
    return Threshold(list(classes).index(point["positive_class"]), float(point["threshold"]))


def said_at(
    classes: Sequence[str], probabilities: npt.NDArray[np.floating], point: Mapping[str, Any]
) -> IntArray:
    """Return which class a model says at its operating point: the most probable one where that has no threshold.

    Args:
        classes: Names, in the order of the columns.
        probabilities: Shape (num_rows, num_classes).
        point: See `ClassMeasures.operating_point`.

    Returns:
        Class index per row, shape (num_rows,).
    """
    return decided(probabilities, threshold_of(classes, point))


def point_of(
    measures: "Measures", predictions: npt.NDArray[np.floating], *, blind: bool = False
) -> dict[str, Any]:
    """Return what a model's answers for some rows teach about using it.

    Args:
        measures: Of these rows.
        predictions: What it answered.
        blind: Whether it answers without looking at what it is asked about. What differs between its answers then is
            who asked (each fold has a model of its own), and their mean is what it says.
    """
    if blind:
        mean = np.asarray(predictions, float).mean(axis=0)
        predictions = np.broadcast_to(mean, np.shape(predictions))
    return measures.operating_point(predictions)


# --- What regressions and forecasts are measured by.


@dataclass(frozen=True)
class ValueMeasures:
    """Keeps the agreement of `pipeline.evaluation.measures`; predictions are values in the units of the data.

    Attributes:
        y_true: Shape (num_rows, num_targets) or (num_rows, horizon, num_targets).
        deviation: Of each target on train.
        naive_errors: See `EvaluationRows`; None leaves MASE out.
        blocks: Windows, or groups of rows, that are drawn together.
    """

    y_true: FloatArray
    deviation: tuple[float, ...]
    naive_errors: FloatArray | None = None
    blocks: DrawnTogether | None = None

    @classmethod
    def of(cls, rows: EvaluationRows, spec: OutputSpec) -> "ValueMeasures":
        """Return the measures of rows with targets.

        Raises:
            ValueError: They have none.
        """
        if rows.targets is None:
            raise ValueError(f"Task {spec.task} needs rows with targets. Run `dvc repro split`.")
        blocks: DrawnTogether | None = groups_of(rows.groups)
        if rows.timeline is not None:
            overlapping = -(-spec.horizon // rows.timeline.stride)
            blocks = blocks_of(rows.timeline.segments, overlapping)
        return cls(rows.targets, spec.target_standard_deviation, rows.naive_errors, blocks)

    @property
    def trials(self) -> dict[str, int]:
        """Return nothing: no error counts right answers."""
        return {}

    def operating_point(self, _predictions: npt.NDArray[np.floating]) -> dict[str, Any]:
        """Return nothing: values are used as they are."""
        return {}

    def scored(
        self, predictions: npt.NDArray[np.floating], _point: Mapping[str, Any]
    ) -> npt.NDArray[np.floating]:
        """Return the values as they are, once they are known to be finite and as many as rows."""
        checked_values(self.y_true, predictions)
        return predictions

    def metrics(self, _point: Mapping[str, Any]) -> dict[str, Metric]:
        """Return every metric by its name."""
        metrics = bound_metrics("regression", {"scale": self.deviation, "naive_errors": self.naive_errors})
        if not np.ptp(self.y_true.reshape(-1, len(self.deviation)), axis=0).any():
            del metrics["r2"]  # there is no variance to explain
        return metrics

    def values(self, predictions: npt.NDArray[np.floating], point: Mapping[str, Any]) -> dict[str, float]:
        """Return every metric of these predictions."""
        return {
            name: float(metric(self.y_true, predictions, None))
            for name, metric in self.metrics(point).items()
        }


# --- What the answers for some rows are measured by.

Predictions = npt.NDArray[np.float32]
OperatingPoint = Mapping[str, Any]


class Measures(Protocol):
    """What some rows are judged by."""

    @property
    def y_true(self) -> npt.NDArray[Any]:
        """Return what is true of each row, as the metrics take it."""

    @property
    def blocks(self) -> DrawnTogether | None:
        """Return which rows are drawn together in a bootstrap."""

    @property
    def trials(self) -> dict[str, int]:
        """Return how often what a metric counts could have gone wrong, for metrics that are 1 if nothing did."""

    def operating_point(self, predictions: Predictions, /) -> dict[str, Any]:
        """Return what these answers, those on validation, teach about using the model; plain JSON values."""

    def scored(self, predictions: Predictions, point: OperatingPoint, /) -> npt.NDArray[np.floating]:
        """Return predictions as the metrics take them.

        Raises:
            ValueError: They do not belong to these rows, or a number is not finite.
        """

    def metrics(self, point: OperatingPoint, /) -> dict[str, Metric]:
        """Return every metric by its name."""

    def values(self, predictions: Predictions, point: OperatingPoint, /) -> dict[str, float]:
        """Return every metric that exists for these rows."""


@dataclass(frozen=True)
class Yardstick:
    """What of the parameters decides how answers are measured.

    Attributes:
        num_bins: Of the calibration error.
        positive_class: Of two classes the one that is looked for; None: the rarer one.
        alarms: From errors to alarms; None where the task is another.
        select_by: Name of the metric that chooses; "" where nobody said.
    """

    num_bins: int = 15
    positive_class: str | None = None
    alarms: AlarmRules | None = None
    select_by: str = ""

    @classmethod
    def of(
        cls, num_bins: int, positive_class: str | None, anomaly: msgspec.Struct | None, select_by: str
    ) -> "Yardstick":
        """Return what `evaluate.calibration_bins`, `data.positive_class`, `evaluate.anomaly` and `.select_by` say."""
        alarms = AlarmRules(**msgspec.structs.asdict(anomaly)) if anomaly else None
        return cls(num_bins, positive_class, alarms, select_by)


def measures_of(rows: EvaluationRows, spec: OutputSpec, yardstick: Yardstick) -> Measures:
    """Return what answers for these rows are measured by.

    Args:
        rows: The rows.
        spec: What is asked of models.
        yardstick: How answers are measured.

    Raises:
        ValueError: The rows lack what the task needs.
    """
    if spec.task == "classification":
        return ClassMeasures.of(rows, spec, yardstick)
    if spec.task == "multilabel":
        return LabelMeasures.of(rows.labels, rows.groups, spec.classes, yardstick.num_bins)
    if spec.task == "anomaly":
        if rows.timeline is None or yardstick.alarms is None:
            raise ValueError("Task anomaly needs windows over series, and evaluate.anomaly in params.yaml.")
        return AnomalyMeasures(rows.timeline, yardstick.alarms)
    return ValueMeasures.of(rows, spec)
