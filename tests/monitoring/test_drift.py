"""No alarm where there is nothing, at any size of a log; one where something moved; the measures of a retrain."""

import json

import numpy as np
import pytest
from scipy import stats

from pipeline.metrics.two_samples import ks_test
from pipeline.monitoring.drift import binned_ks_test, compared
from pipeline.monitoring.measured import rounded_for_bins
from pipeline.monitoring.reference import Block, block_from

CLASSES = np.array(["a", "b", "c", "rare"])
SHARES = [0.6, 0.3, 0.099, 0.001]


def drawn(random, rows, *, shift=0.0, shares=SHARES, alarms=0.02):
    """Return numbers and names of some rows: smooth, whole and mostly zero numbers, gaps, classes, alarms."""
    smooth = random.normal(shift, 1, rows)
    numbers = {
        "smooth": smooth,
        "beside it": smooth + random.normal(0, 0.1, rows),
        "words": np.floor(random.lognormal(2, 0.7, rows)),
        "zeros": np.where(random.random(rows) < 0.9, 0, random.random(rows)),
        "gaps": np.where(random.random(rows) < 0.1, np.nan, random.random(rows)),
    }
    names = {
        "answer": CLASSES[random.choice(4, rows, p=shares)].tolist(),
        "alarm": ["true" if one else "false" for one in random.random(rows) < alarms],
    }
    return numbers, names


def block(random, rows, **more):
    return Block.of(*drawn(random, rows, **more), rows, rows)


def filled(known, random, rows, **more):
    other = known.emptied()
    other.add(*drawn(random, rows, **more), rows)
    return other


LONG = pytest.mark.long


@pytest.mark.parametrize("rows", [pytest.param(30, marks=LONG), 200, pytest.param(3000, marks=LONG)])
def test_a_thousand_logs_of_equal_rows_raise_as_few_alarms_as_is_said(rows):
    """Whatever the size of the effect counts (0): at 5 % there are at most 5 % false alarms, up to the error of 1,000.

    Each log is compared with a reference of its own: one that is unlucky would be so for all.
    """
    random, significance = np.random.default_rng(rows), 0.05
    alarms = above_noise = 0
    for _ in range(1000):
        known = block(random, 1000)
        found = compared([known], [filled(known, random, rows)], significance=significance, effect=0.0)
        alarms += any(finding.drifted for finding in found)
        above_noise += any(finding.effect > finding.noise for finding in found)
    allowed = stats.binom.isf(0.001, 1000, significance)
    assert alarms <= allowed
    assert above_noise <= allowed


def test_what_moved_is_found_and_named():
    """A shift, other classes, and alarms that are still rare and three times as many; everything else is quiet."""
    random = np.random.default_rng(0)
    known = block(random, 5000)

    def names(**more):
        return {one.what for one in compared([known], [filled(known, random, 5000, **more)]) if one.drifted}

    assert set() == names()
    assert {"smooth", "beside it"} == names(shift=0.5)
    assert {"answer"} == names(shares=[0.3, 0.6, 0.099, 0.001])
    assert {"alarm"} == names(alarms=0.06)
    assert set() == names(shift=0.1)  # significant, and too small to count
    (least,) = [
        one for one in compared([known], [filled(known, random, 5000, shift=0.1)]) if one.what == "smooth"
    ]
    assert least.p_value < 1e-3
    assert least.noise < least.effect < 0.15


def test_few_rows_and_copies_say_little():
    """Below 30 rows nothing is compared; overlapping windows and a reference of few draws count as the few they are."""
    random = np.random.default_rng(0)
    known = block(random, 5000)
    assert [] == compared([known], [filled(known, random, 29, shift=3)])
    moved = filled(known, random, 200, shift=0.8)
    assert [one for one in compared([known], [moved]) if one.drifted]
    assert not [one for one in compared([known], [moved], overlap=50) if one.drifted]
    known.draws = 5
    assert not [one for one in compared([known], [moved]) if one.drifted]


def test_a_distance_in_bins_is_that_of_the_values_at_the_edges():
    """Never larger than with all values, the same where each value has its bin; p-values as of the test of a retrain."""
    random = np.random.default_rng(1)
    first, second = random.integers(0, 30, 400).astype(float), random.integers(3, 33, 300).astype(float)
    known = Block.of({"x": first}, {}, 400, 400)
    other = known.emptied()
    other.add({"x": second}, {}, 300)
    found = binned_ks_test(known.counts["x"], other.counts["x"], (400, 300))
    assert pytest.approx(ks_test(np.minimum(first, 29), np.minimum(second, 29))) == found
    smooth = random.normal(size=1000), random.normal(0.2, size=500)
    known = Block.of({"x": smooth[0]}, {}, 1000, 1000)
    other = known.emptied()
    other.add({"x": smooth[1]}, {}, 500)
    distance, p_value = binned_ks_test(known.counts["x"], other.counts["x"], (1000, 500))
    exact = ks_test(*smooth)
    assert exact[0] - 0.02 < distance <= exact[0]
    assert p_value >= exact[1]


def test_a_block_travels_as_json_and_counts_what_comes_in_pieces_as_whole():
    """Written, read and filled row by row it holds the same."""
    random = np.random.default_rng(2)
    numbers, names = drawn(random, 300)
    known = Block.of(numbers, names, 300, 250)
    again = block_from(json.loads(json.dumps(known.as_json())))
    assert known.as_json() == again.as_json()
    whole = again.emptied()
    whole.add(numbers, names, 300)
    pieces = again.emptied()
    for row in range(300):
        pieces.add(
            {name: values[row : row + 1] for name, values in numbers.items()},
            {kind: values[row : row + 1] for kind, values in names.items()},
            1,
        )
    assert whole.as_json() == pieces.as_json() == known.as_json() | {"draws": 0}
    assert 300 == known.counts["gaps"].sum() + known.missing["gaps"]


def test_names_beyond_the_most_frequent_are_others():
    """The table does not grow with what people type; a name that the reference has not is another one, too."""
    known = Block.of(
        {}, {"town": [f"t{number}" for number in range(500)] + ["Ulm"] * 2 + [None] * 3}, 505, 505
    )
    assert 201 == len(known.names["town"])
    assert 505 == sum(known.names["town"].values())
    other = known.emptied()
    other.add({}, {"town": ["Ulm", "never seen", None]}, 3)
    assert (1, 1, 1) == tuple(other.names["town"][name] for name in ("Ulm", "", "(other)"))


def test_rounding_takes_the_last_bits_and_nothing_else():
    """Six digits, whatever the size; neighbours in the last bit become one."""
    values = np.array([0.1 + 0.2, 0.3, 1234567.0, -1.2345678e-12, 0.0, 1e300, 1e-310, float(np.float32(0.1))])
    expected = [float(f"{value:.6g}") for value in values]
    assert pytest.approx(expected, rel=1e-15) == rounded_for_bins(values).tolist()
    random = np.random.default_rng(3)
    many = random.normal(size=10_000) * 10.0 ** random.integers(-8, 8, 10_000)
    assert np.array_equal(rounded_for_bins(many), rounded_for_bins(np.nextafter(many, np.inf)))
    assert np.array_equal(rounded_for_bins(many), rounded_for_bins(rounded_for_bins(many)))
