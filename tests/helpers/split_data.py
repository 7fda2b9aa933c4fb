"""The output of `ingest` and `validate` for any kind of data, made of lists in plain sight."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.runtime import paths


def content_of(value):
    """Return the hash of a text, a series or an image."""
    content = value.encode() if isinstance(value, str) else np.ascontiguousarray(value).tobytes()
    return hashlib.sha256(content).hexdigest()


def payload_of(values):
    """Return the payload, and where each sample starts and how long it is."""
    if isinstance(values[0], str):
        parts = [np.frombuffer(text.encode(), np.uint8) for text in values]
        kind, payload = "text", np.concatenate(parts)
    elif np.ndim(values[0]) == 3:
        parts, kind, payload = [[0]] * len(values), "image", np.stack(values)
    else:
        parts = [np.asarray(series, np.float32).reshape(len(series), -1) for series in values]
        kind, payload = "series", np.concatenate(parts)
    lengths = np.array([len(part) for part in parts])
    return kind, payload, np.cumsum(lengths) - lengths, lengths


def write_data(
    values,
    *,
    labels=None,
    targets=None,
    given=None,
    groups=None,
    times=None,
    side=None,
    channels=("value",),
    step_seconds=0.0,
    clusters=None,
    ids=None,
    passed=True,
):
    """Write payload, samples and duplicates into the working directory; ids are 000000, 000001, ..."""
    count = len(values)
    kind, payload, starts, lengths = payload_of(values)
    side = side or {}
    kinds = {
        name: "category" if any(isinstance(value, str) for value in column) else "number"
        for name, column in side.items()
    }
    contents = [content_of(value) for value in values]
    empty = [""] * count
    table = pa.table(
        {
            "sample_id": ids or [f"{number:06d}" for number in range(count)],
            "label": labels or empty,
            "given_split": given or empty,
            "group": groups or empty,
            "time": times or empty,
            "content_sha256": contents,
            "row": pa.array(range(count), pa.int32()),
            "target": pa.array(targets if targets is not None else [float("nan")] * count, pa.float64()),
            "start": pa.array(starts, pa.int64()),
            "length": pa.array(lengths, pa.int64()),
            "step_seconds": pa.array(np.full(count, step_seconds), pa.float64()),
        }
        | {
            f"side.{name}": pa.array(column, pa.string() if kinds[name] == "category" else pa.float64())
            for name, column in side.items()
        }
    )
    facts = {
        "payload": kind,
        "channels": list(channels) if kind == "series" else [],
        "side": kinds,
        "has_anomalies": False,
    }
    for path in (paths.SAMPLES_PARQUET, paths.DUPLICATES_PARQUET, paths.VALIDATE_SUMMARY):
        path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        table.replace_schema_metadata({b"millrace": json.dumps(facts).encode()}), paths.SAMPLES_PARQUET
    )
    np.save(paths.PAYLOAD_NPY, payload)
    pq.write_table(
        pa.table({"sample_id": table["sample_id"], "cluster": clusters or contents}), paths.DUPLICATES_PARQUET
    )
    paths.VALIDATE_SUMMARY.write_text(json.dumps({"passed": passed}))


def numbered_texts(count, prefix="text"):
    """Return texts without anything in common."""
    return [hashlib.sha256(f"{prefix}{number}".encode()).hexdigest() for number in range(count)]


def read_split_rows():
    """Return the rows of split.parquet."""
    return pq.read_table(paths.SPLIT_PARQUET).to_pylist()
