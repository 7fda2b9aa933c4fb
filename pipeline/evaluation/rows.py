"""The rows of a split that judge: what they are called, and what is true of them."""

import bisect
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.samples import SampleRows, SplitTable, mapped, read_sample_rows, read_split
from pipeline.data.windows import Timeline, labelled_intervals
from pipeline.inputs.specs import kind_read, output_spec
from pipeline.inputs.train_data import load_split_rows
from pipeline.metrics.classification import FloatArray, IntArray, mean_of_defined
from pipeline.metrics.intervals import Groups, groups_of
from pipeline.metrics.values import seasonal_naive_error
from pipeline.preprocessing.series import CHUNK_STEPS
from pipeline.preprocessing.side import seconds_of
from pipeline.runtime import paths
from pipeline.runtime.errors import InputMissing
from pipeline.runtime.files import atomic_path, content_key, read_json

DAY = len("2026-11-27")
"""Characters of a time in ISO 8601 that name its day."""


@dataclass(frozen=True)
class EvaluationRows:
    """Rows of one split, with the truth in the units of the data.

    Attributes:
        sample_ids: In the order of `rows`; of windows `series@step`.
        rows: Index into the inputs of models, ascending; of windows their numbers.
        labels: Class names; of several labels the cells that stand for them, see `pipeline.data.label_sets`.
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

    def take(self, positions: npt.NDArray[np.integer]) -> "EvaluationRows":
        """Return some of the rows, given by their positions in ascending order."""
        return EvaluationRows(
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


def load_rows(split: str, season: int | None = None) -> EvaluationRows:
    """Return the rows of a split with what is true of them.

    Args:
        split: `val` or `test`.
        season: Steps of the seasonal naive forecast that errors are compared with; None for none.

    Raises:
        FileNotFoundError: An earlier stage has not run; says which.
    """
    state = read_json(paths.FEATURES_STATE, "features")
    found = load_split_rows(split, [kind_read(state, "cnn")])
    targets = None if found.targets is None else found.targets.astype(np.float64)
    if found.series is None or found.steps is None:
        return EvaluationRows(
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
    return EvaluationRows(timeline.ids, found.rows, (), targets, timeline, naive_errors)


def days_of(rows: EvaluationRows, split_method: str) -> Groups | None:
    """Return the rows of each day, which are drawn together, where the split is by time; else None.

    What trains before a date and is judged after it is judged on days that are each of their own kind. Where samples
    name a group, that is what is drawn; windows are drawn in blocks.

    Args:
        rows: Those that judge.
        split_method: `split.method` of params.yaml.
    """
    if rows.groups or rows.timeline is not None or split_method != "time":
        return None
    times = read_sample_rows().times
    return groups_of([times[row][:DAY] for row in rows.rows])


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


# --- What the judged rows are: their content in the canonical payload and what is true of them, nothing fitted.
#
# A digest of what models *read* would change with every vocabulary and scale, that is with every new training
# row, while the rows that judge stay the same.


def rows_digest(test: EvaluationRows) -> str:
    """Return a sha256 (hex) over all that judges: which rows, what is true of them, and all they can be read from.

    Of windows that is every series with one of them, from its begin to the last step that is judged: gaps are
    filled from far back, and another model may read more history.
    """
    truth = "" if test.targets is None else hashlib.sha256(test.targets.tobytes()).hexdigest()
    labelled = [] if test.timeline is None else test.timeline.labelled
    return content_key([test.sample_ids, test.labels, truth, labelled, _payload_digest(test)])


def row_keys(test: EvaluationRows) -> Iterator[str]:
    """Yield a text per row that names its content and truth, the same in every test set that holds the row."""
    names = content_of_rows(test.rows) if test.timeline is None else test.sample_ids
    for place, name in enumerate(names):
        label = test.labels[place] if test.labels else ""
        truth = "" if test.targets is None else test.targets[place].tobytes().hex()
        yield f"{name} {label} {truth}"


def content_of_rows(rows: np.ndarray) -> list[str]:
    """Return `content_sha256` of samples, given by row."""
    table = pq.read_table(paths.SAMPLES_PARQUET, columns=["row", "content_sha256"]).sort_by("row")
    contents: list[str] = table["content_sha256"].take(rows).to_pylist()
    return contents


def _payload_digest(test: EvaluationRows) -> str:
    samples, payload = read_sample_rows(), mapped(paths.PAYLOAD_NPY, "ingest")
    digest = hashlib.sha256(f"{payload.dtype.str} {payload.shape[1:]} {samples.channels}".encode())
    for row, start, stop in _stretches(test, samples):
        about = [start - stop, samples.times[row], float(samples.step_seconds[row]), _side(samples, row)]
        digest.update(json.dumps(about, sort_keys=True).encode())
        for first in range(start, stop, CHUNK_STEPS):
            digest.update(np.ascontiguousarray(payload[first : min(first + CHUNK_STEPS, stop)]).data)
    return digest.hexdigest()


def _stretches(test: EvaluationRows, samples: SampleRows) -> Iterator[tuple[int, int, int]]:
    """Yield row of a sample, its first element in the payload, and the element after the last that counts."""
    if test.timeline is None:
        rows: Sequence[int] = test.rows.tolist()
        for row in rows:
            yield row, int(samples.starts[row]), int(samples.starts[row] + samples.lengths[row])
        return
    timeline = test.timeline
    for series in np.unique(timeline.series).tolist():
        first = int(samples.starts[series])
        yield series, first, first + int(timeline.starts[timeline.windows_of(series)][-1]) + timeline.length


def _side(samples: SampleRows, row: int) -> dict[str, str | float | None]:
    return {name: values[row] for name, values in samples.side.items()}


# --- The rows a model was fitted on or chosen by, by content, as a file that travels with it.
#
# A sample is named by `content_sha256` of the table of samples, so that a copy under another name is known
# too.
#
# Series that windows slide over grow, so the content of a whole one names nothing next week. There a row of
# the file is a block: `BLOCK_STEPS` steps of a series, counted from its begin, cut where a split begins or
# ends. Two witnesses say that a step was seen, and one is enough:
#
# - series and place: the same series id at the same time (by the clock where the data has one, otherwise by the
#   number of the step). That holds when steps are appended, when old ones fall out at the front, and when a
#   value was corrected afterwards, which would hide a block from its hash;
# - content: the same steps hold the same values, in whatever series. That holds when series were renamed.
#
# A row judged is seen when one of the steps that it is judged by is; what it only reads as history may be
# old.

TRAINED_ON = "trained_on.parquet"
BLOCK_STEPS = 256
"""A series of ten million steps makes 39,000 rows, about 2 MB."""
SCHEMA = pa.schema(
    [
        pa.field("content_sha256", pa.string(), nullable=False),  # of a sample, or of the steps of a block
        pa.field(
            "split", pa.string(), nullable=False
        ),  # train, or val: it chose, and trained where card.json has `refit`
        pa.field("start", pa.int64(), nullable=False),  # steps of the series; 0 and 1 of whole samples
        pa.field("stop", pa.int64(), nullable=False),
        pa.field("series", pa.string(), nullable=False),  # sample id of the series, "" of whole samples
        pa.field("start_second", pa.float64()),  # since 1970, of step `start`; null where unknown
        pa.field("stop_second", pa.float64()),
    ]
)
Range = tuple[float, float]


def write_trained_on(path: Path, *, windowed: bool) -> None:
    """Write the rows of train and val; equal data gives equal bytes.

    Args:
        path: The file.
        windowed: Whether windows slide over the samples.

    Raises:
        InputMissing: An earlier stage has not run; says which.
    """
    split = read_split(("train", "val"))
    rows = _block_rows(split) if windowed else _sample_rows(split)
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), temporary, compression="zstd")


def unseen(test: EvaluationRows, folder: Path) -> np.ndarray:
    """Return whether each row is new to the model whose `trained_on.parquet` lies in a folder.

    Args:
        test: The rows.
        folder: Where the papers of the model lie.

    Returns:
        Booleans, shape (len(test),).

    Raises:
        FileNotFoundError: The model does not say what it was trained on.
    """
    path = folder / TRAINED_ON
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist.")
    table = pq.read_table(path)
    if test.timeline is None:
        known = set(table["content_sha256"].to_pylist())
        return np.array([content not in known for content in content_of_rows(test.rows)], dtype=bool)
    return ~_seen_windows(test, table)


def _sample_rows(split: SplitTable) -> list[dict[str, Any]]:
    contents = content_of_rows(split.rows)
    pairs = sorted(set(zip(contents, split.splits.tolist(), strict=True)))
    return [
        {"content_sha256": content, "split": name, "start": 0, "stop": 1, "series": ""}
        for content, name in pairs
    ]


def _block_rows(split: SplitTable) -> list[dict[str, Any]]:
    samples, payload = read_sample_rows(), mapped(paths.PAYLOAD_NPY, "ingest")
    rows = []
    for row, name, start, stop in sorted(
        zip(
            split.rows.tolist(),
            split.splits.tolist(),
            split.starts.tolist(),
            split.stops.tolist(),
            strict=True,
        ),
        key=lambda entry: (samples.sample_ids[entry[0]], entry[2]),
    ):
        for first, last in _blocks(start, stop):
            clock = _clock(samples, row)
            rows.append(
                {
                    "content_sha256": _steps_sha256(payload, samples, row, first, last),
                    "split": name,
                    "start": first,
                    "stop": last,
                    "series": samples.sample_ids[row],
                    "start_second": clock[0] + first * clock[1] if clock else None,
                    "stop_second": clock[0] + last * clock[1] if clock else None,
                }
            )
    return rows


def _blocks(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a stretch between multiples of `BLOCK_STEPS`."""
    for first in range(start - start % BLOCK_STEPS, stop, BLOCK_STEPS):
        yield max(first, start), min(first + BLOCK_STEPS, stop)


