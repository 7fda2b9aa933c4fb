"""Linear models at their optimum: softmax and logistic regression by L-BFGS, and the penalty that suits the rows.

What is minimised is convex, so that there is one answer, whatever the way to it: the mean loss of the rows plus
`penalty` times the sum of squares of all weights, intercepts free. scikit-learn's `LogisticRegression(C)` minimises the
same with penalty = 1 / (2 n C).

**The penalty** is chosen on the training rows alone, by log loss (squared error where numbers are asked) over five
folds. The grid is short and free of units: `STRENGTHS` is C times the mean squared distance of a row from the mean
row, which is 1 for n-grams and the number of columns where these are standardised. On all sets that were looked at
the best value lay inside it; half decades tell no more. It is walked from the strongest penalty on, each
solution the start of the next, and ends when the loss rises. Beyond `MOST_ROWS_TO_CHOOSE` rows (with many outputs
`MOST_ANSWERS_TO_CHOOSE` rows times outputs) so many of them, evenly spaced, choose: C is known well enough then, and it
carries over to more rows. The final solution sees all rows.

**Of fewer rows than features** (photographs, short archives) the solution is a sum of rows, so that it is looked for
among those alone: `_RowSpace`. Steps and solution are the same but for rounding, and the features are read once.

Numbers are float64 and one thread multiplies, so that the same rows give the same bytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import linalg, optimize, sparse, special
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

from pipeline.models.solvers.folds import evenly

Floats = npt.NDArray[np.float64]
Kind = Literal["softmax", "sigmoid", "squares"]
STRENGTHS = tuple(float(f"{10 ** (half / 2):.4g}") for half in range(-2, 10))
"""0.1 to 31,620."""
MIDDLE = 10.0
"""Where nothing can be held out."""
MOST_ROWS_TO_CHOOSE = 10_000
MOST_ANSWERS_TO_CHOOSE = 1 << 18
"""3,400 rows of 77 classes: 44 of each."""
CHUNK_VALUES = 1 << 22
"""Numbers that are float64 at a time: 32 MiB."""
TIGHT, LOOSE = (1e-6, 0.0), (1e-7, 1e-7)
"""Where the way ends, of the solution and of those that only choose: largest slope, and gain of a step. A slope of
1e-4, as scikit-learn has it, would end the latter at once: a penalty of a millionth moves the minimum, not that."""
MOST_STEPS = 3000
MOST_ROWS_AS_FEATURES = 4096
"""Of more, products of all pairs take more than 128 MiB."""
FEWEST_OUTPUTS, FEATURES_PER_ROW = 8, 5
"""From where on sparse features are dearer than dense coordinates: 3,404 rows of 50,000 features and 77 classes take
0.42 s a step, of coordinates 0.18 s."""
Matrix: TypeAlias = npt.NDArray[Any] | sparse.csr_matrix


@dataclass(frozen=True)
class Solution:
    """A linear model.

    Attributes:
        weights: (num_features, num_outputs).
        intercepts: (num_outputs,).
        penalty: Of the squares, beside the mean loss of a row.
        loss: Mean over the rows, without the penalty.
        steps: Of L-BFGS; 0 for a closed form.
    """

    weights: Floats
    intercepts: Floats
    penalty: float
    loss: float
    steps: int

    def facts(self) -> dict[str, float | int]:
        """Return what a reader of the candidate's history wants to know."""
        return {"penalty": float(f"{self.penalty:.6g}"), "loss": round(self.loss, 6), "steps": self.steps}


