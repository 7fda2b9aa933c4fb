"""How far the interval of one metric reaches: on the scale on which it holds its level, not one width for all.

Bootstrap percentiles are too sure where it matters: of 100 rows, 13 % of them positive, 95 % intervals of a ROC AUC
of 0.97 held it in 88 % of cases, and a ceiling of the mean absolute error was called held by 8 % of models that miss
it (`benchmarks/coverage.py`). So the wider of several ends counts, by the scale of the metric:

- `share`: right answers among examples: Clopper and Pearson (1934), exact.
- `score`: other means of shares. The same ends for as many examples as would make a share as sure as the bootstrap
  says: Korn and Graubard (1998), "Confidence intervals for proportions with small expected number of positive counts".
  Never more of them than the rarest class allows, since no resample shows what none of its examples does.
- `ranking`: the same for three quarters of those examples (average precision).
- `area`: under the ROC curve: on the logit scale (Pepe 2003, 5.2), and Newcombe (2006), "Confidence intervals for an
  effect size measure based on the Mann-Whitney statistic", method 5, which does not end at an area of 1.
- `error`: above 0 and skewed: on the logarithmic scale, and Student's moved by the skewness of the examples (Johnson
  1978, "Modified t tests and confidence intervals for asymmetrical populations"), two and a half times as far up: few
  rows show less than half of it where errors are as skewed as a lognormal variable.
- `root`: the square of it is such an error.
- `unexplained`: 1 minus it is such an error (R2).
- `distance`: a mean of absolute values, which is too large where examples are few (calibration): percentiles on both
  sides of the value, and down to 0 where their bias may explain all of it.

No interval holds its level for every error (Bahadur and Savage 1956): where a few examples are most of it, the rows
do not show what rarer ones would cost. `doubt` says so, and the gate then refuses.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.metrics.classification import FloatArray, Metric, Scale

# scipy's distributions take a second and a half to import, which stages without an interval should not wait for: every
# function below that needs them asks for them itself.

SKEWNESS_UNSEEN = 2.5
"""How many times the skewness that the rows show; measured in benchmarks/coverage.py, as the three limits below."""
MOST_SKEWED = 0.25
"""Skewness of the metric itself, that of single errors over sqrt(n): beyond it no upper end was found that holds."""
FEWEST_ERRORS = 20
LEAST_SHARE_OF_ERRORS = 0.04
"""As how many errors of equal size all of them say, and as which share."""
FEWEST_ANSWERS = 5
"""Of the rarest class: below it, what a score says of them is luck."""
SHOWN_BY_A_RANKING = 0.75
"""Of the answers that resamples say it rests on: it is surest of itself where it happens to be high."""
RESAMPLES_BEYOND = 5
"""Fewest beyond an end for a percentile to be one; further out its distance grows as Student's does."""


@dataclass(frozen=True)
class Resampled:
    """A metric on the examples as they are, and on resamples of them.

    Attributes:
        value: As they are.
        drawn: On each resample where it exists, shape (num_resamples,).
        units: Examples, or blocks or groups of them that are drawn together, see `num_units`.
        most: As how many right or wrong answers they may count at most; None: as many as there are units.
        others: Area: as how many negative examples they count, `most` being of the positive ones.
        skewness: Of the metric, from leaving out one unit after the other, of `root` that of its square.
    """

    value: float
    drawn: FloatArray
    units: float
    most: float | None = None
    others: float | None = None
    skewness: float = 0.0

    @property
    def count(self) -> float:
        """Return as how many answers they may count."""
        return max(1.0, self.units if self.most is None else min(self.units, self.most))

    @property
    def error(self) -> float:
        """Return the standard error."""
        return float(self.drawn.std(ddof=1))

    def as_error(self, scale: Scale) -> "Resampled":
        """Return what of it is an error on the scale of single ones: its square, or what is not explained."""
        if scale == "root":
            return replace(self, value=self.value**2, drawn=self.drawn**2)
        if scale == "unexplained":
            return replace(self, value=1 - self.value, drawn=1 - self.drawn, skewness=-self.skewness)
        return self


def interval_ends(found: Resampled, scale: Scale, confidence: float) -> tuple[float, float]:
    """Return the lower and the upper end, in the units of the metric.

    Args:
        found: The metric and its resamples.
        scale: On which its ends are found.
        confidence: Of the two-sided interval, (0.5, 1).
    """
    if scale in ("share", "score", "ranking", "area"):
        return _score_ends(found, scale, confidence)
    if scale == "distance":
        return _distance_ends(found, confidence)
    low, high = _error_ends(found.as_error(scale), confidence)
    if scale == "unexplained":
        return 1 - high, 1 - low
    return (math.sqrt(low), math.sqrt(high)) if scale == "root" else (low, high)


