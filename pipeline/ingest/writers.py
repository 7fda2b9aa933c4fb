"""The canonical data set on disk: one table of samples, one memory-mappable array that holds what they are."""

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.samples import METADATA_KEY, SCHEMA, SIDE_PREFIX, SIDE_TYPES, TableFacts
from pipeline.raw.answers import UNLABELLED
from pipeline.raw.sample import RawSample
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.files import atomic_path

# --- What became of every sample while it was ingested: the counts behind reports/ingest/summary.json.

NUMBERS = re.compile(r"b'.*'|[0-9]+")
MAX_EXAMPLES = 10
"""Rejected samples that the report names, per reason."""


class Tally:
    """Counts samples kept, rejected and converted; its size does not depend on how many there are."""

    def __init__(self) -> None:
        self.kept = 0
        self.num_rejected = 0
        self.num_beyond_limit = 0
        self._per_class_and_split: Counter[tuple[str, str]] = Counter()
        self._classes: Counter[str] = Counter()
        self._splits: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        self._converted: Counter[str] = Counter()
        self._examples: defaultdict[str, list[str]] = defaultdict(list)
        self._because: dict[str, tuple[int, str]] = {}

    def has_enough(self, label: str, split: str, limit: int | None) -> bool:
        """Tell whether `limit` samples of this class and given split are kept already, and count the one left out."""
        full = limit is not None and self._per_class_and_split[label, split] >= limit
        self.num_beyond_limit += full
        return full

    def keep(
        self, label: str, split: str, converted: Iterable[str], labels: Sequence[str] | None = None
    ) -> None:
        """Count a sample that is in the data set, and what had to be converted for that.

        Args:
            label: As the table of samples holds it.
            split: As given, "" for none.
            converted: What was.
            labels: Names of all its classes, for each of which it counts; None: `label` alone.
        """
        self.kept += 1
        self._classes.update([label] if labels is None else labels or [""])
        self._splits[split] += 1
        self._per_class_and_split[label, split] += 1
        self._converted.update(converted)

    def reject(self, reasons: Sequence[str], sample_id: str, because: str = "") -> None:
        """Count a sample that is left out; one sample may have several reasons.

        Args:
            reasons: Names of policies.
            sample_id: Its name.
            because: What the decoder said; counted without its numbers, which differ from file to file.
        """
        self.num_rejected += 1
        if because:
            kind = NUMBERS.sub("#", because)
            if kind in self._because or len(self._because) < MAX_EXAMPLES:
                count, example = self._because.get(kind, (0, f"{sample_id}: {because}"))
                self._because[kind] = (count + 1, example)
        self._rejected.update(reasons)
        for reason in reasons:
            if len(self._examples[reason]) < MAX_EXAMPLES:
                self._examples[reason].append(sample_id)

    def leave_out(self, reason: str) -> None:
        """Count a sample that the user asked to leave out: it is not broken, and no share limits it."""
        self._left_out[reason] += 1

    def check(self, num_samples: int | None, max_rejected_share: float, *, classes: bool = True) -> None:
        """Refuse a data set that lost too much on its way.

        Args:
            num_samples: How many were announced; None: nobody knew.
            max_rejected_share: Share in [0, 1) that may be lost.
            classes: Whether there must be two.

        Raises:
            DataRefused: Fewer or more samples than announced, too many rejected, or too few classes.
        """
        read = self._read
        if num_samples is not None and read != num_samples:
            raise DataRefused(
                "The archive and data/source.json disagree on the number of samples. Expected "
                f"{num_samples:,}. Received: {read:,}. Run `millrace refresh`."
            )
        looked_at = self.kept + self.num_rejected
        if self.num_rejected > max_rejected_share * looked_at:
            examples = "; ".join(
                f"{reason}: {', '.join(ids[:3])}" for reason, ids in sorted(self._examples.items())
            )
            raise DataRefused(
                "Too many samples were rejected. Expected at most "
                f"data.max_rejected_share={max_rejected_share:g} of {looked_at:,}. Received: {self.num_rejected:,} "
                f"({', '.join(f'{count:,} for {reason}' for reason, count in sorted(self._rejected.items()))}), "
                f"such as {examples}{self._reasons()}. "
                f"Repair the files, change data.policy, or raise the limit in params.yaml.{self._advice()}"
            )
        if classes and len(self._classes) < 2:
            raise DataRefused(
                "A classifier needs at least 2 classes with usable samples. Expected 2 or more. "
                f"Received: {dict(self._classes)}. Check data.policy in params.yaml and the data."
            )

    @property
    def _read(self) -> int:
        return self.kept + self.num_rejected + self.num_beyond_limit + self._left_out.total()

    def _advice(self) -> str:
        if not self._rejected[UNLABELLED]:
            return ""
        return " Samples without an answer are left out, counted apart: `millrace init ... --set unlabelled=leave_out`."

    def _reasons(self) -> str:
        """Return what decoders said, each kind once with an example."""
        said = [f"{count:,} like {example}" for count, example in self._because.values()]
        return f" (undecodable: {'; '.join(said)})" if said else ""

    def summary(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return the report's content.

        Args:
            payload: What to say of the samples themselves, by their kind.
        """
        because = {
            kind: {"count": count, "example": example} for kind, (count, example) in self._because.items()
        }
        return {
            "read": self._read,
            "beyond_limit": self.num_beyond_limit,
            "kept": self.kept,
            "num_rejected": self.num_rejected,
            "rejected": dict(self._rejected),
            "rejected_examples": dict(self._examples),
            **({"rejected_because": because} if because else {}),
            **({"left_out": dict(self._left_out)} if self._left_out else {}),
            "converted": dict(self._converted),
            "classes": dict(self._classes),
            "given_splits": {split or "none": count for split, count in self._splits.items()},
            **payload,
        }


class Targets:
    """What the report says of the numbers to predict; its size does not grow."""

    def __init__(self) -> None:
        self._count = 0
        self._lowest, self._highest, self._sum = math.inf, -math.inf, 0.0

    def add(self, sample: RawSample) -> None:
        """Look at one kept sample."""
        if sample.target is not None:
            self._count += 1
            self._lowest, self._highest = min(self._lowest, sample.target), max(self._highest, sample.target)
            self._sum += sample.target

    def check(self, num_samples: int) -> None:
        """Refuse data without targets where a number is to be learned.

        Raises:
            DataRefused: No sample has one.
        """
        if not self._count:
            raise DataRefused(
                "No sample has a target. Expected a number for each, which data.task=regression learns. "
                f"Received: {num_samples:,} samples without one. Name its column: "
                "`millrace init ... --set target=COLUMN`, or set data.windows.targets for series."
            )

    def summary(self) -> dict[str, dict[str, float]]:
        """Return the range and the mean, or nothing where no sample has a target."""
        if not self._count:
            return {}
        mean = self._sum / self._count
        return {"target": {"lowest": self._lowest, "mean": mean, "highest": self._highest}}


def in_order(samples: Iterable[RawSample]) -> Iterator[RawSample]:
    """Pass samples on; the table is written in one pass, so their order is the table's order."""
    previous = ""
    for sample in samples:
        if sample.sample_id <= previous:
            raise ValueError(
                "A source yields samples out of order or twice. Expected sample_id to rise. "
                f"Received: {sample.sample_id} after {previous}. Sort in the source's `read`."
            )
        previous = sample.sample_id
        yield sample


# --- The canonical data set on disk.

ROWS_PER_GROUP = 8192
"""Rows held before they are written; also the row groups of the file, so its bytes depend on it."""


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
