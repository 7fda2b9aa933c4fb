"""What detectors of anomalies are measured by: their alarms against labelled anomalies."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data.windows import Timeline
from pipeline.metrics.anomalies import (
    AlarmRules,
    Events,
    alarm_scores,
    alarm_thresholds,
    checked_scores,
    find_events,
)
from pipeline.metrics.classification import BoolArray, Metric
from pipeline.metrics.intervals import Blocks, blocks_of
from pipeline.metrics.names import bound_metrics, metrics_of


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
        return {metric.name: count for metric in metrics_of("anomaly") if metric.one_without_error}

    def operating_point(self, predictions: npt.NDArray[np.floating]) -> dict[str, Any]:
        """Return the alarm threshold of each series, from errors on its normal windows."""
        checked_scores(self.y_true, predictions)
        return {"thresholds": alarm_thresholds(predictions, self.timeline, self.rules)}

    def judged(
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
        scores = self.judged(predictions, point)
        found = {
            name: float(metric(self.y_true, scores, None)) for name, metric in self.metrics(point).items()
        }
        normal = np.asarray(predictions, dtype=float)[~self.y_true]
        found["reconstruction_error"] = float(normal.mean()) if len(normal) else float("nan")
        return {name: value for name, value in found.items() if np.isfinite(value)}

    def events(self, scores: npt.NDArray[np.floating]) -> Events:
        """Return what these scores raise, and what of the labelled anomalies they find."""
        return find_events(scores, self.timeline, self.rules.merge_steps)
