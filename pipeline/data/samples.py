"""The data set that `ingest` wrote, for reading without pandas: the table by row, and single samples of the payload."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.windows import Segment
from pipeline.runtime import paths
from pipeline.runtime.errors import InputMissing

if TYPE_CHECKING:
    import pandas as pd


Kind = Literal["number", "category"]
"""What a side column holds."""
Value = str | float | None
Values = Sequence[Value] | np.ndarray
"""A column, one value per row."""
MISSING = frozenset(["", "?", "NA", "N/A", "NaN", "nan", "NAN", "null", "NULL", "None"])
"""Spellings of a missing number, in every source and in a record. In a column of labels they are labels."""
SIDE_PREFIX = "side."


@dataclass(frozen=True)
class SampleRows:
    """All samples, one entry per row.

    Attributes:
        sample_ids: Names.
        starts: First element of each sample on axis 0 of the payload, int64.
        lengths: Elements of each sample: steps, or bytes of a text; int64.
        times: ISO 8601, "" for none.
        step_seconds: Time from one step to the next, float64; 0 for none.
        channels: Names of the columns of series; () for other data.
        has_anomalies: Whether the payload has one column more: which steps are labelled.
        side: Side columns by name.
        side_kinds: What each side column is.
    """

    sample_ids: list[str]
    starts: np.ndarray
    lengths: np.ndarray
    times: list[str]
    step_seconds: np.ndarray
    channels: tuple[str, ...] = ()
    has_anomalies: bool = False
    side: dict[str, list[Value]] = field(default_factory=dict)
    side_kinds: dict[str, Kind] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return how many samples there are."""
        return len(self.sample_ids)

    def extent(self, row: int) -> tuple[str, int, int]:
        """Return the name of a sample, its first element in the payload, and the element after its last."""
        start = int(self.starts[row])
        return self.sample_ids[row], start, start + int(self.lengths[row])


def read_sample_rows() -> SampleRows:
    """Return the table that `ingest` wrote.

    Raises:
        InputMissing: There is none, or its rows are not counted through from 0.
    """
    if not paths.SAMPLES_PARQUET.is_file():
        raise InputMissing(f"{paths.SAMPLES_PARQUET} does not exist. Run `dvc repro ingest`.")
    schema = pq.read_schema(paths.SAMPLES_PARQUET)
    facts: dict[str, Any] = json.loads((schema.metadata or {}).get(b"millrace", b"{}"))
    side = [name for name in schema.names if name.startswith(SIDE_PREFIX)]
    columns = ["sample_id", "row", "start", "length", "time", "step_seconds", *side]
    missing = sorted(set(columns) - set(schema.names))
    if missing:
        raise InputMissing(
            f"{paths.SAMPLES_PARQUET} was written by another version. Expected columns {', '.join(columns)}. "
            f"Received: none named {', '.join(missing)}. Run `dvc repro ingest`."
        )
    table = pq.read_table(paths.SAMPLES_PARQUET, columns=columns).sort_by("row")
    if not np.array_equal(table["row"], np.arange(len(table))):
        raise InputMissing(
            f"{paths.SAMPLES_PARQUET} does not number its rows from 0 on. Run `dvc repro ingest`."
        )
    return SampleRows(
        table["sample_id"].to_pylist(),
        _numbers(table, "start").astype(np.int64),
        _numbers(table, "length").astype(np.int64),
        table["time"].to_pylist(),
        _numbers(table, "step_seconds").astype(np.float64),
        tuple(facts.get("channels", ())),
        bool(facts.get("has_anomalies", False)),
        {name.removeprefix(SIDE_PREFIX): table[name].to_pylist() for name in side},
        dict(facts.get("side", {})),
    )


def read_groups() -> np.ndarray:
    """Return per row the number of what must not be torn apart, int64: its group, or without one its content.

    Raises:
        InputMissing: There is no table.
    """
    if not paths.SAMPLES_PARQUET.is_file():
        raise InputMissing(f"{paths.SAMPLES_PARQUET} does not exist. Run `dvc repro ingest`.")
    table = pq.read_table(paths.SAMPLES_PARQUET, columns=["row", "group", "content_sha256"]).sort_by("row")
    pairs = zip(table["group"].to_pylist(), table["content_sha256"].to_pylist(), strict=True)
    names = [f"group {group}" if group else f"content {content}" for group, content in pairs]
    numbers: np.ndarray = np.unique(names, return_inverse=True)[1]
    return numbers


