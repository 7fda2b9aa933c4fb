"""Metrics of two classes, one of which is looked for, and the threshold that decides between them.

Conventions as in `pipeline.metrics`.
"""

import numpy as np
import numpy.typing as npt

from pipeline.metrics import Metric, ratio, times
from pipeline.probabilities import FloatArray, checked

BoolArray = npt.NDArray[np.bool_]
USUAL_THRESHOLD = 0.5
THRESHOLD_RESAMPLES = 200
"""Enough that the mean threshold moves by less than 0.01 with another draw (docs/decisions/0013)."""


def positive_f1_score(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    positive: int = 1,
    threshold: float = USUAL_THRESHOLD,
) -> FloatArray:
    """Return F1 of the positive class, which is said where its probability reaches the threshold.

    Args:
        y_true: Class index per example, shape (num_examples,).
        y_pred: Probabilities, shape (num_examples, num_classes).
        sample_weight: Weights, shape (num_examples,) or (num_examples, num_resamples), or None.
        positive: Index of the positive class.
        threshold: In [0, 1], see `best_threshold`.

    Returns:
        In [0, 1]; NaN where the class neither occurs nor is said.
    """
    truth, probabilities, weight = checked(y_true, y_pred, sample_weight)
    actual, said = truth == positive, probabilities[:, positive] >= threshold
    hits = weight[actual & said].sum(axis=0)
    return ratio(np.asarray(2 * hits), np.asarray(weight[actual].sum(axis=0) + weight[said].sum(axis=0)))


def average_precision_score(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    positive: int = 1,
) -> FloatArray:
    """Return the mean precision over the recall of the positive class, as scikit-learn; NaN without an example.

    Arguments as `positive_f1_score`.
    """
    truth, probabilities, weight = checked(y_true, y_pred, sample_weight)
    return average_precision(truth == positive, probabilities[:, positive], weight)


BINARY_METRICS: tuple[Metric, ...] = (positive_f1_score, average_precision_score)
"""What two classes are judged by beside `pipeline.metrics.METRICS`."""


def average_precision(positive: BoolArray, scores: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the sum of precision times gain in recall over all distinct scores, from the highest down.

    Args:
        positive: Which examples are, shape (num_examples,).
        scores: The higher, the surer, same shape.
        weight: Shape (num_examples,) or (num_examples, num_resamples).
    """
    order = np.argsort(-scores, kind="stable")
    weight = weight[order]
    hits, said = np.cumsum(times(positive[order].astype(float), weight), axis=0), np.cumsum(weight, axis=0)
    # Equal scores are said together: only the last of each group is a threshold.
    last = np.flatnonzero(np.diff(scores[order], append=np.nan))
    hits, said = hits[last], said[last]
    gain = np.diff(hits, axis=0, prepend=np.zeros_like(hits[:1]))
    precision = np.nan_to_num(ratio(hits, said))
    return ratio(np.sum(gain * precision, axis=0), hits[-1])


def best_threshold(
    positive: BoolArray, probability: npt.NDArray[np.floating], num_resamples: int = THRESHOLD_RESAMPLES
) -> float:
    """Return the mean of the thresholds with the highest F1 in samples drawn from the examples with replacement.

    The single highest F1 of some hundred examples follows their noise; its mean over resamples (bagging) does
    so less: docs/decisions/0013 has the figures. The order of the examples does not matter, and the draw is
    the same every time. 0.5 where there is no positive example.

    Args:
        positive: Which validation examples are, shape (num_examples,).
        probability: Of the positive class, same shape.
        num_resamples: Samples drawn; those without a positive example have no say.
    """
    if not positive.any():
        return USUAL_THRESHOLD
    # Equal examples are one cell that is drawn several times: cells have an order that rows do not change.
    cells, counts = np.unique(
        np.column_stack([probability.astype(float), positive]), axis=0, return_counts=True
    )
    values, is_positive = cells[:, 0], cells[:, 1] == 1
    generator = np.random.default_rng(0)
    thresholds = []
    for _ in range(num_resamples):
        drawn = generator.multinomial(len(positive), counts / len(positive))
        if drawn[is_positive].any():
            thresholds.append(highest_f1_threshold(is_positive, values, drawn))
    return float(np.mean(thresholds))


def highest_f1_threshold(
    positive: BoolArray,
    probability: npt.NDArray[np.floating],
    counts: npt.NDArray[np.integer] | None = None,
) -> float:
    """Return the threshold with the highest F1: in the middle between two neighbouring probabilities.

    Of equal ones the threshold nearest to 0.5 is taken.

    Args:
        positive: Which examples are, shape (num_examples,).
        probability: Of the positive class, same shape.
        counts: How often each example is counted, same shape, some positive one at least once; None: once.
    """
    counts = np.ones(len(positive), np.int64) if counts is None else counts
    values, group = np.unique(probability.astype(float), return_inverse=True)
    hits = np.bincount(group, positive * counts, len(values))[::-1].cumsum()[::-1]
    said = np.bincount(group, counts, len(values))[::-1].cumsum()[::-1]
    f1 = 2 * hits / (hits[0] + said)
    thresholds = (values + np.concatenate([[0.0], values[:-1]])) / 2
    best = thresholds[f1 == f1.max()]
    return float(best[np.argmin(np.abs(best - USUAL_THRESHOLD))])
