"""The difference of two paired shares, against published numbers and a search for the most likely table."""

import numpy as np
import pytest
from scipy import optimize, stats

from pipeline.paired_shares import difference_bounds, score_statistic


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
