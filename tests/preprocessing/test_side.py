"""Side columns: scaled as scikit-learn does, one-hot with a slot for what nobody has seen."""

import json
import random

import numpy as np
import pytest
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from pipeline.preprocessing.side import category_of, fit_side_features, numbers_of, side_features_of
from pipeline.runtime.errors import DataRefused

COLUMNS = {
    "age": [30.0, None, 50.0, 40.0],
    "town": ["Ulm", "Bonn", "Ulm", None],
    "code": [7.0, 7.0, 8.0, float("nan")],
}
KINDS = {"age": "number", "town": "category", "code": "category"}


def fit(columns=COLUMNS, *, mode="one_hot", max_categories=10):
    return fit_side_features(columns, KINDS, mode=mode, max_categories=max_categories)


def test_numbers_are_scaled_and_imputed_by_the_training_mean():
    """scikit-learn's scaler on the three numbers that are there; the missing one is 0."""
    expected = StandardScaler().fit_transform([[30.0], [50.0], [40.0]])[:, 0]
    made, _ids = fit().transform(COLUMNS, 4)
    np.testing.assert_allclose([expected[0], 0, expected[1], expected[2]], made[:, 0], rtol=1e-6)


def test_categories_are_one_hot_behind_an_unknown_slot():
    """scikit-learn's encoder on known values; the first slot is for new, rare and missing ones."""
    side = fit()
    assert [
        "age",
        "code=(other or missing)",
        "code=7",
        "code=8",
        "town=(other or missing)",
        "town=Ulm",
        "town=Bonn",
    ] == side.names
    given = {"town": ["Bonn", "Ulm", "Rome", None, ""], "code": ["7", 8, 9, None, "007"]}
    made, ids = side.transform(given, 5)
    encoder = OneHotEncoder(categories=[["Ulm", "Bonn"]], handle_unknown="ignore", sparse_output=False)
    expected = encoder.fit([["Ulm"]]).transform([[value or "?"] for value in given["town"]])
    assert expected.tolist() == made[:, 5:].tolist()
    assert [0, 0, 1, 1, 1] == made[:, 4].tolist()
    assert [[0, 1, 0], [0, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0]] == made[:, 1:4].tolist()
    assert (5, 0) == ids.shape


def test_embedded_categories_are_ids():
    """0 is unknown; ids go by frequency, then by the alphabet, and stay below the sizes."""
    side = fit(mode="embedded")
    numbers, ids = side.transform({"town": ["Bonn", "Rome"], "code": [8.0, 7.0], "age": [1, 2]}, 2)
    assert ["age"] == side.names
    assert ((3, 3), (2, 1)) == (side.category_sizes, numbers.shape)
    assert [[2, 2], [1, 0]] == ids.tolist()


def test_rare_categories_share_the_unknown_slot():
    """Two slots leave room for the most frequent category alone."""
    assert ("Ulm",) == fit(max_categories=2).categories[1].values


def test_text_and_number_of_a_csv_row_are_one():
    """`40` as a string of a CSV file and 40.0 of a table give the same arrays; an empty field is missing."""
    side = fit()
    as_text = side.transform({"age": ["40", ""], "code": ["7", ""], "town": ["Ulm", ""]}, 2)
    as_numbers = side.transform({"age": [40.0, None], "code": [7.0, None], "town": ["Ulm", None]}, 2)
    assert np.array_equal(as_text[0], as_numbers[0])


def test_a_column_that_is_not_there_is_missing():
    """A record without side features is a record of missing ones."""
    made, _ids = fit().transform({}, 1)
    assert [0, 1, 0, 0, 1, 0, 0] == made[0].tolist()


def test_a_word_among_numbers_is_refused():
    """The column and the value are named."""
    with pytest.raises(DataRefused, match=r"Column age .* age='old'"):
        fit().transform({"age": ["old"]}, 1)


def test_order_and_json_change_nothing():
    """Shuffled rows fit the same state to the bit, and it survives its JSON."""
    rows = list(zip(*COLUMNS.values(), strict=True)) * 25
    rows = [
        (None if age is None else age / 7 + number / 3, town, code)
        for number, (age, town, code) in enumerate(rows)
    ]
    shuffled = random.Random(1).sample(rows, len(rows))
    states = [
        fit(dict(zip(COLUMNS, zip(*some, strict=True), strict=True))).state() for some in (rows, shuffled)
    ]
    assert json.dumps(states[0]) == json.dumps(states[1])
    assert fit() == side_features_of(json.loads(json.dumps(fit().state())))


@pytest.mark.parametrize(
    ("value", "name"),
    [(True, "true"), (False, "false"), (1234567890, "1234567890"), (3.0, "3"), (0.5, "0.5"), ("007", "007")],
)
def test_a_category_of_a_json_record_is_called_as_at_ingest(value, name):
    """Truth values and large whole numbers too, or they would silently become unknown."""
    assert name == category_of(value)


def test_what_readers_take_for_missing_is_missing_in_a_record():
    """`NA`, `?` and blanks are no refused words."""
    assert np.isnan(numbers_of("x", ["NA", " ", "?", None, ""])).all()
