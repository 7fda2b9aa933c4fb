"""Statistics of single series, computed in pieces: a series may be larger than the memory."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from pipeline.data.samples import series_at
from pipeline.duplicates.clusters import group_copies, no_near_pairs
from pipeline.duplicates.series import find_series_duplicates
from pipeline.validation.profile import (
    ChannelSums,
    DataProfile,
    Preview,
    Show,
    _range_problems,
    _ranges,
    _refuse,
    _span,
)

SHOWN_CHANNELS = 3
SHOWN_POINTS = 80
WIDTH, HEIGHT = 100, 40
"""Of the drawing area of a series, in its own units."""


def series_previews(series: Sequence[np.ndarray]) -> Show:
    """Return how series are shown: by the course of their first three channels, each in its own range.

    Args:
        series: Shape (steps, channels) each, NaN where a value is missing.
    """
    return lambda row: Preview(
        lines=tuple(
            (channel, points)
            for channel in range(min(SHOWN_CHANNELS, series[row].shape[1]))
            for points in polylines(series[row][:, channel])
        )
    )


def polylines(values: np.ndarray) -> list[str]:
    """Return the course of one channel as the `points` of polylines, one for each stretch without a gap.

    Long series are cut into parts that show their smallest and largest value, so that a peak stays.

    Args:
        values: Shape (steps,); what is not finite is a gap.
    """
    places, heights = _thinned(values)
    finite = np.isfinite(heights)
    if not finite.any():
        return []
    low, high = heights[finite].min(), heights[finite].max()
    shares = (heights - low) / (high - low) if high > low else np.where(finite, 0.5, np.nan)
    across = places * (WIDTH / max(1, len(values) - 1))
    down = 1 + (HEIGHT - 2) * (1 - shares)
    stretches = np.split(np.arange(len(heights)), np.flatnonzero(np.diff(finite.astype(int))) + 1)
    # A line of one point is not drawn, one from a point to itself is.
    return [
        " ".join(
            f"{across[place]:.1f},{down[place]:.1f}" for place in np.resize(stretch, max(2, len(stretch)))
        )
        for stretch in stretches
        if finite[stretch[0]]
    ]


def _thinned(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and values (float64) of at most about `SHOWN_POINTS` points."""
    if len(values) <= SHOWN_POINTS:
        return np.arange(len(values)), np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    edges = np.linspace(0, len(values), SHOWN_POINTS // 2 + 1).astype(int)
    places, heights = [], []
    for start, stop in pairwise(edges.tolist()):
        part = np.asarray(values[start:stop], np.float64)
        finite = np.flatnonzero(np.isfinite(part))
        if not len(finite):
            places.append(start)
            heights.append(np.nan)
            continue
        ends = {int(finite[part[finite].argmin()]), int(finite[part[finite].argmax()])}
        places += [start + place for place in sorted(ends)]
        heights += [float(part[place]) for place in sorted(ends)]
    return np.array(places), np.array(heights)


def series_problems(
    payload: np.ndarray,
    rows: np.ndarray,
    starts: np.ndarray,
    lengths: np.ndarray,
    columns: int,
    *,
    has_anomalies: bool,
) -> list[str]:
    """Return what is wrong with a payload of series, one message each; empty if nothing is.

    Args:
        payload: What should be steps, float32, shape (steps, columns).
        rows: Number of each sample, shape (num_samples,).
        starts: First step of each sample.
        lengths: Steps of each sample.
        columns: How many channels there should be, the one of labelled anomalies included.
        has_anomalies: Whether the last of them says which steps are labelled.
    """
    if payload.ndim != 2 or payload.dtype != np.float32 or payload.shape[1] != columns or 0 in payload.shape:
        problem = (
            "The payload holds no series. Expected at least one step, float32, of shape (steps, "
            f"{columns}). Received: {payload.dtype} {payload.shape}."
        )
        return [problem]
    problems = _range_problems(len(payload), rows, starts, lengths)
    if has_anomalies and not _zeros_and_ones(payload[:, -1]):
        problems.append(
            "The payload does not say of every step whether it is labelled. Expected 0 or 1 in the last channel. "
            "Received: other values."
        )
    return problems


def channel_problems(channels: tuple[str, ...], wanted: tuple[str, ...]) -> list[str]:
    """Return which columns that params.yaml names are no channels of the data, as messages.

    Args:
        channels: Names of the channels.
        wanted: `data.windows.targets`, `known` and `known_categorical` together.
    """
    unknown = sorted(set(wanted) - set(channels))
    if not unknown:
        return []
    problem = (
        "params.yaml: data.windows names columns that the series do not have. Expected some of "
        f"{', '.join(channels)}. Received: {', '.join(unknown)}. Correct targets, known or known_categorical."
    )
    return [problem]


def _zeros_and_ones(values: np.ndarray) -> bool:
    return bool(((values == 0) | (values == 1)).all())


CHUNK_STEPS = 1 << 18
SIGNIFICANT_DIGITS = 9
"""Digits kept: the last bits of a mean differ between processors, these do not."""


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
        for channel, ends in enumerate(chunk.ends):
            ends.add(part[:, channel])
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


def profile_series(
    samples: pd.DataFrame,
    payload: np.ndarray,
    near: Mapping[str, float],
    channels: Sequence[str],
    *,
    has_anomalies: bool,
    windowed: bool,
) -> DataProfile:
    """Return what there is to know of series.

    Args:
        samples: As `read_samples` returns them, sorted by row.
        payload: float32, shape (steps, channels), NaN where a value is missing; one channel more with anomalies.
        near: `near_series_distance`.
        channels: Their names.
        has_anomalies: Whether the last channel says which steps are labelled.
        windowed: Whether samples are windows over these series: each series is a cluster of its own then.

    Raises:
        DataRefused: Payload and samples do not fit.
    """
    rows, starts, lengths = _ranges(samples)
    columns = len(channels) + has_anomalies
    _refuse(series_problems(payload, rows, starts, lengths, columns, has_anomalies=has_anomalies))
    values = np.asarray(payload)[
        :, : len(channels)
    ]  # slices of a plain array are cheaper than of a memory map
    series = [
        series_at(values, start, length)
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
    ]
    statistics, sums = series_statistics(series)
    content = samples["content_sha256"].tolist()
    return DataProfile(
        statistics=statistics,
        duplicates=group_copies(content, no_near_pairs)
        if windowed
        else find_series_duplicates(content, series, near["near_series_distance"]),
        show=series_previews(series),
        description=f"{len(series):,} series of {_span(lengths)} steps, {len(channels)} "
        f"channel{'s' if len(channels) > 1 else ''}",
        sums=sums,
    )
