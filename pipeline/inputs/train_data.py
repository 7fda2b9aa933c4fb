"""The data that models see: what trains and chooses, and apart from it what judges.

Read from the files of `data/features`, memory-mapped: they hold what `pipeline.inputs.from_state` would make of each
sample, made once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.data.label_sets import label_matrix
from pipeline.data.samples import SampleRows, SplitTable, mapped, read_sample_rows, read_split
from pipeline.data.windows import WindowIndex, find_windows
from pipeline.inputs.arrays import (
    MAIN_INPUT,
    Inputs,
    ModelInputs,
    TargetReader,
    padded_series,
    stored,
    window_reader,
    window_targets,
)
from pipeline.inputs.specs import (
    InputKind,
    InputSpec,
    OutputSpec,
    called,
    frozen_spec,
    input_spec,
    kind_read,
    output_spec,
    side_shape,
)
from pipeline.params.families import FAMILIES
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.files import read_json

UNUSED = 255
"""Stands for every label of rows that neither train nor choose."""


@dataclass(frozen=True)
class TrainData:
    """What a candidate may see: all samples as stored, and which of them train and which choose. Never test.

    Attributes:
        inputs: Images or vectors: uint8 NHWC or float32, all rows, memory-mapped; else `ModelInputs`.
        targets: Class index int32 per row, -1 for rows that are neither train nor val; of several labels uint8
            (num_rows, num_classes), 0 or 1, `UNUSED` for such rows; or, in regression, float32 (num_rows, 1), scaled,
            NaN for such rows. None: windows, whose inputs know their targets.
        train_rows: Rows that train, ascending; of windows their numbers.
        val_rows: Rows that choose, ascending.
        input_spec: Shape and scale of the inputs.
        output_spec: The classes, or what is predicted.
        normal_val: Per row of `val_rows` whether it is without a labelled anomaly; None where nothing is labelled.
        frozen: The same rows as the trunk of features.pretrained left them, for families that train a head on it.
        groups: Number per row of what must not be torn apart (a group, or copies of one content), int64; None: not
            read, or windows.
    """

    inputs: Inputs
    targets: np.ndarray | None
    train_rows: np.ndarray
    val_rows: np.ndarray
    input_spec: InputSpec
    output_spec: OutputSpec
    normal_val: np.ndarray | None = None
    frozen: "TrainData | None" = None
    groups: np.ndarray | None = None

    @property
    def monitored_rows(self) -> np.ndarray:
        """Return the rows of val by which a training stops and its best epoch is chosen.

        Of anomalies only what is normal: a model that gives anomalies back well is no better for it.
        """
        return self.val_rows if self.normal_val is None else self.val_rows[self.normal_val]

    def on_rows(self, train_rows: np.ndarray, val_rows: np.ndarray) -> "TrainData":
        """Return the same data where other rows train and choose; classes are counted anew.

        Args:
            train_rows: Of train and val here, ascending.
            val_rows: The same; may be empty where nothing is validated.
        """
        spec = self.output_spec
        if self.targets is not None and spec.task == "classification":
            counts = np.bincount(self.targets[train_rows], minlength=spec.num_classes)
            spec = replace(spec, class_counts=tuple(counts.tolist()))
        if self.targets is not None and spec.task == "multilabel":
            counts = self.targets[train_rows].sum(axis=0, dtype=np.int64)
            spec = replace(spec, class_counts=tuple(counts.tolist()), train_samples=len(train_rows))
        frozen = None if self.frozen is None else self.frozen.on_rows(train_rows, val_rows)
        return replace(
            self,
            train_rows=train_rows,
            val_rows=val_rows,
            output_spec=spec,
            normal_val=None,
            frozen=frozen,
        )


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
    truth: TargetReader | None

    def numbers(self, split: str) -> np.ndarray:
        """Return the window numbers of a split, ascending int64."""
        first = 0
        for name, count in self.counts.items():
            if name == split:
                return np.arange(first, first + count, dtype=np.int64)
            first += count
        return np.empty(0, np.int64)


@dataclass(frozen=True)
class SplitRows:
    """The samples of one split, with the truth in the units of the data.

    Attributes:
        inputs: As in `TrainData`; row numbers mean the same there and here.
        rows: Rows of the split, ascending; of windows their numbers.
        sample_ids: Name per row; of windows that of each series.
        labels: Class name per row, of several the cell that stands for them; () for other tasks.
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
        family: Decides which inputs are read, see `pipeline.inputs.specs`.

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
    inputs = whole_inputs(state, [kind_read(state, family)])
    targets = _targets(state, split, len(inputs))
    train, val = split.rows_of("train"), split.rows_of("val")
    frozen = None
    if FAMILIES[family].frozen:
        frozen = TrainData(_frozen_inputs(state), targets, train, val, frozen_spec(state), specs[1])
    return TrainData(inputs, targets, train, val, *specs, frozen=frozen)


