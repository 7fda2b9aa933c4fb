"""How sure a metric is: intervals over test examples, from a bootstrap and from what is known of the metric.

Resamples are weights, how often each example was drawn, so one call of a metric with a matrix of weights computes
many of them at once. The same seed draws the same resamples, which makes two models comparable example by example
(paired). Independent examples are drawn one by one. Windows that overlap, or follow each other in time, are not
independent, nor are pictures of one person: there blocks of consecutive windows, or whole groups, are drawn, or
intervals would be far too narrow.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.metrics.calibration import FEWEST_UNITS
from pipeline.metrics.classification import METRICS, FloatArray, IntArray, Metric, Scale
from pipeline.metrics.ends import Resampled, doubt, interval_ends, loss_of_the_rarest

CHUNK = 100
"""Resamples per call of a metric: the weights of 10,000 examples then take 8 MB, near a cache's size."""
LARGEST_CHUNK_CELLS = 8_000_000
"""Weights held at once, 64 MB: beyond 80,000 examples a chunk has fewer resamples, so that memory does not grow."""
MOST_LEFT_OUT = 2000
"""Examples that are left out one by one; the skewness of more can be read off the resamples."""
LARGEST_UNDEFINED_SHARE = 0.05
"""An interval over fewer than 95 % of the resamples would be about another population."""
LARGEST_UNDEFINED_SHARE_OF_GROUPS = 0.5
"""Where groups are drawn to tell how sure a metric is, nothing being decided by it."""
SMALLEST_NUMBER_OF_GROUPS = 30
"""As many as rows at least (docs/decisions/0015)."""


@dataclass(frozen=True)
class Blocks:
    """Examples that are drawn together.

    Attributes:
        length: Consecutive examples of a block.
        segments: Consecutive examples of one series, first to last; no block reaches over the end of one.
        largest_undefined_share: Of the resamples on which a metric may not exist: where little is labelled,
            blocks often miss all of it.
    """

    length: int
    segments: tuple[int, ...]
    largest_undefined_share: float = LARGEST_UNDEFINED_SHARE


@dataclass(frozen=True)
class Groups:
    """Examples that are drawn together wherever they stand: all of one person, patient or machine.

    Attributes:
        members: Number of the group that each example belongs to, counted from 0, shape (num_examples,).
        largest_undefined_share: Of the resamples on which a metric may not exist.
    """

    members: tuple[int, ...]
    largest_undefined_share: float = LARGEST_UNDEFINED_SHARE

    def __len__(self) -> int:
        """Return how many groups there are."""
        return max(self.members) + 1

    def sums(self, values: npt.NDArray[Any]) -> FloatArray:
        """Return the sum over each group of a value per example, shape (num_groups,)."""
        return np.bincount(np.array(self.members), weights=values).astype(float)

    def effective_number(self, inside: npt.NDArray[np.bool_] | None = None) -> float:
        """Return how many groups of equal size would say as much about a mean; 0 where no example is.

        It is (sum of sizes)^2 / sum of squared sizes (Kish 1965, "Survey Sampling"): one group of 361 beside 39
        of one example are 40 by number and 1.2 by what they say.

        Args:
            inside: Which examples count, shape (num_examples,); None for all.
        """
        sizes = self.sums(np.ones(len(self.members)) if inside is None else inside)
        return float(sizes.sum() ** 2 / max((sizes**2).sum(), 1))


DrawnTogether = Blocks | Groups


def teaches_no_threshold(drawn: DrawnTogether | None) -> bool:
    """Return whether rows come in so few groups that no threshold can be learnt from them: fewer than ten.

    One group alone, a column that says the same of all, says nothing of how groups differ: its rows count, as where
    there are no groups.
    """
    return isinstance(drawn, Groups) and 1 < len(drawn) < FEWEST_UNITS


