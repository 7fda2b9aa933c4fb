"""The rows a model was fitted on or chosen by, by content, as a file that travels with it.

A sample is named by `content_sha256` of the table of samples, so that a copy under another name is known too.

Series that windows slide over grow, so the content of a whole one names nothing next week. There a row of the
file is a block: `BLOCK_STEPS` steps of a series, counted from its begin, cut where a split begins or ends.
Two witnesses say that a step was seen, and one is enough:

- series and place: the same series id at the same time (by the clock where the data has one, otherwise by the
  number of the step). That holds when steps are appended, when old ones fall out at the front, and when a
  value was corrected afterwards, which would hide a block from its hash;
- content: the same steps hold the same values, in whatever series. That holds when series were renamed.

A row judged is seen when one of the steps that it is judged by is; what it only reads as history may be old.
"""

import bisect
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.samples import SampleRows, mapped, read_sample_rows
from pipeline.data.splits import SplitTable, read_split
from pipeline.evaluation.judged_content import content_of_rows
from pipeline.evaluation.rows import JudgedRows
from pipeline.preprocessing.side import seconds_of
from pipeline.runtime import paths
from pipeline.runtime.files import atomic_path

TRAINED_ON = "trained_on.parquet"
BLOCK_STEPS = 256
"""A series of ten million steps makes 39,000 rows, about 2 MB."""
SCHEMA = pa.schema(
    [
        pa.field("content_sha256", pa.string(), nullable=False),  # of a sample, or of the steps of a block
        pa.field("split", pa.string(), nullable=False),  # train, or val: it chose
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


def unseen(test: JudgedRows, folder: Path) -> np.ndarray:
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


def _seen_windows(test: JudgedRows, table: pa.Table) -> np.ndarray:
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