def doubt(found: Resampled, scale: Scale) -> str:
    """Return in words why no interval of the metric is known to hold its level; "" if this one does."""
    if (
        scale in ("score", "ranking", "area")
        and found.most is not None
        and min(found.most, found.others or found.most) < FEWEST_ANSWERS
    ):
        few = min(found.most, found.others or found.most)
        return f"the rarest class says as much as {few:.1f} examples, {FEWEST_ANSWERS} are needed"
    if scale not in ("error", "root", "unexplained"):
        return ""
    error = found.as_error(scale)
    if error.value <= 0 or error.error <= 0:
        return "no example shows an error" if error.value <= 0 else ""
    alike = 1 / ((error.error / error.value) ** 2 + 1 / found.units)
    if alike < max(FEWEST_ERRORS, LEAST_SHARE_OF_ERRORS * found.units) or error.skewness > MOST_SKEWED:
        return (
            f"few examples are most of the error (all say as much as {alike:.0f} of equal size, skewness "
            f"{error.skewness:.2f}; at least {FEWEST_ERRORS} and {LEAST_SHARE_OF_ERRORS:.0%} of all, and at most "
            f"{MOST_SKEWED} are needed)"
        )
    return ""


def share_ends(value: float, count: float, confidence: float) -> tuple[float, float]:
    """Return the exact ends of a share of independent answers (Clopper and Pearson 1934).

    Args:
        value: The share of right ones, [0, 1].
        count: How many answers; need not be whole.
        confidence: Of the two-sided interval, (0.5, 1).
    """
    from scipy import stats

    tail, right = (1 - confidence) / 2, value * count
    low = 0.0 if right <= 0 else float(stats.beta.ppf(tail, right, count - right + 1))
    high = 1.0 if right >= count else float(stats.beta.ppf(1 - tail, right + 1, count - right))
    return low, high


def area_ends(value: float, positives: float, negatives: float, confidence: float) -> tuple[float, float]:
    """Return the ends of an area under the ROC curve by its supposed variance (Newcombe 2006, method 5).

    Args:
        value: The area, [0, 1].
        positives: How many positive examples.
        negatives: How many others.
        confidence: Of the two-sided interval, (0.5, 1).
    """
    from scipy import optimize, stats

    reach = float(stats.norm.ppf((1 + confidence) / 2))
    half = (positives + negatives) / 2 - 1

    def beyond(area: float) -> float:
        spread = 1 + half * (1 - area) / (2 - area) + half * area / (1 + area)
        return abs(value - area) - reach * math.sqrt(area * (1 - area) * spread / (positives * negatives))

    edge = 1e-9
    low = 0.0 if value <= 2 * edge else optimize.brentq(beyond, edge, value - edge)
    high = 1.0 if value >= 1 - 2 * edge else optimize.brentq(beyond, value + edge, 1 - edge)
    return float(low), float(high)


def percentile_ends(found: Resampled, confidence: float) -> tuple[float, float]:
    """Return percentiles of the resamples, taken further out for few units.

    (B + 1) times the tail is the rank that keeps the level with B resamples (Davison and Hinkley 1997, 4.2). Beyond
    the last `RESAMPLES_BEYOND` of them the distance to the value grows as that of Student's interval.
    """
    tail = (1 - confidence) / 2
    known = min(0.25, max(tail, RESAMPLES_BEYOND / (len(found.drawn) + 1)))
    expanded = (1 - honest_confidence(1 - 2 * known, found.units)) / 2
    low, high = np.quantile(found.drawn, [expanded, 1 - expanded], method="weibull")
    stretch = _students(tail, found.units) / _students(known, found.units)
    return found.value - (found.value - float(low)) * stretch, found.value + (
        float(high) - found.value
    ) * stretch


class Loss(NamedTuple):
    """A lost example.

    Attributes:
        true_class: Index of its class.
        cost: By how much the score falls, above 0; where examples are drawn together, if as many are lost as say
            as much as one.
    """

    true_class: int
    cost: float


def loss_of_the_rarest(y_true: npt.NDArray[Any], num_classes: int, metric: Metric) -> Loss:
    """Return what one lost example of the rarest class costs a model that answers all others right.

    Args:
        y_true: Class index per example, shape (num_examples,); of several labels 0 or 1, (num_examples, num_classes).
        num_classes: How many there are, at least 2.
        metric: A score of classes.

    Returns:
        At least what it is of accuracy, also where the score does not fall, or does not exist.
    """
    if y_true.ndim == 2:
        return _loss_of_the_rarest_label(y_true, metric)
    counts = np.bincount(y_true, minlength=num_classes)
    # Classes that do not occur come last: what would be lost of them, these examples do not judge.
    rarest, wrong = np.argsort(np.where(counts, counts, np.inf), kind="stable")[:2]
    right = np.eye(num_classes)[y_true]
    lost = right.copy()
    lost[np.argmax(y_true == rarest)] = np.eye(num_classes)[wrong]
    fall = float(metric(y_true, right, None)) - float(metric(y_true, lost, None))
    return Loss(int(rarest), max(float(np.nan_to_num(fall)), 1 / len(y_true)))


