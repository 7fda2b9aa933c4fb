"""What is said is the most probable class, or what reaches its threshold; what counts answers counts just that."""

from functools import partial

import numpy as np
import pytest
import sklearn.metrics as reference

from pipeline.metrics import classification
from pipeline.metrics.decisions import Threshold, decided, labels_decided
from pipeline.metrics.names import metrics_of

COUNTING = {
    "accuracy": reference.accuracy_score,
    "balanced_accuracy": reference.balanced_accuracy_score,
    "macro_f1": partial(reference.f1_score, average="macro"),
}


def answers(seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return 150 labels, one in five positive, and float32 probabilities of two classes."""
    generator = np.random.default_rng(seed)
    y_true = (generator.random(150) < 0.2).astype(int)
    positive = (1 / (1 + np.exp(1 - 2 * y_true - generator.normal(size=150)))).astype(np.float32)
    return y_true, np.column_stack([1 - positive, positive])


def test_without_a_threshold_the_first_of_the_most_probable_classes_is_said() -> None:
    """As NumPy's argmax."""
    shares = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4], [0.1, 0.1, 0.8]])
    assert [1, 0, 2] == decided(shares).tolist()


@pytest.mark.parametrize("positive", [0, 1])
def test_the_edge_of_a_threshold_belongs_to_the_class_that_is_looked_for(positive: int) -> None:
    """At 0.25 it is said, a little below it is not: by hand."""
    shares = np.array([0.25, np.nextafter(0.25, 0), 0.6])
    table = np.column_stack([shares, 1 - shares] if positive == 0 else [1 - shares, shares])
    assert [positive, 1 - positive, positive] == decided(table, Threshold(positive, 0.25)).tolist()


def test_single_precision_is_compared_in_doubles() -> None:
    """0.1 as a float32 is a little more than 0.1, and reaches it; rounded to singles 0.10000000149 would not."""
    shares = np.array([[0.9, 0.1]], np.float32)
    assert [1] == decided(shares, Threshold(1, 0.1)).tolist()
    assert [0] == decided(shares, Threshold(1, float(np.float32(0.1)) + 1e-12)).tolist()


def test_every_label_has_its_own_threshold() -> None:
    """By hand: of each column what reaches the number above it; one number for all."""
    shares = np.array([[0.2, 0.9], [0.5, 0.6]], np.float32)
    assert [[False, True], [True, False]] == labels_decided(shares, (0.3, 0.7)).tolist()
    assert [[False, True], [True, True]] == labels_decided(shares, 0.5).tolist()


@pytest.mark.parametrize("name", COUNTING)
@pytest.mark.parametrize("threshold", [0.15, 0.5, 0.9])
@pytest.mark.parametrize("positive", [0, 1])
def test_what_counts_answers_counts_what_is_said(name: str, threshold: float, positive: int) -> None:
    """scikit-learn's score of the answers at that threshold, with weights too."""
    y_true, y_pred = answers()
    metric = getattr(classification, f"{name}_score")
    said = np.where(y_pred[:, positive] >= threshold, positive, 1 - positive)
    for weight in (None, np.random.default_rng(1).integers(0, 4, 150).astype(float)):
        expected = COUNTING[name](y_true, said, sample_weight=weight)
        assert expected == pytest.approx(
            float(metric(y_true, y_pred, weight, Threshold(positive, threshold)))
        )


def test_classes_are_told_apart_at_the_threshold() -> None:
    """Precision, recall and F1 of each class are scikit-learn's of the answers at 0.2."""
    y_true, y_pred = answers()
    said = (y_pred[:, 1] >= 0.2).astype(int)
    expected = reference.precision_recall_fscore_support(y_true, said)[:3]
    for metric, of_classes in zip(("precision", "recall", "f1"), expected, strict=True):
        found = getattr(classification, f"{metric}_per_class")(y_true, y_pred, None, Threshold(1, 0.2))
        assert pytest.approx(of_classes) == found


def test_every_metric_that_counts_answers_is_told_how_they_are_decided() -> None:
    """Who adds one and forgets the threshold would show two decisions on one page."""
    for metric in [*metrics_of("classification"), *metrics_of("multilabel")]:
        if metric.one_without_error:
            assert {"at", "threshold", "thresholds"} & set(metric.settings), metric.name
