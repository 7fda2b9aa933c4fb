"""Metrics of several labels per example as plain functions `f(y_true, y_pred, sample_weight=None)`, in NumPy.

`y_true` holds 0 or 1 and `y_pred` a probability per example and label, both (num_examples, num_labels). A label is said
where its probability reaches its threshold. Direction, weights and what does not exist as in
`pipeline.metrics.classification`: labels that neither occur nor are said are left out of means, where scikit-learn
counts 0 or warns.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.metrics.classification import (
    SMALLEST_PROBABILITY,
    USUAL_THRESHOLD,
    BoolArray,
    FloatArray,
    average_precision,
    check_finite,
    checked_weight,
    confidence_bins,
    mean_of_defined,
    metric_of,
    ratio,
    times,
)
from pipeline.metrics.decisions import labels_decided

Thresholds = float | Sequence[float]
"""One for all labels, or one for each."""


@metric_of("multilabel", one_without_error=True)
def micro_f1_score(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    thresholds: Thresholds = USUAL_THRESHOLD,
) -> FloatArray:
    """Return F1 over all pairs of an example and a label, so that frequent labels count more.

    Args:
        y_true: 0 or 1, shape (num_examples, num_labels).
        y_pred: Probabilities, same shape.
        sample_weight: Weights >= 0, shape (num_examples,) or (num_examples, num_resamples); None counts each once.
        thresholds: In [0, 1].

    Returns:
        In [0, 1], shape () or (num_resamples,); NaN where nothing occurs and nothing is said.

    Raises:
        ValueError: Shapes disagree, or a number is no probability.
    """
    hits, true, said = _label_weights(y_true, y_pred, sample_weight, thresholds)
    return ratio(2 * hits.sum(axis=0), true.sum(axis=0) + said.sum(axis=0))


@metric_of("multilabel", one_without_error=True)
def macro_f1_score(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    thresholds: Thresholds = USUAL_THRESHOLD,
) -> FloatArray:
    """Return the mean over labels of F1, so that every label counts alike. Arguments as `micro_f1_score`."""
    return np.asarray(mean_of_defined(f1_per_label(y_true, y_pred, sample_weight, thresholds)))


@metric_of("multilabel", scale="ranking")
def mean_average_precision_score(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> FloatArray:
    """Return the mean over labels of the average precision; it needs no thresholds. Arguments as `micro_f1_score`."""
    return np.asarray(mean_of_defined(average_precision_per_label(y_true, y_pred, sample_weight)))


@metric_of("multilabel", one_without_error=True, scale="share")
def subset_accuracy_score(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    thresholds: Thresholds = USUAL_THRESHOLD,
) -> FloatArray:
    """Return the share of examples of which every label is right. Arguments as `micro_f1_score`."""
    truth, probabilities, weight = checked_labels(y_true, y_pred, sample_weight)
    right = (truth == labels_decided(probabilities, thresholds)).all(axis=1)
    return np.asarray(weight[right].sum(axis=0) / weight.sum(axis=0))


@metric_of("multilabel")
def hamming_loss(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    thresholds: Thresholds = USUAL_THRESHOLD,
) -> FloatArray:
    """Return the share of wrong answers among all pairs of an example and a label. Arguments as `micro_f1_score`."""
    truth, probabilities, weight = checked_labels(y_true, y_pred, sample_weight)
    wrong = (truth != labels_decided(probabilities, thresholds)).mean(axis=1)
    return np.asarray(times(wrong, weight).sum(axis=0) / weight.sum(axis=0))


@metric_of("multilabel")
def log_loss(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> FloatArray:
    """Return the mean over examples and labels of the binary cross-entropy. Arguments as `micro_f1_score`.

    Probabilities nearer to 0 or 1 than `SMALLEST_PROBABILITY` count as that.
    """
    truth, probabilities, weight = checked_labels(y_true, y_pred, sample_weight)
    of_truth = np.where(truth, probabilities, 1 - probabilities)
    # + 0.0 turns the -0.0 of a perfect answer into 0.0
    losses = -np.log(np.clip(of_truth, SMALLEST_PROBABILITY, 1.0)).mean(axis=1) + 0.0
    return np.asarray(times(losses, weight).sum(axis=0) / weight.sum(axis=0))


@metric_of("multilabel", selects=False, scale="distance")
def expected_calibration_error(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    num_bins: int = 15,
) -> FloatArray:
    """Return the mean distance between probability and frequency, over bins of equal width and all labels together.

    Arguments as `micro_f1_score`.

    Args:
        y_true: 0 or 1.
        y_pred: Probabilities.
        sample_weight: Weights, or None.
        num_bins: Number of bins, >= 1.
    """
    truth, probabilities, weight = checked_labels(y_true, y_pred, sample_weight)
    excess, bins = probabilities - truth, confidence_bins(probabilities, num_bins)
    distances = np.zeros(weight.shape[1:])
    for place in range(num_bins):
        inside = np.where(bins == place, excess, 0.0).sum(axis=1)
        distances = distances + np.abs(times(inside, weight).sum(axis=0))
    return np.asarray(distances / (weight.sum(axis=0) * truth.shape[1]))


def f1_per_label(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    thresholds: Thresholds = USUAL_THRESHOLD,
) -> FloatArray:
    """Return F1 of each label, shape (num_labels,) or (num_labels, num_resamples). Arguments as `micro_f1_score`.

    NaN for a label that neither occurs nor is said.
    """
    hits, true, said = _label_weights(y_true, y_pred, sample_weight, thresholds)
    return ratio(2 * hits, true + said)


def recall_per_label(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    thresholds: Thresholds = USUAL_THRESHOLD,
) -> FloatArray:
    """Return the share of each label's examples on which it is said. Shapes and arguments as `f1_per_label`."""
    hits, true, _ = _label_weights(y_true, y_pred, sample_weight, thresholds)
    return ratio(hits, true)


