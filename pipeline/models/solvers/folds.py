"""Which training rows stand aside together while a penalty, a bandwidth or a number of trees is chosen.

Fixed: five folds, dealt by one seed. Five is what the field takes where the choice is of one number (Hastie et al.,
Elements of Statistical Learning, 7.10); more cost time and change none of the choices that were looked at.
"""

import numpy as np
import numpy.typing as npt

NUM_FOLDS = 5
SEED = 20261128
"""Of the order in which rows of a class are dealt; not that of params.yaml, so that a baseline is one number."""
Ints = npt.NDArray[np.int64]


def dealt(strata: np.ndarray, groups: np.ndarray | None) -> Ints:
    """Return the fold of each row: strata are shared out evenly, and a group stays in one fold.

    Args:
        strata: Class index per row, (num_rows,); all alike where there are no classes.
        groups: Number per row of what must not be torn apart; None: each row alone.

    Returns:
        int64 (num_rows,), 0 to `NUM_FOLDS` - 1; fewer folds where there are fewer groups.
    """
    if groups is None:
        groups = np.arange(len(strata))
    names, first, member = np.unique(groups, return_index=True, return_inverse=True)
    ranks = np.random.default_rng(SEED).permutation(len(names))
    # Of a group with several classes the first row speaks.
    order = np.lexsort([ranks, strata[first]])
    fold_of_group = np.empty(len(names), np.int64)
    fold_of_group[order] = np.arange(len(names)) % NUM_FOLDS
    return fold_of_group[member]


def in_stretches(num_rows: int) -> Ints:
    """Return the fold of each row where neighbours are alike, as windows over series are: five stretches in a row."""
    return np.arange(num_rows) * NUM_FOLDS // max(num_rows, 1)


def evenly(num_rows: int, most: int) -> Ints:
    """Return at most `most` row numbers, ascending and evenly spaced; all where there are no more."""
    if num_rows <= most:
        return np.arange(num_rows)
    return np.arange(most) * num_rows // most
