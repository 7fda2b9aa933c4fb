"""Series that stand in the data more than once: exactly, or with nearly the same shape.

The shape of a series is its course over relative time, 0 to 1, each channel scaled to mean 0 and deviation 1:
a copy in another unit, with another offset, or with each step written twice has the same shape. Two series
are near duplicates if their shapes differ by at most a bound, in deviations (root of the mean square over
time and channels). A series without any course (constant, or of few steps) has no shape and only exact copies.

Coarse shapes differ at most as much as full ones do, and so do their positions along one line; so shapes are
put in order along a line, coarse neighbours are found by blocked matrix products, and only those are compared
in full. No near duplicate is missed, and memory does not grow with the number of pairs.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.duplicates.clusters import Clusters, Duplicates, group_copies

MIN_STEPS = 8
"""Known values a channel must have: scaled to mean 0 and deviation 1, all rising series of 2 steps are one."""

FLAT = 1e-6
"""A deviation below this share of the largest value is rounding of float32, not a course."""

COARSE_VALUES = 1 << 25
"""Numbers that all coarse shapes together may hold, as float32: 128 MiB."""

MIN_SEGMENTS, MAX_SEGMENTS = 16, 512
BLOCK_ROWS, BLOCK_COLUMNS = 256, 4096
BATCH_PAIRS = 256
DECIMALS = 6
"""Digits of a distance that decide; a scaled copy differs in the seventh, where float32 ends."""

ROUNDING = 1e-5
"""Slack of squared coarse distances, which are computed in float32 from numbers around 1."""


def find_series_duplicates(
    content: Sequence[str], series: Sequence[np.ndarray], distance: float
) -> Duplicates:
    """Return copies and clusters of copies.

    Args:
        content: Hash of each series.
        series: float32, shape (steps, channels) each, NaN where a value is missing; may be memory-mapped.
        distance: Deviations by which shapes of near duplicates may differ, at least 0.
    """
    return group_copies(content, lambda rows: near_series_pairs([series[row] for row in rows], distance))


def near_series_pairs(series: Sequence[np.ndarray], distance: float) -> np.ndarray:
    """Return pairs of near duplicates that connect all near duplicates.

    Near duplicates that are connected by other pairs already may be left out.

    Args:
        series: float32, shape (steps, channels) each, NaN where a value is missing; may be memory-mapped.
        distance: Deviations by which shapes of near duplicates may differ, at least 0.

    Returns:
        Row numbers, int64, shape (num_pairs, 2).
    """
    found = [np.empty((0, 2), np.int64)]
    if len(series) < 2:
        return found[0]
    coarse, rows = _coarse_shapes(series)
    groups = Clusters(len(series))
    for candidates in _coarse_pairs(coarse, distance):
        pairs = rows[candidates]
        for start in range(0, len(pairs), BATCH_PAIRS):
            # What earlier batches connected needs no look.
            likely = groups.apart(pairs[start : start + BATCH_PAIRS])
            distances = [shape_distance(series[first], series[second]) for first, second in likely]
            alike = likely[np.array(distances) <= distance]
            groups.join(alike)
            found.append(alike)
    return np.concatenate(found)


def shape_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return by how many deviations the shapes of two series differ, rounded to 6 digits.

    The root of the mean square difference over relative time and channels, each step a constant: exact also
    for series of different length.

    Args:
        first: Shape (steps, channels), NaN where a value is missing.
        second: Shape (other_steps, channels).
    """
    squares = [
        _mean_square(scaled_channel(first[:, channel]), scaled_channel(second[:, channel]))
        for channel in range(first.shape[1])
    ]
    return round(float(np.sqrt(np.mean(squares))), DECIMALS)


def scaled_channel(values: np.ndarray) -> np.ndarray:
    """Return one channel with mean 0 and deviation 1, gaps bridged by straight lines.

    Args:
        values: Shape (steps,); what is not finite counts as missing.

    Returns:
        float64, shape (steps,); zeros where the channel is constant or hardly known.
    """
    known = np.isfinite(values)
    count = int(known.sum())
    if count < MIN_STEPS:
        return np.zeros(len(values))
    filled = values.astype(np.float64)
    if count < len(values):
        steps = np.arange(len(values))
        filled = np.interp(steps, steps[known], filled[known])
    largest = np.abs(filled).max()
    filled -= filled.mean()
    deviation = filled.std()
    if deviation <= FLAT * largest:
        return np.zeros(len(values))
    filled /= deviation
    return filled


