"""How sure a metric is: bootstrap percentile intervals over test examples.

Each resample draws as many examples as there are, with replacement; how often an example was drawn is its
weight, so one call of a metric with a matrix of weights computes many resamples at once. The same seed
draws the same resamples, which makes two models comparable example by example (paired).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from pipeline.metrics import Metric
from pipeline.probabilities import FloatArray

CHUNK = 100
"""Resamples per call of a metric: the weights of 10,000 examples then take 8 MB, near a cache's size."""
LARGEST_UNDEFINED_SHARE = 0.05
"""An interval over fewer than 95 % of the resamples would be about another population."""

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

    def rounded(self, digits: int = 6) -> dict[str, float]:
        """Return the three numbers under their names, rounded for a file."""
        return {name: round(number, digits) for name, number in asdict(self).items()}


def bootstrap_weights(num_examples: int, resamples: int, seed: int) -> Iterator[FloatArray]:
    """Yield how often each example is drawn, in chunks of shape (num_examples, up to CHUNK).

    Each column is multinomial: `num_examples` draws with equal chances.
    """
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, CHUNK):
        columns = min(CHUNK, resamples - start)
        draws = generator.integers(0, num_examples, size=(num_examples, columns))
        cells = (draws * columns + np.arange(columns)).ravel()
        counts = np.bincount(cells, minlength=num_examples * columns)
        yield counts.reshape(num_examples, columns).astype(float)


def bootstrap_values(
    metrics: Sequence[Metric],
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    resamples: int,
    seed: int,
) -> list[FloatArray]:
    """Return each metric on every resample.

    Args:
        metrics: Functions of `pipeline.metrics`, per class or overall.
        y_true: Class index per example, shape (num_examples,).
        y_pred: Probabilities, shape (num_examples, num_classes).
        resamples: How many.
        seed: Equal seeds draw equal resamples.

    Returns:
        Per metric an array whose last axis is the resample.
    """
    chunks = [
        [metric(y_true, y_pred, weights) for metric in metrics]
        for weights in bootstrap_weights(len(np.asarray(y_true)), resamples, seed)
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
) -> dict[str, Interval]:
    """Return every metric with its percentile interval.

    Args:
        metrics: Name to metric; each gives one number.
        y_true: Class index per example, shape (num_examples,).
        y_pred: Probabilities, shape (num_examples, num_classes).
        resamples: How many bootstrap resamples.
        confidence: Share of resamples inside the interval, (0.5, 1).
        seed: Of the resamples.

    Raises:
        ValueError: A metric does not exist for these examples (ROC AUC of one class), or for too many
            of the resamples.
    """
    drawn = bootstrap_values(list(metrics.values()), y_true, y_pred, resamples=resamples, seed=seed)
    intervals = {
        name: interval_of(float(metric(y_true, y_pred, None)), values, confidence, name)
        for (name, metric), values in zip(metrics.items(), drawn, strict=True)
    }
    for name in intervals.keys() & COUNTS_OF_RIGHT_ANSWERS:
        if intervals[name] == Interval(1.0, 1.0, 1.0):
            low = lowest_share_without_error(len(np.asarray(y_true)), confidence)
            intervals[name] = Interval(1.0, low, 1.0)
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
) -> list[Interval | None]:
    """Return an interval per class; None for a class the metric does not exist for (no such example).

    Resamples that happen to miss a small class are left out of its interval. Arguments as `metric_intervals`.
    """
    points = metric(y_true, y_pred, None)
    (drawn,) = bootstrap_values([metric], y_true, y_pred, resamples=resamples, seed=seed)
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
) -> Interval:
    """Return by how much `y_pred` scores above `y_pred_other` on the same examples, with its interval.

    Paired: both are judged on the same resamples, so that examples hard for both do not blur the difference.
    Arguments as `metric_intervals`.

    Raises:
        ValueError: The metric does not exist for these examples.
    """
    (first,) = bootstrap_values([metric], y_true, y_pred, resamples=resamples, seed=seed)
    (other,) = bootstrap_values([metric], y_true, y_pred_other, resamples=resamples, seed=seed)
    value = float(metric(y_true, y_pred, None)) - float(metric(y_true, y_pred_other, None))
    return interval_of(value, first - other, confidence, f"difference of {metric.__name__}")


def interval_of(value: float, resampled: FloatArray, confidence: float, name: str) -> Interval:
    """Return the percentile interval of one metric's resamples; those where it does not exist are left out.

    Raises:
        ValueError: `value` is not finite, or more than 5 % of the resamples are not.
    """
    undefined = float(np.isnan(resampled).mean())
    if not np.isfinite(value) or undefined > LARGEST_UNDEFINED_SHARE:
        raise ValueError(
            f"{name} cannot be judged on these examples. Expected a finite value, on at least 95 % of the "
            f"resamples too. Received: value={value}, undefined on {undefined:.0%} of resamples. "
            "Classes may be missing: use more examples."
        )
    return Interval(value, *_percentiles(resampled, confidence))


def _percentiles(resampled: FloatArray, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled[~np.isnan(resampled)], [tail, 1 - tail])
    return float(low), float(high)
