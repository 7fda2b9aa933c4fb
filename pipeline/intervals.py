"""How sure a metric is: bootstrap percentile intervals over test examples.

Resamples are weights (`pipeline.resamples`), so one call of a metric with a matrix of weights computes many
of them at once. The same seed draws the same resamples, which makes two models comparable example by example
(paired).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from pipeline.metrics import Metric
from pipeline.probabilities import FloatArray
from pipeline.resamples import LARGEST_UNDEFINED_SHARE, DrawnTogether, bootstrap_weights, num_units

DIGITS = 6
"""Of what is written down: a test set tells no more, and the last bits of a sum may differ by machine."""
SMALL = 0.001
COUNTS_OF_RIGHT_ANSWERS = {"accuracy", "balanced_accuracy", "macro_f1"}
"""Metrics that are 1 exactly when no answer is wrong."""


@dataclass(frozen=True)
class Interval:
    """A metric and the range its value would be found in, were the test set drawn again.

    Attributes:
        value: On the examples as they are.
        low: Lower percentile of the resamples.
        high: Upper percentile.
    """

    value: float
    low: float
    high: float

    def rounded(self, digits: int = DIGITS) -> dict[str, float]:
        """Return the three numbers under their names, rounded for a file."""
        return {name: rounded(number, digits) for name, number in asdict(self).items()}


def rounded(value: float, digits: int = DIGITS) -> float:
    """Return a number with so many decimals, or so many significant digits where it is below `SMALL`.

    Errors have the unit of the data, which may be small.
    """
    return round(value, digits) if value == 0 or abs(value) >= SMALL else float(f"{value:.{digits}g}")


def bootstrap_values(
    metrics: Sequence[Metric],
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    resamples: int,
    seed: int,
    blocks: DrawnTogether | None = None,
) -> list[FloatArray]:
    """Return each metric on every resample.

    Args:
        metrics: Functions of `pipeline.metrics`, per class or overall.
        y_true: What is true of each example, as the metrics take it; class indices, say.
        y_pred: What was answered: probabilities, values or scores.
        resamples: How many.
        seed: Equal seeds draw equal resamples.
        blocks: What is drawn together; None: each example alone.

    Returns:
        Per metric an array whose last axis is the resample.
    """
    chunks = [
        [metric(y_true, y_pred, weights) for metric in metrics]
        for weights in bootstrap_weights(len(np.asarray(y_true)), resamples, seed, blocks)
    ]
    return [np.concatenate(values, axis=-1) for values in zip(*chunks, strict=True)]


def metric_intervals(
    metrics: Mapping[str, Metric],
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    resamples: int,
    confidence: float,
    seed: int,
    blocks: DrawnTogether | None = None,
    trials: Mapping[str, int] | None = None,
) -> dict[str, Interval]:
    """Return every metric with its percentile interval.

    Args:
        metrics: Name to metric; each gives one number.
        y_true: What is true of each example, as the metrics take it; class indices, say.
        y_pred: What was answered: probabilities, values or scores.
        resamples: How many bootstrap resamples.
        confidence: Share of resamples inside the interval, (0.5, 1).
        seed: Of the resamples.
        blocks: What is drawn together; None: each example alone.
        trials: Name of a metric that is 1 exactly when nothing went wrong to how often it could have; None:
            `COUNTS_OF_RIGHT_ANSWERS`, once per example or group.

    Raises:
        ValueError: A metric does not exist for these examples (ROC AUC of one class), or for too many
            of the resamples.
    """
    drawn = bootstrap_values(
        list(metrics.values()), y_true, y_pred, resamples=resamples, seed=seed, blocks=blocks
    )
    undefined = blocks.largest_undefined_share if blocks else LARGEST_UNDEFINED_SHARE
    intervals = {
        name: interval_of(float(metric(y_true, y_pred, None)), values, confidence, name, undefined)
        for (name, metric), values in zip(metrics.items(), drawn, strict=True)
    }
    if trials is None:
        trials = dict.fromkeys(COUNTS_OF_RIGHT_ANSWERS, int(num_units(len(np.asarray(y_true)), blocks)))
    for name in intervals.keys() & trials.keys():
        if intervals[name] == Interval(1.0, 1.0, 1.0):
            intervals[name] = Interval(1.0, lowest_share_without_error(trials[name], confidence), 1.0)
    return intervals


def lowest_share_without_error(num_examples: int, confidence: float) -> float:
    """Return how low the true share of right answers may be when all of `num_examples` were right.

    A resample of flawless answers is flawless, so the bootstrap would claim certainty. This is the exact
    binomial bound: Clopper and Pearson (1934), "The use of confidence or fiducial limits".
    """
    return float(((1 - confidence) / 2) ** (1 / num_examples))


def class_intervals(
    metric: Metric,
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    resamples: int,
    confidence: float,
    seed: int,
    blocks: DrawnTogether | None = None,
) -> list[Interval | None]:
    """Return an interval per class; None for a class the metric does not exist for (no such example).

    Resamples that happen to miss a small class are left out of its interval. Arguments as `metric_intervals`.
    """
    points = metric(y_true, y_pred, None)
    (drawn,) = bootstrap_values([metric], y_true, y_pred, resamples=resamples, seed=seed, blocks=blocks)
    return [
        None if np.isnan(point) else Interval(float(point), *_percentiles(values, confidence))
        for point, values in zip(points, drawn, strict=True)
    ]


def difference_interval(
    metric: Metric,
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    y_pred_other: npt.ArrayLike,
    *,
    resamples: int,
    confidence: float,
    seed: int,
    blocks: DrawnTogether | None = None,
    metric_other: Metric | None = None,
) -> Interval:
    """Return by how much `y_pred` scores above `y_pred_other` on the same examples, with its interval.

    Paired: both are judged on the same resamples, so that examples hard for both do not blur the difference.
    Arguments as `metric_intervals`.

    Args:
        metric: Judges `y_pred`.
        y_true: What is true of each example.
        y_pred: Answers of one model.
        y_pred_other: Answers of the other.
        resamples: How many bootstrap resamples.
        confidence: Share of resamples inside the interval, (0.5, 1).
        seed: Of the resamples.
        blocks: What is drawn together; None: each example alone.
        metric_other: Judges `y_pred_other`; None: `metric` (they differ where each model has its threshold).

    Raises:
        ValueError: The metric does not exist for these examples.
    """
    judge_other = metric_other or metric
    (first,) = bootstrap_values([metric], y_true, y_pred, resamples=resamples, seed=seed, blocks=blocks)
    (other,) = bootstrap_values(
        [judge_other], y_true, y_pred_other, resamples=resamples, seed=seed, blocks=blocks
    )
    value = float(metric(y_true, y_pred, None)) - float(judge_other(y_true, y_pred_other, None))
    undefined = blocks.largest_undefined_share if blocks else LARGEST_UNDEFINED_SHARE
    return interval_of(value, first - other, confidence, "the difference", undefined)


def interval_of(
    value: float,
    resampled: FloatArray,
    confidence: float,
    name: str,
    largest_undefined_share: float = LARGEST_UNDEFINED_SHARE,
) -> Interval:
    """Return the percentile interval of one metric's resamples; those where it does not exist are left out.

    Raises:
        ValueError: `value` is not finite, or too many of the resamples are not.
    """
    undefined = float(np.isnan(resampled).mean())
    if not np.isfinite(value) or undefined > largest_undefined_share:
        raise ValueError(
            f"{name} cannot be judged on these examples. Expected a finite value, on at least "
            f"{1 - largest_undefined_share:.0%} of the resamples too. Received: value={value}, undefined on "
            f"{undefined:.0%} of resamples. "
            "Classes may be missing: use more examples."
        )
    return Interval(value, *_percentiles(resampled, confidence))


def _percentiles(resampled: FloatArray, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled[~np.isnan(resampled)], [tail, 1 - tail])
    return float(low), float(high)
