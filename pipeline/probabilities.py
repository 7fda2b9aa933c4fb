"""What metrics, intervals and gates may rely on: class indices, probabilities and weights that were checked.

A model full of NaN can look healthy (argmax of NaN is class 0), so nothing below accepts a number unchecked.
"""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SUM_TOLERANCE = 1e-3
"""How far the probabilities of an example may be from adding up to 1 (float32 sums over many classes)."""


def checked(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Return the arguments of a metric as arrays that can be trusted; weights of None become ones.

    Raises:
        ValueError: Shapes disagree, a number is not finite, a class index or a weight is out of range, or
            probabilities do not add up to 1.
    """
    truth, probabilities = np.asarray(y_true), np.asarray(y_pred, dtype=float)
    if truth.ndim != 1 or not len(truth) or not np.issubdtype(truth.dtype, np.integer):
        raise ValueError(
            "y_true must be class indices. Expected: whole numbers of shape (num_examples,), at least one. "
            f"Received: dtype={truth.dtype}, shape={truth.shape}."
        )
    if probabilities.ndim != 2 or len(probabilities) != len(truth) or probabilities.shape[1] < 2:
        raise ValueError(
            f"y_pred must hold a probability per class. Expected shape: ({len(truth)}, num_classes >= 2). "
            f"Received: shape={probabilities.shape}."
        )
    if truth.min() < 0 or truth.max() >= probabilities.shape[1]:
        raise ValueError(
            f"y_true names a class that y_pred does not have. Expected: 0 to {probabilities.shape[1] - 1}. "
            f"Received: {truth.min()} to {truth.max()}."
        )
    check_probabilities(probabilities)
    return truth.astype(np.int64), probabilities, checked_weight(sample_weight, len(truth))


def check_probabilities(probabilities: npt.NDArray[np.floating], name: str = "y_pred") -> None:
    """Check that every row is a probability distribution.

    Args:
        probabilities: Shape (num_examples, num_classes).
        name: How the message calls them.

    Raises:
        ValueError: Names the first row with a NaN, an infinite or a negative number, or another sum than 1.
    """
    if not np.isfinite(probabilities).all():
        row = int(np.flatnonzero(~np.isfinite(probabilities).all(axis=1))[0])
        raise ValueError(
            f"{name} is not finite. Expected: probabilities. Received: {name}[{row}]={probabilities[row]}."
        )
    wrong = (np.abs(probabilities.sum(axis=1) - 1) > SUM_TOLERANCE) | (probabilities < 0).any(axis=1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"{name} must be probabilities. Expected: none below 0, each row adding up to 1. "
            f"Received: {name}[{row}]={probabilities[row]}."
        )


def checked_weight(sample_weight: npt.ArrayLike | None, num_examples: int) -> FloatArray:
    """Return weights of examples as an array that can be trusted; None becomes ones.

    Raises:
        ValueError: A row is missing, a weight is negative or not finite, or all are 0.
    """
    if sample_weight is None:
        return np.ones(num_examples)
    weight = np.asarray(sample_weight, dtype=float)
    if weight.ndim not in (1, 2) or len(weight) != num_examples:
        raise ValueError(
            f"sample_weight must have a row per example. Expected shape: ({num_examples},) or "
            f"({num_examples}, num_resamples). Received: shape={weight.shape}."
        )
    # The sum is NaN or infinite if any weight is, so one pass checks both.
    sums = weight.sum(axis=0)
    if not np.isfinite(sums).all() or (sums <= 0).any() or weight.min() < 0:
        raise ValueError(
            "sample_weight must be finite and >= 0 with a sum above 0. "
            f"Received: smallest={weight.min()}, smallest sum={np.min(sums)}."
        )
    return weight
