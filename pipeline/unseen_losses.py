"""A refresh judged on few examples: what a loss costs that none of them shows.

A bootstrap draws what is there. Where no example is lost to the champion, no resample has a loss, and the model
seems surely not worse: with 100 examples, 13 % of them positive, 31 % of models whose F1 is worse by a margin of
0.05 passed as not worse (benchmarks/gate_simulation.py). `allowing_for_losses` makes the interval as wide as that
cost demands.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.metrics import Metric
from pipeline.resamples import DrawnTogether, num_units


class Loss(NamedTuple):
    """A lost example, as it would cost most.

    Attributes:
        true_class: Index of its class, the rarest: of a mean over classes, of F1 of what is looked for and of a
            ranking its examples are the largest parts.
        cost: By how much the score falls; where examples are drawn together, if as many are lost as say as much
            as one.
    """

    true_class: int
    cost: float


def unseen_loss(
    y_true: npt.NDArray[Any],
    probabilities: npt.NDArray[np.floating],
    metric: Metric,
    blocks: DrawnTogether | None = None,
) -> Loss:
    """Return what one more lost example would cost.

    Of the rarest class in `y_true` the example that is surest to be right is given to the next rarest instead,
    as surely as can be: it is confused, or comes last in the ranking.

    Args:
        y_true: Class index per example, shape (num_examples,).
        probabilities: The model's, shape (num_examples, num_classes).
        metric: A score that judges them.
        blocks: What is drawn together; None: each example alone.

    Returns:
        A cost of 0 where the score does not exist, or does not fall.
    """
    num_examples, num_classes = probabilities.shape
    counts = np.bincount(y_true, minlength=num_classes)
    # Classes that do not occur come last: what would be lost of them, these examples do not judge.
    rarest, wrong = np.argsort(np.where(counts, counts, np.inf), kind="stable")[:2]
    surest = np.where(y_true == rarest, probabilities[:, rarest], -np.inf).argmax()
    lost = np.array(probabilities, dtype=float)
    lost[surest] = np.eye(num_classes)[wrong]
    fall = float(metric(y_true, probabilities, None)) - float(metric(y_true, lost, None))
    share = num_examples / num_units(num_examples, blocks)
    return Loss(int(rarest), max(0.0, float(np.nan_to_num(fall))) * share)