def _steps_sha256(payload: np.ndarray, samples: SampleRows, row: int, start: int, stop: int) -> str:
    """Return the digest of some steps of a series; of all of them it is the series' `content_sha256`."""
    steps = np.ascontiguousarray(payload[samples.starts[row] + start : samples.starts[row] + stop])
    digest = hashlib.sha256(f"{'x'.join(map(str, steps.shape))}:".encode())
    digest.update(steps.data)
    return digest.hexdigest()


def _clock(samples: SampleRows, row: int) -> tuple[float, float] | None:
    """Return the second (since 1970) of the first step and seconds per step; None where the data has no times."""
    if not samples.times[row] or not samples.step_seconds[row]:
        return None
    return float(seconds_of(samples.times[row])), float(samples.step_seconds[row])


def _seen_windows(test: EvaluationRows, table: pa.Table) -> np.ndarray:
    timeline = test.timeline
    if timeline is None:
        raise TypeError("Windows have a timeline. Expected one. Received: None.")
    samples, payload = read_sample_rows(), mapped(paths.PAYLOAD_NPY, "ingest")
    by_series: dict[str, list[dict[str, Any]]] = defaultdict(list)
    by_place: dict[tuple[int, int], set[str]] = defaultdict(set)
    for entry in table.to_pylist():
        by_series[entry["series"]].append(entry)
        by_place[entry["start"], entry["stop"]].add(entry["content_sha256"])
    places = sorted(by_place)
    seen = np.zeros(len(test), bool)
    for row in np.unique(timeline.series).tolist():
        own = timeline.windows_of(row)
        starts = timeline.starts[own].astype(np.float64)
        stops = starts + timeline.length
        first = bisect.bisect_left(places, (int(starts[0]) - BLOCK_STEPS, 0))
        last = bisect.bisect_left(places, (int(stops[-1]), 0))
        near = [place for place in places[first:last] if place[1] <= samples.lengths[row]]
        same = [place for place in near if _steps_sha256(payload, samples, row, *place) in by_place[place]]
        seen[own] = _touch(starts, stops, same)
        seen[own] |= _at_places(starts, stops, by_series[samples.sample_ids[row]], _clock(samples, row))
    return seen


