"""Bootstrap resamples as weights: how often each example was drawn.

Independent examples are drawn one by one. Windows that overlap, or follow each other in time, are not
independent: there blocks of consecutive windows are drawn, or intervals would be far too narrow.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.probabilities import FloatArray

CHUNK = 100
"""Resamples per call of a metric: the weights of 10,000 examples then take 8 MB, near a cache's size."""
LARGEST_CHUNK_CELLS = 8_000_000
"""Weights held at once, 64 MB: beyond 80,000 examples a chunk has fewer resamples, so that memory does not grow."""
LARGEST_UNDEFINED_SHARE = 0.05
"""An interval over fewer than 95 % of the resamples would be about another population."""


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


def blocks_of(segments: tuple[int, ...], overlapping: int) -> Blocks:
    """Return blocks for windows: as long as windows overlap, and at least the cube root of their number.

    The cube root is how long blocks must grow for the variance of a mean to be right (Hall, Horowitz and
    Jing 1995, "On blocking rules for the bootstrap with dependent data").

    Args:
        segments: Windows of each series.
        overlapping: How many consecutive windows share a step.
    """
    return Blocks(max(overlapping, round(sum(segments) ** (1 / 3)), 1), segments)


def bootstrap_weights(
    num_examples: int, resamples: int, seed: int, blocks: Blocks | None = None
) -> Iterator[FloatArray]:
    """Yield how often each example is drawn, in chunks of shape (num_examples, up to CHUNK) and LARGEST_CHUNK_CELLS.

    Without blocks each column is multinomial: `num_examples` draws with equal chances. With blocks it is the
    circular block bootstrap (Politis and Romano 1992): a block begins at any example with equal chances and
    goes on at the beginning of its series where that ends; as many blocks as make up `num_examples`.

    Raises:
        ValueError: The segments of the blocks do not add up to `num_examples`.
    """
    blocks = blocks or Blocks(1, (num_examples,))
    if sum(blocks.segments) != num_examples:
        raise ValueError(
            f"Segments must hold every example once. Expected sum: {num_examples}. "
            f"Received: {sum(blocks.segments)}."
        )
    generator = np.random.default_rng(seed)
    draws = -(-num_examples // blocks.length)
    chunk = max(1, min(CHUNK, LARGEST_CHUNK_CELLS // num_examples))
    for start in range(0, resamples, chunk):
        columns = min(chunk, resamples - start)
        drawn = generator.integers(0, num_examples, size=(draws, columns))
        cells = (drawn * columns + np.arange(columns)).ravel()
        counts = np.bincount(cells, minlength=num_examples * columns).reshape(num_examples, columns)
        yield (counts if blocks.length == 1 else _spread(counts, blocks)).astype(float)


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
