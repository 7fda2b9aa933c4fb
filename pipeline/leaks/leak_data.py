"""What the leak gate looks at: samples, payload and split, read anew from disk and trusted in nothing else."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow.parquet as pq

from pipeline.data.samples import SampleRows, read_sample_rows
from pipeline.data.splits import SplitTable, read_split
from pipeline.runtime import paths
from pipeline.runtime.stage import InputMissing

JUDGES = ("val", "test")
USED = ("train", *JUDGES)
Kind = Literal["image", "text", "series"]
KINDS: dict[int, Kind] = {4: "image", 1: "text", 2: "series"}
"""Dimensions of the payload to what it holds."""


@dataclass(frozen=True)
class WindowColumns:
    """Which columns of series a window reads and predicts, as in `data.windows`."""

    length: int
    horizon: int
    targets: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    known_categorical: tuple[str, ...] = ()


@dataclass(frozen=True)
class LeakData:
    """All samples in order of row.

    Attributes:
        samples: Ids, places in the payload, times, side columns.
        split: Lines of split.parquet.
        payload: As ingested, memory-mapped.
        groups: Per sample, "" for none.
        clusters: Of copies per sample, as `validate` found them.
        method: As in `split.method`.
        task: As in `data.task`.
        windows: Where windows slide over the series.
    """

    samples: SampleRows
    split: SplitTable
    payload: np.ndarray
    groups: list[str]
    clusters: list[str]
    method: str
    task: str
    windows: WindowColumns | None = None

    @property
    def kind(self) -> Kind:
        """Return what the samples are."""
        return KINDS[self.payload.ndim]

    @property
    def cut(self) -> bool:
        """Return whether series are cut by time, so that one sample stands in several splits."""
        return self.windows is not None and self.method == "time"

    @cached_property
    def split_of(self) -> np.ndarray:
        """Return the split per sample, object, shape (num_samples,); `excluded` throughout where series are cut."""
        assigned = np.full(len(self.samples), "excluded", dtype=object)
        if not self.cut:
            assigned[self.split.rows] = self.split.splits
        return assigned

    @cached_property
    def labels(self) -> np.ndarray:
        """Return the class per sample, object."""
        labels = np.full(len(self.samples), "", dtype=object)
        labels[self.split.rows] = self.split.labels
        return labels

    @cached_property
    def targets(self) -> np.ndarray:
        """Return the target per sample, float64, NaN for none."""
        targets = np.full(len(self.samples), np.nan)
        targets[self.split.rows] = self.split.targets
        return targets

    @property
    def train_rows(self) -> np.ndarray:
        """Return the rows of whole samples that train."""
        return np.flatnonzero(self.split_of == "train")

    @property
    def judged_rows(self) -> np.ndarray:
        """Return the rows of whole samples that choose or judge."""
        return np.flatnonzero((self.split_of == "val") | (self.split_of == "test"))

    def part(self, row: int) -> np.ndarray:
        """Return the part of the payload that is one sample: its pixels, bytes or steps."""
        start = int(self.samples.starts[row])
        return np.asarray(self.payload[start : start + int(self.samples.lengths[row])])

    def text(self, row: int) -> str:
        """Return one text."""
        return self.part(row).tobytes().decode()

    def ids(self, rows: np.ndarray) -> tuple[str, ...]:
        """Return the names of samples."""
        return tuple(self.samples.sample_ids[row] for row in rows)


def read_leak_data(method: str, task: str, windows: WindowColumns | None = None) -> LeakData:
    """Return the data of the project.

    Raises:
        InputMissing: A file is not there, or samples and split are not of the same data.
    """
    if not paths.PAYLOAD_NPY.is_file():
        raise InputMissing(f"{paths.PAYLOAD_NPY} does not exist. Run `dvc repro ingest`.")
    if not paths.DUPLICATES_PARQUET.is_file():
        raise InputMissing(f"{paths.DUPLICATES_PARQUET} does not exist. Run `dvc repro validate`.")
    samples, split = read_sample_rows(), read_split()
    table = pq.read_table(paths.SAMPLES_PARQUET, columns=["row", "sample_id", "group"]).sort_by("row")
    duplicates = pq.read_table(paths.DUPLICATES_PARQUET, columns=["sample_id", "cluster"])
    cluster_of = dict(
        zip(duplicates["sample_id"].to_pylist(), duplicates["cluster"].to_pylist(), strict=True)
    )
    expected = set(range(len(samples)))
    if set(split.rows.tolist()) != expected or cluster_of.keys() != set(samples.sample_ids):
        raise InputMissing(
            f"{paths.SPLIT_PARQUET} and {paths.SAMPLES_PARQUET} are not of the same data. Expected every sample in "
            f"both. Received: {len(samples)} samples, {len(set(split.rows.tolist()))} of them split. "
            "Run `dvc repro split`."
        )
    return LeakData(
        samples,
        split,
        np.load(paths.PAYLOAD_NPY, mmap_mode="r"),
        table["group"].to_pylist(),
        [cluster_of[name] for name in samples.sample_ids],
        method,
        task,
        windows,
    )
