"""What is decided from probabilities: the one rule of reports, gate and serving (docs/decisions/0033).

A measure that counts right answers, a table of confusions and an answer over HTTP all ask here what a model says.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Threshold(NamedTuple):
    """From where on a model says one of two classes.

    Attributes:
        positive: Index of the class that is looked for, 0 or 1.
        value: It is said where its probability reaches this, in [0, 1].
    """

    positive: int
    value: float


def decided(probabilities: npt.NDArray[np.floating], at: Threshold | None = None) -> npt.NDArray[np.int64]:
    """Return the index of the class that is said of each row.

    Args:
        probabilities: Finite, shape (num_rows, num_classes); with a threshold two classes.
        at: Where one of two classes is said; None: the most probable class is, of equal ones the first (argmax).

    Returns:
        Shape (num_rows,).
    """
    if at is None:
        return np.asarray(probabilities.argmax(axis=1), np.int64)
    # In doubles: a single-precision probability may fall on the other side of the threshold.
    reached = np.asarray(probabilities, float)[:, at.positive] >= at.value
    return np.where(reached, at.positive, 1 - at.positive).astype(np.int64)


def labels_decided(
    probabilities: npt.NDArray[np.floating], thresholds: npt.ArrayLike
) -> npt.NDArray[np.bool_]:
    """Return which labels are said of each row, each where its probability reaches its threshold.

    Args:
        probabilities: Finite, shape (num_rows, num_labels).
        thresholds: In [0, 1], one for all labels or one for each, shape () or (num_labels,).

    Returns:
        Shape (num_rows, num_labels).
    """
    return np.asarray(np.asarray(probabilities, float) >= np.asarray(thresholds, float))
