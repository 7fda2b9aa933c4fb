"""Drift measures against cases worked by hand, and against what chance does."""

import numpy as np
import pytest

from pipeline.metrics.two_samples import chi_square_test
from pipeline.retraining.new_rows import (
    Bounds,
    DriftFinding,
    adjusted,
    compare_numbers,
    drift_verdict,
    holm,
    pca_reconstruction_errors,
    population_stability_index,
)

BOUNDS = Bounds(significance=0.01, report=0.1, refuse=0.3)


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
    on, off = pca_reconstruction_errors(plane[:50], [plane[50:], beside], components=2)
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
    assert drift_verdict([DriftFinding("x", effect, p_value)], BOUNDS) == expected


@pytest.mark.slow
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
        findings.append(DriftFinding("label", *chi_square_test(*counts)))
        alarms += drift_verdict(adjusted(findings), Bounds(0.01, 0.0, 1.0)) != "none"
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
        found += drift_verdict(adjusted(findings), BOUNDS) != "none"
    assert found >= 95
