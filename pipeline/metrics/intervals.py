"""How sure a metric is: bootstrap percentile intervals over test examples.

Resamples are weights, how often each example was drawn, so one call of a metric with a matrix of weights computes
many of them at once. The same seed draws the same resamples, which makes two models comparable example by example
(paired). Independent examples are drawn one by one. Windows that overlap, or follow each other in time, are not
independent, nor are pictures of one person: there blocks of consecutive windows, or whole groups, are drawn, or
intervals would be far too narrow.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.metrics.classification import METRICS, FloatArray, Metric

CHUNK = 100
"""Resamples per call of a metric: the weights of 10,000 examples then take 8 MB, near a cache's size."""
LARGEST_CHUNK_CELLS = 8_000_000
"""Weights held at once, 64 MB: beyond 80,000 examples a chunk has fewer resamples, so that memory does not grow."""
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
COUNTS_OF_RIGHT_ANSWERS = {
    metric.name
    for metric in METRICS
    if metric.one_without_error and "classification" in metric.tasks and not metric.settings
}
"""Metrics of classification that are 1 exactly when no answer is wrong."""


@dataclass(frozen=True)
class Interval:
    """A metric and the range its value would be found in, were the test set drawn again.

    Attributes:
        value: On the examples as they are.
        low: Lower percentile of the resamples.
        high: Upper percentile.
    """

    value: float
    low: float
    high: float

    def rounded(self, digits: int = DIGITS) -> dict[str, float]:
        """Return the three numbers under their names, rounded for a file."""
        return {name: rounded(number, digits) for name, number in asdict(self).items()}


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
    """Return every metric with its percentile interval.

    Args:
        metrics: Name to metric; each gives one number.
        y_true: What is true of each example, as the metrics take it; class indices, say.
        y_pred: What was answered: probabilities, values or scores.
        resamples: How many bootstrap resamples.
        confidence: Share of resamples inside the interval, (0.5, 1).
        seed: Of the resamples.
        blocks: What is drawn together; None: each example alone.
        trials: Name of a metric that is 1 exactly when nothing went wrong to how often it could have; None:
            `COUNTS_OF_RIGHT_ANSWERS`, once per example or group.

    Raises:
        ValueError: A metric does not exist for these examples (ROC AUC of one class), or for too many
            of the resamples.
    """
    drawn = bootstrap_values(
        list(metrics.values()), y_true, y_pred, resamples=resamples, seed=seed, blocks=blocks
    )
    undefined = blocks.largest_undefined_share if blocks else LARGEST_UNDEFINED_SHARE
    intervals = {
        name: interval_of(float(metric(y_true, y_pred, None)), values, confidence, name, undefined)
        for (name, metric), values in zip(metrics.items(), drawn, strict=True)
    }
    if trials is None:
        trials = dict.fromkeys(COUNTS_OF_RIGHT_ANSWERS, int(num_units(len(np.asarray(y_true)), blocks)))
    for name in intervals.keys() & trials.keys():
        if intervals[name] == Interval(1.0, 1.0, 1.0):
            intervals[name] = Interval(1.0, lowest_share_without_error(trials[name], confidence), 1.0)
    return intervals


def lowest_share_without_error(num_examples: int, confidence: float) -> float:
    """Return how low the true share of right answers may be when all of `num_examples` were right.

    A resample of flawless answers is flawless, so the bootstrap would claim certainty. This is the exact
    binomial bound: Clopper and Pearson (1934), "The use of confidence or fiducial limits".
    """
    return float(((1 - confidence) / 2) ** (1 / num_examples))


def class_intervals(
    metric: Metric,
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    resamples: int,
    confidence: float,
    seed: int,
    blocks: DrawnTogether | None = None,
) -> list[Interval | None]:
    """Return an interval per class; None for a class the metric does not exist for (no such example).

    Resamples that happen to miss a small class are left out of its interval. Arguments as `metric_intervals`.
    """
    points = metric(y_true, y_pred, None)
    (drawn,) = bootstrap_values([metric], y_true, y_pred, resamples=resamples, seed=seed, blocks=blocks)
    return [
        None if np.isnan(point) else Interval(float(point), *_percentiles(values, confidence))
        for point, values in zip(points, drawn, strict=True)
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
    return interval_of(value, first - other, confidence, "the difference", undefined)


def interval_of(
    value: float,
    resampled: FloatArray,
    confidence: float,
    name: str,
    largest_undefined_share: float = LARGEST_UNDEFINED_SHARE,
) -> Interval:
    """Return the percentile interval of one metric's resamples; those where it does not exist are left out.

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
    return Interval(value, *_percentiles(resampled, confidence))


def _percentiles(resampled: FloatArray, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled[~np.isnan(resampled)], [tail, 1 - tail])
    return float(low), float(high)
