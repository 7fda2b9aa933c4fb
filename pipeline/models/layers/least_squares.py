"""Ridge regression in closed form, its penalty chosen without validation rows, and scores made probabilities.

NumPy alone: families that are solved use it, and what comes out becomes the weights of a dense layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

PENALTIES = tuple(float(penalty) for penalty in np.logspace(-3, 5, 17))
"""Of standardised features; the grid of Dempster et al. (2021) reaches 1e3, and noise asks for more."""
SMOOTHEST = 1e-6
"""Pull on slope and intercept of a calibration, so that scores that tell nothing have an answer too."""


@dataclass(frozen=True)
class Ridge:
    """A solved ridge regression.

    Attributes:
        kernel: float64 (num_features, num_targets), for features as they come, not standardised.
        intercept: float64 (num_targets,).
        penalty: The chosen one, on standardised features.
        left_out: float64 (num_rows, num_targets): what the regression without a row answers for that row.
    """

    kernel: np.ndarray
    intercept: np.ndarray
    penalty: float
    left_out: np.ndarray


def solve_ridge(features: np.ndarray, targets: np.ndarray, penalties: Sequence[float] = PENALTIES) -> Ridge:
    """Return the ridge regression whose squared error, each row left out in its turn, is smallest.

    With the singular vectors U and values s of the centred features, the answers for the rows are
    U diag(s^2 / (s^2 + penalty)) U' y, and the error for a row left out is its residual divided by one minus its
    leverage (Golub, Heath & Wahba 1979). Features are standardised, the intercept is not penalised.

    Args:
        features: Float (num_rows, num_features); constant ones get no weight.
        targets: Float (num_rows, num_targets).
        penalties: Tried in this order, the first of equals is taken.

    Raises:
        ValueError: Fewer than two rows.
    """
    count = len(features)
    if count < 2:
        raise ValueError(
            f"A regression needs rows to leave out. Expected at least 2. Received: {count}. Give train more samples."
        )
    with threadpool_limits(1):  # the last bits of a product depend on how many threads share it
        mean = features.mean(axis=0, dtype=np.float64)
        deviation = features.std(axis=0, dtype=np.float64)
        varies = deviation > np.abs(mean) * 1e-6 + 1e-12
        scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)
        standard = (features - mean) * scale
        level = targets.mean(axis=0, dtype=np.float64)
        centred = targets - level
        vectors, squares = _left_vectors(standard)
        projected = vectors.T @ centred
        best: tuple[float, float, np.ndarray] | None = None
        for penalty in penalties:
            shrunk = squares / (squares + penalty)
            left = 1 - 1 / count - (vectors**2) @ shrunk
            errors = (centred - vectors @ (shrunk[:, None] * projected)) / np.maximum(left, 1e-12)[:, None]
            score = float(np.mean(errors**2))
            if best is None or score < best[0]:
                best = score, penalty, errors
        assert best is not None
        _score, penalty, errors = best
        kernel = standard.T @ (vectors @ (projected / (squares + penalty)[:, None])) * scale[:, None]
    return Ridge(kernel, level - mean @ kernel, penalty, targets - errors)


def _left_vectors(standard: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the left singular vectors (num_rows, rank) and squared singular values, by the smaller Gram matrix."""
    tall = len(standard) > standard.shape[1]
    squares, vectors = np.linalg.eigh(standard.T @ standard if tall else standard @ standard.T)
    kept = squares > max(float(squares[-1]), 1e-300) * max(standard.shape) * np.finfo(np.float64).eps
    squares, vectors = squares[kept], vectors[:, kept]
    return (standard @ vectors / np.sqrt(squares) if tall else vectors), squares


def one_against_rest(targets: np.ndarray, num_classes: int) -> np.ndarray:
    """Return +1 for the class of a row and -1 for others, float64; of two classes one column, of the second.

    Args:
        targets: Class index (num_rows,), or several labels 0 or 1 (num_rows, num_classes).
        num_classes: How many there are.
    """
    if targets.ndim == 2:
        return 2.0 * targets.astype(np.float64) - 1
    columns = np.arange(1, 2) if num_classes == 2 else np.arange(num_classes)
    return np.where(targets[:, None] == columns, 1.0, -1.0)


def calibration(scores: np.ndarray, truth: np.ndarray, *, exclusive: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return slopes and intercepts that turn scores into logits of smallest log loss.

    Scores that separate the classes would have no finite slope: as in Platt (1999) a right answer is worth
    (n + 1) / (n + 2) of n rows and no more.

    Args:
        scores: Out-of-fold, float64 (num_rows, num_outputs).
        truth: +1 and -1, same shape; one +1 in each row where `exclusive`.
        exclusive: Whether the outputs share a softmax: one slope for all, no intercept. Else each has a
            sigmoid, with slope and intercept of its own.

    Returns:
        float64 (num_outputs,) each; slopes are above 0.
    """
    width = scores.shape[1]
    positives = (truth > 0).sum(axis=0)
    if exclusive:
        sure = ((positives + 1) / (positives + 2))[truth.argmax(axis=1)][:, None]
        wanted = np.where(truth > 0, sure, (1 - sure) / (width - 1))

        def loss(log_slope: float) -> float:
            logits = np.exp(log_slope) * scores
            return float(np.mean(special.logsumexp(logits, axis=1) - (wanted * logits).sum(axis=1)))

        found = optimize.minimize_scalar(loss, bounds=(-5.0, 6.0), method="bounded")
        return np.full(width, np.exp(found.x)), np.zeros(width)
    pairs = [_platt(scores[:, output], truth[:, output] > 0) for output in range(width)]
    return np.array([slope for slope, _ in pairs]), np.array([intercept for _, intercept in pairs])


def _platt(scores: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    count, positives = len(scores), int(positive.sum())
    wanted = np.where(positive, (positives + 1) / (positives + 2), 1 / (count - positives + 2))

    def loss(values: np.ndarray) -> float:
        logits = np.exp(values[0]) * scores + values[1]
        return float(np.mean(np.logaddexp(0, logits) - wanted * logits)) + SMOOTHEST * float(values @ values)

    found = optimize.minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=[(-5.0, 6.0), (-50.0, 50.0)])
    return float(np.exp(found.x[0])), float(found.x[1])
