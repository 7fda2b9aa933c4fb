"""What classifiers of several labels are measured by: a threshold for each label, chosen on validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data.label_sets import label_matrix
from pipeline.metrics.classification import USUAL_THRESHOLD, Metric, best_threshold
from pipeline.metrics.intervals import Groups, groups_of, teaches_no_threshold
from pipeline.metrics.multilabel import (
    average_precision_per_label,
    checked_labels,
    f1_per_label,
    precision_per_label,
    recall_per_label,
)
from pipeline.metrics.names import bound_metrics, metrics_of

SMALLEST_THRESHOLD = 1e-6
"""A model that gives a label no chance at all does not say it: `>=` 0 would say it of every row."""


@dataclass(frozen=True)
class LabelMeasures:
    """Keeps the agreement of `pipeline.evaluation.measures`; predictions are probabilities (num_rows, num_labels).

    Attributes:
        y_true: 0 or 1, uint8, same shape.
        classes: Names of the labels, in the order of the columns.
        num_bins: Of the calibration error.
        blocks: Groups of rows that are drawn together; None: rows are drawn one by one.
    """

    y_true: npt.NDArray[np.uint8]
    classes: tuple[str, ...]
    num_bins: int
    blocks: Groups | None = None

    @classmethod
    def of(
        cls, cells: Sequence[str], groups: Sequence[str], classes: tuple[str, ...], num_bins: int
    ) -> "LabelMeasures":
        """Return the measures of labelled rows.

        Args:
            cells: The labels of each row, see `pipeline.data.label_sets`.
            groups: Whom or what each row is of; () where the data names none.
            classes: All labels.
            num_bins: Of the calibration error.

        Raises:
            ValueError: A label is not among the classes.
        """
        return cls(label_matrix(cells, classes), classes, num_bins, groups_of(groups))

    @property
    def trials(self) -> dict[str, int]:
        """Return how many answers could have been wrong: rows (or groups), since labels of one row are no draws."""
        alone = self.blocks is None or len(self.blocks) == 1
        answers = len(self.y_true) if alone or self.blocks is None else int(self.blocks.effective_number())
        return {metric.name: answers for metric in metrics_of("multilabel") if metric.one_without_error}

    def operating_point(self, predictions: npt.NDArray[np.floating]) -> dict[str, Any]:
        """Return the threshold of each label, chosen for its F1; 0.5 for one that no row has, or of few groups."""
        if teaches_no_threshold(self.blocks):
            return {"thresholds": dict.fromkeys(self.classes, USUAL_THRESHOLD)}
        truth, probabilities, _ = checked_labels(self.y_true, predictions)
        thresholds = {
            name: max(best_threshold(truth[:, index], probabilities[:, index]), SMALLEST_THRESHOLD)
            for index, name in enumerate(self.classes)
        }
        return {"thresholds": thresholds}

    def scored(
        self, predictions: npt.NDArray[np.floating], _point: Mapping[str, Any]
    ) -> npt.NDArray[np.floating]:
        """Return the probabilities as they are, once they are known to be some."""
        checked_labels(self.y_true, predictions)
        return predictions

    def thresholds(self, point: Mapping[str, Any]) -> tuple[float, ...]:
        """Return the threshold of each label at an operating point, in the order of the columns."""
        chosen = point.get("thresholds", {})
        return tuple(float(chosen.get(name, USUAL_THRESHOLD)) for name in self.classes)

    def metrics(self, point: Mapping[str, Any]) -> dict[str, Metric]:
        """Return every metric at the thresholds of `point`."""
        offered = {"num_bins": self.num_bins, "thresholds": self.thresholds(point)}
        return bound_metrics("multilabel", offered)

    def per_label(self, point: Mapping[str, Any]) -> dict[str, Metric]:
        """Return what is told of each label: functions that give an array (num_labels, ...)."""
        at_thresholds = {
            "precision": precision_per_label,
            "recall": recall_per_label,
            "f1": f1_per_label,
        }
        thresholds = self.thresholds(point)
        return {name: partial(metric, thresholds=thresholds) for name, metric in at_thresholds.items()} | {
            "average_precision": average_precision_per_label
        }

    def values(self, predictions: npt.NDArray[np.floating], point: Mapping[str, Any]) -> dict[str, float]:
        """Return every metric of these predictions; NaN where it does not exist for these rows."""
        return {
            name: float(metric(self.y_true, predictions, None))
            for name, metric in self.metrics(point).items()
        }
