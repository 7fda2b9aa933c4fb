"""Which rows train and which are held out."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold, TimeSeriesSplit

from pipeline.data.windows import Timeline
from pipeline.evaluation.rows import EvaluationRows
from pipeline.inputs.specs import OutputSpec
from pipeline.selection import folds as folds_module
from pipeline.selection.folds import count_units, kinds, rolling_folds, stratified_folds

CLASSES = np.repeat([0, 1, 2], [50, 30, 10])
ONE_HOT = CLASSES[:, None] == np.arange(3)
ALONE = [f"s{row}" for row in range(90)]


def held_counts(found, repeat):
    """Return how often each row is held out in a repeat."""
    return np.bincount(np.concatenate([fold.held for fold in found if fold.repeat == repeat]), minlength=90)


def test_every_row_is_held_out_once_a_repeat_and_trains_in_the_other_folds():
    """Train and held part of each fold make up all rows; each repeat holds every row out exactly once."""
    found = stratified_folds(ALONE, ONE_HOT, folds=5, repeats=2, seed=3)
    assert [(fold.repeat, fold.number) for fold in found] == [(r, n) for r in range(2) for n in range(5)]
    for fold in found:
        assert sorted([*fold.train, *fold.held]) == list(range(90))
    assert [{1}, {1}] == [set(held_counts(found, repeat)) for repeat in range(2)]


def test_class_shares_are_those_of_scikit_learn():
    """50, 30 and 10 rows in 5 folds are 10, 6 and 2 in each, as StratifiedKFold deals them."""
    expected = [np.bincount(CLASSES[held]).tolist() for _, held in StratifiedKFold(5).split(CLASSES, CLASSES)]
    found = [
        np.bincount(CLASSES[fold.held]).tolist()
        for fold in stratified_folds(ALONE, ONE_HOT, folds=5, repeats=1, seed=3)
    ]
    assert expected == found == [[10, 6, 2]] * 5


def test_units_are_never_torn():
    """Rows of one group, or copies, are held out together, whatever their classes."""
    members = [f"g{row % 17}" for row in range(90)]
    found = stratified_folds(members, ONE_HOT, folds=5, repeats=3, seed=0)
    assert len(found) > 9
    for fold in found:
        assert {members[row] for row in fold.train}.isdisjoint(members[row] for row in fold.held)


def test_the_order_of_rows_and_another_seed():
    """The same seed cuts the same folds, another one others, and a second repeat others than the first."""
    first, again, other = (
        [fold.held.tolist() for fold in stratified_folds(ALONE, ONE_HOT, folds=5, repeats=2, seed=seed)]
        for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other
    assert first[:5] != first[5:]


def test_a_class_that_one_unit_has_alone_always_trains():
    """Nobody is asked for a class that no training row showed."""
    kind = np.vstack([ONE_HOT[:60], [[False, False, True]] * 30])
    members = [*ALONE[:60], *["only one"] * 30]
    for fold in stratified_folds(members, kind, folds=5, repeats=2, seed=1):
        assert set(range(60, 90)) <= set(fold.train)


def test_no_folds_where_there_is_one_unit():
    """Two folds need two units."""
    assert [] == stratified_folds(["a"] * 90, ONE_HOT, folds=5, repeats=2, seed=1)


def test_time_only_looks_back():
    """As scikit-learn's TimeSeriesSplit: growing past, the next stretch held out, and a gap between the two."""
    begins = np.arange(60.0)
    found = rolling_folds(begins, begins, np.ones((60, 1), bool), folds=5, gap=2)
    expected = list(TimeSeriesSplit(5, gap=2).split(begins))
    assert len(found) == len(expected) == 5
    for fold, (train, held) in zip(found, expected, strict=True):
        assert train.tolist() == fold.train.tolist()
        assert held.tolist() == fold.held.tolist()


def test_windows_whose_answer_reaches_into_what_is_held_do_not_train():
    """A window that predicts steps 9 to 11 knows step 10, which is held out."""
    begins = np.arange(20.0)
    for fold in rolling_folds(begins, begins + 2, np.ones((20, 1), bool), folds=3):
        assert (begins[fold.train] + 2).max() < begins[fold.held].min()


def test_a_past_without_one_of_the_classes_is_no_fold():
    """Class 1 begins at 30 of 60: of a class that it has never seen a model has no share, and its logarithm is none."""
    kind = np.array([[True, False]] * 30 + [[False, True]] * 30)
    begins = np.arange(60.0)
    assert [fold.number for fold in rolling_folds(begins, begins, kind, folds=5)] == [3, 4]


@pytest.mark.parametrize(("length", "expected"), [(1, 14), (4, 5), (20, 2)])
def test_windows_that_share_a_step_are_one_unit(length, expected):
    """9 and 5 windows of two series, one step apart: of 4 steps each they make 3 + 2 units, less where they overlap more."""
    timeline = Timeline(("a", "b"), np.repeat([0, 1], [9, 5]), np.r_[0:9, 0:5], length)
    rows = EvaluationRows(timeline.ids, np.arange(14), timeline=timeline)
    assert expected == count_units(rows)


def test_copies_and_groups_are_one_unit(monkeypatch):
    """Five rows: two of one person, two copies, one alone: three units."""
    monkeypatch.setattr(folds_module, "units", lambda _rows: ("p", "p", "c", "c", "alone"))
    assert count_units(EvaluationRows(tuple("abcde"), np.arange(5))) == 3


def test_numbers_are_stratified_by_size_and_labels_by_presence():
    """Ten numbers are two of each of five ranges; a label and its absence are kinds of their own."""
    rows = EvaluationRows(tuple("abcdefghij"), np.arange(10), targets=np.arange(10.0)[::-1, None])
    assert kinds(rows, OutputSpec(task="regression")).sum(axis=0).tolist() == [2] * 5
    tickets = EvaluationRows(("a", "b"), np.arange(2), labels=('["x"]', "[]"))
    found = kinds(tickets, OutputSpec(("x", "y"), (1, 0), "multilabel"))
    assert found.tolist() == [[True, False, False, True], [False, False, True, True]]