def solve(
    features: Matrix,
    targets: np.ndarray,
    kind: Kind,
    *,
    folds: np.ndarray,
    row_weights: np.ndarray | None = None,
    penalty: float | None = None,
    num_outputs: int | None = None,
) -> Solution:
    """Return the linear model of least penalised loss.

    Args:
        features: (num_rows, num_features): an array of any number type, read in chunks, or a CSR matrix.
        targets: `softmax`: class index per row, (num_rows,). `sigmoid`: 0 or 1, (num_rows, num_outputs).
            `squares`: numbers, (num_rows, num_outputs).
        kind: The loss: cross-entropy of classes, the sum of it over labels, half the sum of squared errors.
        folds: Fold of each row, see `pipeline.models.solvers.folds`.
        row_weights: What a row counts; None: all alike.
        penalty: Fixed; None chooses it.
        num_outputs: Of `softmax`, where the rows may lack the last classes; None: as many as they have.
    """
    outputs = num_outputs or (int(targets.max()) + 1 if kind == "softmax" else targets.shape[1])
    weights = np.ones(features.shape[0]) if row_weights is None else np.asarray(row_weights, np.float64)
    start = None
    with threadpool_limits(1):  # the last bits of a product depend on how many threads share it
        space = _RowSpace(_Problem(features, targets, kind, weights, outputs))
        if penalty is None:
            most = min(MOST_ROWS_TO_CHOOSE, max(1_000, MOST_ANSWERS_TO_CHOOSE // outputs))
            rows = evenly(features.shape[0], most)
            chosen = space
            if len(rows) < features.shape[0]:
                chosen = _RowSpace(_Problem(features[rows], targets[rows], kind, weights[rows], outputs))
            strength, start = _best_strength(chosen.problem, folds[rows])
            penalty = _penalty(strength, chosen.problem.around[1], features.shape[0])
            if start is not None and chosen is not space:
                start = space.there(chosen.back(start))
        solution = _minimum(space.problem, penalty, start, TIGHT)
        found = space.back(np.vstack([solution.weights, solution.intercepts]))
        return replace(solution, weights=found[:-1], intercepts=found[-1])


class _Problem:
    """Rows, what is true of them, and the loss of a linear model on them."""

    def __init__(
        self, features: Matrix, targets: np.ndarray, kind: Kind, weights: Floats, num_outputs: int
    ) -> None:
        self.features: Any = features.astype(np.float64) if sparse.issparse(features) else features
        self.targets, self.kind, self.weights = targets, kind, weights
        self.num_features = features.shape[1]
        self.num_outputs = num_outputs
        self._rows_at_once = max(1, CHUNK_VALUES // max(1, self.num_features))
        self._transposed = sparse.csr_matrix(self.features.T) if sparse.issparse(features) else None

    @cached_property
    def around(self) -> tuple[Floats, float]:
        """Return the mean row, and the mean squared distance of a row from it."""
        if sparse.issparse(self.features):
            squares = float(self.features.multiply(self.features).sum()) / self.features.shape[0]
            mean = np.asarray(self.features.mean(axis=0)).ravel()
            return mean, max(squares - float(mean @ mean), 1e-12)
        total, squares = np.zeros(self.num_features), 0.0
        origin = np.asarray(self.features[:1], np.float64)[0]
        for _rows, part in self._chunks():
            near = part - origin
            total += near.sum(axis=0)
            squares += float(np.square(near).sum())
        mean = total / self.features.shape[0]
        return origin + mean, max(squares / self.features.shape[0] - float(mean @ mean), 1e-12)

    def scores(self, weights: Floats) -> Floats:
        """Return features times weights, (num_rows, num_outputs)."""
        if sparse.issparse(self.features):
            return np.asarray(self.features @ weights)
        found = np.empty((self.features.shape[0], weights.shape[1]))
        for rows, part in self._chunks():
            found[rows] = part @ weights
        return found

    def turned(self, residuals: Floats) -> Floats:
        """Return the features' transpose times residuals, (num_features, num_outputs)."""
        if self._transposed is not None:
            return np.asarray(self._transposed @ residuals)
        found = np.zeros((self.num_features, residuals.shape[1]))
        for rows, part in self._chunks():
            found += part.T @ residuals[rows]
        return found

    def losses(self, scores: Floats) -> tuple[Floats, Floats]:
        """Return the loss of each row, and its slope by the scores."""
        if self.kind == "softmax":
            rows = np.arange(len(scores))
            log_shares = scores - special.logsumexp(scores, axis=1, keepdims=True)
            slopes = np.exp(log_shares)
            slopes[rows, self.targets] -= 1
            return -log_shares[rows, self.targets], slopes
        if self.kind == "sigmoid":
            losses = (np.logaddexp(0, scores) - self.targets * scores).sum(axis=1)
            return losses, special.expit(scores) - self.targets
        slopes = scores - self.targets
        return 0.5 * np.square(slopes).sum(axis=1), slopes

    def _chunks(self) -> Any:
        for first in range(0, self.features.shape[0], self._rows_at_once):
            rows = slice(first, first + self._rows_at_once)
            yield rows, np.asarray(self.features[rows], np.float64)


class _RowSpace:
    """A problem whose features are coordinates among its rows, where this makes a step cheaper.

    A direction at right angles to all rows (as seen from the mean row) moves no score and only adds to the penalty, so
    that no solution has a part of it. The Cholesky factor of the products of all pairs of rows holds the coordinates
    of the rows along axes at right angles to each other and of length 1, so that penalties stay what they are. Rows
    that others add up to bring no axis.

    Attributes:
        problem: To be solved: the given one, where features are few.
    """

    def __init__(self, given: _Problem) -> None:
        self.problem = self._given = given
        self._axes: Floats | None = None
        if not _is_wide(given):
            return
        factor, order, rank, _info = linalg.lapack.dpstrf(_products(given), lower=1)
        if not rank:  # all rows are alike
            return
        coordinates = np.empty((len(factor), rank))
        coordinates[order - 1] = np.tril(factor)[:, :rank]  # LAPACK counts from 1
        self._rows = order[:rank] - 1
        self._axes = coordinates[self._rows]
        self.problem = _Problem(coordinates, given.targets, given.kind, given.weights, given.num_outputs)

    def back(self, solution: Floats) -> Floats:
        """Return weights of the features, and intercepts below, from those of the coordinates."""
        if self._axes is None:
            return solution
        mean = self._given.around[0]
        shares = np.zeros((self.problem.features.shape[0], solution.shape[1]))
        shares[self._rows] = linalg.solve_triangular(self._axes, solution[:-1], lower=True, trans=1)
        weights = self._given.turned(shares) - np.outer(mean, shares.sum(axis=0))
        return np.vstack([weights, solution[-1] - mean @ weights])

    def there(self, solution: Floats) -> Floats:
        """Return what `back` was given, of weights that it returned."""
        if self._axes is None:
            return solution
        at_mean = self._given.around[0] @ solution[:-1]
        scores = self._given.scores(solution[:-1])[self._rows] - at_mean
        found = linalg.solve_triangular(self._axes, scores, lower=True)
        return np.vstack([found, solution[-1] + at_mean])


def _is_wide(problem: _Problem) -> bool:
    """Tell whether a step among the rows is cheaper than one among the features."""
    rows, features = problem.features.shape
    if rows > MOST_ROWS_AS_FEATURES:
        return False
    if sparse.issparse(problem.features):  # whose zeros cost nothing there
        return problem.num_outputs >= FEWEST_OUTPUTS and features >= FEATURES_PER_ROW * rows
    return bool(features > rows)


def _products(problem: _Problem) -> Floats:
    """Return the products of all pairs of rows, seen from the mean row: (num_rows, num_rows)."""
    features, mean = problem.features, problem.around[0]
    if sparse.issparse(features):
        along = features @ mean
        return np.asarray((features @ features.T).toarray() - along[:, None] - along + mean @ mean)
    products = np.zeros((len(features), len(features)))
    columns_at_once = max(1, CHUNK_VALUES // len(features))
    for first in range(0, problem.num_features, columns_at_once):
        columns = slice(first, first + columns_at_once)
        part = np.asarray(features[:, columns], np.float64) - mean[columns]
        products += part @ part.T
    return products


def _minimum(
    problem: _Problem,
    penalty: float,
    start: Floats | None,
    ends: tuple[float, float],
    row_weights: Floats | None = None,
) -> Solution:
    """Return the minimum, looked for where features are around 0 and of size 1, so that units move no end of it."""
    shape = (problem.num_features + 1, problem.num_outputs)
    weights = problem.weights if row_weights is None else row_weights
    shares = weights / weights.sum()
    mean, spread = problem.around
    size = 1 / np.sqrt(spread)

    def value(flat: Floats) -> tuple[float, Floats]:
        given = flat.reshape(shape)
        own = size * given[:-1]
        losses, slopes = problem.losses(problem.scores(own) + (given[-1] - mean @ own))
        slopes *= shares[:, None]
        gradient = np.empty(shape)
        gradient[-1] = slopes.sum(axis=0)
        turned = problem.turned(slopes) - np.outer(mean, gradient[-1])
        gradient[:-1] = size * (turned + 2 * penalty * own)
        return float(losses @ shares + penalty * np.square(own).sum()), gradient.ravel()

    begin = np.zeros(shape)
    if start is not None:
        begin = np.vstack([start[:-1] / size, start[-1] + mean @ start[:-1]])
    slope, progress = ends
    found = optimize.minimize(
        value,
        begin.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={
            "maxiter": MOST_STEPS,
            "maxfun": 2 * MOST_STEPS,
            "gtol": slope,
            "ftol": progress,
            "maxcor": 10,
        },
    )
    solved = np.asarray(found.x).reshape(shape)
    own = size * solved[:-1]
    loss = float(found.fun) - penalty * float(np.square(own).sum())
    return Solution(own, solved[-1] - mean @ own, penalty, loss, int(found.nit))


def _penalty(strength: float, spread: float, num_rows: float) -> float:
    return spread / (2 * num_rows * strength)


def _best_strength(problem: _Problem, folds: np.ndarray) -> tuple[float, Floats | None]:
    """Return the best of `STRENGTHS`, and the mean of the folds' solutions there, from where the last one starts."""
    present = [fold for fold in np.unique(folds) if (folds != fold).any()]
    if len(present) < 2:
        return MIDDLE, None
    starts: list[Floats | None] = [None] * len(present)
    solutions: dict[float, Floats] = {}

    def loss_of(strength: float) -> float:
        losses, counted = np.zeros(len(folds)), np.zeros(len(folds))
        found = []
        for place, fold in enumerate(present):
            aside = folds == fold
            kept = np.where(aside, 0.0, problem.weights)
            penalty = _penalty(strength, problem.around[1], int(np.count_nonzero(~aside)))
            solution = _minimum(problem, penalty, starts[place], LOOSE, kept)
            found.append(np.vstack([solution.weights, solution.intercepts]))
            rows = aside & _known(problem, ~aside)
            scores = problem.scores(solution.weights) + solution.intercepts
            losses[rows] = problem.losses(scores)[0][rows]
            counted[rows] = problem.weights[rows]
        starts[:] = found
        solutions[strength] = np.mean(found, axis=0)
        return float(losses @ counted / max(counted.sum(), 1e-12))

    best = walk_while_better(STRENGTHS, loss_of)
    return best, solutions[best]


def walk_while_better(values: Sequence[float], loss_of: Callable[[float], float]) -> float:
    """Return the value of least loss, looked for from the first on until the loss rises."""
    best, least = values[0], np.inf
    for value in values:
        loss = loss_of(value)
        if loss >= least:
            break
        best, least = value, loss
    return best


def _known(problem: _Problem, kept: np.ndarray) -> npt.NDArray[np.bool_]:
    """Return which rows are of a class that the kept rows have: of another nothing can be learnt there."""
    if problem.kind != "softmax":
        return np.ones(len(kept), bool)
    seen = np.bincount(problem.targets[kept], minlength=problem.num_outputs) > 0
    return np.asarray(seen[problem.targets])