def _at_places(
    starts: np.ndarray,
    stops: np.ndarray,
    entries: Sequence[Mapping[str, Any]],
    clock: tuple[float, float] | None,
) -> np.ndarray:
    """Return which windows touch a block of the same series: by the clock where both have one, else by number."""
    timed = [entry for entry in entries if clock and entry["start_second"] is not None]
    plain = [entry for entry in entries if not clock or entry["start_second"] is None]
    seen = _touch(starts, stops, [(entry["start"], entry["stop"]) for entry in plain])
    if clock and timed:
        first, step = clock
        ranges = [(entry["start_second"], entry["stop_second"]) for entry in timed]
        seen |= _touch(first + starts * step, first + stops * step, ranges)
    return seen


def _touch(starts: np.ndarray, stops: np.ndarray, ranges: Sequence[Range]) -> np.ndarray:
    """Return which of some intervals share something with one of `ranges`; all are half open."""
    begins = np.sort(np.array([begin for begin, _end in ranges], np.float64))
    ends = np.sort(np.array([end for _begin, end in ranges], np.float64))
    # Begun before the interval ends, less those that had ended by its begin: what is left is touched.
    touched: np.ndarray = np.searchsorted(begins, stops, side="left") > np.searchsorted(
        ends, starts, side="right"
    )
    return touched
