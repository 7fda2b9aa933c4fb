"""Ridge in closed form against scikit-learn, and scores that become probabilities."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeClassifierCV, RidgeCV
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.preprocessing import StandardScaler

from pipeline.inference.backend import prepare_tensorflow

prepare_tensorflow(2, 7)

from pipeline.models.rocket import (  # noqa: E402
    PENALTIES,
    calibration,
    one_against_rest,
    solve_ridge,
)

RANDOM = np.random.default_rng(3)


def drawn(rows, columns, targets=1):
    features = RANDOM.normal(size=(rows, columns)) * RANDOM.uniform(0.1, 5, columns) + 2
    features[:, -1] = 4.0
    truth = features[:, :5] @ RANDOM.normal(size=(5, targets)) + RANDOM.normal(size=(rows, targets)) * 2
    return features, truth


@pytest.mark.parametrize(("rows", "columns"), [(30, 80), (80, 30)], ids=["wide", "tall"])
def test_numbers_are_answered_as_by_scikit_learn(rows, columns):
    """Penalty, coefficients and answers are those of RidgeCV on standardised features."""
    features, truth = drawn(rows, columns, 2)
    solved = solve_ridge(features, truth)
    standard = StandardScaler().fit_transform(features)
    reference = RidgeCV(PENALTIES).fit(standard, truth)
    assert reference.alpha_ == solved.penalty
    assert reference.predict(standard) == pytest.approx(features @ solved.kernel + solved.intercept, abs=1e-6)
    assert not solved.kernel[-1].any()


@pytest.mark.parametrize(("rows", "columns"), [(30, 80), (80, 30)], ids=["wide", "tall"])
def test_a_row_left_out_is_answered_by_the_others(rows, columns):
    """The shortcut gives what leaving each row out in its turn gives, the scale of all rows kept."""
    features, truth = drawn(rows, columns)
    solved = solve_ridge(features, truth)
    standard = StandardScaler().fit_transform(features)
    reference = cross_val_predict(Ridge(solved.penalty), standard, truth, cv=LeaveOneOut())
    assert reference.reshape(-1, 1) == pytest.approx(solved.left_out, abs=1e-6)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_classes_are_those_of_scikit_learn(num_classes):
    """RidgeClassifierCV chooses the same penalty and says the same classes."""
    features = RANDOM.normal(size=(60, 90))
    classes = RANDOM.integers(0, num_classes, 60)
    features[:, 0] += classes * 2
    truth = one_against_rest(classes, num_classes)
    solved = solve_ridge(features, truth)
    scores = features @ solved.kernel + solved.intercept
    standard = StandardScaler().fit_transform(features)
    reference = RidgeClassifierCV(PENALTIES).fit(standard, classes)
    received = scores.argmax(axis=1) if num_classes > 2 else (scores[:, 0] > 0).astype(int)
    assert reference.alpha_ == solved.penalty
    assert reference.predict(standard).tolist() == received.tolist()


def test_one_row_has_nobody_to_answer_for_it():
    """The message says how many are needed."""
    with pytest.raises(ValueError, match=r"at least 2\. Received: 1"):
        solve_ridge(np.ones((1, 3)), np.ones((1, 1)))


def test_scores_become_probabilities_that_hold():
    """Of 4,000 drawn scores whose logits are 3 s - 1 slope and intercept are found; scores of noise say the share."""
    scores = RANDOM.normal(size=(4000, 1))
    truth = np.where(RANDOM.random((4000, 1)) < 1 / (1 + np.exp(1 - 3 * scores)), 1.0, -1.0)
    slopes, intercepts = calibration(scores, truth, exclusive=False)
    assert slopes[0] == pytest.approx(3, abs=0.3)
    assert intercepts[0] == pytest.approx(-1, abs=0.15)
    slopes, intercepts = calibration(RANDOM.normal(size=(4000, 1)), truth, exclusive=False)
    assert slopes[0] < 0.15
    assert 1 / (1 + np.exp(-intercepts[0])) == pytest.approx((truth > 0).mean(), abs=0.02)


def test_a_softmax_gets_one_slope():
    """Of 4,000 drawn rows with logits of twice the scores it is 2."""
    scores = RANDOM.normal(size=(4000, 3))
    odds = np.exp(2 * scores)
    classes = (RANDOM.random((4000, 1)) > np.cumsum(odds / odds.sum(axis=1, keepdims=True), axis=1)).sum(
        axis=1
    )
    slopes, intercepts = calibration(scores, one_against_rest(classes.clip(0, 2), 3), exclusive=True)
    assert slopes.tolist() == pytest.approx([2] * 3, abs=0.15)
    assert intercepts.tolist() == [0, 0, 0]


@pytest.mark.parametrize("exclusive", [True, False])
def test_ten_rows_told_apart_without_a_mistake_are_not_certain(exclusive):
    """Nobody is sure after ten rows: the largest probability stays near (n + 1) / (n + 2)."""
    classes = np.arange(12) % 3
    truth = one_against_rest(classes, 3)
    slopes, intercepts = calibration(truth, truth, exclusive=exclusive)
    logits = truth * slopes + intercepts
    odds = np.exp(logits)
    sure = odds / odds.sum(axis=1, keepdims=True) if exclusive else 1 / (1 + np.exp(-logits))
    assert 0.7 < sure.max() < 0.93
