"""The output of `ingest` for texts and series, made of lists and arrays in plain sight."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.runtime import paths


def write_texts(root, texts, labels=None, targets=None, side=None):
    """Write samples.parquet and payload.npy of these texts below `root`; ids are 000, 001, ..."""
    encoded = [text.encode() for text in texts]
    payload = np.frombuffer(b"".join(encoded), np.uint8)
    about = {"payload": "text", "channels": [], "has_anomalies": False}
    _write(root, payload, encoded, labels, targets, side or {}, about)


def write_series(root, series, labels=None, targets=None, side=None, channels=None, has_anomalies=False):
    """Write samples.parquet and payload.npy of these arrays, each of shape (steps, channels), below `root`."""
    arrays = [np.asarray(one, np.float32) for one in series]
    named = arrays[0].shape[1] - has_anomalies
    about = {
        "payload": "series",
        "channels": list(channels or [f"c{number}" for number in range(named)]),
        "has_anomalies": has_anomalies,
    }
    _write(root, np.concatenate(arrays), arrays, labels, targets, side or {}, about)


def _write(root, payload, parts, labels, targets, side, about):
    lengths = [len(part) for part in parts]
    number = len(parts)
    columns = {
        "sample_id": [f"{place:03d}" for place in range(number)],
        "label": labels or [""] * number,
        "given_split": [""] * number,
        "group": [""] * number,
        "time": [""] * number,
        "content_sha256": [hashlib.sha256(bytes(part)).hexdigest() for part in parts],
        "height_original": np.zeros(number, np.int32),
        "width_original": np.zeros(number, np.int32),
        "mode_original": [""] * number,
        "oddities": [""] * number,
        "row": np.arange(number, dtype=np.int32),
        "target": np.full(number, np.nan) if targets is None else np.array(targets, np.float64),
        "start": np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64),
        "length": np.array(lengths, np.int64),
        "step_seconds": np.zeros(number),
    }
    kinds = {
        name: "category" if any(isinstance(value, str) for value in values) else "number"
        for name, values in side.items()
    }
    arrays = {name: pa.array(values) for name, values in columns.items()}
    fields = [pa.field(name, array.type, nullable=False) for name, array in arrays.items()]
    for name, values in side.items():
        kind = pa.string() if kinds[name] == "category" else pa.float64()
        arrays[f"side.{name}"] = pa.array(values, kind)
        fields.append(pa.field(f"side.{name}", kind))
    metadata = {b"millrace": json.dumps(about | {"side": kinds}).encode()}
    table = pa.table(arrays, pa.schema(fields, metadata))
    for path in (paths.SAMPLES_PARQUET, paths.PAYLOAD_NPY):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, root / paths.SAMPLES_PARQUET)
    np.save(root / paths.PAYLOAD_NPY, payload)
