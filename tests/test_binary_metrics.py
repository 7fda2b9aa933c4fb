"""Metrics of a positive class and its threshold, against scikit-learn and by trying every threshold."""

import numpy as np
import pytest
import sklearn.metrics as reference

from pipeline import binary_metrics


def answers(seed: int, num_examples: int = 120, digits: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, one in five positive, and probabilities of two classes, rounded to make ties."""
    generator = np.random.default_rng(seed)
    y_true = (generator.random(num_examples) < 0.2).astype(int)
    positive = np.round(1 / (1 + np.exp(1 - 2 * y_true - generator.normal(size=num_examples))), digits)
    return y_true, np.column_stack([1 - positive, positive])


@pytest.mark.parametrize("digits", [9, 1], ids=["no ties", "ties"])
@pytest.mark.parametrize("positive", [0, 1])
def test_average_precision_equals_scikit_learn(digits: int, positive: int) -> None:
    """With and without weights and ties, of either class."""
    y_true, y_pred = answers(1, digits=digits)
    weight = np.random.default_rng(2).integers(0, 3, len(y_true)).astype(float)
    for given in (None, weight):
        expected = reference.average_precision_score(
            y_true == positive, y_pred[:, positive], sample_weight=given
        )
        found = binary_metrics.average_precision_score(y_true, y_pred, given, positive=positive)
        assert expected == pytest.approx(float(found))


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("positive", [0, 1])
def test_positive_f1_equals_scikit_learn(threshold: float, positive: int) -> None:
    """F1 of the class, said where its probability reaches the threshold."""
    y_true, y_pred = answers(3)
    said = y_pred[:, positive] >= threshold
    expected = reference.f1_score(y_true == positive, said)
    found = binary_metrics.positive_f1_score(y_true, y_pred, positive=positive, threshold=threshold)
    assert expected == pytest.approx(float(found))


@pytest.mark.parametrize("metric", binary_metrics.BINARY_METRICS, ids=lambda metric: metric.__name__)
def test_matrix_of_weights_is_one_value_per_column(metric) -> None:
    """Weights of shape (examples, resamples) give what each column gives alone."""
    y_true, y_pred = answers(5)
    weights = np.random.default_rng(2).integers(0, 3, (120, 4)).astype(float)
    expected = [float(metric(y_true, y_pred, weights[:, column])) for column in range(4)]
    assert expected == pytest.approx(metric(y_true, y_pred, weights))


def test_without_a_positive_example_nothing_can_be_said() -> None:
    """Average precision is NaN; F1 too where the class is not said either."""
    y_pred = [[0.9, 0.1], [0.8, 0.2]]
    assert np.isnan(float(binary_metrics.average_precision_score([0, 0], y_pred)))
    assert np.isnan(float(binary_metrics.positive_f1_score([0, 0], y_pred)))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("digits", [9, 1], ids=["no ties", "ties"])
def test_best_threshold_is_better_than_any_other(seed: int, digits: int) -> None:
    """No probability that occurs, and none between, gives a higher F1."""
    y_true, y_pred = answers(seed, digits=digits)
    found = binary_metrics.best_threshold(y_true == 1, y_pred[:, 1])
    best = max(reference.f1_score(y_true, y_pred[:, 1] >= value) for value in y_pred[:, 1])
    assert best == pytest.approx(reference.f1_score(y_true, y_pred[:, 1] >= found))


def test_best_threshold_stands_in_the_middle_of_a_gap() -> None:
    """Between the lowest positive (0.4) and the highest negative (0.2)."""
    positive = np.array([False, False, True, True])
    assert pytest.approx(0.3) == binary_metrics.best_threshold(positive, np.array([0.1, 0.2, 0.4, 0.9]))


def test_of_equal_thresholds_the_one_near_one_half_is_taken() -> None:
    """F1 is 2/3 with one and with three examples said; 0.5 lies between the first."""
    positive = np.array([True, False, True])
    thresholds = binary_metrics.best_threshold(positive, np.array([0.9, 0.6, 0.2]))
    assert pytest.approx((0.0 + 0.2) / 2) == thresholds  # all three said: F1 0.8, the highest
    alone = binary_metrics.best_threshold(np.array([True, False]), np.array([0.5, 0.5]))
    assert pytest.approx(0.25) == alone


def test_without_positive_examples_the_threshold_stays_at_one_half() -> None:
    """Nothing to learn from."""
    assert binary_metrics.best_threshold(np.array([False]), np.array([0.7])) == 0.5
