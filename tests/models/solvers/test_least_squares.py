"""`pipeline.models.solvers.least_squares`: scikit-learn's ridge regression from sums of products."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from pipeline.models.solvers import least_squares
from pipeline.models.solvers.folds import dealt, in_stretches

RANDOM = np.random.default_rng(3)
FEATURES = RANDOM.normal(size=(300, 12)) * 3 + 500
TRUE = RANDOM.normal(size=(12, 4)) / 4
ASKED = (FEATURES - 500) @ TRUE + RANDOM.normal(size=(300, 4)) + 7
FOLDS = dealt(np.zeros(300), None)
PARTS = [(FEATURES[a:b], ASKED[a:b], FOLDS[a:b]) for a, b in ((0, 100), (100, 101), (101, 300))]


@pytest.mark.parametrize("penalty", [None, 0.003, 0.0])
def test_it_is_that_of_scikit_learn(penalty):
    """Weights and intercepts agree, far from 0 and read in parts, with a penalty, without, and with the chosen one."""
    found = least_squares.solve(PARTS, 12, 4, penalty=penalty)
    reference = Ridge(alpha=2 * 300 * found.penalty).fit(FEATURES, ASKED)
    assert reference.coef_.T == pytest.approx(found.weights, abs=1e-6)
    assert reference.intercept_ == pytest.approx(found.intercepts, abs=1e-3)
    error = np.square(FEATURES @ found.weights + found.intercepts - ASKED).sum() / 600
    assert error == pytest.approx(found.loss, rel=1e-6)


def test_the_same_rows_give_the_same_bytes():
    """Twice the same."""
    first, second = (least_squares.solve(PARTS, 12, 4) for _time in range(2))
    assert first.weights.tobytes() == second.weights.tobytes()


def test_the_penalty_is_near_the_best_on_new_rows():
    """Forty rows of thirty columns: the chosen penalty errs little more than the best of a fine grid."""
    features, fresh = RANDOM.normal(size=(40, 30)), RANDOM.normal(size=(3000, 30))
    true = RANDOM.normal(size=(30, 1)) / 3
    asked, wanted = (rows @ true + RANDOM.normal(size=(len(rows), 1)) for rows in (features, fresh))
    parts = [(features, asked, dealt(np.zeros(40), None))]

    def error(penalty):
        found = least_squares.solve(parts, 30, 1, penalty=penalty)
        return float(np.square(fresh @ found.weights + found.intercepts - wanted).mean())

    best = min(map(error, np.geomspace(1e-4, 10, 40)))
    assert error(None) < 1.15 * best
    assert error(0.0) > 1.5 * best


def test_more_columns_than_rows_are_no_obstacle():
    """The answer is finite, and does not learn the rows by heart."""
    features = RANDOM.normal(size=(10, 50))
    found = least_squares.solve([(features, features[:, :1], in_stretches(10))], 50, 1)
    assert np.isfinite(found.weights).all()


def test_no_rows_are_refused():
    """A mistake of an earlier stage says so."""
    with pytest.raises(ValueError, match="Expected at least one"):
        least_squares.solve([], 3, 1)
