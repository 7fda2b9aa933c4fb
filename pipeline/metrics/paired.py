"""By how much one model is better than another, with an interval that is not too narrow.

Bootstrap percentiles alone promote about 3 % where 2.5 % are meant (benchmarks/gate_simulation.py), whatever the
number of rows: they bend with the very sample that is too favourable. So the wider end of two intervals counts:
percentiles, taken further out for few examples, and Student's around the value.

Two shares of right answers on the same examples, or on the same groups of them, have an interval of their own:
Tango (1998), "Equivalence test and confidence interval for the difference in proportions for the paired-sample
design": a score test, which holds its level with a dozen examples, where the usual interval is far too narrow.
Without a tolerance it is McNemar's test.

A bootstrap draws what is there. Where no example is lost to the champion, no resample has a loss, and the model
seems surely not worse: with 100 examples, 13 % of them positive, 31 % of models whose F1 is worse by a margin of
0.05 passed as not worse (benchmarks/gate_simulation.py). `unseen_loss` is what a loss costs that none of them shows,
and `allowing_for_losses` makes the interval as wide as that cost demands.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from pipeline.metrics.classification import BoolArray, FloatArray, IntArray, Metric
from pipeline.metrics.ends import Loss, Resampled, loss_of_the_rarest, percentile_ends, students_reach
from pipeline.metrics.intervals import (
    LARGEST_UNDEFINED_SHARE,
    DrawnTogether,
    Groups,
    Interval,
    bootstrap_values,
    num_units,
    require_defined,
)


def paired_difference(
    metric: Metric,
    metric_other: Metric,
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    y_pred_other: npt.ArrayLike,
    *,
    resamples: int,
    confidence: float,
    seed: int,
    blocks: DrawnTogether | None = None,
    unseen_loss: float = 0.0,
) -> Interval:
    """Return by how much `y_pred` scores above `y_pred_other` on the same examples.

    Args:
        metric: Judges `y_pred`.
        metric_other: Judges `y_pred_other`.
        y_true: What is true of each example.
        y_pred: Answers of one model.
        y_pred_other: Answers of the other.
        resamples: How many bootstrap resamples.
        confidence: Of the two-sided interval, (0.5, 1).
        seed: Of the resamples.
        blocks: What is drawn together; None: each example alone.
        unseen_loss: What one lost example costs, where the lower end shall allow for losses that no example
            shows, see `allowing_for_losses`; 0 where it need not.

    Raises:
        ValueError: A metric does not exist for these examples, or for too many of the resamples.
    """
    (first,) = bootstrap_values([metric], y_true, y_pred, resamples=resamples, seed=seed, blocks=blocks)
    (other,) = bootstrap_values(
        [metric_other], y_true, y_pred_other, resamples=resamples, seed=seed, blocks=blocks
    )
    value = float(metric(y_true, y_pred, None)) - float(metric_other(y_true, y_pred_other, None))
    undefined = blocks.largest_undefined_share if blocks else LARGEST_UNDEFINED_SHARE
    require_defined(value, first - other, "the difference", undefined)
    drawn = (first - other)[~np.isnan(first - other)]
    units = num_units(len(np.asarray(y_true)), blocks)
    found = Resampled(value, drawn, units)
    low, high = percentile_ends(found, confidence)
    reach = students_reach(found.error, confidence, units)
    if unseen_loss:
        low = min(low, allowing_for_losses(value, found.error, unseen_loss, confidence))
    return Interval(value, min(low, value - reach), max(high, value + reach))


def score_statistic(ours: float, theirs: float, num_examples: float, difference: float) -> float:
    """Return how many standard errors the observed difference lies above a supposed one.

    Args:
        ours: Examples that only the first model answers right.
        theirs: Examples that only the second answers right.
        num_examples: All of them.
        difference: Supposed true share of the first minus that of the second, in [-1, 1].
    """
    distance = ours - theirs - num_examples * difference
    a = 2.0 * num_examples
    b = -ours - theirs + (2 * num_examples - ours + theirs) * difference
    c = -theirs * difference * (1 - difference)
    # The most likely share of `theirs` if the supposed difference were true.
    share = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = num_examples * (2 * share + difference * (1 - difference))
    if variance <= 0:
        return 0.0 if distance == 0 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def difference_bounds(ours: float, theirs: float, num_examples: float, tail: float) -> Interval:
    """Return the difference of the shares with the range that leaves `tail` to each side.

    Args:
        ours: Examples that only the first model answers right.
        theirs: Examples that only the second answers right.
        num_examples: All of them.
        tail: Chance of the true difference to lie beyond either end, (0, 0.5).
    """
    value = (ours - theirs) / num_examples
    wanted = float(stats.norm.ppf(1 - tail))

    def above(difference: float) -> float:
        return score_statistic(ours, theirs, num_examples, difference)

    edge = 1 - 1e-9
    low = -1.0 if above(-edge) <= wanted else _root(lambda d: above(d) - wanted, -edge, value)
    high = 1.0 if above(edge) >= -wanted else _root(lambda d: above(d) + wanted, value, edge)
    return Interval(value, low, high)


def allowing_for_losses(value: float, standard_error: float, cost: float, confidence: float) -> float:
    """Return the lower end of a difference of scores that may hide losses such as no example shows.

    Without a lost example the standard error is 0, and every interval from it is sure of what it never saw. If a
    lost or won example moves the score by d, the difference is that of two shares of 1 / d examples:
    d (won - lost), with the variance d^2 (won + lost) - d value^2. So those numbers follow from value and standard
    error, and Tango's interval for them holds. For accuracy, where d = 1 / n, it is Tango's interval itself.

    Args:
        value: By how much the first model is better.
        standard_error: Of that, from a bootstrap.
        cost: d, what one lost example costs, in (0, 1]; of several kinds the most.
        confidence: Of the two-sided interval, (0.5, 1).
    """
    either = (standard_error**2 / cost + value**2) / cost
    more = value / cost
    ours = max(0.0, more, (either + more) / 2)  # losses that cost less than d may imply fewer than none won
    theirs = ours - more
    return difference_bounds(ours, theirs, 1 / cost, (1 - confidence) / 2).low


def grouped_difference_bounds(gains: IntArray, groups: Groups, inside: BoolArray, tail: float) -> Interval:
    """Return the difference of the shares on some examples, with a range that knows that groups are alike.

    Obuchowski (1998), "On the comparison of correlated proportions for clustered data": the variance of a ratio
    of sums over groups; Student's distribution instead of the normal one, since groups are few.

    Args:
        gains: Per example 1 where only the first model is right, -1 where only the second is, else 0.
        groups: Of all examples.
        inside: Which examples are meant, shape (num_examples,).
        tail: Chance of the true difference to lie beyond either end, (0, 0.5).
    """
    sizes, sums = groups.sums(inside), groups.sums(gains * inside)
    value = float(sums.sum() / sizes.sum())
    error = float(np.sqrt(np.sum((sums - value * sizes) ** 2)) / sizes.sum())
    reach = students_reach(error, 1 - 2 * tail, groups.effective_number(inside))
    return Interval(value, value - reach, value + reach)


def randomization_p_value(gains: FloatArray) -> float:
    """Return the chance of a sum as far from 0 as this one, if each group might as well have the other sign.

    Exact, since a sum of coins is: with one example in each group it is McNemar's test. Whole groups change
    sides as in Gail et al. (1996), "On design considerations and randomization-based inference for community
    intervention trials".

    Args:
        gains: Of each group how many more examples the first model answers right than the second; whole numbers.
    """
    found, counts = np.unique(np.abs(gains[gains != 0]).astype(int), return_counts=True)
    chances = np.ones(1)  # of the sum of what has the sign +
    for gain, count in zip(found.tolist(), counts.tolist(), strict=True):
        coins = np.zeros(gain * count + 1)
        coins[::gain] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        chances = np.convolve(chances, coins)
    sums = 2 * np.arange(len(chances)) - (len(chances) - 1)
    return min(1.0, float(chances[np.abs(sums) >= abs(gains.sum())].sum()))


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    if function(low) * function(high) >= 0:
        return high if abs(function(high)) < abs(function(low)) else low
    return float(optimize.brentq(function, low, high, xtol=1e-9))


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
    lost, num_examples = loss_of_the_rarest(y_true, num_classes, metric), len(y_true)
    return lost._replace(cost=lost.cost * num_examples / num_units(num_examples, blocks))
