"""Values that stand for none are found by what they are: far out, and the same to the last digit."""

import numpy as np
import pandas as pd
import pytest

from pipeline.validation.facts import column_facts
from pipeline.validation.far_out import Ends
from pipeline.validation.series import series_statistics

BULK = np.random.default_rng(3).normal(20, 5, 2_000).round(2)


def found(*parts):
    """Return what is found in values that come in parts."""
    ends = Ends()
    for part in parts:
        ends.add(np.asarray(part, np.float64))
    return ends.repeated_far_out()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ([-9999] * 3, [-9999]),
        ([999] * 40, [999]),
        ([-9999] * 5 + [-999] * 4, [-9999, -999]),
        ([-9999] * 5 + [9999] * 3, [-9999, 9999]),
        ([-9999] * 2_500, [-9999]),  # more of them than of values
        ([-9999] * 2, []),  # twice may be a slip
        ([-9999] * 40 + [1e9], [-9999]),  # a slip further out hides nothing
        ([-9999] * 40 + [-1e9], [-9999]),
        ([-9999] * 5 + [999] * 4 + [-1e9, -2e9, 1e9, 1e9], [-9999, 999]),
        ([999] * 9 + [1000, 1001, 5e4], [999]),
        ([900, 950, 1000, 1e9], []),
        ([1e9], []),
        ([900, 950, 1000], []),  # far out, never the same: events
        ([], []),
    ],
)
def test_what_repeats_far_outside(more, expected):
    """By hand; the bulk is normal around 20, with ties."""
    assert found([*BULK, *more]) == expected


@pytest.mark.parametrize(
    "values",
    [[0, 1] * 50, [0, 1, 9] * 50, [5.0] * 9, [np.nan, np.inf] * 9, [0] * 900 + list(range(1, 100))],
    ids=["flags", "codes", "constant", "nothing", "mostly zero"],
)
def test_codes_and_zeros_are_not_far_out(values):
    """A few codes have no bulk, and zeros beside small numbers are near them."""
    assert found(values) == []


def test_the_parts_do_not_matter():
    """A value that left the ends never comes back, so the counts are exact however the rows are cut."""
    rng = np.random.default_rng(8)
    for _ in range(200):
        values = rng.permutation(
            np.concatenate([rng.integers(0, 60, 300), np.repeat([-99, 999], rng.integers(1, 6, 2))])
        )
        cuts = np.sort(rng.integers(0, len(values), 4))
        assert found(*np.split(values, cuts)) == found(values)


def test_channels_and_side_columns_have_them_counted():
    """-9999 in one channel over two series, 999 in a side column; a clean channel and a category have none."""
    first, second = BULK[:1_000], BULK[1_000:]
    series = [
        np.stack([np.r_[part, [-9999.0] * 2], np.r_[part, part[:2]]], axis=1).astype(np.float32)
        for part in (first, second)
    ]
    _, sums = series_statistics(series)
    samples = pd.DataFrame(
        {"side.age": np.r_[np.arange(20.0, 80), [999.0] * 3], "side.who": ["a", "b", "c"] * 21}
    )
    table = column_facts(samples, {"age": "number", "who": "category"}, ("logged", "clean"), sums)
    assert table["far_out"].tolist() == [1, 0, 1, 0]
