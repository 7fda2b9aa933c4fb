"""`pipeline.models.solvers.lbfgs`: scikit-learn's optimum, the same bytes, a penalty that suits the rows."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier

from pipeline.models.solvers import lbfgs
from pipeline.models.solvers.folds import dealt

RANDOM = np.random.default_rng(3)
FEATURES = RANDOM.normal(size=(300, 12)) * 3 + 5
TRUE = RANDOM.normal(size=(12, 4)) / 4
SCORES = (FEATURES - 5) @ TRUE
CLASSES = (SCORES + RANDOM.gumbel(size=SCORES.shape)).argmax(axis=1)
LABELS = (SCORES + RANDOM.logistic(size=SCORES.shape) > 0).astype(np.uint8)
FOLDS = dealt(CLASSES, None)
PENALTY = 0.003
C = 1 / (2 * 300 * PENALTY)


@pytest.mark.parametrize("stored", [np.float32, sparse.csr_matrix], ids=["array", "sparse"])
def test_softmax_regression_is_that_of_scikit_learn(stored):
    """Weights, and intercepts but for what all share, agree to 1e-4."""
    features = stored(FEATURES)
    found = lbfgs.solve(features, CLASSES, "softmax", folds=FOLDS, penalty=PENALTY)
    reference = LogisticRegression(C=C, tol=1e-9, max_iter=5000).fit(
        FEATURES.astype(np.float32).astype(np.float64), CLASSES
    )
    assert reference.coef_.T == pytest.approx(found.weights, abs=1e-4)
    shift = found.intercepts.mean() - reference.intercept_.mean()
    assert reference.intercept_ + shift == pytest.approx(found.intercepts, abs=1e-3)


def test_two_classes_and_several_labels_are_those_of_scikit_learn():
    """A sigmoid each, one against the rest."""
    reference = OneVsRestClassifier(LogisticRegression(C=C, tol=1e-9, max_iter=5000)).fit(FEATURES, LABELS)
    expected = np.hstack([one.coef_.T for one in reference.estimators_])
    several = lbfgs.solve(FEATURES, LABELS, "sigmoid", folds=FOLDS, penalty=PENALTY)
    assert expected == pytest.approx(several.weights, abs=1e-4)
    one = lbfgs.solve(FEATURES, LABELS[:, :1], "sigmoid", folds=FOLDS, penalty=PENALTY)
    assert expected[:, :1] == pytest.approx(one.weights, abs=1e-4)


def test_rows_that_count_more_are_those_of_scikit_learn():
    """Weights of rows mean what `sample_weight` means, where they are 1 on average."""
    weights = np.where(CLASSES == 0, 3.0, 1.0)
    weights /= weights.mean()
    found = lbfgs.solve(FEATURES, CLASSES, "softmax", folds=FOLDS, row_weights=weights, penalty=PENALTY)
    reference = LogisticRegression(C=C, tol=1e-9, max_iter=5000).fit(FEATURES, CLASSES, sample_weight=weights)
    assert reference.coef_.T == pytest.approx(found.weights, abs=1e-4)


def test_squares_are_ridge_regression():
    """The iterative way ends where the closed form of scikit-learn is."""
    asked = SCORES + RANDOM.normal(size=SCORES.shape)
    found = lbfgs.solve(FEATURES, asked, "squares", folds=FOLDS, penalty=PENALTY)
    reference = Ridge(alpha=2 * 300 * PENALTY).fit(FEATURES, asked)
    assert reference.coef_.T == pytest.approx(found.weights, abs=1e-4)
    assert reference.intercept_ == pytest.approx(found.intercepts, abs=1e-3)


def test_the_same_rows_give_the_same_bytes():
    """Twice the same, also with the penalty chosen."""
    first, second = (lbfgs.solve(FEATURES, CLASSES, "softmax", folds=FOLDS) for _time in range(2))
    assert first.weights.tobytes() == second.weights.tobytes()
    assert first.intercepts.tobytes() == second.intercepts.tobytes()


def test_the_penalty_is_near_the_best_on_new_rows():
    """Of noisy rows with forty idle columns a strong one is taken, of many clean ones a weak one."""
    idle = np.hstack([FEATURES[:80], RANDOM.normal(size=(80, 40))])
    few = lbfgs.solve(idle, CLASSES[:80], "softmax", folds=FOLDS[:80])
    many = lbfgs.solve(FEATURES, SCORES.argmax(axis=1), "softmax", folds=FOLDS)
    assert few.penalty > 10 * many.penalty
    fresh = RANDOM.normal(size=(4000, 12)) * 3
    scores = fresh @ TRUE
    truth = (scores + RANDOM.gumbel(size=scores.shape)).argmax(axis=1)
    rows = np.hstack([fresh + 5, RANDOM.normal(size=(4000, 40))])

    def loss(solution):
        given = rows @ solution.weights + solution.intercepts
        shares = np.exp(given - given.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return -np.log(shares[np.arange(4000), truth]).mean()

    tried = [
        loss(lbfgs.solve(idle, CLASSES[:80], "softmax", folds=FOLDS[:80], penalty=few.penalty * factor))
        for factor in (0.01, 0.1, 1, 10, 100)
    ]
    assert loss(few) < min(tried) * 1.1
    assert tried[0] > 1.2 * loss(few)


def test_the_scale_of_the_features_does_not_move_the_choice():
    """In other units the same classes come out."""
    first = lbfgs.solve(FEATURES, CLASSES, "softmax", folds=FOLDS)
    other = lbfgs.solve(FEATURES * 100, CLASSES, "softmax", folds=FOLDS)
    assert first.weights == pytest.approx(other.weights * 100, abs=2e-2)


def test_chosen_probabilities_are_calibrated():
    """No temperature makes those for new rows better by more than 2 % of their log loss."""
    found = lbfgs.solve(FEATURES[:200], CLASSES[:200], "softmax", folds=FOLDS[:200])
    fresh = RANDOM.normal(size=(4000, 12)) * 3
    scores = fresh @ TRUE
    truth = (scores + RANDOM.gumbel(size=scores.shape)).argmax(axis=1)
    given = (fresh + 5) @ found.weights + found.intercepts

    def loss(temperature):
        logits = given / temperature
        logits -= logits.max(axis=1, keepdims=True)
        return (np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(4000), truth]).mean()

    assert loss(1.0) < 1.02 * min(map(loss, np.geomspace(0.3, 3, 60)))


def test_a_class_of_one_row_is_no_obstacle():
    """Where it stands aside nobody could have learnt it, so that it is not judged."""
    truth = np.where(np.arange(300) == 7, 4, CLASSES)
    found = lbfgs.solve(FEATURES, truth, "softmax", folds=dealt(truth, None))
    assert np.isfinite(found.weights).all()
    assert found.loss < 1.0


# --- Fewer rows than features.

WIDE = np.hstack([FEATURES, 3 * RANDOM.normal(size=(300, 500))])[:120]
ALIKE = np.vstack([WIDE[:100], WIDE[:20]])
"""Rows that others repeat bring no direction of their own."""
NOISY = SCORES + RANDOM.normal(size=SCORES.shape)
UNEVEN = np.where(np.arange(120) % 3 == 0, 2.5, 0.25)


OF_WIDE = {
    "all": WIDE,
    "alike": ALIKE,
    "constants": np.hstack([WIDE, np.ones((120, 3))]),
    "sparse": sparse.csr_matrix(np.hstack([WIDE * (np.abs(WIDE) > 3), np.zeros((120, 200))])),
}


@pytest.mark.parametrize("name", OF_WIDE)
@pytest.mark.parametrize("kind", ["softmax", "sigmoid", "squares"])
def test_of_fewer_rows_than_features_the_solution_is_that_of_all_features(kind, name, monkeypatch):
    """Weights of 512 features, looked for among 120 rows; intercepts but for what all classes share."""
    rows = OF_WIDE[name]
    monkeypatch.setattr(lbfgs, "FEWEST_OUTPUTS", 1)
    targets = {"softmax": CLASSES, "sigmoid": LABELS, "squares": NOISY}[kind][:120]
    given = {"folds": FOLDS[:120], "row_weights": UNEVEN}
    for penalty in (0.3, None):
        found = lbfgs.solve(rows, targets, kind, penalty=penalty, **given)
        with monkeypatch.context() as at_large:
            at_large.setattr(lbfgs, "MOST_ROWS_AS_FEATURES", 0)
            expected = lbfgs.solve(rows, targets, kind, penalty=penalty, **given)
        assert expected.penalty == pytest.approx(found.penalty)
        assert expected.weights == pytest.approx(found.weights, abs=1e-4)
        shift = (found.intercepts - expected.intercepts).mean() if kind == "softmax" else 0.0
        assert expected.intercepts + shift == pytest.approx(found.intercepts, abs=1e-3)


def test_of_photographs_softmax_regression_is_that_of_scikit_learn():
    """As above, float32 and far more features than rows."""
    features = WIDE.astype(np.float32)
    found = lbfgs.solve(features, CLASSES[:120], "softmax", folds=FOLDS[:120], penalty=PENALTY)
    reference = LogisticRegression(C=1 / (2 * 120 * PENALTY), tol=1e-9, max_iter=5000)
    reference.fit(features.astype(np.float64), CLASSES[:120])
    assert reference.coef_.T == pytest.approx(found.weights, abs=1e-3)


def test_some_rows_choose_and_all_begin_where_they_ended(monkeypatch):
    """Also where the rows that choose span another space than all do."""
    monkeypatch.setattr(lbfgs, "MOST_ANSWERS_TO_CHOOSE", 0)
    rows = np.hstack([FEATURES, RANDOM.normal(size=(300, 1500))]).repeat(4, axis=0)
    rows += RANDOM.normal(size=rows.shape) / 10
    targets, folds = CLASSES.repeat(4), FOLDS.repeat(4)
    found = lbfgs.solve(rows, targets, "softmax", folds=folds)
    alone = lbfgs.solve(rows, targets, "softmax", folds=folds, penalty=found.penalty)
    assert alone.weights == pytest.approx(found.weights, abs=1e-3)
    assert alone.steps > found.steps


def test_weights_of_features_go_into_the_space_of_rows_and_come_back():
    """What a solution says of the rows stays what it is, and its length does."""
    space = lbfgs._RowSpace(lbfgs._Problem(ALIKE, CLASSES[:120], "softmax", np.ones(120), 4))
    assert 99 == space.problem.num_features
    solution = RANDOM.normal(size=(100, 4))
    weights = space.back(solution)
    assert solution == pytest.approx(space.there(weights), abs=1e-9)
    scores = space.problem.scores(solution[:-1]) + solution[-1]
    assert ALIKE @ weights[:-1] + weights[-1] == pytest.approx(scores, abs=1e-9)
    assert np.linalg.norm(weights[:-1]) == pytest.approx(np.linalg.norm(solution[:-1]))


def test_rows_that_are_all_alike_are_solved_as_they_are():
    """There is no direction to look in: shares of the classes, and no weight."""
    found = lbfgs.solve(np.ones((40, 90)), CLASSES[:40], "softmax", folds=FOLDS[:40], penalty=PENALTY)
    assert np.zeros((90, 4)) == pytest.approx(found.weights, abs=1e-9)
    shares = np.exp(found.intercepts) / np.exp(found.intercepts).sum()
    assert np.bincount(CLASSES[:40], minlength=4) / 40 == pytest.approx(shares, abs=1e-4)
