"""Metrics against scikit-learn, hand-worked cases and their bounds."""

import warnings

import numpy as np
import pytest
import sklearn.metrics as reference

from pipeline.metrics import classification


def softmax_answers(num_examples: int, num_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and float32 probabilities that are right about half the time."""
    generator = np.random.default_rng(seed)
    y_true = generator.integers(0, num_classes, num_examples)
    logits = generator.normal(size=(num_examples, num_classes)) + 1.5 * np.eye(num_classes)[y_true]
    exponents = np.exp(logits)
    return y_true, (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)


def by_scikit_learn(name: str, y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray | None) -> float:
    """Return the same metric as scikit-learn computes it."""
    labels = y_pred.argmax(axis=1)
    index = list(range(y_pred.shape[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "log_loss":
            return float(reference.log_loss(y_true, y_pred, sample_weight=weight, labels=index))
        if name == "roc_auc":
            areas = [
                reference.roc_auc_score(y_true == k, y_pred[:, k], sample_weight=weight)
                for k in index
                if 0 < (y_true == k).sum() < len(y_true)
            ]
            return float(np.mean(areas))
        score = {
            "accuracy": reference.accuracy_score,
            "balanced_accuracy": reference.balanced_accuracy_score,
            "macro_f1": lambda *a, **k: reference.f1_score(*a, average="macro", **k),
        }[name]
        return float(score(y_true, labels, sample_weight=weight))


OF_ALL_CLASSES = [
    metric.function
    for metric in classification.METRICS
    if "classification" in metric.tasks and "positive" not in metric.settings
]
COMPARED = [metric for metric in OF_ALL_CLASSES if metric is not classification.expected_calibration_error]


@pytest.mark.parametrize("metric", COMPARED, ids=classification.short_name)
@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_equals_scikit_learn(metric: classification.Metric, num_classes: int) -> None:
    """Each metric equals scikit-learn's, with and without weights."""
    y_true, y_pred = softmax_answers(200, num_classes, seed=num_classes)
    weight = np.random.default_rng(1).integers(0, 4, 200).astype(float)
    name = classification.short_name(metric)
    for given in (None, weight, weight * 0.37):
        assert by_scikit_learn(name, y_true, y_pred, given) == pytest.approx(
            float(metric(y_true, y_pred, given))
        )


@pytest.mark.parametrize("metric", COMPARED, ids=classification.short_name)
def test_ties_equal_scikit_learn(metric: classification.Metric) -> None:
    """Coarse probabilities with many ties still give scikit-learn's values (argmax takes the lower class)."""
    generator = np.random.default_rng(3)
    y_true = generator.integers(0, 3, 120)
    y_pred = generator.multinomial(2, [1 / 3] * 3, size=120) / 2
    expected = by_scikit_learn(classification.short_name(metric), y_true, y_pred.astype(np.float32), None)
    assert expected == pytest.approx(float(metric(y_true, y_pred, None)))


@pytest.mark.parametrize("metric", COMPARED, ids=classification.short_name)
def test_absent_class_equals_scikit_learn(metric: classification.Metric) -> None:
    """A class without an example is left out of the means, as scikit-learn does with a warning."""
    y_true, y_pred = softmax_answers(150, 4, seed=9)
    kept = y_true != 2
    y_true, y_pred = y_true[kept], y_pred[kept]
    expected = by_scikit_learn(classification.short_name(metric), y_true, y_pred, None)
    assert expected == pytest.approx(float(metric(y_true, y_pred, None)))


@pytest.mark.parametrize("metric", OF_ALL_CLASSES, ids=classification.short_name)
def test_matrix_of_weights_is_one_value_per_column(metric: classification.Metric) -> None:
    """Weights of shape (examples, resamples) give what each column gives alone."""
    y_true, y_pred = softmax_answers(80, 3, seed=5)
    weights = np.random.default_rng(2).integers(0, 3, (80, 4)).astype(float)
    expected = [float(metric(y_true, y_pred, weights[:, column])) for column in range(4)]
    assert expected == pytest.approx(metric(y_true, y_pred, weights))


@pytest.mark.parametrize("metric", OF_ALL_CLASSES, ids=classification.short_name)
def test_integer_weights_repeat_examples(metric: classification.Metric) -> None:
    """An example of weight 2 counts as if it stood there twice, one of weight 0 as if it were not there."""
    y_true, y_pred = softmax_answers(60, 3, seed=6)
    weight = np.random.default_rng(4).integers(0, 3, 60)
    rows = np.repeat(np.arange(60), weight)
    expected = float(metric(y_true[rows], y_pred[rows], None))
    assert expected == pytest.approx(float(metric(y_true, y_pred, weight)))


HAND_TRUE = [0, 0, 1, 1]
HAND_PRED = [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]]


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (classification.accuracy_score, 3 / 4),
        (classification.balanced_accuracy_score, (1 / 2 + 1) / 2),
        # class 0: precision 1, recall 1/2; class 1: precision 2/3, recall 1
        (classification.macro_f1_score, (2 / 3 + 4 / 5) / 2),
        (classification.log_loss, -(np.log(0.9) + np.log(0.4) + np.log(0.8) + np.log(0.7)) / 4),
        (classification.roc_auc_score, 1.0),
        # one example per bin of width 1/15: |1-.9|, |0-.6|, |1-.8|, |1-.7|
        (classification.expected_calibration_error, (0.1 + 0.6 + 0.2 + 0.3) / 4),
    ],
    ids=lambda item: getattr(item, "__name__", None),
)
def test_hand_worked_case(metric: classification.Metric, expected: float) -> None:
    """Four examples worked out on paper give the same numbers."""
    assert expected == pytest.approx(float(metric(HAND_TRUE, HAND_PRED, None)))


