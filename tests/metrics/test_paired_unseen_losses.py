"""A refresh on few examples: the interval allows for losses that none of them shows."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score as sklearn_precision
from sklearn.metrics import balanced_accuracy_score as sklearn_balanced
from sklearn.metrics import f1_score as sklearn_f1
from sklearn.metrics import roc_auc_score as sklearn_auc

from pipeline.gate.question import Rules
from pipeline.metrics.classification import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    macro_f1_score,
    positive_f1_score,
    roc_auc_score,
)
from pipeline.metrics.decisions import Threshold
from pipeline.metrics.intervals import Groups
from pipeline.metrics.names import primary_called
from pipeline.metrics.paired import paired_difference, unseen_loss
from tests.helpers.gate_pairs import contender, next_champion

RULES = Rules(
    primary=primary_called("balanced_accuracy"),
    margin=0.0,
    confidence=0.95,
    resamples=400,
    seed=0,
    mode="non_inferiority",
    non_inferiority_margin=0.05,
)
UNEVEN = np.repeat([0, 1, 2], [60, 9, 21])
"""The rarest class is 1, the next rarest 2."""
FIFTH = (np.arange(100) % 5 == 0).astype(int)


@pytest.mark.parametrize(
    ("metric", "reference"),
    [(balanced_accuracy_score, sklearn_balanced), (macro_f1_score, partial(sklearn_f1, average="macro"))],
)
def test_an_example_of_the_rarest_class_is_given_to_the_next(metric, reference):
    """What scikit-learn says where one of the nine is confused with the 21, less than 1."""
    said = UNEVEN.copy()
    said[60] = 2
    assert (1, pytest.approx(1 - reference(UNEVEN, said))) == unseen_loss(UNEVEN, 3, metric)


@pytest.mark.parametrize(
    ("metric", "reference"),
    [
        (partial(positive_f1_score, threshold=0.3), lambda truth, p: sklearn_f1(truth, p >= 0.3)),
        (average_precision_score, sklearn_precision),
        (roc_auc_score, sklearn_auc),
    ],
)
def test_what_is_looked_for_is_missed(metric, reference):
    """Two classes, a fifth positive: the first of them comes last."""
    scores = FIFTH.astype(float)
    scores[0] = 0
    assert (1, pytest.approx(1 - reference(FIFTH, scores))) == unseen_loss(FIFTH, 2, metric)


def test_of_many_classes_the_cost_is_that_of_one_row():
    """By hand: one of two rows of the rarest of ten classes is a twentieth of balanced accuracy."""
    y_true = np.repeat(np.arange(10), [5, 5, 5, 2, 5, 5, 5, 5, 5, 5])
    assert (3, pytest.approx(0.05)) == unseen_loss(y_true, 10, balanced_accuracy_score)


def test_classes_without_a_row_are_not_judged_and_not_lost():
    """Class 2 of four does not occur: the mean is over three, the rarest of which is 3."""
    y_true = np.repeat([0, 1, 3], [10, 10, 4])
    assert (3, pytest.approx(1 / 12)) == unseen_loss(y_true, 4, balanced_accuracy_score)


def test_rows_of_one_person_are_lost_together():
    """Of 60 rows 1 / 60 each; by tens of one person, 1 / 6."""
    y_true, persons = np.tile([0, 0, 1], 20), Groups(tuple(np.arange(60) // 10))
    assert (1, pytest.approx(1 / 60)) == unseen_loss(y_true, 2, accuracy_score)
    assert (1, pytest.approx(1 / 6)) == unseen_loss(y_true, 2, accuracy_score, persons)


@pytest.mark.parametrize("metric", [roc_auc_score, partial(positive_f1_score, threshold=0.0)])
def test_a_score_that_does_not_fall_costs_what_accuracy_would(metric):
    """ROC AUC of a single class does not exist, and at a threshold of 0 nothing can be missed: 1 / 9."""
    assert pytest.approx(1 / 9) == unseen_loss(np.repeat([0, 1], [9, 0]), 2, metric).cost


def test_a_model_that_never_says_the_rarest_class_is_asked_the_same():
    """Three classes, 30 rows, no row on which the two differ: 0 to one, yet nothing is shown."""
    y_true = np.repeat([0, 1, 2], [22, 6, 2])
    said = np.where(y_true == 2, 0, y_true)
    champion, refreshed = (
        contender(name, said, 3, sure) for name, sure in (("champion", 0.8), ("new", 0.81))
    )
    rules = replace(RULES, primary=primary_called("accuracy"))
    decision = next_champion(y_true, refreshed, champion, rules)
    assert "refused" == decision.verdict
    z = stats.norm.ppf(0.975)
    (check,) = [item for item in decision.checks if "champion" in item.name and item.interval]
    assert -(z**2) / (30 + z**2) == pytest.approx(check.interval.low)


@pytest.mark.parametrize(("rows", "verdict"), [(100, "refused"), (400, "promoted")])
def test_a_refresh_without_a_lost_row_needs_enough_of_the_rarer_class(rows, verdict):
    """One in ten is of it, and both models answer all rows alike.

    By hand: one of n such rows is 1 / (2 n) of balanced accuracy, as if there were 2 n rows, and without a loss
    the interval begins at -z^2 / (2 n + z^2): -0.16 with 10, -0.046 with 40.
    """
    y_true = (np.arange(rows) % 10 == 0).astype(int)
    champion = replace(contender("champion", y_true, 2), metric=balanced_accuracy_score)
    refreshed = replace(contender("refreshed", y_true, 2, sure=0.81), metric=balanced_accuracy_score)
    decision = next_champion(y_true, refreshed, champion, RULES)
    assert verdict == decision.verdict
    z = stats.norm.ppf(0.975)
    (check,) = [item for item in decision.checks if "champion" in item.name and item.interval]
    assert -(z**2) / (rows / 5 + z**2) == pytest.approx(check.interval.low)
    assert (0.0, 0.0) == (check.interval.value, check.interval.high)
    assert f"losses that no row shows (one of class 1 costs {5 / rows:.4f})" in check.received


def test_a_threshold_that_is_not_accuracys_tells_no_rows_apart():
    """Two classes, the same most probable classes on 400 rows, told by thresholds of 0.2 and 0.5."""
    generator = np.random.default_rng(3)
    y_true = (generator.random(400) < 0.5).astype(int)
    champion = contender("champion", np.where(generator.random(400) < 0.9, y_true, 1 - y_true), 2, sure=0.7)
    shifted = champion.predictions * 0.999 + 0.0005
    strict = replace(
        champion,
        name="challenger",
        model_sha256="other",
        predictions=shifted,
        threshold=Threshold(1, 0.2),
    )
    rules = replace(RULES, primary=primary_called("accuracy"))
    (check,) = [
        item
        for item in next_champion(y_true, strict, champion, rules).checks
        if "champion" in item.name and item.interval
    ]
    z = stats.norm.ppf(0.975)
    assert -(z**2) / (400 + z**2) == pytest.approx(check.interval.low)


def test_who_must_be_better_is_asked_nothing_of_the_kind():
    """Superiority has its own proof: the bootstrap of the rows as they are."""
    y_true = np.arange(60) % 2
    wrong = np.where(np.arange(60) < 12, 1 - y_true, y_true)
    champion, better = (
        replace(contender(name, answers, 2), metric=balanced_accuracy_score)
        for name, answers in (("champion", wrong), ("better", y_true))
    )
    rules = replace(RULES, mode="superiority", non_inferiority_margin=None)
    (check,) = [
        item
        for item in next_champion(y_true, better, champion, rules).checks
        if "champion" in item.name and item.interval
    ]
    alone = paired_difference(
        balanced_accuracy_score,
        balanced_accuracy_score,
        y_true,
        better.predictions,
        champion.predictions,
        resamples=400,
        confidence=0.95,
        seed=0,
    )
    assert alone == check.interval
    assert "no row shows" not in check.received
