"""The data that models see: what trains and chooses, and apart from it what judges."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.artifacts import read_json
from pipeline.input_files import Inputs, WindowedInputs, mapped, whole_inputs, windowed_inputs
from pipeline.input_specs import input_spec, output_spec
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
    """

    inputs: Inputs
    targets: np.ndarray | None
    train_rows: np.ndarray
    val_rows: np.ndarray
    input_spec: InputSpec
    output_spec: OutputSpec


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
        FileNotFoundError: An earlier stage has not run; says which.
        ValueError: The split has a class that the training set does not know.
    """
    state = read_json(paths.FEATURES_STATE, made_by="features")
    split = read_split(("train", "val"))
    specs = input_spec(state, family), output_spec(state)
    if state.get("windows"):
        made = windowed_inputs(state, split, ("train", "val"))
        return TrainData(
            made.inputs, None, _normal(made, state["windows"]["length"]), made.numbers("val"), *specs
        )
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


def _normal(made: WindowedInputs, length: int) -> np.ndarray:
    """Return the training windows without a step that is labelled as an anomaly: what is normal is learned."""
    numbers = made.numbers("train")
    if not made.samples.has_anomalies:
        return numbers
    labelled = np.concatenate([[0], np.cumsum(mapped(paths.PAYLOAD_NPY, "ingest")[:, -1] > 0)])
    first = made.index.locate(numbers)
    normal: np.ndarray = numbers[labelled[first] == labelled[first + length]]
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
