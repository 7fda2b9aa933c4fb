"""Scores of single columns against scikit-learn, SciPy and cases worked by hand."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score, roc_auc_score

from pipeline.leaks.columns import auc, class_score, column_codes, exact_sum, value_score


def half(count):
    """Return that every second row trains."""
    return np.arange(count) % 2 == 0


@pytest.mark.parametrize("seed", range(3))
def test_auc_is_that_of_scikit_learn(seed):
    """Also with many ties."""
    rng = np.random.default_rng(seed)
    positive, scores = rng.random(200) < 0.3, rng.integers(0, 8, 200) * 1.0
    assert roc_auc_score(positive, scores) == pytest.approx(auc(positive, scores), abs=1e-12)


def test_a_column_without_anything_to_do_with_the_class_is_near_chance():
    """Noise scores 0.5 within three standard errors of an AUC of 2,000 rows."""
    rng = np.random.default_rng(0)
    labels, train = rng.choice(["a", "b"], 4000), half(4000)
    codes = column_codes(rng.normal(size=4000), train, category=False)
    assert abs(class_score(codes, labels, train) - 0.5) < 3 * 0.0129  # sqrt((m + n + 1) / (12 m n))


@pytest.mark.parametrize("shape", ["up", "down", "in between", "missing"])
def test_any_relation_to_the_class_is_found(shape):
    """Large, small, middling or missing values: each tells the class."""
    rng = np.random.default_rng(0)
    numbers, train = rng.normal(size=2000), half(2000)
    truth = {
        "up": numbers > 0,
        "down": numbers < 0.5,
        "in between": abs(numbers) < 0.6,
        "missing": numbers > 1,
    }
    if shape == "missing":
        numbers = np.where(truth[shape], np.nan, rng.normal(size=2000))
    codes = column_codes(numbers, train, category=False)
    assert class_score(codes, truth[shape].astype(str), train) > 0.99


def test_categories_answer_with_the_shares_of_train():
    """A category that is wholly of one class scores 1, one that train has never seen answers with the prior."""
    train = half(40)
    labels = np.array(["a", "a", "b", "b"] * 10)
    known = column_codes(["x", "x", "y", "y"] * 10, train, category=True)
    strangers = column_codes([f"id{number}" for number in range(40)], train, category=True)
    assert class_score(known, labels, train) == 1.0
    assert [-1] * 20 == strangers[~train].tolist()
    assert class_score(strangers, labels, train) == 0.5


def test_few_held_out_rows_are_chance():
    """Of four held-out positives nobody can say anything."""
    labels = np.array(["a"] * 92 + ["b"] * 8)
    codes = column_codes((labels == "b") * 1.0, half(100), category=False)
    assert class_score(codes, labels, half(100)) == 0.5


def test_a_line_scores_as_scikit_learn_says():
    """A noisy straight line: the better of line and ranges, the line here."""
    rng = np.random.default_rng(0)
    x, train = rng.normal(size=400), half(400)
    y = 3 * x + rng.normal(size=400)
    line = LinearRegression().fit(x[train, None], y[train])
    expected = r2_score(y[~train], line.predict(x[~train, None]))
    assert value_score(x, y, train, category=False) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("curve", [np.exp, np.cos, abs, np.square])
def test_a_curve_is_found_as_well(curve):
    """A column that is the target in other clothes scores above 0.98 whatever the curve."""
    x = np.random.default_rng(0).uniform(-3, 3, 4000)
    assert value_score(x, curve(x), half(4000), category=False) > 0.98


def test_between_the_means_of_ranges_targets_lie_on_lines():
    """A tent that train knows at its feet and its top: halfway up it is half as high, to the last digit."""
    x = np.array([-1.0, 0.0, 1.0] * 10 + [-1.0, -0.5, 0.0, 0.5, 1.0] * 2)
    train = np.arange(40) < 30
    assert value_score(x, 1 - abs(x), train, category=False) == 1.0


def test_category_means_are_worked_by_hand():
    """Means of 1 and 3 explain a target of 1 and 3 nearly: each is drawn to 2 by one row of 200."""
    values, targets = ["x", "y"] * 200, np.array([1.0, 3.0] * 200)
    train = np.arange(400) < 200
    expected = 1 - (1 / 101) ** 2
    assert value_score(values, targets, train, category=True) == pytest.approx(expected, abs=1e-12)


def test_an_exact_sum_has_its_weights_and_no_others():
    """2 a - b + 5, found among five columns; a sum with a little noise is none."""
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=500) for name in "abcde"}
    target = 2 * columns["a"] - columns["b"] + 5
    assert {"a": 2.0, "b": -1.0} == pytest.approx(exact_sum(columns, target, half(500)))
    assert {} == exact_sum(columns, target + rng.normal(0, 0.01, 500), half(500))


def test_a_sum_that_ends_where_train_ends_is_none():
    """The fare was the price until a fee came: exact in every row of train, and off by 2 in what is held out."""
    rng = np.random.default_rng(0)
    columns = {"fare": rng.normal(size=500), "weight": rng.normal(size=500)}
    train = np.arange(500) < 400
    assert {"fare": 1.0} == pytest.approx(exact_sum(columns, columns["fare"], train))
    assert {} == exact_sum(columns, np.where(train, columns["fare"], columns["fare"] + 2), train)


def test_more_columns_than_rows_say_nothing():
    """Any ten numbers are an exact sum of ten columns."""
    rng = np.random.default_rng(0)
    columns = {str(number): rng.normal(size=20) for number in range(10)}
    assert {} == exact_sum(columns, rng.normal(size=20), half(20))
