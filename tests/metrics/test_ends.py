"""Intervals hold their level where bootstrap percentiles do not, and say so where none does."""

from functools import partial

import numpy as np
import pytest
from scipy import stats

from pipeline.metrics import classification, values
from pipeline.metrics.ends import (
    Resampled,
    area_ends,
    honest_confidence,
    interval_ends,
    loss_of_the_rarest,
    percentile_ends,
    share_ends,
)
from pipeline.metrics.intervals import Groups, Interval, metric_intervals


def interval(metric, y_true, y_pred, name, **more) -> Interval:
    """Return the 95 % interval of one metric."""
    settings = {"resamples": 300, "confidence": 0.95, "seed": 1} | more
    return metric_intervals({name: metric}, y_true, y_pred, **settings)[name]


def ranked(generator, rows: int, share: float, area: float):
    """Return labels and probabilities of a normal score with that true area under the ROC curve."""
    y_true = (generator.random(rows) < share).astype(int)
    scores = generator.normal(size=rows) + stats.norm.ppf(area) * np.sqrt(2) * y_true
    probability = 1 / (1 + np.exp(-scores))
    return y_true, np.column_stack([1 - probability, probability])


@pytest.mark.parametrize("right", [0, 3, 85, 100])
def test_a_share_has_the_exact_ends(right):
    """SciPy's Clopper and Pearson, whatever the resamples say."""
    y_true = np.zeros(100, int)
    y_pred = np.eye(2)[(np.arange(100) >= right).astype(int)]
    found = interval(classification.accuracy_score, y_true, y_pred, "accuracy")
    expected = stats.binomtest(right, 100).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert share_ends(right / 100, 100, 0.95) == pytest.approx((expected.low, expected.high))


def test_an_area_under_the_curve_is_covered():
    """100 rows, 13 % positive, an area of 0.97: percentiles hold it in 88 % of cases."""
    generator, inside = np.random.default_rng(4), 0
    for _ in range(200):
        y_true, y_pred = ranked(generator, 100, 0.13, 0.97)
        found = interval(classification.roc_auc_score, y_true, y_pred, "roc_auc", resamples=100)
        inside += found.low <= 0.97 <= found.high
    assert inside / 200 > 0.93


def test_an_area_of_one_is_not_certain():
    """Newcombe's end solves his equation: 20 positive and 80 other examples in order show no more than 0.93."""
    low, high = area_ends(1.0, 20, 80, 0.95)
    spread = 1 + 49 * (1 - low) / (2 - low) + 49 * low / (1 + low)
    assert 1 - low == pytest.approx(stats.norm.ppf(0.975) * np.sqrt(low * (1 - low) * spread / 1600))
    assert (0.9, 1.0) < (low, high) < (0.96, 1.1)
    y_true = np.repeat([0, 1], [80, 20])
    flawless = np.eye(2)[y_true] * 0.8 + 0.1
    assert interval(classification.roc_auc_score, y_true, flawless, "roc_auc").low == pytest.approx(low)


@pytest.mark.parametrize("deviation", [0.7, 1.2])
def test_a_ceiling_of_skewed_errors_is_not_held_by_luck(deviation):
    """100 lognormal errors: percentiles call a ceiling held that is missed in 5 and 11 % of cases."""
    generator, held, truth = np.random.default_rng(5), 0, float(np.exp(deviation**2 / 2))
    for _ in range(300):
        errors = generator.lognormal(0, deviation, (100, 1))
        found = interval(
            values.mean_absolute_error, np.zeros((100, 1)), errors, "mean_absolute_error", resamples=100
        )
        held += found.high < truth and not found.doubt
    assert held <= stats.binom.ppf(0.99, 300, 0.025)


def test_skewness_moves_the_upper_end_out():
    """By hand: 2.5 times 0.1 * 0.2 * (1 + 2 * 1.96**2) / 6 beyond Student's end; the lower one moves up by one."""
    drawn = 1 + 0.1 * stats.norm.ppf((np.arange(2000) + 0.5) / 2000)
    found = Resampled(1.0, drawn, 500, skewness=0.2)
    reach = stats.t.ppf(0.975, 499) * drawn.std(ddof=1) * np.sqrt(500 / 499)
    moved = drawn.std(ddof=1) * 0.2 * (1 + 2 * stats.norm.ppf(0.975) ** 2) / 6
    _low, high = interval_ends(found, "error", 0.95)
    assert high == pytest.approx(1 + reach + 2.5 * moved)
    assert interval_ends(Resampled(1.0, drawn, 500), "error", 0.95)[1] < high


