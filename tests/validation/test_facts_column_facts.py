"""What is known of channels and side features."""

import numpy as np
import pandas as pd
import pytest

from pipeline.validation.facts import column_facts
from pipeline.validation.series import series_statistics


def side_facts(kind, values):
    """Return the facts of one side column."""
    samples = pd.DataFrame({"side.x": values})
    return column_facts(samples, {"x": kind}).iloc[0]


def test_a_number_by_hand():
    """1, 2, 2 and a missing one: two values, a quarter missing, mean 5/3."""
    found = side_facts("number", [1.0, 2.0, 2.0, np.nan])
    assert found["column"] == "side.x"
    assert found["values"] == 2
    assert found["missing_share"] == 0.25
    assert found["mean"] == pytest.approx(5 / 3, abs=1e-8)
    assert found["constant"] == 0


@pytest.mark.parametrize(
    ("kind", "values"),
    [("number", [3.0] * 5), ("category", ["a", None, "a"]), ("number", [np.nan] * 3), ("category", [None])],
)
def test_columns_without_two_values_are_constant(kind, values):
    """One value everywhere, with gaps or not, or none at all."""
    assert side_facts(kind, values)["constant"] == 1


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("category", [f"user{number}" for number in range(20)], 1),
        ("number", [float(number) for number in range(1000, 1030)], 1),
        ("number", [number / 7 for number in range(1, 31)], 0),
        ("category", [f"user{number}" for number in range(19)], 0),
        ("category", [f"user{number // 2}" for number in range(40)], 0),
    ],
)
def test_columns_that_look_like_ids(kind, values, expected):
    """At least 20 categories or whole numbers, all different; measurements are different by nature."""
    assert side_facts(kind, values)["looks_like_id"] == expected


def test_channels_stand_before_side_features():
    """A constant channel is a finding, and a worse one if it is to be predicted."""
    series = [np.array([[1, 7], [2, 7]], np.float32), np.array([[np.nan, 7]], np.float32)]
    _, sums = series_statistics(series)
    table = column_facts(
        pd.DataFrame({"side.x": ["a", "b"]}), {"x": "category"}, ("load", "flag"), sums, ("flag",)
    )
    assert table["column"].tolist() == ["load", "flag", "side.x"]
    assert table["missing_share"].tolist() == [pytest.approx(1 / 3, abs=1e-8), 0, 0]
    assert table["constant"].tolist() == [0, 1, 0]
    assert table["constant_target"].tolist() == [0, 1, 0]


def test_without_columns_the_table_is_empty():
    """Images without side features have nothing to judge here."""
    assert column_facts(pd.DataFrame({"row": [0]}), {}).empty
