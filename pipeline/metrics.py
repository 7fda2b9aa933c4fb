"""Classification metrics as plain functions `f(y_true, y_pred, sample_weight=None)`, in NumPy.

`y_true` holds class indices, shape (num_examples,); `y_pred` probabilities, (num_examples, num_classes).
The name tells the direction: `*_score` higher is better, `*_loss` and `*_error` lower is better.
`sample_weight` may have a second axis, shape (num_examples, num_resamples): the metric then comes back
once per column, which is what makes bootstrap intervals cheap. The predicted class is the most probable
one; ties go to the lower class index. A value that does not exist (ROC AUC of one class only) is NaN,
never a guess.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pipeline.probabilities import FloatArray, IntArray, checked

Metric = Callable[[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike | None], FloatArray]

SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)
"""Log loss counts a smaller probability as this one: a 0 from a float32 softmax means 'below this'."""


def accuracy_score(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> FloatArray:
    """Return the share of examples whose most probable class is the true one.

    Args:
        y_true: Class index per example, shape (num_examples,).
        y_pred: Probabilities, shape (num_examples, num_classes).
        sample_weight: Weights >= 0, shape (num_examples,) or (num_examples, num_resamples); None
            counts each once.

    Returns:
        Share in [0, 1], shape () or (num_resamples,).

    Raises:
        ValueError: Shapes disagree, a number is not finite, or rows of `y_pred` do not add up to 1.
    """
    truth, probabilities, weight = checked(y_true, y_pred, sample_weight)
    correct = probabilities.argmax(axis=1) == truth
    return np.asarray(weight[correct].sum(axis=0) / weight.sum(axis=0))


def balanced_accuracy_score(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> FloatArray:
    """Return the mean over classes of the share recognised; classes without a (weighted) example are out.

    Arguments, shapes and errors as in `accuracy_score`.
    """
    return np.asarray(mean_of_defined(recall_per_class(y_true, y_pred, sample_weight)))


def macro_f1_score(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> FloatArray:
    """Return the mean over classes of F1; classes that neither occur nor are predicted are left out.

    Arguments, shapes and errors as in `accuracy_score`.
    """
    return np.asarray(mean_of_defined(f1_per_class(y_true, y_pred, sample_weight)))


def log_loss(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> FloatArray:
    """Return the mean of minus the natural logarithm of the true class's probability, in [0, 15.95].

    Probabilities below `SMALLEST_PROBABILITY` count as that.
    Arguments, shapes and errors as in `accuracy_score`.
    """
    truth, probabilities, weight = checked(y_true, y_pred, sample_weight)
    of_truth = probabilities[np.arange(len(truth)), truth]
    # + 0.0 turns the -0.0 of a perfect answer into 0.0
    losses = -np.log(np.clip(of_truth, SMALLEST_PROBABILITY, 1.0)) + 0.0
    return np.asarray(times(losses, weight).sum(axis=0) / weight.sum(axis=0))


def roc_auc_score(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> FloatArray:
    """Return the area under the ROC curve: one class against the rest, mean over classes; ties count half.

    With two classes it is the area for class 1. Classes without a (weighted) example inside or outside them
    are left out; NaN where no class is left. Arguments, shapes and errors as in `accuracy_score`.
    """
    truth, probabilities, weight = checked(y_true, y_pred, sample_weight)
    num_classes = probabilities.shape[1]
    classes = [1] if num_classes == 2 else range(num_classes)
    areas = [area_under_roc_curve(truth == index, probabilities[:, index], weight) for index in classes]
    return np.asarray(mean_of_defined(np.stack(areas)))


def expected_calibration_error(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    num_bins: int = 15,
) -> FloatArray:
    """Return the mean distance between confidence and accuracy over bins of equal width.

    Confidence is the probability of the predicted class; bins are open below and closed above, weighted by
    their share of examples (Guo et al. 2017, "On Calibration of Modern Neural Networks").
    Arguments, shapes and errors as in `accuracy_score`.

    Args:
        y_true: Class index per example.
        y_pred: Probabilities.
        sample_weight: Weights, or None.
        num_bins: Number of bins, >= 1.

    Returns:
        Distance in [0, 1].
    """
    truth, probabilities, weight = checked(y_true, y_pred, sample_weight)
    confidence = probabilities.max(axis=1)
    excess = confidence - (probabilities.argmax(axis=1) == truth)
    bins = confidence_bins(confidence, num_bins)
    distances = np.abs(_sum_per_group(bins, num_bins, times(excess, weight)))
    return np.asarray(distances.sum(axis=0) / weight.sum(axis=0))


METRICS: tuple[Metric, ...] = (
    accuracy_score,
    balanced_accuracy_score,
    macro_f1_score,
    log_loss,
    roc_auc_score,
    expected_calibration_error,
)
"""Everything a classifier is judged by; a new metric is a function above and a line here."""


def short_name(metric: Metric) -> str:
    """Return the name a metric has in parameters and reports: `accuracy` for `accuracy_score`."""
    return metric.__name__.removesuffix("_score")


def higher_is_better(metric: Metric) -> bool:
    """Return the direction of a metric, read off its name.

    Raises:
        ValueError: The name says neither.
    """
    if metric.__name__.endswith("_score"):
        return True
    if metric.__name__.endswith(("_loss", "_error")):
        return False
    raise ValueError(
        "A metric's name must tell its direction. Expected a name that ends in _score, _loss or _error. "
        f"Received: {metric.__name__}. Rename the function."
    )


def recall_per_class(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> FloatArray:
    """Return the share of each class that was recognised.

    Shape (num_classes,) or (num_classes, num_resamples). NaN for a class without a
    (weighted) example. Arguments and errors as in `accuracy_score`.
    """
    hits, true, _ = _class_weights(y_true, y_pred, sample_weight)
    return ratio(hits, true)


def precision_per_class(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> FloatArray:
    """Return the share of each class's predictions that were right; NaN for a class that was never predicted.

    Arguments, shapes and errors as in `recall_per_class`.
    """
    hits, _, predicted = _class_weights(y_true, y_pred, sample_weight)
    return ratio(hits, predicted)


def f1_per_class(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> FloatArray:
    """Return F1 of each class; NaN for a class that neither occurs nor is predicted.

    Arguments, shapes and errors as in `recall_per_class`.
    """
    hits, true, predicted = _class_weights(y_true, y_pred, sample_weight)
    return ratio(2 * hits, true + predicted)


def confidence_bins(confidence: FloatArray, num_bins: int) -> IntArray:
    """Return the bin, 0 to num_bins - 1, of each confidence in [0, 1]; bins are closed above."""
    return np.clip(np.ceil(confidence * num_bins).astype(np.int64) - 1, 0, num_bins - 1)


def _class_weights(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return per class the weight of hits, of true examples and of predictions."""
    truth, probabilities, weight = checked(y_true, y_pred, sample_weight)
    num_classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    hit = predicted == truth
    return (
        _sum_per_group(truth[hit], num_classes, weight[hit]),
        _sum_per_group(truth, num_classes, weight),
        _sum_per_group(predicted, num_classes, weight),
    )