def load_split_rows(name: str, kinds: Sequence[InputKind]) -> SplitRows:
    """Return the samples of one split and what is true of them.

    Args:
        name: `train`, `val` or `test`.
        kinds: As in `whole_inputs`.

    Raises:
        FileNotFoundError: An earlier stage has not run; says which.
    """
    state = read_json(paths.FEATURES_STATE, made_by="features")
    if state.get("windows"):
        return _windows(name, windowed_inputs(state, read_split(), ("train", "val", "test")))
    split = read_split((name,))
    task = state.get("task", "classification")
    return SplitRows(
        whole_inputs(state, kinds),
        split.rows,
        tuple(split.sample_ids.tolist()),
        tuple(split.labels.tolist()) if task in ("classification", "multilabel") else (),
        split.targets[:, None].astype(np.float32) if task == "regression" else None,
    )


def whole_inputs(state: Mapping[str, Any], kinds: Sequence[InputKind]) -> Inputs:
    """Return the inputs of a model where each sample is whole; nothing is read before it is asked for.

    Args:
        state: Content of `data/features/state.json`.
        kinds: What it reads, one or several: see `pipeline.inputs.specs.kinds_read`, and `called` for their names.

    Returns:
        One memory-mapped array where images, vectors or tokens have nothing beside them, else `ModelInputs`.

    Raises:
        InputMissing: A file is not there.
    """
    beside = stored_side(state)
    if "series" in kinds:  # which all families read
        samples, series = read_sample_rows(), mapped(paths.SERIES_NPY, "features")
        read = padded_series(series, samples.starts, samples.lengths, state["series"]["max_length"])
        return ModelInputs(len(samples), [read, stored(beside)])
    main = {
        called(name, kind, kinds): mapped(*file) for kind in kinds for name, file in _MAIN_FILES[kind].items()
    }
    array = next(iter(main.values()))
    return array if len(main | beside) == 1 else ModelInputs(len(array), [stored(main | beside)])


def _frozen_inputs(state: Mapping[str, Any]) -> Inputs:
    """Return what the trunk made of all samples, and what stands beside them."""
    beside = stored_side(state)
    if state.get("payload") == "text":
        bag = {name: array for name, array in _MAIN_FILES["pieces"].items() if name != MAIN_INPUT}
        beside |= {name: mapped(*file) for name, file in bag.items()}
    vectors = mapped(paths.FROZEN_NPY, "features")
    return ModelInputs(len(vectors), [stored({MAIN_INPUT: vectors} | beside)]) if beside else vectors


_MAIN_FILES = {
    "image": {MAIN_INPUT: (paths.PAYLOAD_NPY, "ingest")},
    "vector": {MAIN_INPUT: (paths.FEATURES_NPY, "features")},
    "tokens": {MAIN_INPUT: (paths.TOKENS_NPY, "features")},
    "bag": {MAIN_INPUT: (paths.BAG_IDS_NPY, "features"), "weights": (paths.BAG_WEIGHTS_NPY, "features")},
    "pieces": {
        MAIN_INPUT: (paths.PIECES_NPY, "features"),
        "bag": (paths.BAG_IDS_NPY, "features"),
        "bag_weights": (paths.BAG_WEIGHTS_NPY, "features"),
    },
}


def stored_side(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the side features of all samples that the features stage wrote: `side`, `categories`, both or neither."""
    side = state.get("side")
    if not side:
        return {}
    found = {
        "side": (paths.SIDE_NPY, side["names"]),
        "categories": (paths.CATEGORIES_NPY, side_shape(state)[1]),
    }
    return {name: mapped(path, "features") for name, (path, width) in found.items() if width}


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
    payload, samples = mapped(paths.PAYLOAD_NPY, "ingest"), read_sample_rows()
    columns = target["channels"] or list(range(len(channels)))
    shape = {"length": length, "horizon": horizon, "stride": windows["stride"], "columns": columns}
    indices = [find_windows(split.segments(samples, name), payload, **shape) for name in splits]
    index = indices[0]
    for following in indices[1:]:
        index = index.followed_by(following)
    counts = {name: len(own) for name, own in zip(splits, indices, strict=True)}

    series = mapped(paths.SERIES_NPY, "features") if length else None
    read = window_reader(windows, index, samples, payload, series=series, beside=stored_side(state))
    if not horizon:
        made = ModelInputs(len(index), [read], lambda rows: read(rows)[MAIN_INPUT])
        return WindowedInputs(made, index, counts, samples, None)
    scale = target["mean"], target["standard_deviation"]
    flat = state["task"] == "regression"
    targets = window_targets(payload, index, horizon, columns, scale, flat=flat)
    ones = [0.0] * len(columns), [1.0] * len(columns)
    truth = window_targets(payload, index, horizon, columns, ones, flat=flat)
    return WindowedInputs(ModelInputs(len(index), [read], targets), index, counts, samples, truth)


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
    if state.get("task") == "multilabel":
        matrix = np.full((num_rows, len(state["classes"])), UNUSED, np.uint8)
        matrix[split.rows] = label_matrix(split.labels.tolist(), state["classes"])
        return matrix
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
