"""Series without gaps and to scale: fitted on train only, written once for all.

A missing value is the last one before it in the same series and channel; nothing is ever taken from a later
step. Before the first value of a channel stands the mean of the scale in use. Scales are

- `channel`: mean and deviation of each channel over the training steps;
- `series`: of each series by itself. A whole series (classification) is measured as it is, also at serving.
  A series that is cut into train and test by time is measured on its training steps alone; one without any
  has the scale of its channel;
- `none`: numbers stay as they are.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.preprocessing.statistics import TrainStatistics, exact_statistics
from pipeline.runtime.files import atomic_path, reserve

CHUNK_STEPS = 1 << 18
"""Steps read at a time, so that memory does not grow with the length of a series."""
Scaling = Literal["channel", "series", "none"]
Scale = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class SeriesScaler:
    """How the numbers of series become inputs; its fields are all there is to know about it.

    Attributes:
        scaling: See the head of this file.
        channels: Names, in the order of the columns.
        mean: Per channel, over all training steps.
        standard_deviation: As `mean`; never 0.
        of_series: Scaling `series` of series that are cut by time: sample id to its scale on train.
    """

    scaling: Scaling
    channels: tuple[str, ...]
    mean: tuple[float, ...]
    standard_deviation: tuple[float, ...]
    of_series: Mapping[str, TrainStatistics] = field(default_factory=dict)

    def scale(self, sample_id: str = "") -> Scale:
        """Return mean and deviation per channel that a series is scaled with, known before it is seen."""
        own = self.of_series.get(sample_id)
        if own is not None:
            return np.array(own.mean), np.array(own.standard_deviation)
        return np.array(self.mean), np.array(self.standard_deviation)

    def transform_whole(self, values: np.ndarray) -> np.ndarray:
        """Return one whole series to scale, float32 (steps, channels); NaN in `values` is a missing value."""
        scale = self.scale()
        if self.scaling == "series":
            own = _statistics_of(values)
            seen = ~np.isnan(values).all(axis=0)
            scale = np.where(seen, own.mean, scale[0]), np.where(seen, own.standard_deviation, scale[1])
        return self.transform(values, scale)

    def transform(self, values: np.ndarray, scale: Scale, before: np.ndarray | None = None) -> np.ndarray:
        """Return a part of a series to a given scale.

        Args:
            values: float32, shape (steps, channels).
            scale: Mean and deviation per channel.
            before: The last values before these steps, shape (channels,); NaN or None where there are none.
        """
        mean, deviation = scale
        carried = carry_forward(values, before)
        filled = np.where(np.isnan(carried), mean, carried.astype(np.float64))
        if self.scaling == "none":
            return filled.astype(np.float32)
        return ((filled - mean) / deviation).astype(np.float32)

    def state(self) -> dict[str, Any]:
        """Return the fields as JSON; `scaler_of` reads them."""
        return {
            "scaling": self.scaling,
            "channels": list(self.channels),
            "mean": list(self.mean),
            "standard_deviation": list(self.standard_deviation),
            "of_series": {name: vars(scale).copy() for name, scale in self.of_series.items()},
        }


def scaler_of(state: Mapping[str, Any]) -> SeriesScaler:
    """Return the scaler that a `SeriesScaler.state` describes; further keys are not looked at."""
    return SeriesScaler(
        state["scaling"],
        tuple(state["channels"]),
        tuple(state["mean"]),
        tuple(state["standard_deviation"]),
        {name: TrainStatistics(**scale) for name, scale in state["of_series"].items()},
    )


def carry_forward(values: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
    """Return steps with the last value of the channel in place of NaN; NaN where there was none yet.

    Args:
        values: Shape (steps, channels).
        before: The last values before these steps, shape (channels,).
    """
    if before is not None:
        return carry_forward(np.vstack([before[None], values]))[1:]
    missing = np.isnan(values)
    if not missing.any():
        return values
    steps = np.where(missing, 0, np.arange(len(values))[:, None])
    last_seen = np.maximum.accumulate(steps, axis=0)
    carried: np.ndarray = np.take_along_axis(values, last_seen, axis=0)
    return carried


def fit_scaler(
    payload: np.ndarray,
    segments: Sequence[tuple[str, int, int]],
    *,
    channels: Sequence[str],
    scaling: Scaling,
    cut_by_time: bool,
) -> SeriesScaler:
    """Measure the training steps; the order of the series does not matter.

    Args:
        payload: float32, (total_steps, at least as many columns as channels).
        segments: Of train alone: sample id, first row of the payload, row after the last.
        channels: Names of the first columns of the payload.
        scaling: See the head of this file.
        cut_by_time: Whether other steps of the same series may lie in val or test.
    """
    measured = _segment_statistics(payload, segments, len(channels))
    of_series = {}
    if scaling == "series" and cut_by_time:
        for name, own in itertools.groupby(sorted(segments), key=lambda segment: segment[0]):
            of_series[name] = _segment_statistics(payload, list(own), len(channels))
    return SeriesScaler(
        scaling, tuple(channels), tuple(measured.mean), tuple(measured.standard_deviation), of_series
    )


def steps_of(payload: np.ndarray, start: int, stop: int, num_channels: int) -> Iterator[np.ndarray]:
    """Yield the steps from `start` to before `stop` in chunks, float32 (chunk, num_channels)."""
    for first in range(start, stop, CHUNK_STEPS):
        yield np.asarray(payload[first : min(first + CHUNK_STEPS, stop), :num_channels])


def write_series(
    path: Path,
    payload: np.ndarray,
    series: Sequence[tuple[str, int, int]],
    scaler: SeriesScaler,
    *,
    cut_by_time: bool,
    columns: Sequence[int] | None = None,
) -> None:
    """Write series to scale as one `.npy`, all or nothing, each at the place it has in the payload.

    Args:
        path: The file; float32, shape (total_steps, channels). What is of no series stays a hole.
        payload: As ingested.
        series: Sample id, first row of the payload, row after the last.
        scaler: Fitted on train.
        cut_by_time: As in `fit_scaler`.
        columns: Of the payload, one per channel; None: the first ones.
    """
    chosen = slice(len(scaler.channels)) if columns is None else list(columns)
    shape = (len(payload), len(scaler.channels))
    with atomic_path(path) as temporary:
        written = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
        reserve(temporary)
        for name, start, stop in series:
            if not cut_by_time:
                written[start:stop] = scaler.transform_whole(np.asarray(payload[start:stop])[:, chosen])
                continue
            scale, before, first = scaler.scale(name), np.full(shape[1], np.nan, np.float32), start
            for whole in steps_of(payload, start, stop, payload.shape[1]):
                chunk = whole[:, chosen]
                written[first : first + len(chunk)] = scaler.transform(chunk, scale, before)
                before, first = carry_forward(chunk, before)[-1], first + len(chunk)
        written.flush()


def _segment_statistics(
    payload: np.ndarray, segments: Sequence[tuple[str, int, int]], num_channels: int
) -> TrainStatistics:
    def chunks() -> Iterator[np.ndarray]:
        for _name, start, stop in segments:
            yield from steps_of(payload, start, stop, num_channels)

    return exact_statistics(chunks, num_channels)


def _statistics_of(values: np.ndarray) -> TrainStatistics:
    return exact_statistics(lambda: [values], values.shape[1])