def test_calibration_error_averages_inside_a_bin() -> None:
    """Two examples of confidence 0.8, one right, share a bin whose accuracy is 0.5: distance 0.3, not 0.2 or 0.8."""
    y_pred = [[0.8, 0.2], [0.8, 0.2]]
    assert pytest.approx(0.3) == float(classification.expected_calibration_error([0, 1], y_pred, num_bins=10))


def test_calibration_bins_are_closed_above() -> None:
    """Confidence on an edge belongs to the bin below it, 0 to the first."""
    assert classification.confidence_bins(np.array([0.0, 0.25, 0.5, 0.51, 1.0]), 2).tolist() == [
        0,
        0,
        0,
        1,
        1,
    ]


@pytest.mark.parametrize("metric", OF_ALL_CLASSES, ids=classification.short_name)
def test_perfect_answers_reach_the_bound(metric: classification.Metric) -> None:
    """Certain and right is 1 for a score and 0 for a loss or an error, and nothing is beyond it."""
    y_true = np.array([0, 1, 2, 2])
    best = 1.0 if classification.higher_is_better(metric) else 0.0
    assert best == float(metric(y_true, np.eye(3)[y_true], None))


@pytest.mark.parametrize("metric", OF_ALL_CLASSES, ids=classification.short_name)
def test_direction_is_true(metric: classification.Metric) -> None:
    """A better model has the better value, in the direction that the name tells."""
    y_true, good = softmax_answers(300, 3, seed=7)
    bad = np.full_like(good, 0.0)
    bad[np.arange(300), (y_true + 1) % 3] = 1.0
    difference = float(metric(y_true, good, None)) - float(metric(y_true, bad, None))
    assert (difference > 0) == classification.higher_is_better(metric)


def test_direction_needs_a_telling_name() -> None:
    """A metric whose name tells no direction is refused."""

    def distance(y_true: object, y_pred: object, sample_weight: object) -> None:
        """Do nothing."""

    with pytest.raises(ValueError, match="Rename the function"):
        classification.higher_is_better(distance)  # type: ignore[arg-type]


def test_area_of_one_class_does_not_exist() -> None:
    """ROC AUC of a single class is NaN, not 0.5 or 1."""
    assert np.isnan(float(classification.roc_auc_score([1, 1], [[0.4, 0.6], [0.3, 0.7]])))


def test_log_loss_of_an_impossible_truth_is_finite() -> None:
    """A probability of 0 for the truth counts as the smallest float32 step above 0, 1.19e-7."""
    assert pytest.approx(-np.log(2.0**-23)) == float(classification.log_loss([0], [[0.0, 1.0]]))


@pytest.mark.parametrize("metric", OF_ALL_CLASSES, ids=classification.short_name)
@pytest.mark.parametrize(
    ("y_true", "y_pred", "weight", "message"),
    [
        ([0, 0], [[np.nan, np.nan], [1.0, 0.0]], None, "not finite"),
        ([0, 0], [[np.inf, 0.0], [1.0, 0.0]], None, "not finite"),
        ([0, 0], [[0.5, 0.2], [1.0, 0.0]], None, "adding up to 1"),
        ([0, 0], [[1.5, -0.5], [1.0, 0.0]], None, "none below 0"),
        ([0, 2], [[0.5, 0.5], [1.0, 0.0]], None, "a class that y_pred does not have"),
        ([0, -1], [[0.5, 0.5], [1.0, 0.0]], None, "a class that y_pred does not have"),
        ([0.0, 1.0], [[0.5, 0.5], [1.0, 0.0]], None, "class indices"),
        ([], np.zeros((0, 2)), None, "at least one"),
        ([0], [[0.5, 0.5], [1.0, 0.0]], None, "Expected shape"),
        ([0, 1], [[0.5, 0.5], [1.0, 0.0]], [1.0], "a row per example"),
        ([0, 1], [[0.5, 0.5], [1.0, 0.0]], [0.0, 0.0], "sum above 0"),
        ([0, 1], [[0.5, 0.5], [1.0, 0.0]], [2.0, -1.0], ">= 0"),
        ([0, 1], [[0.5, 0.5], [1.0, 0.0]], [np.nan, 1.0], "finite"),
    ],
)
def test_broken_arguments_are_refused(
    metric: classification.Metric, y_true: object, y_pred: object, weight: object, message: str
) -> None:
    """NaN answers never score, not even when the argmax of NaN (class 0) is the truth."""
    with pytest.raises(ValueError, match=message):
        metric(y_true, y_pred, weight)  # type: ignore[arg-type]
