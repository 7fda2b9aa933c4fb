"""The canonical data set on disk: one table of samples, one memory-mappable array that holds what they are."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.runtime import paths
from pipeline.runtime.files import atomic_path
from pipeline.runtime.stage import DataRefused

if TYPE_CHECKING:
    import pandas as pd

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
SIDE_PREFIX = "side."
METADATA_KEY = b"millrace"
ROWS_PER_GROUP = 8192
"""Rows held before they are written; also the row groups of the file, so its bytes depend on it."""
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


class SampleWriter:
    """Writes rows of `SCHEMA` to a Parquet file, a group at a time; use it through `sample_writer`.

    Side columns and their kinds follow from the first group: strings are categories. A row may leave side
    columns out; it has no others than those of the first group.

    Attributes:
        facts: What the samples are; settle it before the first group is full.
        count: Rows so far.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parquet: pq.ParquetWriter | None = None
        self._rows: list[dict[str, Any]] = []
        self.facts = TableFacts()
        self.count = 0

    def append(self, row: Mapping[str, Any], side: Mapping[str, str | float | None] | None = None) -> None:
        """Add one row; every column of `SCHEMA` must be there.

        Raises:
            ValueError: A column is missing or unknown.
            DataRefused: A side column holds numbers in some rows and words in others.
        """
        if row.keys() != set(SCHEMA.names):
            raise ValueError(
                f"A sample row has wrong columns. Expected {SCHEMA.names}. Received: {list(row)}."
            )
        self._rows.append({**row, **{SIDE_PREFIX + name: value for name, value in (side or {}).items()}})
        self.count += 1
        if len(self._rows) == ROWS_PER_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the rows held so far as one row group."""
        if self._parquet is None:
            self._parquet = self._open()
        strangers = {name for row in self._rows for name in row} - set(self._parquet.schema.names)
        if strangers:
            raise ValueError(
                f"Side columns appear late. Expected them from the first {ROWS_PER_GROUP:,} rows on. "
                f"Received: {sorted(strangers)}. Give every sample of a source the same side features."
            )
        if self._rows:
            try:
                table = pa.Table.from_pylist(self._rows, self._parquet.schema)
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise DataRefused(
                    "A side column holds numbers in some rows and words in others. Expected one kind per column. "
                    f"Received: {error}. Name it: `millrace init ... --set categorical=COLUMN`."
                ) from error
            self._parquet.write_table(table)
            self._rows = []

    def close(self) -> None:
        """Write what is left and complete the file."""
        self.flush()
        if self._parquet is not None:
            self._parquet.close()

    def _open(self) -> pq.ParquetWriter:
        names = sorted({name for row in self._rows for name in row if name.startswith(SIDE_PREFIX)})
        kinds = {
            name: "category" if any(isinstance(row.get(name), str) for row in self._rows) else "number"
            for name in names
        }
        side = {name.removeprefix(SIDE_PREFIX): kind for name, kind in kinds.items()}
        content = asdict(self.facts) | {"side": side}
        fields = [*SCHEMA, *(pa.field(name, SIDE_TYPES[kind]) for name, kind in kinds.items())]
        metadata = {METADATA_KEY: json.dumps(content, sort_keys=True).encode()}
        return pq.ParquetWriter(self._path, pa.schema(fields, metadata=metadata), compression="zstd")


@contextmanager
def sample_writer(path: Path) -> Iterator[SampleWriter]:
    """Yield a writer for the table of samples; the file appears complete or not at all."""
    with atomic_path(path) as temporary:
        writer = SampleWriter(temporary)
        yield writer
        writer.close()


class NpyWriter:
    """Appends rows of one shape and type to a `.npy` file; use it through `npy_writer`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._header_bytes = 0
        self._shape: tuple[int, ...] = ()
        self._dtype = np.dtype(np.uint8)
        self.count = 0

    def append(self, row: np.ndarray) -> None:
        """Add one row; the first decides shape and type.

        Raises:
            ValueError: Another shape or type than the first.
        """
        self.extend(row[np.newaxis])

    def extend(self, rows: np.ndarray) -> None:
        """Add rows, shape (num_rows, ...); the first ones decide shape and type.

        Raises:
            ValueError: Another shape or type than the first.
        """
        if self._header_bytes == 0:
            self._shape, self._dtype = rows.shape[1:], rows.dtype
            self._header_bytes = self._write_header()
        if rows.shape[1:] != self._shape or rows.dtype != self._dtype:
            raise ValueError(
                f"A row does not fit the array. Expected shape {self._shape}, {self._dtype}. "
                f"Received: shape={rows.shape[1:]}, {rows.dtype}. Bring all rows to one shape first."
            )
        self._file.write(np.ascontiguousarray(rows).data)
        self.count += len(rows)

    def finish(self) -> None:
        """Put the number of rows into the header.

        Raises:
            ValueError: No row was written, so nobody knows their shape.
        """
        if self.count == 0:
            raise ValueError("An array without rows has no shape. Expected at least one row. Received: 0.")
        self._file.seek(0)
        if self._write_header() != self._header_bytes:
            raise ValueError("NumPy's header grew with the number of rows. Expected room kept for it.")

    def _write_header(self) -> int:
        # NumPy pads its header so that the first dimension can grow to 21 digits in place.
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(self._file, header | {"shape": (self.count, *self._shape)})
        return self._file.tell()


@contextmanager
def npy_writer(path: Path) -> Iterator[NpyWriter]:
    """Yield a writer for an array of unknown length; the file appears complete or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        writer = NpyWriter(file)
        yield writer
        writer.finish()
