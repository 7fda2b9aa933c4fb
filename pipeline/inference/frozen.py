"""A pretrained trunk asked about every sample once: what heads are trained on.

Import it after `backend.prepare_tensorflow`. The same samples, weights and threads give the same bytes.
"""

from collections.abc import Callable

import keras
import numpy as np

from pipeline.inference.keras_files import load_model, save_model
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.files import atomic_path, reserve

BATCH_ROWS = {4: 32, 2: 512}
"""Samples at a time by dimensions of the input: images, ids of texts."""


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
