"""The data that models see: what trains and chooses, and apart from it what judges."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.artifacts import read_json
from pipeline.input_files import Inputs, WindowedInputs, mapped, whole_inputs, windowed_inputs
from pipeline.input_specs import input_spec, output_spec
from pipeline.runtime import DataRefused
from pipeline.specs import InputSpec, OutputSpec
from pipeline.split_rows import SplitTable, read_split


@dataclass(frozen=True)
class TrainData:
    """What a candidate may see: all samples as stored, and which of them train and which choose. Never test.

    Attributes:
        inputs: Images or vectors: uint8 NHWC or float32, all rows, memory-mapped; else `ModelInputs`.
        targets: Class index int32 per row, -1 for rows that are neither train nor val; or, in regression,
            float32 (num_rows, 1), scaled, NaN for such rows. None: windows, whose inputs know their targets.
        train_rows: Rows that train, ascending; of windows their numbers.
        val_rows: Rows that choose, ascending.
        input_spec: Shape and scale of the inputs.
        output_spec: The classes, or what is predicted.
        normal_val: Per row of `val_rows` whether it is without a labelled anomaly; None where nothing is labelled.
    """

    inputs: Inputs
    targets: np.ndarray | None
    train_rows: np.ndarray
    val_rows: np.ndarray
    input_spec: InputSpec
    output_spec: OutputSpec
    normal_val: np.ndarray | None = None

    @property
    def monitored_rows(self) -> np.ndarray:
        """Return the rows of val by which a training stops and its best epoch is chosen.

        Of anomalies only what is normal: a model that gives anomalies back well is no better for it.
        """
        return self.val_rows if self.normal_val is None else self.val_rows[self.normal_val]


@dataclass(frozen=True)
class SplitRows:
    """The samples of one split, with the truth in the units of the data.

    Attributes:
        inputs: As in `TrainData`; row numbers mean the same there and here.
        rows: Rows of the split, ascending; of windows their numbers.
        sample_ids: Name per row; of windows that of each series.
        labels: Class name per row; () for other tasks.
        targets: float32 (num_rows, num_targets), or (num_rows, horizon, num_targets) in forecasting; None for
            classification and anomalies.
        series: Of windows: index into `sample_ids` per window, int64; else None.
        steps: Of windows: the step of its series at which the predicted part begins (anomalies: the window).
        anomalies: Per series whether each step is labelled, where the data has such labels; else ().
    """

    inputs: Inputs
    rows: np.ndarray
    sample_ids: tuple[str, ...]
    labels: tuple[str, ...] = ()
    targets: np.ndarray | None = None
    series: np.ndarray | None = None
    steps: np.ndarray | None = None
    anomalies: tuple[np.ndarray, ...] = ()


def load_train_data(family: str) -> TrainData:
    """Return the data of the project as a family needs it.

    Args:
        family: Decides which inputs are read, see `pipeline.input_specs`.

    Raises:
        DataRefused: Every window that trains, or every one that chooses, holds a labelled anomaly.
        FileNotFoundError: An earlier stage has not run; says which.
        ValueError: The split has a class that the training set does not know.
    """
    state = read_json(paths.FEATURES_STATE, made_by="features")
    split = read_split(("train", "val"))
    specs = input_spec(state, family), output_spec(state)
    if state.get("windows"):
        return _windows_to_learn(state, split, specs)
    inputs = whole_inputs(state, family)
    targets = _targets(state, split, len(inputs))
    return TrainData(inputs, targets, split.rows_of("train"), split.rows_of("val"), *specs)


def load_split_rows(name: str, family: str) -> SplitRows:
    """Return the samples of one split and what is true of them.

    Args:
        name: `train`, `val` or `test`.
        family: As in `load_train_data`.

    Raises:
        FileNotFoundError: An earlier stage has not run; says which.
    """
    state = read_json(paths.FEATURES_STATE, made_by="features")
    if state.get("windows"):
        return _windows(name, windowed_inputs(state, read_split(), ("train", "val", "test")))
    split = read_split((name,))
    task = state.get("task", "classification")
    return SplitRows(
        whole_inputs(state, family),
        split.rows,
        tuple(split.sample_ids.tolist()),
        tuple(split.labels.tolist()) if task == "classification" else (),
        split.targets[:, None].astype(np.float32) if task == "regression" else None,
    )


def _windows_to_learn(
    state: Mapping[str, Any], split: SplitTable, specs: tuple[InputSpec, OutputSpec]
) -> TrainData:
    made = windowed_inputs(state, split, ("train", "val"))
    train, val = made.numbers("train"), made.numbers("val")
    if not made.samples.has_anomalies:
        return TrainData(made.inputs, None, train, val, *specs)
    # What is normal is learned; validation keeps the rest, since alarms are measured there.
    normal = {name: _normal(made, name, state["windows"]["length"]) for name in made.counts}
    return TrainData(made.inputs, None, train[normal["train"]], val, *specs, normal_val=normal["val"])


def _normal(made: WindowedInputs, split: str, length: int) -> np.ndarray:
    """Return which windows of a split hold no step that is labelled as an anomaly, bool."""
    labelled = np.concatenate([[0], np.cumsum(mapped(paths.PAYLOAD_NPY, "ingest")[:, -1] > 0)])
    first = made.index.locate(made.numbers(split))
    normal: np.ndarray = labelled[first] == labelled[first + length]
    if len(normal) and not normal.any():
        raise DataRefused(
            f"There is nothing normal in {split}. Expected windows without a labelled anomaly. Received: "
            f"{len(normal)} {split} windows, all of them with a labelled step. Give {split} another stretch "
            f"(split.val_start, split.test_start, or the shares), or make data.windows.length smaller."
        )
    return normal


def _windows(name: str, made: WindowedInputs) -> SplitRows:
    rows, samples = made.numbers(name), made.samples
    positions = made.index.locate(rows)
    series = np.searchsorted(samples.starts, positions, side="right") - 1
    marks = []
    if samples.has_anomalies:
        payload = mapped(paths.PAYLOAD_NPY, "ingest")
        ranges = zip(samples.starts, samples.starts + samples.lengths, strict=True)
        marks = [payload[start:stop, -1] > 0 for start, stop in ranges]
    return SplitRows(
        made.inputs,
        rows,
        tuple(samples.sample_ids),
        targets=None if made.truth is None else made.truth(rows),
        series=series,
        steps=positions - samples.starts[series],
        anomalies=tuple(marks),
    )


def _targets(state: Mapping[str, Any], split: SplitTable, num_rows: int) -> np.ndarray:
    if state.get("task", "classification") == "regression":
        target = state["target"]
        scaled = np.full((num_rows, 1), np.nan, np.float32)
        values = (split.targets[:, None] - target["mean"]) / target["standard_deviation"]
        scaled[split.rows] = values.astype(np.float32)
        return scaled
    unknown = sorted(set(split.labels) - set(state["classes"]))
    if unknown:
        raise ValueError(
            f"The split has classes without training samples. Expected {state['classes']}. "
            f"Received: {unknown}. Run `dvc repro features`."
        )
    # By name, from the one list of classes: numbering those of each split shifts labels where one lacks.
    index_of = {name: index for index, name in enumerate(state["classes"])}
    targets = np.full(num_rows, -1, dtype=np.int32)
    targets[split.rows] = [index_of[label] for label in split.labels]
    return targets
