"""Ridge regression in closed form: from sums of products alone, so that memory does not grow with the rows.

The penalty is chosen over folds. Sums of products add up, so that those of all rows but one fold, and the error on
that fold, follow from the sums of the folds: the rows are read once. `SHARES` are penalties as shares of the sum of
squares of a feature around its mean; on all sets that were looked at the least error lay inside.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import linalg
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

from pipeline.models.solvers.folds import NUM_FOLDS
from pipeline.models.solvers.lbfgs import Solution, walk_while_better

Floats = npt.NDArray[np.float64]
SHARES = tuple(10.0 ** -(half / 2) for half in range(-4, 17))
"""100 down to 1e-8, in half decades."""
LEAST_SHARE = 1e-10
"""Directions without any variance would divide by 0."""
MOST_FEATURES = 3_000
"""Five matrices of sums have 360 MB then, and a solution takes seconds."""
Part = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Features (rows, num_features), targets (rows, num_outputs), fold of each row."""


class _Sums(NamedTuple):
    """Sums over rows, of features and targets measured from the first row.

    Attributes:
        products: Of [features, 1] with each other.
        answers: Of [features, 1] with the targets.
        squares: Of the targets.
        rows: How many.
    """

    products: Floats
    answers: Floats
    squares: float
    rows: float

    def without(self, other: "_Sums") -> "_Sums":
        """Return the sums of the rows that another has not."""
        return _Sums(
            self.products - other.products,
            self.answers - other.answers,
            self.squares - other.squares,
            self.rows - other.rows,
        )


def solve(
    parts: Iterable[Part], num_features: int, num_outputs: int, *, penalty: float | None = None
) -> Solution:
    """Return the linear map of least squared error.

    Args:
        parts: All rows, some at a time.
        num_features: Columns of the features, at most `MOST_FEATURES`.
        num_outputs: Columns of the targets.
        penalty: Of the squares of the weights beside half the squared error of a row, summed over outputs; None
            chooses it.
    """
    with threadpool_limits(1):  # the last bits of a product depend on how many threads share it
        folds, feature_origin, target_origin = _summed(parts, num_features, num_outputs)
        total = _Sums(*(sum(values) for values in zip(*folds, strict=True)))
        fixed = None if penalty is None else 2 * penalty * total.rows
        ridge = _best_share(folds, total) * _scale(total) if fixed is None else fixed
        solved = _solution(total, ridge)
        error = _error(solved, total)
    weights = solved[:-1]
    intercepts = solved[-1] + target_origin - feature_origin @ weights
    return Solution(weights, intercepts, ridge / (2 * total.rows), error / (2 * total.rows), 0)


def _summed(parts: Iterable[Part], num_features: int, num_outputs: int) -> tuple[list[_Sums], Floats, Floats]:
    """Return the sums of each fold that has rows, and the first row, which costs no digits far from 0."""
    size = num_features + 1
    products, answers = np.zeros((NUM_FOLDS, size, size)), np.zeros((NUM_FOLDS, size, num_outputs))
    squares, counts = np.zeros(NUM_FOLDS), np.zeros(NUM_FOLDS)
    origin: tuple[Floats, Floats] | None = None
    for features, targets, folds in parts:
        origin = origin or (features[0].astype(np.float64), targets[0].astype(np.float64))
        near = np.hstack([features.astype(np.float64) - origin[0], np.ones((len(features), 1))])
        asked = targets.astype(np.float64) - origin[1]
        for fold in np.unique(folds):
            rows = folds == fold
            mine, wanted = near[rows], asked[rows]
            products[fold] += mine.T @ mine
            answers[fold] += mine.T @ wanted
            squares[fold] += np.square(wanted).sum()
            counts[fold] += len(mine)
    if origin is None:
        raise ValueError(
            "A linear map needs rows. Expected at least one. Received: none. Run `dvc repro split`."
        )
    sums = [_Sums(*each) for each in zip(products, answers, squares.tolist(), counts.tolist(), strict=True)]
    return [own for own in sums if own.rows], *origin


def _scale(sums: _Sums) -> float:
    """Return the mean over features of the sum of squares around the mean."""
    around = np.diag(sums.products)[:-1] - np.square(sums.products[-1, :-1]) / sums.rows
    return max(float(around.mean()), 1e-12)


def _solution(sums: _Sums, ridge: float) -> Floats:
    """Return weights and, last, intercepts (num_features + 1, num_outputs); intercepts are not penalised."""
    mean, level = sums.products[-1, :-1] / sums.rows, sums.answers[-1] / sums.rows
    around = sums.products[:-1, :-1] - sums.rows * np.outer(mean, mean)
    around[np.diag_indices(len(around))] += max(ridge, LEAST_SHARE * _scale(sums))
    asked = sums.answers[:-1] - sums.rows * np.outer(mean, level)
    weights = linalg.solve(around, asked, assume_a="pos", check_finite=False)
    return np.vstack([weights, level - mean @ weights])


def _error(solved: Floats, sums: _Sums) -> float:
    """Return the sum of squared errors on the rows of some sums."""
    return float(sums.squares - 2 * (solved * sums.answers).sum() + (solved * (sums.products @ solved)).sum())


def _best_share(folds: list[_Sums], total: _Sums) -> float:
    """Return that of `SHARES` with the least error over the folds; the least of all where none can stand aside."""
    if len(folds) < 2:
        return float(SHARES[-1])

    def error(share: float) -> float:
        kept = [total.without(fold) for fold in folds]
        return sum(
            _error(_solution(rest, share * _scale(rest)), fold)
            for rest, fold in zip(kept, folds, strict=True)
        )

    return float(walk_while_better(SHARES, error))
