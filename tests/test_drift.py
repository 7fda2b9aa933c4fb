"""Drift measures against scipy, against cases worked by hand, and against what chance does."""

import numpy as np
import pytest
from scipy import stats

from pipeline.drift import (
    Bounds,
    Finding,
    adjusted,
    chi_square_test,
    compare_numbers,
    holm,
    ks_test,
    population_stability_index,
    reconstruction_errors,
    verdict,
)

BOUNDS = Bounds(significance=0.01, report=0.1, refuse=0.3)


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


def test_stability_of_equal_and_of_moved_shares():
    """Equal samples give 0; moving a tenth from the lowest decile to the highest gives what the formula says."""
    reference = np.arange(1000.0)
    moved = np.concatenate([np.arange(100.0, 1000.0), np.arange(900.0, 1000.0)])
    assert population_stability_index(reference, reference) == pytest.approx(0)
    by_hand = (0.2 - 0.1) * np.log(2) + (1e-4 - 0.1) * np.log(1e-4 / 0.1)
    assert population_stability_index(reference, moved) == pytest.approx(by_hand, rel=1e-6)


def test_holm_by_hand():
    """0.01, 0.04, 0.03 of three: 3 x 0.01, then 2 x 0.03, then at least as much as before."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_missing_values_are_a_finding_of_their_own():
    """A column that is suddenly missing in half of the rows is told apart from one whose values moved."""
    values = np.arange(200.0)
    gone = np.where(np.arange(200) % 2, np.nan, values)
    moved, missing = compare_numbers("size", values, gone)
    assert moved.effect < 0.02
    assert (missing.what, missing.effect) == ("size missing", 0.5)


def test_a_column_without_any_number_has_only_its_gaps_compared():
    """Nothing but NaN on one side: no distance can be given, the gap can."""
    (finding,) = compare_numbers("size", np.arange(50.0), np.full(50, np.nan))
    assert (finding.what, finding.effect) == ("size missing", 1.0)


def test_rebuilding_is_exact_on_the_plane_and_not_beside_it():
    """Rows of the plane that the reference spans come back; a step of 3 beside it is an error of 3 over 5 values."""
    rng = np.random.default_rng(1)
    plane = np.hstack([rng.normal(size=(60, 2)), np.zeros((60, 3))])
    beside = plane[50:] + np.array([0, 0, 3.0, 0, 0])
    on, off = reconstruction_errors(plane[:50], [plane[50:], beside], components=2)
    assert np.allclose(on, 0, atol=1e-12)
    assert np.allclose(off, 3 / np.sqrt(5))


@pytest.mark.parametrize(
    ("effect", "p_value", "expected"),
    [
        (0.05, 1e-9, "none"),
        (0.2, 1e-9, "report"),
        (0.2, 0.5, "none"),
        (0.3, 1e-9, "refuse"),
        (0.9, 0.02, "none"),
    ],
)
def test_a_difference_must_be_both_large_and_significant(effect, p_value, expected):
    """One of the two alone is never enough."""
    assert verdict([Finding("x", effect, p_value)], BOUNDS) == expected


def test_false_alarms_stay_below_the_stated_level():
    """500 pairs of samples from one distribution, 8 related columns each: at most 1 % raise any finding, and the
    same without the bound on effects.
    """
    rng = np.random.default_rng(17)
    alarms = 0
    for _ in range(500):
        base = rng.normal(size=(300, 8)) + rng.normal(size=(300, 1))
        findings = [
            finding
            for column in range(8)
            for finding in compare_numbers(str(column), base[:200, column], base[200:, column])
        ]
        labels = rng.integers(0, 4, size=300)
        counts = [dict(enumerate(np.bincount(part, minlength=4))) for part in (labels[:200], labels[200:])]
        findings.append(Finding("label", *chi_square_test(*counts)))
        alarms += verdict(adjusted(findings), Bounds(0.01, 0.0, 1.0)) != "none"
    # 0.01 x 500 = 5 expected at most; 12 is three standard errors above.
    assert alarms <= 12


def test_a_real_shift_is_found():
    """Half a standard deviation in one of 8 columns, 200 rows: found in at least 95 of 100 pairs."""
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(100):
        old, new = rng.normal(size=(800, 8)), rng.normal(size=(200, 8))
        new[:, 3] += 0.6
        findings = [
            finding
            for column in range(8)
            for finding in compare_numbers(str(column), old[:, column], new[:, column])
        ]
        found += verdict(adjusted(findings), BOUNDS) != "none"
    assert found >= 95
