"""The table of the split: who trains, who chooses, who judges, and which steps of a series that is about."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.runtime import paths
from pipeline.runtime.stage import InputMissing
from pipeline.data.samples import SampleRows
from pipeline.data.windows import Segment


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