def _numbers(table: pa.Table, column: str) -> np.ndarray:
    numbers: np.ndarray = table[column].to_numpy()
    return numbers


def mapped(path: Path, made_by: str) -> np.ndarray:
    """Return the array of a `.npy` file, memory-mapped.

    Raises:
        InputMissing: The file is not there; says which stage makes it.
    """
    if not path.is_file():
        raise InputMissing(f"{path} does not exist. Run `dvc repro {made_by}`.")
    array: np.ndarray = np.load(path, mmap_mode="r")
    return array


def text_at(payload: np.ndarray, start: int, length: int) -> str:
    """Return one text.

    Args:
        payload: UTF-8, uint8, shape (total_bytes,); may be a memmap.
        start: Its first byte.
        length: Bytes.
    """
    return bytes(payload[start : start + length]).decode()


def texts(payload: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> Iterator[str]:
    """Yield texts one by one.

    Args:
        payload: As in `text_at`.
        starts: First byte of each.
        lengths: Bytes of each.
    """
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        yield text_at(payload, start, length)


def series_at(payload: np.ndarray, start: int, length: int) -> np.ndarray:
    """Return one series, float32, shape (steps, channels); NaN where a value is missing.

    Args:
        payload: float32, shape (total_steps, channels); may be a memmap.
        start: Its first step.
        length: Steps.
    """
    steps: np.ndarray = payload[start : start + length]
    return steps


SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),  # unique; the table is sorted by it
        pa.field("label", pa.string(), nullable=False),  # "" where the task has no classes
        pa.field("given_split", pa.string(), nullable=False),  # train, val, test, or "" for none
        pa.field("group", pa.string(), nullable=False),  # samples that must not be torn apart, "" for none
        pa.field("time", pa.string(), nullable=False),  # ISO 8601, "" for none
        pa.field("content_sha256", pa.string(), nullable=False),  # of shape and content as in the payload
        pa.field("height_original", pa.int32(), nullable=False),  # pixels, upright; 0 for other data
        pa.field("width_original", pa.int32(), nullable=False),
        pa.field("mode_original", pa.string(), nullable=False),  # Pillow's name: L, RGB, CMYK, ...
        pa.field("oddities", pa.string(), nullable=False),  # comma-joined: size, mode, exif_rotation
        pa.field("row", pa.int32(), nullable=False),  # index of the sample
        pa.field("target", pa.float64(), nullable=False),  # of regression; NaN for none
        pa.field("start", pa.int64(), nullable=False),  # first element on axis 0 of the payload
        pa.field("length", pa.int64(), nullable=False),  # 1 image, bytes of a text, steps of a series
        pa.field("step_seconds", pa.float64(), nullable=False),  # time from one step to the next, 0 for none
    ]
)
"""Without side columns; `side.<name>` come after, in alphabetical order, null where a value is missing."""
METADATA_KEY = b"millrace"
SIDE_TYPES = {"number": pa.float64(), "category": pa.string()}


@dataclass(frozen=True)
class TableFacts:
    """What the samples are, kept in the metadata of the table.

    Attributes:
        payload: Of every sample.
        channels: Names of the columns of series.
        side: Name of each side column to what it holds.
        has_anomalies: Whether the payload has a last column more, 0 or 1: which steps are labelled.
    """

    payload: Literal["image", "text", "series"] = "image"
    channels: tuple[str, ...] = ()
    side: Mapping[str, Literal["number", "category"]] = field(default_factory=dict)
    has_anomalies: bool = False