def precision_per_label(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    thresholds: Thresholds = USUAL_THRESHOLD,
) -> FloatArray:
    """Return how often a label is right where it is said. Shapes and arguments as `f1_per_label`."""
    hits, _, said = _label_weights(y_true, y_pred, sample_weight, thresholds)
    return ratio(hits, said)


def average_precision_per_label(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> FloatArray:
    """Return the average precision of each label; NaN for one that does not occur. Shapes as `f1_per_label`."""
    truth, probabilities, weight = checked_labels(y_true, y_pred, sample_weight)
    return np.stack(
        [
            average_precision(truth[:, label], probabilities[:, label], weight)
            for label in range(truth.shape[1])
        ]
    )


def checked_labels(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> tuple[BoolArray, FloatArray, FloatArray]:
    """Return the arguments of a metric as arrays that can be trusted; weights of None become ones.

    Raises:
        ValueError: Shapes disagree, a truth is neither 0 nor 1, or a number is no probability.
    """
    truth, probabilities = np.asarray(y_true), np.asarray(y_pred, dtype=float)
    if truth.ndim != 2 or not truth.size or not np.isin(truth, (0, 1)).all():
        raise ValueError(
            "y_true must say of each label whether it applies. Expected: 0 or 1, shape (num_examples, num_labels), at "
            f"least one. Received: dtype={truth.dtype}, shape={truth.shape}."
        )
    if probabilities.shape != truth.shape:
        raise ValueError(
            f"y_pred must hold a probability per label. Expected shape: {truth.shape}. "
            f"Received: shape={probabilities.shape}."
        )
    check_label_probabilities(probabilities)
    return truth.astype(bool), probabilities, checked_weight(sample_weight, len(truth))


def check_label_probabilities(probabilities: npt.NDArray[np.floating], name: str = "y_pred") -> None:
    """Check that every number is a probability; those of an example need not add up to 1.

    Args:
        probabilities: Shape (num_examples, num_labels).
        name: How the message calls them.

    Raises:
        ValueError: Names the first row with a number that is not finite, below 0 or above 1.
    """
    check_finite(probabilities, name)
    wrong = ((probabilities < 0) | (probabilities > 1)).any(axis=1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"{name} must be probabilities. Expected: 0 to 1. Received: {name}[{row}]={probabilities[row]}."
        )


def _label_weights(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None,
    thresholds: Thresholds,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return per label the weight of hits, of examples that have it and of those it is said of."""
    truth, probabilities, weight = checked_labels(y_true, y_pred, sample_weight)
    said = labels_decided(probabilities, thresholds)
    hits, true, predicted = (
        np.stack([weight[chosen].sum(axis=0) for chosen in table.T]) for table in (truth & said, truth, said)
    )
    return hits, true, predicted
