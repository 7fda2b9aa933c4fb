"""The files of `data/features` as inputs of models, memory-mapped: nothing is read before it is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.calendar_features import seconds_of
from pipeline.input_specs import input_spec, side_shape
from pipeline.model_inputs import (
    ModelInputs,
    Reader,
    padded_series,
    rows_of,
    series_of_windows,
    window_series,
    window_side,
    window_targets,
)
from pipeline.runtime import InputMissing
from pipeline.sample_rows import SampleRows, read_sample_rows
from pipeline.split_rows import SplitTable
from pipeline.window_features import window_side_of
from pipeline.windows import WindowIndex, find_windows

Inputs = np.ndarray | ModelInputs


@dataclass(frozen=True)
class WindowedInputs:
    """Windows over series, of some splits.

    Attributes:
        inputs: Rows are window numbers.
        index: Where each window stands.
        counts: Split to its number of windows; those of the first split come first.
        samples: The series.
        truth: Reads what windows predict in the units of the data; None for anomalies.
    """

    inputs: ModelInputs
    index: WindowIndex
    counts: Mapping[str, int]
    samples: SampleRows
    truth: Reader | None

    def numbers(self, split: str) -> np.ndarray:
        """Return the window numbers of a split, ascending int64."""
        first = 0
        for name, count in self.counts.items():
            if name == split:
                return np.arange(first, first + count, dtype=np.int64)
            first += count
        return np.empty(0, np.int64)


def whole_inputs(state: Mapping[str, Any], family: str) -> Inputs:
    """Return the inputs of a family where each sample is whole.

    Args:
        state: Content of `data/features/state.json`.
        family: See `pipeline.input_specs`.

    Returns:
        One memory-mapped array where images, vectors or tokens have nothing beside them, else `ModelInputs`.

    Raises:
        InputMissing: A file is not there.
    """
    spec = input_spec(state, family)
    array: np.ndarray | None = None
    readers: dict[str, Reader] = {}
    if spec.kind == "series":
        samples = read_sample_rows()
        count = len(samples)
        series = mapped(paths.SERIES_NPY, "features")
        readers["inputs"] = padded_series(series, samples.starts, samples.lengths, spec.shape[0])
    else:
        array = mapped(*_MAIN_FILES[spec.kind])
        count = len(array)
        readers["inputs"] = rows_of(array)
    if spec.kind == "bag":
        array = None
        readers["weights"] = rows_of(mapped(paths.BAG_WEIGHTS_NPY, "features"))
    if spec.num_side:
        readers["side"] = rows_of(mapped(paths.SIDE_NPY, "features"))
    if spec.categories:
        readers["categories"] = rows_of(mapped(paths.CATEGORIES_NPY, "features"))
    return array if array is not None and len(readers) == 1 else ModelInputs(count, readers)


_MAIN_FILES = {
    "image": (paths.PAYLOAD_NPY, "ingest"),
    "vector": (paths.FEATURES_NPY, "features"),
    "tokens": (paths.TOKENS_NPY, "features"),
    "bag": (paths.BAG_IDS_NPY, "features"),
}


def windowed_inputs(state: Mapping[str, Any], split: SplitTable, splits: Sequence[str]) -> WindowedInputs:
    """Return the windows of some splits; they read the same for every family.

    Args:
        state: Content of `data/features/state.json`.
        split: At least the rows of `splits`.
        splits: In the order in which windows are numbered; train, val, test from the first on.

    Raises:
        InputMissing: A file is not there.
    """
    windows, target, channels = state["windows"], state["target"], state["series"]["channels"]
    length, horizon = windows["length"], windows["horizon"]
    payload = mapped(paths.PAYLOAD_NPY, "ingest")
    samples = read_sample_rows()
    columns = target["channels"] or list(range(len(channels)))
    shape = {"length": length, "horizon": horizon, "stride": windows["stride"], "columns": columns}
    indices = [find_windows(split.segments(samples, name), payload, **shape) for name in splits]
    index = indices[0]
    for following in indices[1:]:
        index = index.followed_by(following)
    counts = {name: len(own) for name, own in zip(splits, indices, strict=True)}

    readers = _window_readers(state, index, samples, payload)
    if not horizon:
        return WindowedInputs(
            ModelInputs(len(index), readers, readers["inputs"]), index, counts, samples, None
        )
    scale = target["mean"], target["standard_deviation"]
    flat = state["task"] == "regression"
    targets = window_targets(payload, index, horizon, columns, scale, flat=flat)
    ones = [0.0] * len(columns), [1.0] * len(columns)
    truth = window_targets(payload, index, horizon, columns, ones, flat=flat)
    return WindowedInputs(ModelInputs(len(index), readers, targets), index, counts, samples, truth)


def _window_readers(
    state: Mapping[str, Any], index: WindowIndex, samples: SampleRows, payload: np.ndarray
) -> dict[str, Reader]:
    windows, (num_side, categories) = state["windows"], side_shape(state)
    length, side = windows["length"], window_side_of(windows["side"])
    readers: dict[str, Reader] = {}
    if length:
        steps = np.arange(-length, 0) if windows["horizon"] else np.arange(length)
        readers["inputs"] = window_series(mapped(paths.SERIES_NPY, "features"), index, steps)
    if num_side:
        readers["side" if length else "inputs"] = window_side(
            payload,
            index,
            side,
            channels=state["series"]["channels"],
            starts=samples.starts,
            seconds=_seconds(samples) if side.calendar else np.zeros(len(samples)),
            step_seconds=samples.step_seconds,
            static=mapped(paths.SIDE_NPY, "features") if num_side > len(side.names) else None,
        )
    if categories:
        own = rows_of(mapped(paths.CATEGORIES_NPY, "features"))
        readers["categories"] = series_of_windows(own, index, samples.starts)
    return readers


def _seconds(samples: SampleRows) -> np.ndarray:
    return np.array([seconds_of(time) for time in samples.times], np.float64)


def mapped(path: Path, made_by: str) -> np.ndarray:
    """Return the array of a `.npy` file, memory-mapped.

    Raises:
        InputMissing: The file is not there; says which stage makes it.
    """
    if not path.is_file():
        raise InputMissing(f"{path} does not exist. Run `dvc repro {made_by}`.")
    array: np.ndarray = np.load(path, mmap_mode="r")
    return array
