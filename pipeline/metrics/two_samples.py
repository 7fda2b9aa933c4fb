"""Whether two samples are drawn from one distribution: how far apart they lie, and how often chance does that."""

from collections.abc import Mapping
from typing import Any

import numpy as np

MIN_EXPECTED = 5.0
"""Classes of which fewer are expected in the smaller sample are counted together: chi-square fails on them."""
Draws = tuple[int, int] | None
"""Independent draws behind the two samples, where rows are none (members of a group); None counts rows."""


def ks_test(first: np.ndarray, second: np.ndarray, *, draws: Draws = None) -> tuple[float, float]:
    """Return the Kolmogorov-Smirnov distance of two samples and its p-value.

    Args:
        first: Numbers, shape (num_first,), at least one; infinite ones are allowed.
        second: The same of the other sample, shape (num_second,).
        draws: See `Draws`.

    Returns:
        The largest difference between the two distribution functions, and the asymptotic two-sided p-value.
        With ties the p-value is too large, never too small.
    """
    # Nights without new data and most stages do without this import.
    from scipy import stats

    distance = float(stats.ks_2samp(first, second, method="asymp").statistic)
    sizes = draws or (len(first), len(second))
    # Not scipy's p-value, which counts rows.
    return distance, float(stats.kstwobign.sf(np.sqrt(sizes[0] * sizes[1] / sum(sizes)) * distance))


def chi_square_test(
    first: Mapping[Any, int], second: Mapping[Any, int], *, draws: Draws = None, pool_rare: bool = True
) -> tuple[float, float]:
    """Return the total variation distance of two counts of classes, and the p-value of chi-square.

    Args:
        first: Class to count, at least one row.
        second: Class to count, at least one row; other classes than in `first` are allowed.
        draws: See `Draws`.
        pool_rare: Count classes together of which fewer than `MIN_EXPECTED` are expected.
    """
    from scipy import stats

    classes = sorted({*first, *second}, key=str)
    counts = np.array([[side.get(name, 0) for name in classes] for side in (first, second)], dtype=float)
    shares = counts / counts.sum(axis=1, keepdims=True)
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    if draws is not None:
        counts = shares * np.array(draws)[:, np.newaxis]
    if pool_rare:
        counts = _without_rare(counts)
    return distance, float(stats.chi2_contingency(counts, correction=False).pvalue)


def _without_rare(counts: np.ndarray) -> np.ndarray:
    """Count classes together of which too few are expected in the smaller of the two samples."""
    expected = counts.sum(axis=0) * counts.sum(axis=1).min() / counts.sum()
    rare = expected < MIN_EXPECTED
    if rare.sum() < 2:
        return counts
    return np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
