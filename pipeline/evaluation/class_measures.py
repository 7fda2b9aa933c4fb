"""What classifiers are measured by; with two classes also with a decision threshold chosen on validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.rows import JudgedRows
from pipeline.inputs.specs import OutputSpec
from pipeline.metrics.classification import (
    USUAL_THRESHOLD,
    BoolArray,
    IntArray,
    Metric,
    best_threshold,
    checked,
)
from pipeline.metrics.intervals import Groups, groups_of
from pipeline.metrics.names import bound_metrics, metrics_of
from pipeline.runtime.stage import DataRefused


@dataclass(frozen=True)
class ClassMeasures:
    """Keeps the agreement of `pipeline.evaluation.measures`; predictions are probabilities (num_rows, num_classes).

    Attributes:
        y_true: Class index per row.
        classes: Names.
        positive: Of two classes the index of the one that is looked for; else None.
        num_bins: Of the calibration error.
        blocks: Groups of rows that are drawn together; None: rows are drawn one by one.
    """

    y_true: IntArray
    classes: tuple[str, ...]
    positive: int | None
    num_bins: int
    blocks: Groups | None = None

    @classmethod
    def of(
        cls, rows: JudgedRows, spec: OutputSpec, num_bins: int, positive_class: str | None
    ) -> "ClassMeasures":
        """Return the measures of labelled rows.

        Raises:
            ValueError: A label, or the positive class, is not among the classes.
        """
        y_true = rows.class_indices(spec.classes)
        blocks = groups_of(rows.groups)
        return cls(y_true, spec.classes, positive_index(spec, positive_class), num_bins, blocks)

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
        """Return the positive class and the threshold chosen for its F1; nothing where there are more classes."""
        if self.positive is None:
            return {}
        y_true, probabilities, _ = checked(self.y_true, predictions)
        threshold = best_threshold(y_true == self.positive, probabilities[:, self.positive])
        return {"positive_class": self.classes[self.positive], "threshold": threshold}

    def judged(
        self, predictions: npt.NDArray[np.floating], _point: Mapping[str, Any]
    ) -> npt.NDArray[np.floating]:
        """Return the probabilities as they are, once they are known to be some."""
        checked(self.y_true, predictions)
        return predictions

    def metrics(self, point: Mapping[str, Any]) -> dict[str, Metric]:
        """Return every metric; those of the positive class at the threshold of `point`."""
        offered = {
            "num_bins": self.num_bins,
            "positive": self.positive,
            "threshold": point.get("threshold", USUAL_THRESHOLD),
        }
        return bound_metrics("classification", offered)

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


def said_at(
    classes: Sequence[str], probabilities: npt.NDArray[np.floating], point: Mapping[str, Any]
) -> npt.NDArray[np.intp] | None:
    """Return which class a model says at its operating point; None where that has no threshold.

    Args:
        classes: Names, in the order of the columns.
        probabilities: Shape (num_rows, num_classes).
        point: See `ClassMeasures.operating_point`.

    Returns:
        Class index per row, shape (num_rows,).
    """
    if len(classes) != 2 or point.get("positive_class") not in classes:
        return None
    positive = list(classes).index(point["positive_class"])
    # In doubles, as `positive_f1_score` compares: single precision may fall on the other side of the threshold.
    reached = np.asarray(probabilities, float)[:, positive] >= point["threshold"]
    return np.where(reached, positive, 1 - positive)
