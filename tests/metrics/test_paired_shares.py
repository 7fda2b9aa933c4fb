"""The difference of two paired shares, against published numbers and a search for the most likely table."""

from itertools import product

import numpy as np
import pytest
from scipy import optimize, stats

from pipeline.gate.opponents import mcnemar_p_value
from pipeline.metrics.intervals import Groups
from pipeline.metrics.paired import (
    allowing_for_losses,
    difference_bounds,
    grouped_difference_bounds,
    randomization_p_value,
    score_statistic,
)


def test_without_a_tolerance_it_is_mcnemars_statistic():
    """(b - c) / sqrt(b + c) by hand: 9 against 4 gives 5 / sqrt(13)."""
    assert 5 / np.sqrt(13) == pytest.approx(score_statistic(9, 4, 100, 0.0))


@pytest.mark.parametrize(
    ("ours", "theirs", "num_examples", "difference"), [(3, 8, 60, -0.1), (0, 5, 40, 0.05), (12, 2, 44, 0.3)]
)
def test_the_variance_is_that_of_the_most_likely_table(ours, theirs, num_examples, difference):
    """A numeric search for the likeliest multinomial table with that difference gives the same statistic."""

    def unlikely(share):
        other = share + difference
        rest = 1 - share - other
        counts, shares = (ours, theirs, num_examples - ours - theirs), (other, share, rest)
        if min(shares) < 0:
            return 1e9
        return -sum(
            count * np.log(max(part, 1e-300)) for count, part in zip(counts, shares, strict=True) if count
        )

    low, high = max(0.0, -difference), (1 - difference) / 2
    grid = np.linspace(low, high, 2001)
    start = grid[np.argmin([unlikely(share) for share in grid])]
    step = (high - low) / 1000
    share = optimize.minimize_scalar(
        unlikely,
        bounds=(max(low, start - step), min(high, start + step)),
        method="bounded",
        options={"xatol": 1e-12},
    ).x
    variance = (2 * share + difference - difference**2) / num_examples
    expected = ((ours - theirs) / num_examples - difference) / np.sqrt(variance)
    assert expected == pytest.approx(score_statistic(ours, theirs, num_examples, difference), rel=1e-3)


def test_interval_of_a_published_example():
    """21 children, 1 and 7 discordant: -0.517 to -0.026 (Fagerland, Lydersen and Laake 2014, airway data)."""
    found = difference_bounds(1, 7, 21, 0.025)
    assert (-0.517, -0.026) == (round(found.low, 3), round(found.high, 3))


def test_nothing_that_tells_them_apart_is_no_certainty():
    """Equal answers on 20 examples leave room for a difference on the 21st, to both sides alike."""
    found = difference_bounds(0, 0, 20, 0.025)
    assert found.low == pytest.approx(-found.high)
    assert 0.05 < found.high < 0.3


def test_one_sided_on_every_example_is_as_low_as_it_goes():
    """All 20 lost: the interval ends at -1."""
    found = difference_bounds(0, 20, 20, 0.025)
    assert (-1.0, -1.0) == (found.value, found.low)
    assert found.high < -0.6


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Of 2,000 samples of 25 pairs at most a share near 2.5 % lies above the upper end, which alone decides."""
    generator = np.random.default_rng(5)
    tables = generator.multinomial(25, [0.05, 0.15, 0.8], size=2000)
    missed = sum(difference_bounds(ours, theirs, 25, 0.025).high < -0.1 for ours, theirs, _rest in tables)
    assert missed <= stats.binom.ppf(0.999, 2000, 0.035)


def test_variance_over_groups_by_hand():
    """Sums 2, -1, 0 of groups of 2, 2, 1: mean 0.2, residuals 1.6, -1.4, -0.2, error sqrt(4.56) / 5."""
    groups, gains = Groups((0, 0, 1, 1, 2)), np.array([1, 1, -1, 0, 0])
    found = grouped_difference_bounds(gains, groups, np.ones(5, bool), 0.025)
    units = 25 / 9
    reach = stats.t.ppf(0.975, units - 1) * np.sqrt(units / (units - 1)) * np.sqrt(4.56) / 5
    assert (0.2, 0.2 - reach, 0.2 + reach) == pytest.approx((found.value, found.low, found.high))


def test_of_equal_groups_it_is_students_interval_of_their_means():
    """12 groups of 5, of which only some examples are meant: SciPy's interval of twelve means."""
    gains = np.random.default_rng(3).integers(-1, 2, 120)
    groups, inside = Groups(tuple(np.repeat(range(12), 10))), np.arange(120) % 2 == 0
    found = grouped_difference_bounds(gains, groups, inside, 0.01)
    means = gains[inside].reshape(12, 5).mean(axis=1)
    expected = stats.ttest_1samp(means, 0).confidence_interval(0.98)
    assert (expected.low, expected.high) == pytest.approx((found.low, found.high))