def blocks_of(segments: tuple[int, ...], overlapping: int) -> Blocks:
    """Return blocks for windows: as long as windows overlap, and at least the cube root of their number.

    The cube root is how long blocks must grow for the variance of a mean to be right (Hall, Horowitz and
    Jing 1995, "On blocking rules for the bootstrap with dependent data").

    Args:
        segments: Windows of each series.
        overlapping: How many consecutive windows share a step.
    """
    return Blocks(max(overlapping, round(sum(segments) ** (1 / 3)), 1), segments)


def groups_of(names: Sequence[str]) -> Groups | None:
    """Return what is drawn together by the group of each example, "" for one that is alone; None without names."""
    if not any(names):
        return None
    numbers: dict[str | int, int] = {}
    return Groups(tuple(numbers.setdefault(name or place, len(numbers)) for place, name in enumerate(names)))


def few_groups(blocks: DrawnTogether | None) -> str:
    """Return in words that groups are too few, or too unequal, for an interval to be believed; "" if they are not."""
    if not isinstance(blocks, Groups) or blocks.effective_number() >= SMALLEST_NUMBER_OF_GROUPS:
        return ""
    return (
        f"The {len(blocks.members)} examples are of too few groups to judge by, for those of one group are alike. "
        f"Expected: at least {SMALLEST_NUMBER_OF_GROUPS} groups of equal size, or what says as much. Received: "
        f"groups={len(blocks)}, which say as much as {blocks.effective_number():.1f} of equal size. Add examples "
        "of other groups, or raise split.test_share."
    )


def num_units(num_examples: int, blocks: DrawnTogether | None) -> float:
    """Return how many things are drawn independently of each other in a bootstrap; see `effective_number`."""
    if isinstance(blocks, Groups):
        return blocks.effective_number()
    return num_examples // blocks.length if blocks else num_examples


