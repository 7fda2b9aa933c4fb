"""What the judged rows are: their content in the canonical payload and what is true of them, nothing fitted.

A digest of what models *read* would change with every vocabulary and scale, that is with every new training
row, while the rows that judge stay the same.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow.parquet as pq

from pipeline.data.samples import SampleRows, mapped, read_sample_rows
from pipeline.evaluation.rows import JudgedRows
from pipeline.preprocessing.series import CHUNK_STEPS
from pipeline.runtime import paths
from pipeline.runtime.files import content_key


def rows_digest(test: JudgedRows) -> str:
    """Return a sha256 (hex) over all that judges: which rows, what is true of them, and all they can be read from.

    Of windows that is every series with one of them, from its begin to the last step that is judged: gaps are
    filled from far back, and another model may read more history.
    """
    truth = "" if test.targets is None else hashlib.sha256(test.targets.tobytes()).hexdigest()
    labelled = [] if test.timeline is None else test.timeline.labelled
    return content_key([test.sample_ids, test.labels, truth, labelled, _payload_digest(test)])


def row_keys(test: JudgedRows) -> Iterator[str]:
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


def _payload_digest(test: JudgedRows) -> str:
    samples, payload = read_sample_rows(), mapped(paths.PAYLOAD_NPY, "ingest")
    digest = hashlib.sha256(f"{payload.dtype.str} {payload.shape[1:]} {samples.channels}".encode())
    for row, start, stop in _stretches(test, samples):
        about = [start - stop, samples.times[row], float(samples.step_seconds[row]), _side(samples, row)]
        digest.update(json.dumps(about, sort_keys=True).encode())
        for first in range(start, stop, CHUNK_STEPS):
            digest.update(np.ascontiguousarray(payload[first : min(first + CHUNK_STEPS, stop)]).data)
    return digest.hexdigest()


def _stretches(test: JudgedRows, samples: SampleRows) -> Iterator[tuple[int, int, int]]:
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
