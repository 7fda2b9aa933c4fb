"""A pretrained trunk asked about every sample once: what heads are trained on.

Import it after `backend.prepare_tensorflow`. The same samples, weights and threads give the same bytes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.progress import Progress

from pipeline.data.samples import read_sample_rows, read_split
from pipeline.inference.keras_files import load_model, save_model
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.files import atomic_path, reserve
from pipeline.weights import trunks
from pipeline.weights.recipes import VECTORS
from pipeline.weights.samples import KERAS, frozen_statistics, pieces_for, read_pinned, write_pieces

SMALLEST_TRUNK_PX = 32
"""Side of an image of which five halvings leave something."""
BATCH_ROWS = {4: 32, 2: 512}
"""Samples at a time by dimensions of the input: images, ids of texts."""


def pretrained_features(
    state: dict[str, Any], progress: Progress, *, file: str, sha256: str
) -> dict[str, Any]:
    """Write what a pretrained trunk makes of all samples, and the trunk; return the state with what heads need.

    Args:
        state: Of all other features.
        progress: Shows how far the samples are.
        file: Of weights, relative to the project.
        sha256: Of that file.

    Raises:
        DataRefused: The weights do not fit the data.
        InputMissing: The file is not there.
        StorageFailed: It is another file.
        NotPermitted: It is none of weights.
    """
    place, arrays, about = read_pinned(file, sha256)
    inputs = np.load(paths.PAYLOAD_NPY, mmap_mode="r")
    if state["payload"] == "text":
        samples = read_sample_rows()
        pieces = pieces_for(state, arrays, about, file)
        write_pieces(inputs, samples.starts, samples.lengths, pieces)
        state["text"]["pieces"] = pieces.state()
        inputs = np.load(paths.PIECES_NPY, mmap_mode="r")
    trunk = _trunk(state, place, arrays)
    task = progress.add_task("pretrained", total=len(inputs))
    write_frozen(trunk, inputs, lambda rows: progress.advance(task, rows))
    measured = frozen_statistics(read_split().rows_of("train"))
    state["pretrained"] = {"file": Path(file).name, "sha256": sha256, **measured}
    return state


def _trunk(state: Mapping[str, Any], place: Path, arrays: Mapping[str, np.ndarray]) -> keras.Model:
    """Return the trunk that a file of weights holds, for samples as these are.

    Raises:
        DataRefused: It reads other samples.
    """
    if state["payload"] == "text":
        return trunks.mean_of_vectors(state["text"]["pieces"]["max_pieces"], arrays[VECTORS])
    shape = tuple(state["image"]["shape"]) if state["payload"] == "image" else ()
    wanted, fits = "images", state["payload"] == "image"
    if place.suffix == KERAS and fits:
        trunk = load_model(place)
        asked = trunk.inputs[0]
        wanted, fits = (
            f"one uint8 input of shape {tuple(asked.shape[1:])} and one vector out",
            tuple(asked.shape[1:]) == shape and asked.dtype == "uint8" and len(trunk.inputs) == 1,
        )
        if fits and isinstance(trunk.output_shape, tuple) and len(trunk.output_shape) == 2:
            return trunk
    elif fits:
        wanted = f"colour images of at least {SMALLEST_TRUNK_PX} x {SMALLEST_TRUNK_PX} pixels"
        if shape[2] == 3 and min(shape[:2]) >= SMALLEST_TRUNK_PX and VECTORS not in arrays:
            return trunks.efficientnet_lite0(shape, arrays)
    raise DataRefused(
        f"{place.name} does not fit this data. Expected {wanted}. Received: {state['payload']} {shape or ''}. Set "
        "data.image_size and data.channels: 3, or name another file in features.pretrained."
    )


def write_frozen(trunk: keras.Model, inputs: np.ndarray, on_rows: Callable[[int], object]) -> None:
    """Write the trunk and what it makes of all samples, float32 (num_samples, dimensions).

    The features come from the trunk as it was read back from its file, which is the one that serves.

    Args:
        trunk: From raw samples to vectors.
        inputs: All samples; may be a memmap.
        on_rows: Called with the number of samples done since.

    Raises:
        DataRefused: A feature is not a finite number.
    """
    save_model(trunk, paths.TRUNK_KERAS)
    trunk = load_model(paths.TRUNK_KERAS)
    rows = BATCH_ROWS[inputs.ndim]
    with atomic_path(paths.FROZEN_NPY) as temporary:
        shape = (len(inputs), trunk.output_shape[-1])
        made = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
        reserve(temporary)
        for first in range(0, len(inputs), rows):
            batch = np.ascontiguousarray(inputs[first : first + rows])
            features = np.asarray(trunk.predict_on_batch(batch), np.float32)
            if not np.isfinite(features).all():
                raise DataRefused(
                    f"The pretrained trunk gives no finite numbers for samples {first} to {first + len(batch) - 1}. "
                    "Expected finite features. Received: NaN or infinity. Look at its weights (features.pretrained)."
                )
            made[first : first + rows] = features
            on_rows(len(batch))
        made.flush()
