"""What is measured of the samples of each kind of data, and how they are shown: images, texts, series."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from pipeline.duplicates.clusters import Duplicates
from pipeline.runtime.errors import DataRefused
from pipeline.validation.far_out import Ends

# --- How one sample is shown on a page: an image as a picture, a text as its beginning, a series as lines.


@dataclass(frozen=True)
class Preview:
    """One sample on a page; one of its fields is filled.

    Attributes:
        source: Of an `<img>`.
        text: Shown as text, never as markup.
        lines: Points of SVG polylines by number of channel, in an area of 100 x 40.
    """

    source: str = ""
    text: str = ""
    lines: tuple[tuple[int, str], ...] = ()


Show = Callable[[int], Preview]
"""Takes the row of a sample, returns how it is shown."""


# --- What can be wrong with a payload as a whole, before any single sample is looked at.


def _range_problems(size: int, rows: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> list[str]:
    """Return whether the samples are the payload: every element in exactly one of them, in order of row."""
    if not np.array_equal(np.sort(rows), np.arange(len(rows))):
        problem = (
            "The sample table does not number its samples. Expected rows 0, 1, 2 and so on. "
            f"Received: samples={len(rows)}, different rows={len(np.unique(rows))}."
        )
        return [problem]
    order = np.argsort(rows, kind="stable")
    stops = np.concatenate([[0], (starts + lengths)[order]])
    if np.array_equal(stops[:-1], starts[order]) and (lengths >= 0).all() and stops[-1] == size:
        return []
    problem = (
        "Payload and sample table disagree. Expected samples one after the other, up to the end of the payload. "
        f"Received: payload of {size}, samples that end at {int(stops.max())} and hold {int(lengths.sum())} together."
    )
    return [problem]


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
        ends: Of each channel, the values at both ends.
    """

    channels: int
    steps: int = 0
    known: np.ndarray = field(init=False)
    infinite: np.ndarray = field(init=False)
    total: np.ndarray = field(init=False)
    minimum: np.ndarray = field(init=False)
    maximum: np.ndarray = field(init=False)
    ends: list[Ends] = field(init=False)

    def __post_init__(self) -> None:
        self.known, self.infinite = np.zeros((2, self.channels), np.int64)
        self.total = np.zeros(self.channels)
        self.minimum = np.full(self.channels, np.inf)
        self.maximum = np.full(self.channels, -np.inf)
        self.ends = [Ends() for _ in range(self.channels)]

    def add(self, other: "ChannelSums") -> None:
        """Take in what another one has seen."""
        self.steps += other.steps
        self.known += other.known
        self.infinite += other.infinite
        self.total += other.total
        self.minimum = np.minimum(self.minimum, other.minimum)
        self.maximum = np.maximum(self.maximum, other.maximum)
        for ends, more in zip(self.ends, other.ends, strict=True):
            ends.join(more)

    def means(self) -> np.ndarray:
        """Return the mean of the finite values of each channel, NaN for none."""
        return np.where(self.known > 0, self.total / np.maximum(self.known, 1), np.nan)

    def constant(self) -> np.ndarray:
        """Return which channels hold no two different finite values, bool."""
        constant: np.ndarray = ~(self.minimum < self.maximum)
        return constant


# --- What is measured of the samples of each kind of data, and how they are shown.


@dataclass(frozen=True)
class DataProfile:
    """What was found out about all samples.

    Attributes:
        statistics: Arrays of shape (num_samples,) by name, in the order of the payload.
        duplicates: In the order of the samples.
        show: How the sample of a row is shown.
        description: What the data is, in a few words.
        pixelated: Whether images are so small that their pixels should be seen.
        sums: Of series: what is known of each channel.
    """

    statistics: Mapping[str, np.ndarray]
    duplicates: Duplicates
    show: Show
    description: str
    pixelated: bool = False
    sums: ChannelSums | None = None


def _ranges(samples: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return samples["row"].to_numpy(), samples["start"].to_numpy(), samples["length"].to_numpy()


def _span(numbers: np.ndarray) -> str:
    low, high = int(numbers.min()), int(numbers.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise DataRefused("\n".join([*problems, "Run `dvc repro ingest`."]))
