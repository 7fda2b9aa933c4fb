"""What regressions and forecasts are measured by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.rows import JudgedRows
from pipeline.inputs.specs import OutputSpec
from pipeline.metrics.classification import FloatArray, Metric
from pipeline.metrics.intervals import DrawnTogether, blocks_of, groups_of
from pipeline.metrics.names import bound_metrics
from pipeline.metrics.values import checked_values


@dataclass(frozen=True)
class ValueMeasures:
    """Keeps the agreement of `pipeline.evaluation.measures`; predictions are values in the units of the data.

    Attributes:
        y_true: Shape (num_rows, num_targets) or (num_rows, horizon, num_targets).
        deviation: Of each target on train.
        naive_errors: See `JudgedRows`; None leaves MASE out.
        blocks: Windows, or groups of rows, that are drawn together.
    """

    y_true: FloatArray
    deviation: tuple[float, ...]
    naive_errors: FloatArray | None = None
    blocks: DrawnTogether | None = None

    @classmethod
    def of(cls, rows: JudgedRows, spec: OutputSpec) -> "ValueMeasures":
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

    def judged(
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
