"""Classification metrics as plain functions `f(y_true, y_pred, sample_weight=None)`, in NumPy, and what they rely on.

`y_true` holds class indices, shape (num_examples,); `y_pred` probabilities, (num_examples, num_classes).
The name tells the direction: `*_score` higher is better, `*_loss` and `*_error` lower is better.
`sample_weight` may have a second axis, shape (num_examples, num_resamples): the metric then comes back
once per column, which is what makes bootstrap intervals cheap. What counts answers takes `at`: the threshold
from which on one of two classes is said; without it the most probable class is (`decisions.decided`). A value
that does not exist (ROC AUC of one class only) is NaN, never a guess. A model full of NaN can look healthy (argmax
of NaN is class 0), so nothing here accepts a number unchecked. The file is long because metrics of one task stand
in one place, each with its formula.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.metrics.decisions import Threshold, decided

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Metric = Callable[[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike | None], FloatArray]
Function = TypeVar("Function", bound=Callable[..., FloatArray])
Scale = Literal["share", "score", "ranking", "area", "error", "root", "unexplained", "distance"]
"""On which the interval of a metric holds its level, see `pipeline.metrics.ends`."""
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)
"""Log loss counts a smaller probability as this one: a 0 from a float32 softmax means 'below this'."""
SUM_TOLERANCE = 1e-3
"""How far the probabilities of an example may be from adding up to 1 (float32 sums over many classes)."""
USUAL_THRESHOLD = 0.5
THRESHOLD_RESAMPLES = 200
"""Enough that the mean threshold moves by less than 0.01 with another draw (docs/decisions/0013)."""


@dataclass(frozen=True)
class NamedMetric:
    """A metric under the name it has in parameters and reports, and what it may be used for; see `metric_of`.

    Attributes:
        name: `accuracy` for `accuracy_score`.
        function: The metric.
        tasks: Those it is a metric of.
        higher_is_better: Its direction, read off the function's name.
        selects: Whether `evaluate.select_by` may name it; every metric may be a floor.
        one_without_error: Whether it is 1 exactly when nothing went wrong, where its interval needs an exact bound.
        settings: Its arguments beside truth, predictions and weights.
        scale: On which its interval is found.
    """

    name: str
    function: Callable[..., FloatArray]
    tasks: tuple[str, ...]
    higher_is_better: bool
    selects: bool
    one_without_error: bool
    settings: tuple[str, ...]
    scale: Scale


METRICS: list[NamedMetric] = []
"""Filled by `metric_of`, in the order of reports; `pipeline.metrics.names` has those of all tasks."""


def metric_of(
    *tasks: str,
    name: str = "",
    selects: bool = True,
    one_without_error: bool = False,
    scale: Scale | None = None,
) -> Callable[[Function], Function]:
    """Return a decorator that makes a function a metric of these tasks: reports, floors and choice know it then.

    Its further arguments are bound by name to what the task offers, see `metrics.names.bound_metrics`. The other
    arguments are those of `NamedMetric`; without a `scale` it is that of other scores, or of other errors.

    Raises:
        ValueError: The function's name does not tell the direction.
    """

    def declare(function: Function) -> Function:
        METRICS.append(
            NamedMetric(
                name or short_name(function),
                function,
                tasks,
                higher_is_better(function),
                selects,
                one_without_error,
                tuple(inspect.signature(function).parameters)[3:],
                scale or ("score" if higher_is_better(function) else "error"),
            )
        )
        return function

    return declare


def short_name(metric: Callable[..., FloatArray]) -> str:
    """Return the name a metric has in parameters and reports: `accuracy` for `accuracy_score`."""
    return metric.__name__.removesuffix("_score")


def higher_is_better(metric: Callable[..., FloatArray]) -> bool:
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


@metric_of("classification", one_without_error=True, scale="share")
def accuracy_score(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    at: Threshold | None = None,
) -> FloatArray:
    """Return the share of examples of which the true class is said.

    Args:
        y_true: Class index per example, shape (num_examples,).
        y_pred: Probabilities, shape (num_examples, num_classes).
        sample_weight: Weights >= 0, shape (num_examples,) or (num_examples, num_resamples); None
            counts each once.
        at: From where on one of two classes is said; None: the most probable class is.

    Returns:
        Share in [0, 1], shape () or (num_resamples,).

    Raises:
        ValueError: Shapes disagree, a number is not finite, or rows of `y_pred` do not add up to 1.
    """
    truth, probabilities, weight = checked(y_true, y_pred, sample_weight)
    correct = decided(probabilities, at) == truth
    return np.asarray(weight[correct].sum(axis=0) / weight.sum(axis=0))


@metric_of("classification", one_without_error=True)
def balanced_accuracy_score(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    at: Threshold | None = None,
) -> FloatArray:
    """Return the mean over classes of the share recognised; classes without a (weighted) example are out.

    Arguments, shapes and errors as in `accuracy_score`.
    """
    return np.asarray(mean_of_defined(recall_per_class(y_true, y_pred, sample_weight, at)))


@metric_of("classification", one_without_error=True)
def macro_f1_score(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    at: Threshold | None = None,
) -> FloatArray:
    """Return the mean over classes of F1; classes that neither occur nor are predicted are left out.

    Arguments, shapes and errors as in `accuracy_score`.
    """
    return np.asarray(mean_of_defined(f1_per_class(y_true, y_pred, sample_weight, at)))


@metric_of("classification")
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


@metric_of("classification", scale="area")
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


@metric_of("classification", selects=False, scale="distance")
def expected_calibration_error(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    num_bins: int = 15,
) -> FloatArray:
    """Return the mean distance between confidence and accuracy over bins of equal width.

    Confidence is the probability of the most probable class, whatever threshold the model is used at; bins are open
    below and closed above, weighted by their share of examples (Guo et al. 2017, "On Calibration of Modern Neural
    Networks").
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
    excess = confidence - (decided(probabilities) == truth)
    bins = confidence_bins(confidence, num_bins)
    distances = np.abs(_sum_per_group(bins, num_bins, times(excess, weight)))
    return np.asarray(distances.sum(axis=0) / weight.sum(axis=0))


def recall_per_class(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    at: Threshold | None = None,
) -> FloatArray:
    """Return the share of each class that was recognised.

    Shape (num_classes,) or (num_classes, num_resamples). NaN for a class without a
    (weighted) example. Arguments and errors as in `accuracy_score`.
    """
    hits, true, _ = _class_weights(y_true, y_pred, sample_weight, at)
    return ratio(hits, true)


def precision_per_class(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    at: Threshold | None = None,
) -> FloatArray:
    """Return the share of each class's predictions that were right; NaN for a class that was never predicted.

    Arguments, shapes and errors as in `recall_per_class`.
    """
    hits, _, predicted = _class_weights(y_true, y_pred, sample_weight, at)
    return ratio(hits, predicted)


def f1_per_class(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    at: Threshold | None = None,
) -> FloatArray:
    """Return F1 of each class; NaN for a class that neither occurs nor is predicted.

    Arguments, shapes and errors as in `recall_per_class`.
    """
    hits, true, predicted = _class_weights(y_true, y_pred, sample_weight, at)
    return ratio(2 * hits, true + predicted)


def confidence_bins(confidence: FloatArray, num_bins: int) -> IntArray:
    """Return the bin, 0 to num_bins - 1, of each confidence in [0, 1]; bins are closed above."""
    return np.clip(np.ceil(confidence * num_bins).astype(np.int64) - 1, 0, num_bins - 1)


def _class_weights(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None,
    at: Threshold | None,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return per class the weight of hits, of true examples and of predictions."""
    truth, probabilities, weight = checked(y_true, y_pred, sample_weight)
    num_classes = probabilities.shape[1]
    predicted = decided(probabilities, at)
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


def checked(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Return the arguments of a metric as arrays that can be trusted; weights of None become ones.

    Raises:
        ValueError: Shapes disagree, a number is not finite, a class index or a weight is out of range, or
            probabilities do not add up to 1.
    """
    truth, probabilities = np.asarray(y_true), np.asarray(y_pred, dtype=float)
    if truth.ndim != 1 or not len(truth) or not np.issubdtype(truth.dtype, np.integer):
        raise ValueError(
            "y_true must be class indices. Expected: whole numbers of shape (num_examples,), at least one. "
            f"Received: dtype={truth.dtype}, shape={truth.shape}."
        )
    if probabilities.ndim != 2 or len(probabilities) != len(truth) or probabilities.shape[1] < 2:
        raise ValueError(
            f"y_pred must hold a probability per class. Expected shape: ({len(truth)}, num_classes >= 2). "
            f"Received: shape={probabilities.shape}."
        )
    if truth.min() < 0 or truth.max() >= probabilities.shape[1]:
        raise ValueError(
            f"y_true names a class that y_pred does not have. Expected: 0 to {probabilities.shape[1] - 1}. "
            f"Received: {truth.min()} to {truth.max()}."
        )
    check_probabilities(probabilities)
    return truth.astype(np.int64), probabilities, checked_weight(sample_weight, len(truth))


def check_probabilities(probabilities: npt.NDArray[np.floating], name: str = "y_pred") -> None:
    """Check that every row is a probability distribution.

    Args:
        probabilities: Shape (num_examples, num_classes).
        name: How the message calls them.

    Raises:
        ValueError: Names the first row with a NaN, an infinite or a negative number, or another sum than 1.
    """
    if not np.isfinite(probabilities).all():
        row = int(np.flatnonzero(~np.isfinite(probabilities).all(axis=1))[0])
        raise ValueError(
            f"{name} is not finite. Expected: probabilities. Received: {name}[{row}]={probabilities[row]}."
        )
    wrong = (np.abs(probabilities.sum(axis=1) - 1) > SUM_TOLERANCE) | (probabilities < 0).any(axis=1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"{name} must be probabilities. Expected: none below 0, each row adding up to 1. "
            f"Received: {name}[{row}]={probabilities[row]}."
        )


def checked_weight(sample_weight: npt.ArrayLike | None, num_examples: int) -> FloatArray:
    """Return weights of examples as an array that can be trusted; None becomes ones.

    Raises:
        ValueError: A row is missing, a weight is negative or not finite, or all are 0.
    """
    if sample_weight is None:
        return np.ones(num_examples)
    weight = np.asarray(sample_weight, dtype=float)
    if weight.ndim not in (1, 2) or len(weight) != num_examples:
        raise ValueError(
            f"sample_weight must have a row per example. Expected shape: ({num_examples},) or "
            f"({num_examples}, num_resamples). Received: shape={weight.shape}."
        )
    # The sum is NaN or infinite if any weight is, so one pass checks both.
    sums = weight.sum(axis=0)
    if not np.isfinite(sums).all() or (sums <= 0).any() or weight.min() < 0:
        raise ValueError(
            "sample_weight must be finite and >= 0 with a sum above 0. "
            f"Received: smallest={weight.min()}, smallest sum={np.min(sums)}."
        )
    return weight


@metric_of("classification", one_without_error=True)
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
    actual = truth == positive
    said = decided(probabilities, Threshold(positive, threshold)) == positive
    hits = weight[actual & said].sum(axis=0)
    return ratio(np.asarray(2 * hits), np.asarray(weight[actual].sum(axis=0) + weight[said].sum(axis=0)))


@metric_of("classification", scale="ranking")
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


def check_finite(values: npt.NDArray[np.floating], name: str = "y_pred") -> None:
    """Check that no value is NaN or infinite.

    Args:
        values: Shape (num_examples, ...).
        name: How the message calls them.

    Raises:
        ValueError: Names the first example that is not finite.
    """
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))[0])
        raise ValueError(
            f"{name} is not finite. Expected: finite values. Received: {name}[{row}]={values[row]}."
        )
