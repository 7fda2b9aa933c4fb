"""The canonical data set on disk: one table of samples, one memory-mappable array of their images."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import paths
from pipeline.artifacts import atomic_path

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),  # unique; the table is sorted by it
        pa.field("label", pa.string(), nullable=False),
        pa.field("given_split", pa.string(), nullable=False),  # train, val, test, or "" for none
        pa.field("group", pa.string(), nullable=False),  # samples that must not be torn apart, "" for none
        pa.field("time", pa.string(), nullable=False),  # ISO 8601, "" for none
        pa.field("content_sha256", pa.string(), nullable=False),  # of shape and pixels as in the payload
        pa.field("height_original", pa.int32(), nullable=False),  # pixels, upright
        pa.field("width_original", pa.int32(), nullable=False),
        pa.field("mode_original", pa.string(), nullable=False),  # Pillow's name: L, RGB, CMYK, ...
        pa.field("oddities", pa.string(), nullable=False),  # comma-joined: size, mode, exif_rotation
        pa.field("row", pa.int32(), nullable=False),  # index into the payload
    ]
)
ROWS_PER_GROUP = 8192
"""Rows held before they are written; also the row groups of the file, so its bytes depend on it."""


def read_samples(path: Path = paths.SAMPLES_PARQUET) -> "pd.DataFrame":
    """Return the table of samples, sorted by `sample_id`; columns as in `SCHEMA`.

    Raises:
        FileNotFoundError: There is none; says which stage makes it.
        ValueError: Its columns are not those of `SCHEMA`.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist. Expected the table of samples. Run `dvc repro ingest`."
        )
    table = pq.read_table(path)
    if not table.schema.equals(SCHEMA):
        raise ValueError(
            f"{path} has other columns than this version writes. Expected {SCHEMA.names}. "
            f"Received: {table.schema.names}. Run `dvc repro ingest`."
        )
    frame: pd.DataFrame = table.to_pandas()
    return frame


class SampleWriter:
    """Writes rows of `SCHEMA` to a Parquet file, a group at a time; use it through `sample_writer`."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._rows: list[Mapping[str, Any]] = []
        self.count = 0

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one row; every column of `SCHEMA` must be there.

        Raises:
            ValueError: A column is missing or unknown.
        """
        if row.keys() != set(SCHEMA.names):
            raise ValueError(
                f"A sample row has wrong columns. Expected {SCHEMA.names}. Received: {list(row)}."
            )
        self._rows.append(row)
        self.count += 1
        if len(self._rows) == ROWS_PER_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the rows held so far as one row group."""
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
            self._rows = []


@contextmanager
def sample_writer(path: Path) -> Iterator[SampleWriter]:
    """Yield a writer for the table of samples; the file appears complete or not at all."""
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as parquet:
        writer = SampleWriter(parquet)
        yield writer
        writer.flush()


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
        if self.count == 0:
            self._shape, self._dtype = row.shape, row.dtype
            self._header_bytes = self._write_header()
        if row.shape != self._shape or row.dtype != self._dtype:
            raise ValueError(
                f"A row does not fit the array. Expected shape {self._shape}, {self._dtype}. "
                f"Received: shape={row.shape}, {row.dtype}. Bring all rows to one shape first."
            )
        self._file.write(np.ascontiguousarray(row).data)
        self.count += 1

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
