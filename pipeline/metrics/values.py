"""Metrics of predicted values as plain functions `f(y_true, y_pred, sample_weight=None)`, in NumPy.

Both arrays have the same shape: (num_examples,), (num_examples, num_targets) or
(num_examples, horizon, num_targets). Steps of an example count alike; with several targets a metric is the
mean of what each target has, as scikit-learn's `multioutput="uniform_average"`. Direction, weights and what
does not exist as in `pipeline.metrics.classification`.
"""

import numpy as np
import numpy.typing as npt

from pipeline.metrics.classification import (
    FloatArray,
    check_finite,
    checked_weight,
    mean_of_defined,
    metric_of,
    ratio,
    times,
)


@metric_of("regression", "forecasting", scale="root")
def root_mean_squared_error(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> FloatArray:
    """Return the square root of the mean squared error, in the units of the target.

    Args:
        y_true: True values.
        y_pred: Predicted values, same shape.
        sample_weight: Weights >= 0, shape (num_examples,) or (num_examples, num_resamples); None
            counts each example once.

    Returns:
        Shape () or (num_resamples,).

    Raises:
        ValueError: Shapes disagree, or a number is not finite.
    """
    truth, predicted, weight = checked_values(y_true, y_pred, sample_weight)
    squares = np.mean((predicted - truth) ** 2, axis=1)
    return np.asarray(np.sqrt(_mean_per_target(squares, weight)).mean(axis=0))


@metric_of("regression", "forecasting")
def mean_absolute_error(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> FloatArray:
    """Return the mean distance, in the units of the target. Arguments as `root_mean_squared_error`."""
    truth, predicted, weight = checked_values(y_true, y_pred, sample_weight)
    distances = np.mean(np.abs(predicted - truth), axis=1)
    return np.asarray(_mean_per_target(distances, weight).mean(axis=0))


@metric_of("regression", "forecasting", scale="unexplained")
def r2_score(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> FloatArray:
    """Return the share of the variance that the predictions explain: 1 at best, 0 for the mean, may be negative.

    Targets that do not vary (in a resample) are left out; NaN where none varies. Arguments as
    `root_mean_squared_error`.
    """
    truth, predicted, weight = checked_values(y_true, y_pred, sample_weight)
    truth, predicted = truth - truth.mean(axis=(0, 1)), predicted - truth.mean(axis=(0, 1))
    residual = _mean_per_target(np.mean((predicted - truth) ** 2, axis=1), weight)
    mean = _mean_per_target(truth.mean(axis=1), weight)
    total = _mean_per_target(np.mean(truth**2, axis=1), weight) - mean**2
    constant = np.ptp(truth, axis=(0, 1)) == 0
    total[constant] = 0.0  # what is left there is rounding
    return np.asarray(mean_of_defined(1 - ratio(residual, total)))


@metric_of("regression", "forecasting")
def scaled_mean_squared_error(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    scale: npt.ArrayLike = 1.0,
) -> FloatArray:
    """Return the mean squared error in units of a deviation, so that targets of different size count alike.

    Arguments as `root_mean_squared_error`.

    Args:
        y_true: True values.
        y_pred: Predicted values.
        sample_weight: Weights, or None.
        scale: Standard deviation on train, one number or one per target; above 0.
    """
    truth, predicted, weight = checked_values(y_true, y_pred, sample_weight)
    divisor = _checked_scale(scale, truth)
    squares = np.mean((predicted - truth) ** 2, axis=1) / divisor**2
    return np.asarray(_mean_per_target(squares, weight).mean(axis=0))


@metric_of("regression", "forecasting", selects=False)
def mean_absolute_scaled_error(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    naive_errors: npt.ArrayLike = 1.0,
) -> FloatArray:
    """Return the mean distance in units of the naive forecast's: below 1 is better than repeating the past.

    Hyndman and Koehler (2006), "Another look at measures of forecast accuracy".
    Arguments as `root_mean_squared_error`.

    Args:
        y_true: True values.
        y_pred: Predicted values.
        sample_weight: Weights, or None.
        naive_errors: From `seasonal_naive_error` of the training series: one number, one per target, or shape
            (num_examples, num_targets) where examples are of different series; above 0.
    """
    truth, predicted, weight = checked_values(y_true, y_pred, sample_weight)
    distances = np.mean(np.abs(predicted - truth), axis=1) / _checked_scale(naive_errors, truth)
    return np.asarray(_mean_per_target(distances, weight).mean(axis=0))


def seasonal_naive_error(series: npt.ArrayLike, season: int) -> FloatArray:
    """Return the mean distance, per target, between a value and the one a season before.

    Args:
        series: Training values in order, shape (num_steps, num_targets); NaN is missing.
        season: Steps, >= 1.

    Returns:
        Shape (num_targets,); NaN where no pair of values is a season apart.
    """
    values = np.asarray(series, dtype=float)
    distances = np.abs(values[season:] - values[:-season])
    known = ~np.isnan(distances)
    return ratio(np.where(known, distances, 0.0).sum(axis=0), known.sum(axis=0).astype(float))


def errors_by_step(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, scale: npt.ArrayLike = 1.0) -> FloatArray:
    """Return the mean absolute error at each step of the horizon, shape (horizon,), targets in units of `scale`."""
    truth, predicted, _ = checked_values(y_true, y_pred)
    return np.asarray(np.mean(np.abs(predicted - truth) / np.asarray(scale, dtype=float), axis=(0, 2)))


def checked_values(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the arguments of a metric as arrays that can be trusted.

    Returns:
        Truth and predictions, shape (num_examples, num_steps, num_targets), and weights; None becomes ones.

    Raises:
        ValueError: Shapes disagree, or a number is not finite.
    """
    truth, predicted = np.asarray(y_true, dtype=float), np.asarray(y_pred, dtype=float)
    if truth.ndim not in (1, 2, 3) or not truth.size:
        raise ValueError(
            "y_true must hold values. Expected shape: (num_examples,), (num_examples, num_targets) or "
            f"(num_examples, horizon, num_targets), at least one. Received: shape={truth.shape}."
        )
    if truth.shape != predicted.shape:
        raise ValueError(
            f"y_pred must have the shape of y_true. Expected shape: {truth.shape}. "
            f"Received: shape={predicted.shape}."
        )
    for name, values in (("y_true", truth), ("y_pred", predicted)):
        check_finite(values, name)
    weight = checked_weight(sample_weight, len(truth))
    return by_target(truth), by_target(predicted), weight


def by_target(values: FloatArray) -> FloatArray:
    """Return values of any of the three shapes as (num_examples, num_steps, num_targets)."""
    return values.reshape(len(values), -1, values.shape[-1] if values.ndim > 1 else 1)


def _mean_per_target(values: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the weighted mean over examples, shape (num_targets,) or (num_targets, num_resamples)."""
    sums: list[FloatArray] = [
        times(values[:, target], weight).sum(axis=0) for target in range(values.shape[1])
    ]
    return np.asarray(np.stack(sums) / weight.sum(axis=0))


def _checked_scale(scale: npt.ArrayLike, truth: FloatArray) -> FloatArray:
    divisor = np.asarray(scale, dtype=float)
    num_examples, _, num_targets = truth.shape
    if divisor.shape not in ((), (1,), (num_targets,), (num_examples, num_targets)):
        raise ValueError(
            f"scale must fit the targets. Expected shape: (), ({num_targets},) or "
            f"({num_examples}, {num_targets}). Received: shape={divisor.shape}."
        )
    if not np.isfinite(divisor).all() or (divisor <= 0).any():
        raise ValueError(f"scale must be finite and above 0. Received: smallest={divisor.min()}.")
    return divisor
