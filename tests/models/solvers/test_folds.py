"""`pipeline.models.solvers.folds`: classes shared out, groups whole, the same each time."""

import numpy as np

from pipeline.models.solvers.folds import NUM_FOLDS, dealt, evenly, in_stretches


def test_classes_are_shared_out_evenly():
    """Of each class the folds differ by one row at most."""
    truth = np.repeat([0, 1, 2], [50, 23, 4])
    folds = dealt(truth, None)
    for of_class in range(3):
        counts = np.bincount(folds[truth == of_class], minlength=NUM_FOLDS)
        assert counts.max() - counts.min() <= 1


def test_a_group_is_never_torn():
    """All rows of a group stand aside together, and again in the same fold."""
    groups = np.random.default_rng(1).integers(0, 17, 200)
    folds = dealt(np.zeros(200), groups)
    assert all(len(set(folds[groups == group])) == 1 for group in range(17))
    assert folds.tolist() == dealt(np.zeros(200), groups).tolist()
    assert set(folds) == set(range(NUM_FOLDS))


def test_windows_stand_aside_in_stretches():
    """Five in a row, of equal length."""
    folds = in_stretches(103)
    assert (np.diff(folds) >= 0).all()
    assert set(np.bincount(folds)) <= {20, 21}


def test_rows_are_taken_evenly():
    """All where there are few; else so many, from the first on, each once."""
    assert list(range(7)) == evenly(7, 10).tolist()
    taken = evenly(1000, 300)
    assert len(set(taken.tolist())) == 300
    assert (taken[0], int(np.diff(taken).max())) == (0, 4)
