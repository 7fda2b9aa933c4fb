"""The data set that `ingest` wrote, for reading without pandas: the table by row, and single samples of the payload."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.runtime import paths
from pipeline.runtime.stage import InputMissing

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