def bootstrap_weights(
    num_examples: int, resamples: int, seed: int, blocks: DrawnTogether | None = None
) -> Iterator[FloatArray]:
    """Yield how often each example is drawn, in chunks of shape (num_examples, up to CHUNK) and LARGEST_CHUNK_CELLS.

    Without blocks each column is multinomial: `num_examples` draws with equal chances. With blocks it is the
    circular block bootstrap (Politis and Romano 1992): a block begins at any example with equal chances and
    goes on at the beginning of its series where that ends; as many blocks as make up `num_examples`. With groups
    it is the cluster bootstrap (Davison and Hinkley 1997, 3.8; Cameron, Gelbach and Miller 2008): as many groups
    as there are, each with all its examples.

    Raises:
        ValueError: Blocks or groups do not hold every example once.
    """
    blocks = blocks or Blocks(1, (num_examples,))
    held = len(blocks.members) if isinstance(blocks, Groups) else sum(blocks.segments)
    if held != num_examples:
        raise ValueError(
            f"Segments or groups must hold every example once. Expected sum: {num_examples}. Received: {held}."
        )
    units = len(blocks) if isinstance(blocks, Groups) else num_examples
    draws = units if isinstance(blocks, Groups) else -(-num_examples // blocks.length)
    generator = np.random.default_rng(seed)
    chunk = max(1, min(CHUNK, LARGEST_CHUNK_CELLS // num_examples))
    for start in range(0, resamples, chunk):
        columns = min(chunk, resamples - start)
        drawn = generator.integers(0, units, size=(draws, columns))
        cells = (drawn * columns + np.arange(columns)).ravel()
        counts = np.bincount(cells, minlength=units * columns).reshape(units, columns)
        yield _laid_out(counts, blocks).astype(float)


def _laid_out(counts: npt.NDArray[np.int64], blocks: DrawnTogether) -> npt.NDArray[np.int64]:
    """Return how often each example is drawn, from how often what is drawn together is."""
    if isinstance(blocks, Groups):
        laid_out: npt.NDArray[np.int64] = counts[np.array(blocks.members)]
        return laid_out
    return counts if blocks.length == 1 else _spread(counts, blocks)


def _spread(begins: npt.NDArray[np.int64], blocks: Blocks) -> npt.NDArray[np.int64]:
    """Return how often each example is in a block, from how often blocks begin at it."""
    covered = np.empty_like(begins)
    first = 0
    for size in blocks.segments:
        own = begins[first : first + size]
        rounds, rest = divmod(blocks.length, size)
        # sums[i] counts the blocks that begin before example i, the series laid twice in a row.
        sums = np.concatenate([np.zeros_like(own[:1]), np.cumsum(np.concatenate([own, own]), axis=0)])
        ends = np.arange(size + 1, 2 * size + 1)
        covered[first : first + size] = rounds * own.sum(axis=0) + sums[ends] - sums[ends - rest]
        first += size
    return covered


DIGITS = 6
"""Of what is written down: a test set tells no more, and the last bits of a sum may differ by machine."""
SMALL = 0.001


@dataclass(frozen=True)
class Interval:
    """A metric and the range its value would be found in, were the test set drawn again.

    Attributes:
        value: On the examples as they are.
        low: Lower end.
        high: Upper end.
        doubt: Why they may be too near all the same, in words; "" if they hold their level.
    """

    value: float
    low: float
    high: float
    doubt: str = ""

    def rounded(self, digits: int = DIGITS) -> dict[str, float]:
        """Return the three numbers under their names, rounded for a file."""
        return {name: rounded(getattr(self, name), digits) for name in ("value", "low", "high")}


def rounded(value: float, digits: int = DIGITS) -> float:
    """Return a number with so many decimals, or so many significant digits where it is below `SMALL`.

    Errors have the unit of the data, which may be small.
    """
    return round(value, digits) if value == 0 or abs(value) >= SMALL else float(f"{value:.{digits}g}")


def bootstrap_values(
    metrics: Sequence[Metric],
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    resamples: int,
    seed: int,
    blocks: DrawnTogether | None = None,
) -> list[FloatArray]:
    """Return each metric on every resample.

    Args:
        metrics: Functions of `pipeline.metrics.classification`, per class or overall.
        y_true: What is true of each example, as the metrics take it; class indices, say.
        y_pred: What was answered: probabilities, values or scores.
        resamples: How many.
        seed: Equal seeds draw equal resamples.
        blocks: What is drawn together; None: each example alone.

    Returns:
        Per metric an array whose last axis is the resample.
    """
    chunks = [
        [metric(y_true, y_pred, weights) for metric in metrics]
        for weights in bootstrap_weights(len(np.asarray(y_true)), resamples, seed, blocks)
    ]
    return [np.concatenate(values, axis=-1) for values in zip(*chunks, strict=True)]


def metric_intervals(
    metrics: Mapping[str, Metric],
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    resamples: int,
    confidence: float,
    seed: int,
    blocks: DrawnTogether | None = None,
    trials: Mapping[str, int] | None = None,
) -> dict[str, Interval]:
    """Return every metric with its interval, whose ends `pipeline.metrics.ends` finds.

    Args:
        metrics: Name to metric; each gives one number.
        y_true: What is true of each example, as the metrics take it; class indices, say.
        y_pred: What was answered: probabilities, values or scores.
        resamples: How many bootstrap resamples.
        confidence: Share of resamples inside the interval, (0.5, 1).
        seed: Of the resamples.
        blocks: What is drawn together; None: each example alone.
        trials: Name of a metric to how often what it counts could have gone wrong; None: what the rarest class
            allows, or once per example or group.

    Raises:
        ValueError: A metric does not exist for these examples (ROC AUC of one class), or for too many
            of the resamples.
    """
    truth = np.asarray(y_true)
    drawn = bootstrap_values(
        list(metrics.values()), y_true, y_pred, resamples=resamples, seed=seed, blocks=blocks
    )
    undefined = blocks.largest_undefined_share if blocks else LARGEST_UNDEFINED_SHARE
    units = num_units(len(truth), blocks)
    intervals = {}
    for (name, metric), values in zip(metrics.items(), drawn, strict=True):
        value = float(metric(y_true, y_pred, None))
        require_defined(value, values, name, undefined)
        scale = _scale(name, blocks)
        answers, others = _answers(scale, metric, truth, np.asarray(y_pred))
        most = answers * units / len(truth)
        if name in (trials or {}):
            told = float((trials or {})[name])
            most = (
                min(most, told) if np.ndim(y_pred) > 1 else told
            )  # windows of one anomaly are no answers each
        kept = values[~np.isnan(values)]
        found = Resampled(value, kept, units, most, others * units / len(truth))
        if scale in ("error", "root", "unexplained"):
            found = replace(
                found, skewness=_skewness(metric, (y_true, y_pred), kept, blocks, squared=scale == "root")
            )
        intervals[name] = Interval(value, *interval_ends(found, scale, confidence), doubt(found, scale))
    return intervals


def _skewness(
    metric: Metric,
    judged: tuple[npt.ArrayLike, npt.ArrayLike],
    drawn: FloatArray,
    blocks: DrawnTogether | None,
    *,
    squared: bool,
) -> float:
    """Return the skewness of a metric from what each example, or what is drawn together, adds to it.

    Leaving them out one by one is exact for a mean, as the acceleration of Efron's (1987) BCa interval; of very many
    the resamples are as good.
    """
    num_examples = len(np.asarray(judged[0]))
    members = np.array(blocks.members) if isinstance(blocks, Groups) else np.arange(num_examples)
    if isinstance(blocks, Blocks):
        members = members // blocks.length
    units = int(members.max()) + 1
    if units > MOST_LEFT_OUT:
        values = drawn**2 if squared else drawn
    else:
        chunks = [
            metric(
                *judged,
                (members[:, None] != np.arange(first, min(first + CHUNK, units))).astype(float),
            )
            for first in range(0, units, CHUNK)
        ]
        values = np.concatenate(chunks)
        values = -(values**2 if squared else values)
    parts = values[~np.isnan(values)] - np.nanmean(values)
    spread = float(np.sum(parts**2))
    if spread <= 0:
        return 0.0
    skewness = float(np.sum(parts**3)) / math.pow(spread, 1.5)
    return skewness * math.sqrt(len(parts)) if units > MOST_LEFT_OUT else skewness


def _scale(name: str, blocks: DrawnTogether | None) -> Scale:
    scale: Scale = next((metric.scale for metric in METRICS if metric.name == name), "error")
    # Right answers of one person are no independent ones: there is no exact bound.
    return "score" if scale == "share" and isinstance(blocks, Groups) else scale


def _answers(
    scale: Scale, metric: Metric, y_true: npt.NDArray[Any], y_pred: npt.NDArray[Any]
) -> tuple[float, float]:
    """Return as how many right or wrong answers a score counts at most, and of a ranking the others beside them."""
    if y_pred.ndim == 2 and scale in ("score", "ranking"):
        return 1 / loss_of_the_rarest(y_true, y_pred.shape[1], metric).cost, 0.0
    if y_pred.ndim == 2 and scale == "area":
        return _of_each_class(np.bincount(y_true, minlength=y_pred.shape[1]))
    positives = float(np.sum(y_true)) if y_true.dtype == np.bool_ else 0.0
    if positives:
        return positives, len(y_true) - positives
    return float(len(y_true)), 0.0


def _of_each_class(counts: IntArray) -> tuple[float, float]:
    """Return positive and other examples of a mean of areas, one for each class against the rest."""
    inside = counts[1:] if len(counts) == 2 else counts
    inside = inside[(inside > 0) & (inside < counts.sum())]
    classes = len(inside) ** 2
    return float(classes / np.sum(1 / inside)), float(classes / np.sum(1 / (counts.sum() - inside)))


def class_intervals(
    metric: Metric,
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    counts: npt.ArrayLike,
    *,
    exact: bool,
    resamples: int,
    confidence: float,
    seed: int,
    blocks: DrawnTogether | None = None,
) -> list[Interval | None]:
    """Return an interval per class; None for a class the metric does not exist for (no such example).

    Resamples that happen to miss a small class are left out of its interval. Other arguments as
    `metric_intervals`.

    Args:
        metric: Gives a share per class, shape (num_classes,) or (num_classes, num_resamples).
        y_true: What is true of each example.
        y_pred: What was answered.
        counts: On how many examples the share of each class rests, shape (num_classes,).
        exact: Whether it is one of so many answers, so that its ends are exact.
        resamples: How many bootstrap resamples.
        confidence: Of the two-sided interval, (0.5, 1).
        seed: Of the resamples.
        blocks: What is drawn together; None: each example alone.
    """
    points = metric(y_true, y_pred, None)
    (drawn,) = bootstrap_values([metric], y_true, y_pred, resamples=resamples, seed=seed, blocks=blocks)
    share = num_units(len(np.asarray(y_true)), blocks) / len(np.asarray(y_true))
    found = [
        Resampled(float(point), values[~np.isnan(values)], max(1.0, count * share))
        for point, values, count in zip(points, drawn, np.asarray(counts), strict=True)
    ]
    scale: Scale = "score" if blocks or not exact else "share"
    return [
        None if np.isnan(one.value) else Interval(one.value, *interval_ends(one, scale, confidence))
        for one in found
    ]


def difference_interval(
    metric: Metric,
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    y_pred_other: npt.ArrayLike,
    *,
    resamples: int,
    confidence: float,
    seed: int,
    blocks: DrawnTogether | None = None,
    metric_other: Metric | None = None,
) -> Interval:
    """Return by how much `y_pred` scores above `y_pred_other` on the same examples, with its interval.

    Paired: both are judged on the same resamples, so that examples hard for both do not blur the difference.
    Arguments as `metric_intervals`.

    Args:
        metric: Judges `y_pred`.
        y_true: What is true of each example.
        y_pred: Answers of one model.
        y_pred_other: Answers of the other.
        resamples: How many bootstrap resamples.
        confidence: Share of resamples inside the interval, (0.5, 1).
        seed: Of the resamples.
        blocks: What is drawn together; None: each example alone.
        metric_other: Judges `y_pred_other`; None: `metric` (they differ where each model has its threshold).

    Raises:
        ValueError: The metric does not exist for these examples.
    """
    score_other = metric_other or metric
    (first,) = bootstrap_values([metric], y_true, y_pred, resamples=resamples, seed=seed, blocks=blocks)
    (other,) = bootstrap_values(
        [score_other], y_true, y_pred_other, resamples=resamples, seed=seed, blocks=blocks
    )
    value = float(metric(y_true, y_pred, None)) - float(score_other(y_true, y_pred_other, None))
    undefined = blocks.largest_undefined_share if blocks else LARGEST_UNDEFINED_SHARE
    require_defined(value, first - other, "the difference", undefined)
    return Interval(value, *_percentiles(first - other, confidence))


def require_defined(
    value: float,
    resampled: FloatArray,
    name: str,
    largest_undefined_share: float = LARGEST_UNDEFINED_SHARE,
) -> None:
    """Check that a metric exists on the examples and on enough of their resamples.

    Raises:
        ValueError: `value` is not finite, or too many of the resamples are not.
    """
    undefined = float(np.isnan(resampled).mean())
    if not np.isfinite(value) or undefined > largest_undefined_share:
        raise ValueError(
            f"{name} cannot be judged on these examples. Expected a finite value, on at least "
            f"{1 - largest_undefined_share:.0%} of the resamples too. Received: value={value}, undefined on "
            f"{undefined:.0%} of resamples. "
            "Classes may be missing: use more examples."
        )


def _percentiles(resampled: FloatArray, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled[~np.isnan(resampled)], [tail, 1 - tail])
    return float(low), float(high)