def _loss_of_the_rarest_label(y_true: npt.NDArray[Any], metric: Metric) -> Loss:
    """Return what it costs to miss the rarest label once and to say everything else right."""
    counts = y_true.sum(axis=0, dtype=np.int64)
    rarest = int(np.argmin(np.where(counts, counts, len(y_true) + 1)))
    right = y_true.astype(float)
    lost = right.copy()
    lost[np.argmax(y_true[:, rarest]), rarest] = 0.0
    fall = float(metric(y_true, right, None)) - float(metric(y_true, lost, None))
    return Loss(rarest, max(float(np.nan_to_num(fall)), 1 / len(y_true)))


def honest_confidence(confidence: float, units: float) -> float:
    """Return the confidence to ask of percentiles so that few examples do not make them too sure.

    Bootstrap percentiles are too narrow by the factor sqrt((n - 1) / n) and follow the normal distribution
    where Student's is right; this asks for the percentiles that make up for both, after Hesterberg (2015),
    "What teachers should know about the bootstrap", the expanded percentile interval.

    Args:
        confidence: What is wanted, (0.5, 1).
        units: Examples, or blocks or groups of them that are drawn together, see `num_units`.
    """
    from scipy import stats

    return float(1 - 2 * stats.norm.cdf(-students_reach(1.0, confidence, units)))


def students_reach(standard_error: float, confidence: float, units: float) -> float:
    """Return how far Student's interval reaches to each side, from the bootstrap's standard error."""
    from scipy import stats

    units = max(units, 2)
    widened = standard_error * np.sqrt(units / (units - 1))
    return float(stats.t.ppf((1 + confidence) / 2, units - 1) * widened)


def _students(tail: float, units: float) -> float:
    from scipy import stats

    return float(stats.t.isf(tail, max(units, 2) - 1))


def _score_ends(found: Resampled, scale: Scale, confidence: float) -> tuple[float, float]:
    from scipy import special

    value, count = min(max(found.value, 0.0), 1.0), found.count
    ends = [] if scale == "area" else [share_ends(value, _answers(found, scale, confidence), confidence)]
    if scale == "area":
        ends.append(area_ends(value, count, found.others or count, confidence))
    if scale != "share" and 0 < value < 1:
        slope = value * (1 - value)
        reach = students_reach(found.error / slope, confidence, count)
        middle = special.logit(value)
        ends.append((float(special.expit(middle - reach)), float(special.expit(middle + reach))))
    if scale != "share" and found.error > 0:
        low, high = percentile_ends(found, confidence)
        # Resamples of a ranking lie above it, since examples drawn twice stand together: mirrored they lie below.
        ends += [(low, high), (2 * value - high, 2 * value - low)]
    return max(0.0, min(low for low, _high in ends)), min(1.0, max(high for _low, high in ends))


def _answers(found: Resampled, scale: Scale, confidence: float) -> float:
    """Return as many independent answers as would make a share as sure as the resamples are."""
    from scipy import stats

    if scale == "share":
        return found.count
    spread, tail = found.value * (1 - found.value), (1 - confidence) / 2
    shown = spread / found.error**2 if spread > 0 and found.error > 0 else found.count
    if scale == "ranking":
        shown *= SHOWN_BY_A_RANKING
    fewer = (float(stats.norm.isf(tail)) / _students(tail, found.count)) ** 2
    return max(1.0, fewer * min(found.count, shown))


def _error_ends(found: Resampled, confidence: float) -> tuple[float, float]:
    from scipy import stats

    value, error = found.value, found.error
    reach = students_reach(error, confidence, found.units)
    ends = [(value - reach, value + reach), percentile_ends(found, confidence)]
    if value > 0:
        times = math.exp(min(reach / value, 700.0))
        ends.append((value / times, value * times))
    if error > 0:
        # Edgeworth's expansion of Student's statistic moves both ends by it (Johnson 1978; Hall 1992, 3.10.6).
        wanted = float(stats.norm.ppf((1 + confidence) / 2))
        moved = error * found.skewness * (1 + 2 * wanted**2) / 6
        ends.append((value - reach + min(moved, reach), value + reach + SKEWNESS_UNSEEN * moved))
    return max(0.0, min(low for low, _high in ends)), max(high for _low, high in ends)


def _distance_ends(found: Resampled, confidence: float) -> tuple[float, float]:
    low, high = percentile_ends(found, confidence)
    # Where the truth is 0 the examples are as far away as their noise, and resamples sqrt(2) times that. That is known
    # as badly as the noise itself: twice as far down for it.
    bias = (1 + math.sqrt(2)) * max(0.0, float(found.drawn.mean()) - found.value)
    reach = students_reach(found.error, confidence, found.units)
    low = min(low, 2 * found.value - high, found.value - bias - 2 * reach)
    return max(0.0, low), min(1.0, max(high, found.value + reach))
