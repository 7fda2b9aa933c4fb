"""Statistics of single series, computed in pieces: a series may be larger than the memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

CHUNK_STEPS = 1 << 18
SIGNIFICANT_DIGITS = 9
"""Digits kept: the last bits of a mean differ between processors, these do not."""


@dataclass
class ChannelSums:
    """What is known of each channel after some of its steps; arrays of shape (channels,).

    Attributes:
        steps: How many were seen.
        known: Finite values.
        infinite: Values that are neither finite nor missing.
        total: Sum of the finite values, float64.
        minimum: Smallest finite value, infinity for none.
        maximum: Largest finite value, minus infinity for none.
    """

    channels: int
    steps: int = 0
    known: np.ndarray = field(init=False)
    infinite: np.ndarray = field(init=False)
    total: np.ndarray = field(init=False)
    minimum: np.ndarray = field(init=False)
    maximum: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.known, self.infinite = np.zeros((2, self.channels), np.int64)
        self.total = np.zeros(self.channels)
        self.minimum = np.full(self.channels, np.inf)
        self.maximum = np.full(self.channels, -np.inf)

    def add(self, other: "ChannelSums") -> None:
        """Take in what another one has seen."""
        self.steps += other.steps
        self.known += other.known
        self.infinite += other.infinite
        self.total += other.total
        self.minimum = np.minimum(self.minimum, other.minimum)
        self.maximum = np.maximum(self.maximum, other.maximum)

    def means(self) -> np.ndarray:
        """Return the mean of the finite values of each channel, NaN for none."""
        return np.where(self.known > 0, self.total / np.maximum(self.known, 1), np.nan)

    def constant(self) -> np.ndarray:
        """Return which channels hold no two different finite values, bool."""
        constant: np.ndarray = ~(self.minimum < self.maximum)
        return constant


def channel_sums(values: np.ndarray) -> ChannelSums:
    """Return what there is to know of the channels of one series.

    Args:
        values: float32, shape (steps, channels), NaN where a value is missing; may be memory-mapped.
    """
    sums = ChannelSums(values.shape[1])
    for start in range(0, len(values), CHUNK_STEPS):
        part = np.asarray(values[start : start + CHUNK_STEPS], np.float64)
        finite = np.isfinite(part)
        chunk = ChannelSums(values.shape[1], len(part))
        chunk.known = finite.sum(axis=0)
        chunk.infinite = np.isinf(part).sum(axis=0)
        chunk.total = np.where(finite, part, 0.0).sum(axis=0)
        chunk.minimum = np.where(finite, part, np.inf).min(axis=0)
        chunk.maximum = np.where(finite, part, -np.inf).max(axis=0)
        sums.add(chunk)
    return sums


def series_statistics(series: Sequence[np.ndarray]) -> tuple[dict[str, np.ndarray], ChannelSums]:
    """Return one number per series and statistic, and the sums over all series per channel.

    Args:
        series: float32, shape (steps, channels) each, NaN where a value is missing; may be memory-mapped.

    Returns:
        Arrays of shape (num_series,) by name. `steps`; `missing_share`: of all values; `constant_share`: of the
        channels, those without two different values; `non_finite`: how many values are infinite; `minimum`,
        `mean`, `maximum`: of all finite values, NaN for none.
    """
    every = [channel_sums(one) for one in series]
    overall = ChannelSums(series[0].shape[1] if len(series) else 0)
    for sums in every:
        overall.add(sums)
    rows = [_statistics(sums) for sums in every]
    names = ("steps", "missing_share", "constant_share", "non_finite", "minimum", "mean", "maximum")
    table = np.array(rows, np.float64).reshape(-1, len(names))
    return {name: significant(values) for name, values in zip(names, table.T, strict=True)}, overall


def significant(values: np.ndarray) -> np.ndarray:
    """Return values rounded to 9 significant digits, float64, the same shape."""
    rounded = [float(f"{value:.{SIGNIFICANT_DIGITS}g}") + 0.0 for value in np.ravel(values)]
    return np.array(rounded, np.float64).reshape(np.shape(values))


def _statistics(sums: ChannelSums) -> tuple[float, ...]:
    values, known = sums.steps * sums.channels, int(sums.known.sum())
    infinite = int(sums.infinite.sum())
    missing = (values - known - infinite) / values if values else 0.0
    extremes = (sums.minimum.min(), sums.total.sum() / known, sums.maximum.max()) if known else (np.nan,) * 3
    return (sums.steps, missing, float(sums.constant().mean()), infinite, *map(float, extremes))
