"""By how much one model is better than another, with an interval that is not too narrow.

Bootstrap percentiles alone promote about 3 % where 2.5 % are meant (benchmarks/gate_simulation.py), whatever the
number of rows: they bend with the very sample that is too favourable. So the wider end of two intervals counts:
percentiles, taken further out for few examples, and Student's around the value.
"""

import numpy as np
import numpy.typing as npt

from pipeline.few_examples import honest_confidence, students_reach
from pipeline.intervals import Interval, bootstrap_values, interval_of
from pipeline.metrics import Metric
from pipeline.paired_shares import allowing_for_losses
from pipeline.resamples import LARGEST_UNDEFINED_SHARE, DrawnTogether, num_units


def paired_difference(
    metric: Metric,
    metric_other: Metric,
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    y_pred_other: npt.ArrayLike,
    *,
    resamples: int,
    confidence: float,
    seed: int,
    blocks: DrawnTogether | None = None,
    unseen_loss: float = 0.0,
) -> Interval:
    """Return by how much `y_pred` scores above `y_pred_other` on the same examples.

    Args:
        metric: Judges `y_pred`.
        metric_other: Judges `y_pred_other`.
        y_true: What is true of each example.
        y_pred: Answers of one model.
        y_pred_other: Answers of the other.
        resamples: How many bootstrap resamples.
        confidence: Of the two-sided interval, (0.5, 1).
        seed: Of the resamples.
        blocks: What is drawn together; None: each example alone.
        unseen_loss: What one lost example costs, where the lower end shall allow for losses that no example
            shows, see `allowing_for_losses`; 0 where it need not.

    Raises:
        ValueError: A metric does not exist for these examples, or for too many of the resamples.
    """
    (first,) = bootstrap_values([metric], y_true, y_pred, resamples=resamples, seed=seed, blocks=blocks)
    (other,) = bootstrap_values(
        [metric_other], y_true, y_pred_other, resamples=resamples, seed=seed, blocks=blocks
    )
    value = float(metric(y_true, y_pred, None)) - float(metric_other(y_true, y_pred_other, None))
    undefined = blocks.largest_undefined_share if blocks else LARGEST_UNDEFINED_SHARE
    interval_of(value, first - other, confidence, "the difference", undefined)  # refuses what does not exist
    drawn = (first - other)[~np.isnan(first - other)]
    units = num_units(len(np.asarray(y_true)), blocks)
    tail = (1 - honest_confidence(confidence, units)) / 2
    # (B + 1) times the tail is the rank that keeps the level with B resamples (Davison and Hinkley 1997, 4.2).
    low, high = np.quantile(drawn, [tail, 1 - tail], method="weibull")
    error = float(drawn.std(ddof=1))
    reach = students_reach(error, confidence, units)
    if unseen_loss:
        low = min(low, allowing_for_losses(value, error, unseen_loss, confidence))
    return Interval(value, min(float(low), value - reach), max(float(high), value + reach))