def read_samples(path: Path = paths.SAMPLES_PARQUET) -> "pd.DataFrame":
    """Return the table of samples, sorted by `sample_id`; columns as in `SCHEMA`, then the side columns.

    Raises:
        FileNotFoundError: There is none; says which stage makes it.
        ValueError: Its columns are not those of `SCHEMA`.
    """
    _require(path)
    table = pq.read_table(path)
    own = [name for name in table.schema.names if not name.startswith(SIDE_PREFIX)]
    if not table.select(own).schema.remove_metadata().equals(SCHEMA):
        raise ValueError(
            f"{path} has other columns than this version writes. Expected {SCHEMA.names}. "
            f"Received: {table.schema.names}. Run `dvc repro ingest`."
        )
    frame: pd.DataFrame = table.to_pandas()
    return frame


def table_facts(path: Path = paths.SAMPLES_PARQUET) -> TableFacts:
    """Return what the samples of a table are.

    Raises:
        FileNotFoundError: There is none; says which stage makes it.
    """
    _require(path)
    content = (pq.read_schema(path).metadata or {}).get(METADATA_KEY)
    if content is None:
        return TableFacts()
    facts = json.loads(content)
    return TableFacts(facts["payload"], tuple(facts["channels"]), facts["side"], facts["has_anomalies"])


def _require(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist. Expected the table of samples. Run `dvc repro ingest`."
        )


# --- The table of the split: who trains, who chooses, who judges, and which steps of a series that is about.


@dataclass(frozen=True)
class SplitTable:
    """Rows of `data/split/split.parquet`, by row and then by step.

    Attributes:
        sample_ids: Names of the samples.
        rows: Row of the sample, int64.
        splits: `train`, `val`, `test` or `excluded`.
        labels: Class names, "" for none.
        targets: What regression predicts, float64, NaN for none.
        starts: First step of the segment in its series, int64; 0 without windows.
        stops: Step after its last.
    """

    sample_ids: np.ndarray
    rows: np.ndarray
    splits: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    starts: np.ndarray
    stops: np.ndarray

    def rows_of(self, split: str) -> np.ndarray:
        """Return the rows of a split, ascending; of windowed data one per segment."""
        rows: np.ndarray = self.rows[self.splits == split]
        return rows

    def named_segments(self, samples: SampleRows, split: str) -> list[tuple[str, int, int]]:
        """Return sample id, first row in the payload and row after the last of each segment of a split."""
        chosen = np.flatnonzero(self.splits == split)
        rows = self.rows[chosen]
        starts, stops = samples.starts[rows] + self.starts[chosen], samples.starts[rows] + self.stops[chosen]
        names = [samples.sample_ids[row] for row in rows]
        return list(zip(names, starts.tolist(), stops.tolist(), strict=True))

    def segments(self, samples: SampleRows, split: str) -> list[Segment]:
        """Return the segments of a split as `windows.find_windows` takes them."""
        series_starts = samples.starts[self.rows_of(split)].tolist()
        named = self.named_segments(samples, split)
        return [
            (first, start, stop) for first, (_name, start, stop) in zip(series_starts, named, strict=True)
        ]


def read_split(splits: Sequence[str] | None = None) -> SplitTable:
    """Return the table that the split stage wrote, or only some splits of it.

    Args:
        splits: Names of the splits that are read; None for all.

    Raises:
        InputMissing: There is none.
    """
    if not paths.SPLIT_PARQUET.is_file():
        raise InputMissing(f"{paths.SPLIT_PARQUET} does not exist. Run `dvc repro split`.")
    filters = None if splits is None else [("split", "in", list(splits))]
    table = pq.read_table(paths.SPLIT_PARQUET, filters=filters)
    absent = {"target": np.nan, "start": 0, "stop": 0}
    for name in sorted(absent.keys() - set(table.schema.names)):
        table = table.append_column(name, pa.array([absent[name]] * len(table)))
    table = table.sort_by([("row", "ascending"), ("start", "ascending")])
    return SplitTable(
        np.array(table["sample_id"].to_pylist(), dtype=object),
        table["row"].to_numpy().astype(np.int64),
        np.array(table["split"].to_pylist(), dtype=object),
        np.array(table["label"].to_pylist(), dtype=object),
        table["target"].to_numpy().astype(np.float64),
        table["start"].to_numpy().astype(np.int64),
        table["stop"].to_numpy().astype(np.int64),
    )
