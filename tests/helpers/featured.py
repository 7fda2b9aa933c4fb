"""What stands before the features stage for texts and series: payload, table of samples, split."""

import hashlib
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import Progress

from pipeline.runtime import paths
from pipeline.stages.features import features

TEXT = {
    "unit": "words",
    "lowercase": True,
    "digits_alike": False,
    "vocabulary_size": 50,
    "min_count": 1,
    "max_tokens": 6,
    "vectors": None,
    "word_ngrams": [1, 2],
    "char_ngrams": [3, 4],
    "bag_size": 400,
    "max_bag": 64,
}
SERIES = {"scaling": "channel", "max_length": None}
SIDE = {"categories": "one_hot", "max_categories": 4}
WINDOWS = {
    "length": 3,
    "horizon": 2,
    "stride": 1,
    "targets": ["load"],
    "known": ["warm"],
    "known_categorical": ["kind"],
    "calendar": ["hour"],
}


def write_samples(root, payload, lengths, *, channels=(), side=None, kinds=None, anomalies=False, **columns):
    """Write payload.npy and samples.parquet below `root`: consecutive samples of the given lengths.

    Args:
        root: Of the project.
        payload: Bytes of texts (uint8), or steps of series (float32).
        lengths: Per sample.
        channels: Names of the columns of series.
        side: Side columns.
        kinds: `number` or `category` per side column.
        anomalies: Whether the last column of the payload marks steps.
        columns: Values of other columns (`group`, `time`, `step_seconds`, `sample_id`).
    """
    count = len(lengths)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    table = {
        "sample_id": [f"{row:03d}" for row in range(count)],
        "row": np.arange(count, dtype=np.int32),
        "content_sha256": [
            hashlib.sha256(payload[start : start + length].tobytes()).hexdigest()
            for start, length in zip(starts, lengths, strict=True)
        ],
        "start": starts,
        "length": np.array(lengths, np.int64),
        "group": [""] * count,
        "time": [""] * count,
        "step_seconds": np.zeros(count),
        **columns,
        **{f"side.{name}": values for name, values in (side or {}).items()},
    }
    facts = {"channels": list(channels), "side": kinds or {}, "has_anomalies": anomalies}
    made = pa.table(table).replace_schema_metadata({"millrace": json.dumps(facts)})
    (root / paths.SAMPLES_PARQUET).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(made, root / paths.SAMPLES_PARQUET)
    np.save(root / paths.PAYLOAD_NPY, payload)


def write_split(root, splits, *, rows=None, labels=None, targets=None, starts=None, stops=None):
    """Write split.parquet below `root`; one line per entry of `splits`."""
    count = len(splits)
    rows = list(range(count)) if rows is None else rows
    table = pd.DataFrame(
        {
            "sample_id": [f"{row:03d}" for row in rows],
            "row": np.array(rows, np.int32),
            "label": [""] * count if labels is None else labels,
            "target": np.full(count, np.nan) if targets is None else targets,
            "split": splits,
            "start": np.zeros(count, np.int64) if starts is None else np.array(starts, np.int64),
            "stop": np.ones(count, np.int64) if stops is None else np.array(stops, np.int64),
        }
    )
    (root / paths.SPLIT_PARQUET).parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(root / paths.SPLIT_PARQUET)


def write_texts(root, texts, splits, labels, **side):
    """Write texts, their side columns and their split."""
    encoded = [text.encode() for text in texts]
    payload = np.frombuffer(b"".join(encoded), np.uint8)
    write_samples(root, payload, [len(text) for text in encoded], **side)
    write_split(root, splits, labels=labels)


def write_windowed(root, payload, segments, *, lengths=None, **columns):
    """Write series `load`, `warm`, `kind` by the hour from 2026-01-05 (a Monday), and segments of splits.

    Args:
        root: Of the project.
        payload: float32 (total_steps, 3).
        segments: (split, row, first step of the series, step after the last).
        lengths: Per series; None for one.
        columns: As for `write_samples`.
    """
    lengths = lengths or [len(payload)]
    count = len(lengths)
    columns = {"time": ["2026-01-05T00:00:00"] * count, "step_seconds": [3600.0] * count, **columns}
    write_samples(root, payload, lengths, channels=("load", "warm", "kind"), **columns)
    splits, rows, starts, stops = zip(*segments, strict=True)
    write_split(root, list(splits), rows=list(rows), starts=starts, stops=stops)


def run_features(**settings):
    """Run the body of the stage; without image settings."""
    return features(None, None, None, Progress(disable=True), **settings)