def test_errors_of_which_a_few_are_most_are_doubted():
    """99 errors of 1 and one of 1,000: what a second one would cost, no row shows."""
    errors = np.append(np.ones(99), 1000.0)
    found = interval(values.mean_absolute_error, np.zeros(100), errors, "mean_absolute_error")
    assert "few examples are most of the error" in found.doubt
    even = interval(
        values.mean_absolute_error,
        np.zeros(100),
        np.linspace(1, 2, 100),
        "mean_absolute_error",
    )
    assert even.doubt == ""


def test_scores_of_a_class_of_four_are_doubted():
    """Five of the rarest class are the fewest that say anything."""
    for rare, doubted in ((4, True), (6, False)):
        y_true = np.repeat([0, 1], [100, rare])
        y_pred = np.eye(2)[y_true] * 0.8 + 0.1
        found = interval(classification.roc_auc_score, y_true, y_pred, "roc_auc", seed=3)
        assert bool(found.doubt) == doubted


def test_r2_is_the_mirror_of_what_it_does_not_explain():
    """Its ends are 1 minus those of the share of variance that is left."""
    generator = np.random.default_rng(6)
    drawn = generator.normal(0.8, 0.02, 500)
    low, high = interval_ends(Resampled(0.8, drawn, 100, skewness=-0.1), "unexplained", 0.95)
    left = interval_ends(Resampled(0.2, 1 - drawn, 100, skewness=0.1), "error", 0.95)
    assert (1 - high, 1 - low) == pytest.approx(left)


def test_a_calibration_error_may_be_noise_alone():
    """Probabilities that are what they say: the interval of the distance reaches down to nearly 0."""
    generator, reached = np.random.default_rng(7), 0
    metric = partial(classification.expected_calibration_error, num_bins=15)
    for _ in range(40):
        sure = generator.uniform(0.5, 1, 200)
        y_true = (generator.random(200) > sure).astype(int)
        found = interval(metric, y_true, np.column_stack([sure, 1 - sure]), "expected_calibration_error")
        reached += found.low < 0.01
    assert reached >= 36


def test_groups_that_are_all_right_are_as_many_answers_as_groups():
    """20 persons without an error: the bound of Clopper and Pearson for 20, taken further out by Student's."""
    groups = Groups(tuple(np.repeat(range(20), 15).tolist()))
    y_true = np.arange(300) % 2
    found = interval(classification.accuracy_score, y_true, np.eye(2)[y_true], "accuracy", blocks=groups)
    fewer = (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 19)) ** 2
    assert found.low == pytest.approx(0.025 ** (1 / (20 * fewer)))


def test_percentiles_go_on_where_the_resamples_end():
    """Normal resamples at 0.00001 to each side: Student's reach, though only 400 were drawn."""
    drawn = stats.norm.ppf((np.arange(400) + 0.5) / 400)
    low, high = percentile_ends(Resampled(0.0, drawn, 1000), 1 - 2e-5)
    assert -low == pytest.approx(high)
    assert high == pytest.approx(stats.t.isf(1e-5, 999), rel=0.03)


@pytest.mark.parametrize("num_units", [5, 30, 1000])
def test_percentiles_of_few_examples_are_taken_further_out(num_units):
    """Normal values: the expanded percentiles have the reach of Student's interval."""
    found = honest_confidence(0.95, num_units)
    reach = stats.norm.ppf(1 - (1 - found) / 2) * np.sqrt((num_units - 1) / num_units)
    assert stats.t.ppf(0.975, num_units - 1) == pytest.approx(reach)
    assert honest_confidence(0.95, 5) > honest_confidence(0.95, 50) > 0.95


def test_the_rarest_class_costs_most():
    """One of ten examples of a class lost: a tenth of its recall, a twentieth of the mean over two classes."""
    y_true = np.repeat([0, 1], [90, 10])
    assert loss_of_the_rarest(y_true, 2, classification.balanced_accuracy_score) == (1, pytest.approx(0.05))
    assert loss_of_the_rarest(y_true, 2, classification.accuracy_score).cost == pytest.approx(0.01)
