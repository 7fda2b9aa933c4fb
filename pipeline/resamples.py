"""Bootstrap resamples as weights: how often each example was drawn.

Independent examples are drawn one by one. Windows that overlap, or follow each other in time, are not
independent, nor are pictures of one person: there blocks of consecutive windows, or whole groups, are drawn, or
intervals would be far too narrow.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.probabilities import FloatArray

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
