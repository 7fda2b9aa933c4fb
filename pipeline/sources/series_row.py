"""What every reader of a series archive's format yields: one series with its place and its answer."""

from dataclasses import dataclass

import numpy as np

FIX = "Compare the file with the archive's copy, and download it again."
"""What to do about a file that contradicts its own format."""


@dataclass(frozen=True)
class SeriesRow:
    """One series of a file.

    Attributes:
        line: Where it stands, counted from 1.
        series: float32, shape (steps, channels); NaN where a value is missing.
        label: Its class; "" where the file has none.
        target: What regression predicts; None where the file has classes.
    """

    line: int
    series: np.ndarray
    label: str = ""
    target: float | None = None


def without_padding(series: np.ndarray) -> np.ndarray:
    """Return a series without the missing steps at its end.

    Formats with equal columns (.tsv, .txt, .arff) fill up shorter series with NaN or `?`.

    Args:
        series: Shape (steps, channels).

    Returns:
        A view; shape (0, channels) if no step has a value.
    """
    there = np.flatnonzero(~np.isnan(series).all(axis=1))
    return series[: there[-1] + 1] if there.size else series[:0]
