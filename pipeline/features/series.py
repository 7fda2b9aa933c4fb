"""What the features stage fits on series and writes of them: whole series, or series that windows slide over."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.data.samples import SampleRows, SplitTable
from pipeline.data.windows import find_windows
from pipeline.preprocessing.series import Scaling, SeriesScaler, fit_scaler, steps_of, write_series
from pipeline.preprocessing.side import (
    CategoryColumn,
    NumberColumn,
    SideFeatures,
    WindowSide,
    category_of,
    has_offset,
    seconds_of,
)
from pipeline.preprocessing.texts import most_frequent
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused

NAMED = 5
"""Samples that a message names."""


def write_whole_series(
    payload: np.ndarray, samples: SampleRows, split: SplitTable, *, scaling: Scaling, max_length: int | None
) -> dict[str, Any]:
    """Fit the scale of whole series and write them to scale.

    Args:
        payload: float32 (total_steps, channels).
        samples: All samples.
        split: Who trains.
        scaling: See `pipeline.preprocessing.series`.
        max_length: Steps that a model reads; None: as many as the longest training series has.

    Returns:
        What of it stands in the state: the scaler, `max_length`, and `has_padding`.

    Raises:
        DataRefused: A series has no step, or is shorter than all of train, so that no model learns of ends.
    """
    train_lengths = samples.lengths[split.rows_of("train")]
    longest = max_length or int(train_lengths.max())
    has_padding = bool(train_lengths.min() < longest)
    shortest = 1 if has_padding else longest
    used = split.rows[split.splits != "excluded"]
    too_short = used[samples.lengths[used] < shortest]
    if len(too_short):
        names = [f"{samples.sample_ids[row]} ({samples.lengths[row]})" for row in too_short[:NAMED]]
        raise DataRefused(
            f"Some series are too short for models that are built on train. Expected {shortest} steps or more. "
            f"Received: {len(too_short)} shorter ones: {', '.join(names)}. Remove them from the source, or set "
            f"features.series.max_length to {longest + 1}, which lets lengths differ."
        )
    train = [samples.extent(row) for row in split.rows_of("train").tolist()]
    scaler = fit_scaler(payload, train, channels=samples.channels, scaling=scaling, cut_by_time=False)
    every = [samples.extent(row) for row in range(len(samples))]
    write_series(paths.SERIES_NPY, payload, every, scaler, cut_by_time=False)
    return {**scaler.state(), "max_length": longest, "has_padding": has_padding}


def write_windowed_series(
    payload: np.ndarray,
    samples: SampleRows,
    split: SplitTable,
    *,
    windows: Mapping[str, Any],
    scaling: Scaling,
    max_categories: int,
) -> dict[str, Any]:
    """Fit what windows need on the training segments, and write the series to scale if windows read them.

    Args:
        payload: float32 (total_steps, columns), as ingested.
        samples: One row per series.
        split: Which steps train.
        windows: The block data.windows of params.yaml.
        scaling: See `pipeline.preprocessing.series`.
        max_categories: Slots per known category at most.

    Returns:
        The parts `series`, `windows` and `target` of the state.

    Raises:
        DataRefused: A column is unknown, a time is missing, or a split has no window.
    """
    problems = list(_window_problems(payload, samples, split, windows))
    if problems:
        raise DataRefused("\n".join(problems))
    train = split.named_segments(samples, "train")
    scaler = fit_scaler(payload, train, channels=samples.channels, scaling=scaling, cut_by_time=True)
    side = fit_window_side(
        payload,
        train,
        scaler,
        calendar=windows["calendar"],
        known=windows["known"],
        known_categorical=windows["known_categorical"],
        max_categories=max_categories,
    )
    if windows["length"]:
        every = [samples.extent(row) for row in range(len(samples))]
        write_series(paths.SERIES_NPY, payload, every, scaler, cut_by_time=True)
    return {
        "series": scaler.state() | _pooled(samples, scaler),
        "windows": {
            "length": windows["length"],
            "horizon": windows["horizon"],
            "stride": windows["stride"],
            "side": side.state(),
        }
        | ({"utc": True} if windows["calendar"] and all(map(has_offset, samples.times)) else {}),
        "target": _targets(scaler, windows["targets"]),
    }


def _pooled(samples: SampleRows, scaler: SeriesScaler) -> dict[str, Any]:
    """Return which series have the scale of all, for want of training steps, where the others have their own."""
    names = [name for name in samples.sample_ids if name not in scaler.of_series] if scaler.of_series else []
    return {"pooled": names} if names else {}


def predicted_columns(channels: Sequence[str], windows: Mapping[str, Any]) -> list[int]:
    """Return which columns of the payload a window must have values of: its targets, or all for anomalies."""
    return [list(channels).index(name) for name in windows["targets"] or channels]


def fit_window_side(
    payload: np.ndarray,
    segments: Sequence[tuple[str, int, int]],
    scaler: SeriesScaler,
    *,
    calendar: Sequence[str],
    known: Sequence[str],
    known_categorical: Sequence[str],
    max_categories: int,
) -> WindowSide:
    """Measure known columns on the training steps.

    Args:
        payload: float32 (total_steps, columns), as ingested.
        segments: Of train alone: sample id, first row of the payload, row after the last.
        scaler: Fitted on the same steps; known numbers have its mean and deviation.
        calendar: Parts of the calendar.
        known: Names of columns of numbers.
        known_categorical: Names of columns whose numbers name categories.
        max_categories: Slots per column at most, unknown among them.
    """
    place = {name: number for number, name in enumerate(scaler.channels)}
    numbers = [
        NumberColumn(name, scaler.mean[place[name]], scaler.standard_deviation[place[name]])
        for name in sorted(known)
    ]
    categories = []
    for name in sorted(known_categorical):
        counts: Counter[str] = Counter()
        for values in _column(payload, segments, place[name]):
            different, times = np.unique(values[~np.isnan(values)], return_counts=True)
            for value, count in zip(different.tolist(), times.tolist(), strict=True):
                counts[category_of(value)] += count
        categories.append(CategoryColumn(name, most_frequent(counts, max_categories - 1, 1)))
    return WindowSide(tuple(calendar), SideFeatures("one_hot", tuple(numbers), tuple(categories)))


def _column(
    payload: np.ndarray, segments: Sequence[tuple[str, int, int]], column: int
) -> Iterator[np.ndarray]:
    for _name, start, stop in segments:
        for chunk in steps_of(payload, start, stop, column + 1):
            yield chunk[:, column]


def _targets(scaler: SeriesScaler, names: Sequence[str]) -> dict[str, Any]:
    columns = [scaler.channels.index(name) for name in names]
    return {
        "names": list(names),
        "channels": columns,
        "mean": [scaler.mean[column] for column in columns],
        "standard_deviation": [scaler.standard_deviation[column] for column in columns],
    }


def _window_problems(
    payload: np.ndarray, samples: SampleRows, split: SplitTable, windows: Mapping[str, Any]
) -> Iterator[str]:
    absent = {
        key: [name for name in windows[key] if name not in samples.channels]
        for key in ("targets", "known", "known_categorical")
    }
    for key, names in absent.items():
        if names:
            yield (
                f"data.windows.{key} names columns that the series do not have. Expected some of "
                f"{', '.join(samples.channels)}. Received: {', '.join(names)}. Mend the name, or add the column "
                "to the options of the source."
            )
    if windows["calendar"]:
        yield from _time_problems(samples)
    if not any(absent.values()):
        yield from _splits_without_windows(payload, samples, split, windows)


def _splits_without_windows(
    payload: np.ndarray, samples: SampleRows, split: SplitTable, windows: Mapping[str, Any]
) -> Iterator[str]:
    for name in ("train", "val", "test"):
        index = find_windows(
            split.segments(samples, name),
            payload,
            length=windows["length"],
            horizon=windows["horizon"],
            stride=windows["stride"],
            columns=predicted_columns(samples.channels, windows),
        )
        if not len(index):
            segments = split.named_segments(samples, name)
            longest = max((stop - start for _name, start, stop in segments), default=0)
            yield (
                f"{name} has no window. Expected a stretch of {windows['horizon'] or windows['length']} steps "
                f"without a missing target and with {windows['length']} steps of history. Received: "
                f"{len(segments)} segments, the longest of {longest} steps. Lower data.windows.length or "
                f"horizon, or raise split.{name}_share."
            )


def _time_problems(samples: SampleRows) -> Iterator[str]:
    wrong = []
    for name, time in zip(samples.sample_ids, samples.times, strict=True):
        try:
            seconds_of(time)
        except ValueError:
            wrong.append(name)
    if wrong:
        yield (
            "data.windows.calendar needs times. Expected an ISO 8601 time of the first step of every series. "
            f"Received: none for {len(wrong)} series: {', '.join(wrong[:NAMED])}. Name the column of times with "
            "--set time=<column>, or set calendar: []."
        )