def _mean_square(first: np.ndarray, second: np.ndarray) -> float:
    """Return the mean square difference of two step functions over the same time."""
    steps, others = len(first), len(second)
    if steps == others:
        return float(np.mean((first - second) ** 2))
    # Time in units of 1 / (steps * others): both sets of edges are whole numbers.
    edges = np.union1d(np.arange(steps + 1) * others, np.arange(others + 1) * steps)
    difference = first[edges[:-1] // others] - second[edges[:-1] // steps]
    return float(np.sum(np.diff(edges) * difference**2) / (steps * others))


def _coarse_shapes(series: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return coarse shapes, float32, shape (num_shapes, values), and the rows of the series that have one.

    Their Euclidean distance is at most the distance of the full shapes.
    """
    channels = series[0].shape[1]
    longest = max(len(one) for one in series)
    affordable = COARSE_VALUES // (len(series) * channels)
    segments = max(MIN_SEGMENTS, min(longest, affordable, MAX_SEGMENTS))
    shapes, rows = [], []
    for row, one in enumerate(series):
        means = [_segment_means(scaled_channel(one[:, channel]), segments) for channel in range(channels)]
        shape = np.concatenate(means).astype(np.float32)
        if shape.any():
            shapes.append(shape / np.float32(np.sqrt(shape.size)))
            rows.append(row)
    return np.array(shapes, np.float32).reshape(len(rows), segments * channels), np.array(rows, np.int64)


def _segment_means(values: np.ndarray, segments: int) -> np.ndarray:
    """Return the mean of a step function over equal parts of its time, float64, shape (segments,)."""
    if len(values) == segments or not len(values):
        return np.resize(values, segments)
    total = np.concatenate([[0.0], np.cumsum(values)])
    edges = np.linspace(0, len(values), segments + 1)
    means: np.ndarray = np.diff(np.interp(edges, np.arange(len(values) + 1), total))
    means *= segments / len(values)
    return means


def _coarse_pairs(shapes: np.ndarray, distance: float) -> Iterator[np.ndarray]:
    """Yield all pairs of shapes, int64, shape (num_pairs, 2), whose coarse distance is not above `distance`."""
    if not len(shapes):
        return
    limit = (distance + 10.0**-DECIMALS) ** 2 + ROUNDING
    places = shapes @ _widest_direction(shapes)
    order = np.argsort(places, kind="stable")
    ordered, places = shapes[order], places[order]
    squares = np.einsum("ij,ij->i", ordered, ordered)
    for start in range(0, len(order), BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, len(order))
        # Along any line two shapes are at most as far apart as they are in space.
        end = int(np.searchsorted(places, places[stop - 1] + np.sqrt(limit), side="right"))
        for left in range(start, end, BLOCK_COLUMNS):
            right = min(left + BLOCK_COLUMNS, end)
            apart = squares[start:stop, None] + squares[None, left:right]
            apart -= 2 * (ordered[start:stop] @ ordered[left:right].T)
            first, second = np.nonzero(apart <= limit)
            once = first + start < second + left
            yield np.stack([order[first[once] + start], order[second[once] + left]], axis=1)


def _widest_direction(shapes: np.ndarray) -> np.ndarray:
    """Return a unit vector along which the shapes lie far apart, by power iteration on some of them."""
    some = shapes[:: max(1, len(shapes) // 1000)]
    some = some - some.mean(axis=0)
    direction: np.ndarray = np.random.default_rng(0).standard_normal((shapes.shape[1],), dtype=np.float32)
    for _ in range(8):
        stretched = some.T @ (some @ direction)
        if not stretched.any():
            break
        direction = stretched / np.float32(np.linalg.norm(stretched))
    unit: np.ndarray = direction / np.float32(np.linalg.norm(direction))
    return unit
