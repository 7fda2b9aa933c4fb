"""Families of bad model files.

Each is a function `(good, target, canary, secret)`: from the good model file it writes the bad one to `target`. Where
an attack can run, it would make the file `canary`; where it can read, it would open the file `secret`.
"""

from pathlib import Path

import numpy as np

from tests.hostile import configs, sizes, weights, zips

FAMILIES = [*zips.FAMILIES, *configs.FAMILIES, *sizes.FAMILIES, *weights.FAMILIES]


def good_model(path: Path) -> Path:
    """Write a small model that loads."""
    import keras

    from pipeline.inference.keras_files import save_model

    keras.utils.set_random_seed(3)
    inputs = keras.Input((4,), name="inputs")
    hidden = keras.layers.Dense(30, name="hidden")(inputs)
    save_model(keras.Model(inputs, keras.layers.Dense(2, name="out")(hidden), name="small"), path)
    return path


def write_secret(path: Path) -> Path:
    """Write a file of the victim: HDF5 with an array that fits, and lines of text at its end."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["secret"] = np.full((4, 30), 7, "float32")
    return path
