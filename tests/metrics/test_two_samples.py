"""Two samples against scipy and against cases worked by hand."""

import math
from collections import Counter

import numpy as np
import pytest
from scipy import special, stats

from pipeline.metrics.two_samples import chi_square_test, holm, ks_test


def test_the_distance_of_two_small_samples_by_hand():
    """Below 2 lies half of {1, 2, 3, 4} and nothing of {3, 4, 5, 6}: a distance of 1/2."""
    distance, _ = ks_test(np.array([1.0, 2, 3, 4]), np.array([3.0, 4, 5, 6]))
    assert distance == 0.5


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.3, 1.0])
def test_kolmogorov_smirnov_agrees_with_scipy(shift):
    """The same distance, and a p-value that is scipy's up to the small-sample correction, never below it."""
    rng = np.random.default_rng(3)
    reference, new = rng.normal(size=400), rng.normal(shift, size=150)
    distance, p_value = ks_test(reference, new)
    assert p_value == pytest.approx(special.kolmogorov(np.sqrt(400 * 150 / 550) * distance), rel=1e-9)
    expected = stats.ks_2samp(reference, new, method="asymp")
    assert distance == pytest.approx(expected.statistic, abs=1e-12)
    assert p_value == pytest.approx(expected.pvalue, abs=0.03)
    assert p_value >= expected.pvalue


def test_chi_square_agrees_with_scipy():
    """Without rare classes the p-value is that of scipy's contingency table."""
    reference, new = {"a": 120, "b": 60, "c": 220}, {"a": 30, "b": 40, "c": 50}
    distance, p_value = chi_square_test(reference, new)
    expected = stats.chi2_contingency([[120, 60, 220], [30, 40, 50]], correction=False)
    assert p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert distance == pytest.approx((abs(0.3 - 0.25) + abs(0.15 - 1 / 3) + abs(0.55 - 5 / 12)) / 2)


def test_a_class_that_was_never_seen_counts():
    """Half of the new rows are of a new class: the distance is that half."""
    distance, p_value = chi_square_test({"a": 100}, {"a": 50, "b": 50})
    assert distance == 0.5
    assert p_value < 1e-10


def test_rare_classes_raise_no_alarm():
    """Forty classes with one row each say nothing, however unlike the two samples look."""
    reference = {f"r{index}": 1 for index in range(40)} | {"big": 400}
    new = {f"n{index}": 1 for index in range(10)} | {"big": 100}
    assert chi_square_test(reference, new)[1] > 0.5


@pytest.mark.parametrize(("share", "rows"), [(0.02, 30), (0.001, 100), (0.01, 200), (0.2, 200)])
@pytest.mark.parametrize("classes", [2, 3])
def test_one_rare_class_raises_no_more_alarms_than_is_said(share, rows, classes):
    """4,000 pairs of equal samples at 1 %: at most so many p-values below it, up to the error of 4,000."""
    rng = np.random.default_rng(7)
    shares = [share, *[(1 - share) / (classes - 1)] * (classes - 1)]
    drawn = [[dict(enumerate(rng.multinomial(size, shares))) for size in (1000, rows)] for _ in range(4000)]
    alarms = sum(chi_square_test(*pair)[1] < 0.01 for pair in drawn)
    assert alarms <= stats.binom.isf(0.001, 4000, 0.01)


def test_two_rare_classes_are_compared_as_fisher_does():
    """Three of ten against none of a thousand: the exact chance, not that of chi-square."""
    exact = stats.fisher_exact([[0, 1000], [3, 7]]).pvalue
    assert chi_square_test({"there": 1000}, {"missing": 3, "there": 7})[1] == pytest.approx(exact, rel=1e-9)


def test_chance_beyond_doubt_is_the_bound_of_dvoretzky_kiefer_and_wolfowitz():
    """Where a leak is refused (below 1e-6) the two say the same to nine digits."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=300), rng.normal(0.6, 1, 200)
    distance, chance = ks_test(first, second, draws=(300, 200))
    assert chance < 1e-6
    assert chance == pytest.approx(2 * math.exp(-2 * 300 * 200 / 500 * distance**2), rel=1e-9)


def test_missing_numbers_are_the_smallest():
    """Half missing against none, all others equal: a distance of 1/2."""
    numbers = np.arange(50.0)
    assert ks_test(np.concatenate([np.full(50, -np.inf), numbers]), numbers)[0] == 0.5


def test_the_distance_of_categories_by_hand():
    """Total variation: 0.5 * (0.3 + 0.1 + 0.2); the chance as SciPy has it."""
    first, second = Counter(a=50, b=30, c=20), Counter(a=20, b=40, c=40)
    distance, chance = chi_square_test(first, second, draws=(100, 100), pool_rare=False)
    expected = stats.chi2_contingency([[50, 30, 20], [20, 40, 40]]).pvalue
    assert distance == pytest.approx(0.3)
    assert expected == pytest.approx(chance, rel=1e-9)


def test_members_of_few_groups_are_few_draws():
    """Two hundred samples of two persons differ by chance as two draws do."""
    first, second = Counter(a=100), Counter(b=100)
    assert chi_square_test(first, second, draws=(100, 100), pool_rare=False)[1] < 1e-6
    assert chi_square_test(first, second, draws=(1, 1), pool_rare=False)[1] > 0.1
    assert ks_test(np.zeros(100), np.ones(100))[1] < 1e-6
    assert ks_test(np.zeros(100), np.ones(100), draws=(1, 1))[1] > 0.1


def test_holm_is_that_of_the_textbook():
    """Holm (1979), a worked case."""
    assert pytest.approx([0.03, 0.06, 0.06, 0.02]) == holm([0.01, 0.04, 0.03, 0.005])
