"""The rows of a split that judge: what they are called, and what is true of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from pipeline.data.samples import read_sample_rows
from pipeline.data.splits import read_split
from pipeline.data.windows import Timeline, labelled_intervals
from pipeline.inputs.specs import output_spec
from pipeline.inputs.train_data import load_split_rows
from pipeline.metrics.classification import FloatArray, IntArray, mean_of_defined
from pipeline.metrics.values import seasonal_naive_error
from pipeline.runtime import paths
from pipeline.runtime.files import read_json
from pipeline.runtime.stage import InputMissing


@dataclass(frozen=True)
class JudgedRows:
    """Rows of one split, with the truth in the units of the data.

    Attributes:
        sample_ids: In the order of `rows`; of windows `series@step`.
        rows: Index into the inputs of models, ascending; of windows their numbers.
        labels: Class names; classification.
        targets: Values, shape (num_rows, num_targets), or (num_rows, horizon, num_targets) in forecasting.
        timeline: Where the windows stand; None where a row is a sample of its own.
        naive_errors: Of the seasonal naive forecast on train, shape (num_rows, num_targets); forecasting.
        groups: Whom or what each row is of, "" for nobody else; () where the data names none, and of windows.
    """

    sample_ids: tuple[str, ...]
    rows: IntArray
    labels: tuple[str, ...] = ()
    targets: FloatArray | None = None
    timeline: Timeline | None = None
    naive_errors: FloatArray | None = None
    groups: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.rows)

    def take(self, positions: npt.NDArray[np.integer]) -> "JudgedRows":
        """Return some of the rows, given by their positions in ascending order."""
        return JudgedRows(
            tuple(self.sample_ids[position] for position in positions),
            self.rows[positions],
            tuple(self.labels[position] for position in positions) if self.labels else (),
            None if self.targets is None else self.targets[positions],
            None if self.timeline is None else self.timeline.take(positions),
            None if self.naive_errors is None else self.naive_errors[positions],
            tuple(self.groups[position] for position in positions) if self.groups else (),
        )

    def class_indices(self, classes: Sequence[str]) -> IntArray:
        """Return the class index per row.

        Raises:
            ValueError: A label is not among the classes.
        """
        unknown = sorted(set(self.labels) - set(classes))
        if unknown:
            raise ValueError(
                f"The rows have classes the model does not know. Expected {list(classes)}. Received: {unknown}."
            )
        order = {name: index for index, name in enumerate(classes)}
        return np.array([order[label] for label in self.labels], dtype=np.int64)


def load_rows(split: str, season: int | None = None) -> JudgedRows:
    """Return the rows of a split with what is true of them.

    Args:
        split: `val` or `test`.
        season: Steps of the seasonal naive forecast that errors are compared with; None for none.

    Raises:
        FileNotFoundError: An earlier stage has not run; says which.
    """
    state = read_json(paths.FEATURES_STATE, "features")
    found = load_split_rows(split, "cnn")
    targets = None if found.targets is None else found.targets.astype(np.float64)
    if found.series is None or found.steps is None:
        return JudgedRows(
            found.sample_ids, found.rows, found.labels, targets, groups=_groups_of_rows(found.rows)
        )
    spec, windows = output_spec(state), state["windows"]
    timeline = Timeline(
        found.sample_ids,
        found.series,
        found.steps,
        windows["length"] if spec.task == "anomaly" else spec.horizon,
        windows["stride"],
        labelled_intervals(found.anomalies),
    )
    naive_errors = None
    if season is not None and spec.task != "anomaly":
        naive_errors = _naive_errors(spec.target_channels, season, found.series)
    return JudgedRows(timeline.ids, found.rows, (), targets, timeline, naive_errors)


def _groups_of_rows(rows: IntArray) -> tuple[str, ...]:
    """Return the group of samples, given by row; () where none of them has one."""
    if "group" not in pq.read_schema(paths.SAMPLES_PARQUET).names:
        raise InputMissing(
            f"{paths.SAMPLES_PARQUET} was written by another version. Expected a column group. Received: none. "
            "Run `dvc repro ingest`."
        )
    table = pq.read_table(paths.SAMPLES_PARQUET, columns=["row", "group"]).sort_by("row")
    groups = table["group"].take(rows).to_pylist()
    return tuple(groups) if any(groups) else ()


def _naive_errors(channels: Sequence[int], season: int, series: IntArray) -> FloatArray | None:
    """Return the naive forecast's error on train per window and target; None where it has none anywhere.

    A series without one (too short, or it never changes) has the mean of the others.
    """
    samples, split = read_sample_rows(), read_split(("train",))
    payload = np.load(paths.PAYLOAD_NPY, mmap_mode="r")
    errors = np.full((len(samples), len(channels)), np.nan)
    for row, start, stop in zip(split.rows, split.starts, split.stops, strict=True):
        first = samples.starts[row]
        part = payload[first + start : first + stop][:, list(channels)]
        errors[row] = seasonal_naive_error(part, season)
    errors[errors == 0] = np.nan
    filled = np.where(np.isnan(errors), mean_of_defined(errors), errors)
    return None if np.isnan(filled).any() else filled[series]
