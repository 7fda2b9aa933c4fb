"""Metrics of several labels against scikit-learn, hand-worked cases and their bounds."""

import numpy as np
import pytest
import sklearn.metrics as reference

from pipeline.metrics import multilabel
from pipeline.metrics.ends import loss_of_the_rarest
from pipeline.metrics.intervals import metric_intervals
from pipeline.metrics.names import bound_metrics, metrics_of

THRESHOLDS = (0.3, 0.5, 0.6, 0.2)


def answers(num_examples=200, seed=0):
    """Return truths of four labels, rare and frequent ones, and probabilities that know something of them."""
    rng = np.random.default_rng(seed)
    y_true = (rng.random((num_examples, 4)) < (0.5, 0.3, 0.15, 0.6)).astype(np.uint8)
    scores = rng.normal(size=y_true.shape) + 1.5 * y_true - 0.75
    return y_true, (1 / (1 + np.exp(-scores))).astype(np.float32)


def by_scikit_learn(name, y_true, y_pred, weight):
    """Return the same metric as scikit-learn computes it."""
    said = (y_pred >= np.array(THRESHOLDS)).astype(int)
    if name == "mean_average_precision":
        return reference.average_precision_score(y_true, y_pred, average="macro", sample_weight=weight)
    if name == "log_loss":
        pairs = zip(y_true.T, y_pred.astype(float).T, strict=True)
        return np.mean([reference.log_loss(*pair, sample_weight=weight, labels=[0, 1]) for pair in pairs])
    return {
        "micro_f1": lambda: reference.f1_score(y_true, said, average="micro", sample_weight=weight),
        "macro_f1": lambda: reference.f1_score(y_true, said, average="macro", sample_weight=weight),
        "subset_accuracy": lambda: reference.accuracy_score(y_true, said, sample_weight=weight),
        "hamming_loss": lambda: reference.hamming_loss(y_true, said, sample_weight=weight),
    }[name]()


METRICS = bound_metrics("multilabel", {"thresholds": THRESHOLDS, "num_bins": 15})
COMPARED = [name for name in METRICS if name != "expected_calibration_error"]


def test_every_metric_of_the_task_is_compared():
    """A new one needs a row above."""
    assert {metric.name for metric in metrics_of("multilabel")} == METRICS.keys()


@pytest.mark.parametrize("name", COMPARED)
@pytest.mark.parametrize("ties", [False, True])
def test_equals_scikit_learn(name, ties):
    """Each metric equals scikit-learn's, with and without weights, also of coarse probabilities."""
    y_true, y_pred = answers()
    y_pred = np.round(y_pred, 1) if ties else y_pred
    weight = np.random.default_rng(1).integers(0, 4, 200).astype(float)
    for given in (None, weight, weight * 0.37):
        expected = by_scikit_learn(name, y_true, y_pred, given)
        assert expected == pytest.approx(float(METRICS[name](y_true, y_pred, given)), abs=1e-7)


@pytest.mark.parametrize("name", METRICS)
def test_many_weights_at_once_are_each_alone(name):
    """A matrix of weights gives what its columns give."""
    y_true, y_pred = answers(60)
    weights = np.random.default_rng(2).integers(0, 3, (60, 5)).astype(float)
    alone = [float(METRICS[name](y_true, y_pred, weights[:, column])) for column in range(5)]
    assert alone == pytest.approx(METRICS[name](y_true, y_pred, weights).tolist())


@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_labels_one_by_one_equal_scikit_learn(name):
    """At a threshold of each label's own."""
    y_true, y_pred = answers()
    said = (y_pred >= np.array(THRESHOLDS)).astype(int)
    expected = getattr(reference, f"{name}_score")(y_true, said, average=None)
    found = getattr(multilabel, f"{name}_per_label")(y_true, y_pred, None, THRESHOLDS)
    assert expected.tolist() == pytest.approx(found.tolist())


def test_a_label_that_neither_occurs_nor_is_said_is_left_out():
    """Where scikit-learn counts 0: the mean is over the others."""
    y_true, y_pred = answers()
    y_true[:, 2], y_pred[:, 2] = 0, 0.0
    kept = [0, 1, 3]
    thresholds = [THRESHOLDS[label] for label in kept]
    for metric in (multilabel.macro_f1_score, multilabel.mean_average_precision_score):
        more = (THRESHOLDS,) if metric is multilabel.macro_f1_score else ()
        fewer = (thresholds,) if more else ()
        alone = metric(y_true[:, kept], y_pred[:, kept], None, *fewer)
        assert float(alone) == pytest.approx(float(metric(y_true, y_pred, None, *more)))
    assert np.isnan(multilabel.f1_per_label(y_true, y_pred, None, THRESHOLDS)[2])


def test_a_calibrated_model_has_no_calibration_error():
    """Of labels said with 0.25 a quarter applies; said with 0.75 they are 0.5 off."""
    y_true = np.array([[1, 0], [0, 1], [0, 0], [0, 0]])
    assert float(multilabel.expected_calibration_error(y_true, np.full((4, 2), 0.25))) == pytest.approx(0)
    assert float(multilabel.expected_calibration_error(y_true, np.full((4, 2), 0.75))) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "match"),
    [
        ([[0, 1]], [[0.5, np.nan]], "not finite"),
        ([[0, 1]], [[0.5, 1.5]], "0 to 1"),
        ([[0, 1]], [[0.5]], "shape"),
        ([[0, 2]], [[0.5, 0.5]], "0 or 1"),
        ([0, 1], [0.5, 0.5], "0 or 1"),
    ],
)
def test_what_is_no_answer_is_refused(y_true, y_pred, match):
    """NaN, numbers beyond 1, other shapes, other truths."""
    for metric in METRICS.values():
        with pytest.raises(ValueError, match=match):
            metric(y_true, y_pred, None)


def test_intervals_hold_their_value():
    """Every metric lies inside its interval, which is not empty."""
    y_true, y_pred = answers(300)
    found = metric_intervals(METRICS, y_true, y_pred, resamples=200, confidence=0.95, seed=0)
    for interval in found.values():
        assert interval.low <= interval.value <= interval.high
        assert interval.low < interval.high


@pytest.mark.parametrize("seed", range(4))
def test_an_interval_holds_what_is_true_of_all_examples(seed):
    """Of 60 samples of 200 examples, the value on 40,000 lies inside 95 % intervals of nearly all."""
    y_all, p_all = answers(40_000, seed)
    rng, metrics = np.random.default_rng(seed), {name: METRICS[name] for name in ("micro_f1", "macro_f1")}
    truth = {name: float(metric(y_all, p_all, None)) for name, metric in metrics.items()}
    held = dict.fromkeys(metrics, 0)
    for _ in range(60):
        rows = rng.integers(0, len(y_all), 200)
        found = metric_intervals(metrics, y_all[rows], p_all[rows], resamples=200, confidence=0.95, seed=0)
        for name, interval in found.items():
            held[name] += interval.low <= truth[name] <= interval.high
    assert min(held.values()) >= 52  # 57 are meant; fewer than 52 have a chance of 0.5 %


def test_a_lost_answer_costs_what_missing_the_rarest_label_once_does():
    """Two of eight have the rare label: its F1 falls from 1 to 2/3, the mean of two labels by a sixth."""
    y_true = np.array([[1, 0]] * 6 + [[1, 1]] * 2)
    lost = loss_of_the_rarest(y_true, 2, multilabel.macro_f1_score)
    assert (1, pytest.approx(1 / 6)) == lost
