"""A refresh on few examples: one lost example more, where it costs most, is in the interval."""

from dataclasses import replace
from functools import partial
from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score as sklearn_balanced
from sklearn.metrics import f1_score as sklearn_f1

from pipeline.binary_metrics import positive_f1_score
from pipeline.gate import Rules
from pipeline.metric_names import primary_called
from pipeline.metrics import balanced_accuracy_score, macro_f1_score
from pipeline.paired_difference import paired_difference
from pipeline.resamples import Blocks, Groups
from pipeline.unseen_losses import Answered, with_one_loss
from tests.gate_pairs import contender, next_champion

RULES = Rules(
    primary=primary_called("balanced_accuracy"),
    margin=0.0,
    confidence=0.95,
    resamples=400,
    seed=0,
    mode="non_inferiority",
    non_inferiority_margin=0.05,
)
SCORES = {
    "balanced accuracy": (balanced_accuracy_score, sklearn_balanced),
    "macro F1": (macro_f1_score, partial(sklearn_f1, average="macro")),
    "F1 of the second": (partial(positive_f1_score, positive=1), partial(sklearn_f1, pos_label=1)),
}

TWO_BALANCED = (balanced_accuracy_score, balanced_accuracy_score)


def models(ours, theirs, num_classes, metric):
    """Return the challenger and the champion that answered so."""
    return [
        replace(contender(name, np.array(said), num_classes), metric=metric)
        for name, said in (("challenger", ours), ("champion", theirs))
    ]


def answered(y_true, challenger, champion, blocks=None):
    """Return what both said."""
    return Answered(np.array(y_true), challenger.predictions, champion.predictions, blocks)


@pytest.mark.parametrize(
    ("score", "num_classes"), [("balanced accuracy", 3), ("macro F1", 2), ("F1 of the second", 2)]
)
@pytest.mark.parametrize("seed", range(5))
def test_the_imagined_example_is_the_one_that_costs_most(score, num_classes, seed):
    """Every true class with every wrong answer, scored by scikit-learn."""
    generator = np.random.default_rng(seed)
    y_true = np.concatenate([range(num_classes), generator.choice(num_classes, 40, p=_uneven(num_classes))])
    ours, theirs = (
        np.where(generator.random(len(y_true)) < 0.8, y_true, generator.integers(0, num_classes, len(y_true)))
        for _ in range(2)
    )
    metric, reference = SCORES[score]
    challenger, champion = models(ours, theirs, num_classes, metric)
    lost = with_one_loss(answered(y_true, challenger, champion), metric, metric)

    def left(true_class, said):
        truth = np.append(y_true, true_class)
        return reference(truth, np.append(ours, said)) - reference(truth, np.append(theirs, true_class))

    assert len(y_true) + 1 == len(lost.y_true) == len(lost.ours) == len(lost.theirs)
    assert lost.y_true[-1] == lost.theirs[-1].argmax() != lost.ours[-1].argmax()
    found = left(lost.y_true[-1], lost.ours[-1].argmax())
    assert min(left(*pair) for pair in permutations(range(num_classes), 2)) == pytest.approx(found)


def _uneven(num_classes):
    shares = np.arange(1, num_classes + 1)[::-1]
    return shares / shares.sum()


def test_of_persons_a_whole_one_is_imagined():
    """Ten persons of six rows: the eleventh has six too, all lost."""
    y_true, persons = np.tile([0, 0, 1], 20), Groups(tuple(np.arange(60) // 6))
    challenger, champion = models(y_true, y_true, 2, balanced_accuracy_score)
    lost = with_one_loss(answered(y_true, challenger, champion, persons), *TWO_BALANCED)
    assert Groups((*persons.members, *[10] * 6)) == lost.blocks
    assert [1] * 6 == lost.y_true[60:].tolist()
    assert [0] * 6 == lost.ours[60:].argmax(axis=1).tolist()


def test_of_windows_a_block_of_another_series_is_imagined():
    """Two series of 30 windows, drawn by fives."""
    y_true = np.tile([0, 0, 1], 20)
    challenger, champion = models(y_true, y_true, 2, balanced_accuracy_score)
    lost = with_one_loss(answered(y_true, challenger, champion, Blocks(5, (30, 30))), *TWO_BALANCED)
    assert Blocks(5, (30, 30, 5)) == lost.blocks
    assert len(lost.y_true) == 65


@pytest.mark.parametrize(("rows", "verdict"), [(100, "refused"), (400, "refused"), (2000, "promoted")])
def test_a_refresh_without_a_lost_row_needs_enough_of_the_rarer_class(rows, verdict):
    """One in ten is of the rarer class, and both models answer all rows alike.

    By hand: a loss more among n of the rarer class costs 1 / (2 (n + 1)) in balanced accuracy, some three times
    that is the lower end: 0.14 of 10, 0.04 of 40 but for Student's interval and the class itself being drawn,
    and 0.01 of 200.
    """
    y_true = (np.arange(rows) % 10 == 0).astype(int)
    champion = replace(contender("champion", y_true, 2), metric=balanced_accuracy_score)
    refreshed = replace(contender("refreshed", y_true, 2, sure=0.81), metric=balanced_accuracy_score)
    margin = 0.05 if rows != 400 else 0.03
    rules = replace(RULES, non_inferiority_margin=margin)
    decision = next_champion(y_true, refreshed, champion, rules)
    assert verdict == decision.verdict
    (found,) = [item.interval for item in decision.checks if "champion" in item.name and item.interval]
    lost = [np.append(y_true, 1), np.append(y_true, 0), np.append(y_true, 1)]
    by_hand = paired_difference(
        balanced_accuracy_score,
        balanced_accuracy_score,
        lost[0],
        *(np.eye(2)[said] for said in lost[1:]),
        resamples=400,
        confidence=0.95,
        seed=0,
    )
    assert by_hand.low == pytest.approx(found.low, abs=0.1 / rows)
    assert found.value == 0.0


def test_who_must_be_better_is_asked_nothing_of_the_kind():
    """Superiority has its own proof: the same answers on 60 rows more than suffice to see a gain."""
    y_true = np.arange(60) % 2
    said = np.where(np.arange(60) < 12, 1 - y_true, y_true)
    champion = replace(contender("champion", said, 2), metric=balanced_accuracy_score)
    better = replace(contender("better", y_true, 2), metric=balanced_accuracy_score)
    rules = replace(RULES, mode="superiority", non_inferiority_margin=None)
    (found,) = [
        item.interval
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
    assert alone == found