def test_groups_hold_the_truth_as_often_as_they_say():
    """Of 2,000 samples of 20 groups that are right or wrong together at most 2.5 % see a fall that is none."""
    generator = np.random.default_rng(5)
    groups, everything = Groups(tuple(np.repeat(range(20), 10))), np.ones(200, bool)
    alarms = 0
    for _ in range(2000):
        gains = np.repeat(generator.choice([-1, 0, 1], 20, p=[0.15, 0.7, 0.15]), 10)
        alarms += grouped_difference_bounds(gains, groups, everything, 0.025).high < 0
    assert alarms <= stats.binom.ppf(0.999, 2000, 0.025)


def test_signs_of_groups_by_hand():
    """3 against 1: of eight equally likely sums (2, 1 and -1 turned at will) six are as far out as 2."""
    assert randomization_p_value(np.array([2, 1, -1, 0])) == pytest.approx(6 / 8)
    assert randomization_p_value(np.array([3.0, 3.0, 3.0])) == pytest.approx(2 / 8)
    assert randomization_p_value(np.zeros(4)) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_signs_of_groups_equal_all_of_them_tried(seed):
    """Every way to turn ten groups, counted."""
    gains = np.random.default_rng(seed).integers(-4, 6, 10)
    sums = np.array([np.dot(signs, gains) for signs in product([-1, 1], repeat=10)])
    expected = np.mean(np.abs(sums) >= abs(gains.sum()))
    assert expected == pytest.approx(randomization_p_value(gains))


@pytest.mark.parametrize(("ours", "theirs"), [(9, 1), (5, 5), (30, 12), (0, 3)])
def test_signs_of_single_examples_are_mcnemars_test(ours, theirs):
    """Each example a group of its own: SciPy's binomial test."""
    gains = np.repeat([1, -1, 0], [ours, theirs, 7])
    assert mcnemar_p_value(ours, theirs) == pytest.approx(randomization_p_value(gains))


@pytest.mark.parametrize("units", [30, 100])
def test_examples_without_a_loss_are_not_proof_that_there_is_none(units):
    """By hand: without a discordant pair the score interval begins at -z^2 / (n + z^2)."""
    z = stats.norm.ppf(0.975)
    assert -(z**2) / (units + z**2) == pytest.approx(allowing_for_losses(0.0, 0.0, 1 / units, 0.95))


@pytest.mark.parametrize(("ours", "theirs"), [(0, 0), (7, 0), (0, 3), (12, 9), (40, 41)])
def test_of_accuracy_it_is_tangos_interval(ours, theirs):
    """Value and standard error of a mean of 1, -1 and 0, by NumPy; each example is a share of 1 / 120."""
    gains = np.repeat([1.0, -1.0, 0.0], [ours, theirs, 120 - ours - theirs])
    error = gains.std() / np.sqrt(120)
    expected = difference_bounds(ours, theirs, 120, 0.025).low
    assert expected == pytest.approx(allowing_for_losses(gains.mean(), error, 1 / 120, 0.95))


def test_many_losses_that_were_seen_leave_the_usual_interval():
    """Of 100,000 examples: value minus z standard errors, to one in a hundred of them."""
    expected = -0.01 - stats.norm.ppf(0.975) * 0.002
    assert expected == pytest.approx(allowing_for_losses(-0.01, 0.002, 1e-5, 0.95), abs=2e-5)


def test_losses_that_cost_less_than_the_worst_keep_the_value():
    """Sixteen of 400 that cost half of d each: at least eight whole ones, and none won."""
    error = np.sqrt(16 * 0.5**2) / 400
    expected = difference_bounds(0, 8, 400, 0.025)
    assert expected.value == pytest.approx(-8 / 400)
    assert expected.low == pytest.approx(allowing_for_losses(-8 / 400, error, 1 / 400, 0.95))
