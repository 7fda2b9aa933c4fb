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
    """A lost example.

    Attributes:
        true_class: Index of its class.
        cost: By how much the score falls, above 0; where examples are drawn together, if as many are lost as say
            as much as one.
    """

    true_class: int
    cost: float


def unseen_loss(
    y_true: npt.NDArray[Any], num_classes: int, metric: Metric, blocks: DrawnTogether | None = None
) -> Loss:
    """Return what one lost example costs a model that answers all others right.

    It is of the rarest class in `y_true`, whose examples are the largest parts of a mean over classes, of F1 of
    what is looked for and of a ranking; the next rarest is said instead, as surely as can be. No answer of a real
    model is looked at: one that never says the rarest class has nothing left to lose there, but elsewhere.

    Args:
        y_true: Class index per example, shape (num_examples,).
        num_classes: How many there are, at least 2.
        metric: A score of classes.
        blocks: What is drawn together; None: each example alone.

    Returns:
        At least what it is of accuracy, also where the score does not fall, or does not exist.
    """
    num_examples = len(y_true)
    counts = np.bincount(y_true, minlength=num_classes)
    # Classes that do not occur come last: what would be lost of them, these examples do not judge.
    rarest, wrong = np.argsort(np.where(counts, counts, np.inf), kind="stable")[:2]
    right = np.eye(num_classes)[y_true]
    lost = right.copy()
    lost[np.argmax(y_true == rarest)] = np.eye(num_classes)[wrong]
    fall = float(metric(y_true, right, None)) - float(metric(y_true, lost, None))
    cost = max(float(np.nan_to_num(fall)), 1 / num_examples)
    return Loss(int(rarest), cost * num_examples / num_units(num_examples, blocks))
