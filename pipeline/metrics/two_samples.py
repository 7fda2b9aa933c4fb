"""Whether two samples are drawn from one distribution: how far apart they lie, and how often chance does that."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MIN_EXPECTED = 5.0
"""Classes of which fewer are expected in the smaller sample are counted together: chi-square fails on them."""
Draws = tuple[float, float] | None
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
    """Return the total variation distance of two counts of classes, and how often chance alone makes them differ so.

    Args:
        first: Class to count, at least one row.
        second: Class to count, at least one row; other classes than in `first` are allowed.
        draws: See `Draws`.
        pool_rare: Count the rarest classes together until each is expected `MIN_EXPECTED` times, and compare two that
            are still too rare exactly (Fisher). Without it, chi-square whatever the counts.
    """
    from scipy import stats

    classes = sorted({*first, *second}, key=str)
    counts = np.array([[side.get(name, 0) for name in classes] for side in (first, second)], dtype=float)
    counts = counts[:, counts.any(axis=0)]
    shares = counts / counts.sum(axis=1, keepdims=True)
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    if draws is not None:
        counts = shares * np.array(draws)[:, np.newaxis]
    if pool_rare:
        counts = _without_rare(counts)
        if counts.shape[1] == 2 and _least_expected(counts) < MIN_EXPECTED:
            return distance, float(stats.fisher_exact(np.rint(counts).astype(np.int64)).pvalue)
    return distance, float(stats.chi2_contingency(counts, correction=False).pvalue)


def _without_rare(counts: np.ndarray) -> np.ndarray:
    """Count the rarest classes together until each is expected often enough, or two are left."""
    while counts.shape[1] > 2 and _least_expected(counts) < MIN_EXPECTED:
        order = np.argsort(counts.sum(axis=0), kind="stable")
        counts = np.column_stack([counts[:, order[2:]], counts[:, order[:2]].sum(axis=1)])
    return counts


def _least_expected(counts: np.ndarray) -> float:
    """Return how often the rarest class is expected in the smaller of the two samples."""
    return float(counts.sum(axis=0).min() * counts.sum(axis=1).min() / counts.sum())


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number: any below `a` is a false one with probability at most `a`.

    Holm's method (1979) needs no independence, which columns of one data set do not have.
    """
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return [float(value) for value in adjusted]
