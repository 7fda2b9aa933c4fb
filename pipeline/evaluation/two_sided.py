"""By how much one model is better than another, as surely to either side: where neither is the champion."""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.metrics.classification import Metric
from pipeline.metrics.intervals import Interval
from pipeline.metrics.paired import paired_difference


def two_sided_difference(
    metrics: tuple[Metric, Metric],
    y_true: npt.NDArray[Any],
    predictions: tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]],
    *,
    unseen_loss: float,
    **drawn: Any,
) -> Interval:
    """Return by how much the first scores above the other, with the gate's allowance at both ends.

    Args:
        metrics: Of each, at its operating point.
        y_true: What is true of each row.
        predictions: Answers of both.
        unseen_loss: What a loss costs that no row shows, see `paired_difference`, which allows for it below alone.
        **drawn: How intervals are made, see there.

    Raises:
        ValueError: The metric does not exist for these rows, or for too few of their resamples.
    """
    (metric, metric_other), (ours, theirs) = metrics, predictions
    found = paired_difference(metric, metric_other, y_true, ours, theirs, unseen_loss=unseen_loss, **drawn)
    if not unseen_loss:
        return found
    turned = paired_difference(metric_other, metric, y_true, theirs, ours, unseen_loss=unseen_loss, **drawn)
    return Interval(found.value, found.low, -turned.low)
