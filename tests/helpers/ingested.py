"""The output of `ingest`, made of arrays in plain sight."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.samples import SCHEMA
from pipeline.runtime import paths


def pictures(num_images, seed=0, shape=(8, 8, 1)):
    """Return random pixels: no two images alike."""
    return np.random.default_rng(seed).integers(0, 256, (num_images, *shape), dtype=np.uint8)


def write_ingested(root, images, labels, given=None, rows=None, mode="L"):
    """Write samples.parquet and images.npy below `root`; ids are 000, 001, ...; `mode` is that of the originals."""
    rows = range(len(labels)) if rows is None else rows
    table = [
        {
            "sample_id": f"{number:03d}",
            "label": label,
            "given_split": given[number] if given else "",
            "group": "",
            "time": "",
            "content_sha256": hashlib.sha256(images[row].tobytes()).hexdigest(),
            "height_original": images.shape[1],
            "width_original": images.shape[2],
            "mode_original": mode,
            "oddities": "",
            "row": row,
            "target": float("nan"),
            "start": row,
            "length": 1,
            "step_seconds": 0.0,
        }
        for number, (label, row) in enumerate(zip(labels, rows, strict=True))
    ]
    for path in (paths.SAMPLES_PARQUET, paths.PAYLOAD_NPY):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(table, SCHEMA), root / paths.SAMPLES_PARQUET)
    np.save(root / paths.PAYLOAD_NPY, images)