def area_under_roc_curve(
    positive: npt.NDArray[np.bool_], scores: FloatArray, weight: FloatArray
) -> FloatArray:
    """Return the (weighted) share of pairs of a positive and a negative that stand in the right order."""
    order = np.flatnonzero(~positive)[np.argsort(scores[~positive], kind="stable")]
    # below[i] is the weight of the i lowest negatives, so that a rank is a row of it.
    below = np.concatenate([np.zeros_like(weight[:1]), np.cumsum(weight[order], axis=0)])
    lower = np.searchsorted(scores[order], scores[positive], side="left")
    not_higher = np.searchsorted(scores[order], scores[positive], side="right")
    right = np.sum(weight[positive] * (below[lower] + below[not_higher]), axis=0) / 2
    return ratio(right, weight[positive].sum(axis=0) * below[-1])


def _sum_per_group(groups: IntArray, num_groups: int, values: FloatArray) -> FloatArray:
    """Return the sum of the rows of each group, shape (num_groups,) or (num_groups, num_resamples).

    No matrix product: its threads wait for each other on a busy machine, up to thirty times longer.
    """
    return np.stack([values[groups == group].sum(axis=0) for group in range(num_groups)])


def times(values: FloatArray, weight: FloatArray) -> FloatArray:
    """Return each example's value times its weight, in each resample."""
    return values.reshape(-1, *[1] * (weight.ndim - 1)) * weight


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the quotient, NaN (without a warning) where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def mean_of_defined(values: FloatArray) -> FloatArray:
    """Return the mean over the first axis of what is not NaN; NaN where nothing is."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=0), defined.sum(axis=0).astype(float))
