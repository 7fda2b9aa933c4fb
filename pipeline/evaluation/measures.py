"""What the answers for some rows are measured by: one small agreement, kept by a file per task.

`operating_point` is what a model's answers on validation teach about using it: a decision threshold, alarm
thresholds, or nothing. It travels with the model. `judged` turns predictions, as `prediction.answers` gives
them, into what the metrics take; `metrics` are functions `f(y_true, judged, weight)`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.anomaly_measures import AnomalyMeasures
from pipeline.evaluation.class_measures import ClassMeasures
from pipeline.evaluation.rows import JudgedRows
from pipeline.evaluation.value_measures import ValueMeasures
from pipeline.inputs.specs import OutputSpec
from pipeline.metrics.anomalies import AlarmRules
from pipeline.metrics.classification import Metric
from pipeline.metrics.intervals import DrawnTogether

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

    def judged(self, predictions: Predictions, point: OperatingPoint, /) -> npt.NDArray[np.floating]:
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
    """

    num_bins: int = 15
    positive_class: str | None = None
    alarms: AlarmRules | None = None


def measures_of(rows: JudgedRows, spec: OutputSpec, yardstick: Yardstick) -> Measures:
    """Return what answers for these rows are measured by.

    Args:
        rows: The rows.
        spec: What is asked of models.
        yardstick: How answers are measured.

    Raises:
        ValueError: The rows lack what the task needs.
    """
    if spec.task == "classification":
        return ClassMeasures.of(rows, spec, yardstick.num_bins, yardstick.positive_class)
    if spec.task == "anomaly":
        if rows.timeline is None or yardstick.alarms is None:
            raise ValueError("Task anomaly needs windows over series, and evaluate.anomaly in params.yaml.")
        return AnomalyMeasures(rows.timeline, yardstick.alarms)
    return ValueMeasures.of(rows, spec)
