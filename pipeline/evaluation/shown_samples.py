"""Samples as people look at them: pictures, texts, series."""

import numpy as np
import numpy.typing as npt

from pipeline.data.samples import read_sample_rows
from pipeline.reports.samples import Sample
from pipeline.runtime import paths
from pipeline.runtime.files import read_json


def shown_samples(rows: npt.NDArray[np.integer]) -> list[Sample]:
    """Return samples as they came, undecorated: uint8 images NHWC, texts, or series (steps, channels).

    Args:
        rows: Of data/interim/samples.parquet.
    """
    payload = np.load(paths.PAYLOAD_NPY, mmap_mode="r")
    kind = read_json(paths.FEATURES_STATE, "features").get("payload", "image")
    if kind == "image":
        return [np.asarray(payload[row]) for row in rows]
    samples = read_sample_rows()
    parts = [payload[samples.starts[row] : samples.starts[row] + samples.lengths[row]] for row in rows]
    if kind == "text":
        return [part.tobytes().decode() for part in parts]
    return [np.asarray(part[:, : len(samples.channels)]) for part in parts]
