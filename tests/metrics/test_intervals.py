"""Bootstrap intervals: they are what they say, cover as often as they say, and come fast."""

import time

import numpy as np
import pytest

from pipeline.metrics import classification, intervals
from pipeline.metrics.names import bound_metrics

SETTINGS = {"resamples": 400, "confidence": 0.95, "seed": 0}


def answers(
    generator: np.random.Generator, num_examples: int, share_right: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return labels of 3 classes and answers right with the given chance."""
    y_true = generator.integers(0, 3, num_examples)
    right = generator.random(num_examples) < share_right
    said = np.where(right, y_true, (y_true + generator.integers(1, 3, num_examples)) % 3)
    return y_true, np.eye(3)[said] * 0.7 + 0.1


def test_weights_are_draws_with_replacement() -> None:
    """Every resample draws as many examples as there are, each with mean and variance of a multinomial."""
    weights = np.concatenate(list(intervals.bootstrap_weights(50, 2_000, seed=1)), axis=1)
    assert weights.shape == (50, 2_000)
    assert {50.0} == set(weights.sum(axis=0).tolist())
    assert pytest.approx(1.0) == weights.mean()
    assert pytest.approx(1 - 1 / 50, rel=0.02) == weights.var()


def test_equal_seeds_draw_equal_resamples() -> None:
    """The same seed gives the same weights, another seed others; a chunk's size is not a limit."""
    first, again, other = (next(intervals.bootstrap_weights(20, 150, seed)) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_resamples_equal_a_plain_bootstrap() -> None:
    """Resampling rows one by one, with the weights turned into rows, gives the same values."""
    y_true, y_pred = answers(np.random.default_rng(0), 90, 0.8)
    right = y_true == y_pred.argmax(axis=1)
    expected = [
        float(np.mean(right[rows]))
        for weights in intervals.bootstrap_weights(90, 400, seed=0)
        for rows in (np.repeat(np.arange(90), column.astype(int)) for column in weights.T)
    ]
    (found,) = intervals.bootstrap_values(
        [classification.accuracy_score], y_true, y_pred, resamples=400, seed=0
    )
    assert expected == pytest.approx(found.tolist())


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Of 400 test sets drawn from a model of accuracy 0.8, about 95 % have 0.8 inside their interval."""
    generator = np.random.default_rng(11)
    inside = 0
    for _ in range(400):
        y_true, y_pred = answers(generator, 200, 0.8)
        (found,) = intervals.metric_intervals(
            {"accuracy": classification.accuracy_score},
            y_true,
            y_pred,
            resamples=200,
            confidence=0.95,
            seed=5,
        ).values()
        inside += found.low <= 0.8 <= found.high
    assert 0.92 <= inside / 400 <= 0.98


def test_paired_difference_is_narrower_than_two_intervals() -> None:
    """A model that mends 6 of another's 200 answers is surely better, although their intervals overlap."""
    y_true, worse = answers(np.random.default_rng(2), 200, 0.8)
    better = worse.copy()
    mended = np.flatnonzero(worse.argmax(axis=1) != y_true)[:6]
    better[mended] = np.eye(3)[y_true[mended]] * 0.7 + 0.1
    found = intervals.difference_interval(classification.accuracy_score, y_true, better, worse, **SETTINGS)
    assert pytest.approx(6 / 200) == found.value
    assert found.low > 0
    both = [
        intervals.metric_intervals({"accuracy": classification.accuracy_score}, y_true, y_pred, **SETTINGS)[
            "accuracy"
        ]
        for y_pred in (worse, better)
    ]
    assert both[1].low < both[0].high


def test_a_model_differs_from_itself_by_nothing() -> None:
    """The paired difference of equal answers is exactly 0, interval included."""
    y_true, y_pred = answers(np.random.default_rng(4), 60, 0.6)
    found = intervals.difference_interval(classification.log_loss, y_true, y_pred, y_pred, **SETTINGS)
    assert intervals.Interval(0.0, 0.0, 0.0) == found


def test_classes_without_examples_have_no_interval() -> None:
    """Per class: the present ones have an interval around their recall, the absent one has None."""
    y_true = np.array([0] * 10 + [1] * 10)
    y_pred = np.eye(3)[np.array([0] * 10 + [1] * 5 + [2] * 5)]
    first, second, third = intervals.class_intervals(
        classification.recall_per_class, y_true, y_pred, [10, 10, 0], exact=True, **SETTINGS
    )
    assert first is not None
    assert (1.0, 0.025**0.1, 1.0) == pytest.approx((first.value, first.low, first.high))
    assert second is not None
    assert second.value == 0.5
    assert second.low < 0.5 < second.high
    assert third is None


def test_a_metric_that_does_not_exist_is_refused() -> None:
    """ROC AUC where one class has a single example is missing in too many resamples to have an interval."""
    y_true = np.array([0] * 20 + [1])
    y_pred = np.tile([0.6, 0.4], (21, 1))
    with pytest.raises(ValueError, match="roc_auc cannot be judged"):
        intervals.metric_intervals({"roc_auc": classification.roc_auc_score}, y_true, y_pred, **SETTINGS)


def test_all_metrics_on_ten_thousand_examples_are_fast() -> None:
    """1,000 resamples of 10,000 examples, 10 classes, all metrics take less than 20 s of one core."""
    generator = np.random.default_rng(0)
    y_pred = generator.dirichlet(np.full(10, 0.3), 10_000).astype(np.float32)
    y_true = generator.integers(0, 10, 10_000)
    start = time.process_time()
    every = bound_metrics("classification", {"positive": None})
    found = intervals.metric_intervals(
        every,
        y_true,
        y_pred,
        resamples=1000,
        confidence=0.95,
        seed=0,
    )
    assert every.keys() == found.keys()
    assert len(found) >= 6
    assert time.process_time() - start < 20


def test_flawless_answers_are_not_certain():
    """300 right answers of 300 leave room for 1.2 % errors, as SciPy's exact binomial interval says."""
    from scipy.stats import binomtest

    y_true = np.arange(300) % 3
    found = intervals.metric_intervals(
        {"accuracy": classification.accuracy_score},
        y_true,
        np.eye(3)[y_true],
        resamples=200,
        confidence=0.95,
        seed=0,
    )
    expected = binomtest(300, 300).proportion_ci(0.95, method="exact")
    assert found["accuracy"].low == pytest.approx(expected.low)
    assert found["accuracy"].high == 1.0
