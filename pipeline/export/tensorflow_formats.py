"""A Keras model as TensorFlow's own formats: a SavedModel, and a LiteRT file for phones and small devices.

Each is written by Keras and opened again by its runtime, which answers as a model of Keras does, so that it can be
compared. Neither gives the same bytes twice: TensorFlow writes random ids and running numbers into them.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf


class SavedModel:
    """A SavedModel that was opened again, see `pipeline.inference.prediction.Model`."""

    name = "SavedModel"
    numbers_per_sample: int

    def __init__(self, folder: Path, numbers_per_sample: int) -> None:
        """Open it.

        Args:
            folder: The SavedModel.
            numbers_per_sample: What all layers give for one sample.
        """
        self.numbers_per_sample = numbers_per_sample
        self._loaded = tf.saved_model.load(str(folder))
        self._signature = self._loaded.signatures["serving_default"]

    def predict_on_batch(self, batch: Any) -> np.ndarray:
        """Return the predictions for an array, or for several by the names of the inputs."""
        _, wanted = self._signature.structured_input_signature
        fed = {name: tf.constant(array) for name, array in _by_name(batch, list(wanted)).items()}
        (said,) = self._signature(**fed).values()
        return np.asarray(said)

    def get_weights(self) -> list[np.ndarray]:
        """Return nothing: they were looked at in the Keras model."""
        return []


class LiteRt:
    """A LiteRT file that was opened again, on LiteRT's own operations alone."""

    name = "LiteRT"
    numbers_per_sample: int

    def __init__(self, path: Path, numbers_per_sample: int) -> None:
        """Open it.

        Args:
            path: The `.tflite` file.
            numbers_per_sample: What all layers give for one sample.
        """
        self.numbers_per_sample = numbers_per_sample
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that another package will have this class one day
            interpreter = tf.lite.Interpreter(
                str(path),
                experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
        self._runner = interpreter.get_signature_runner()

    def predict_on_batch(self, batch: Any) -> np.ndarray:
        """Return the predictions for an array, or for several by the names of the inputs."""
        wanted = self._runner.get_input_details()
        fed = {
            name: np.ascontiguousarray(array, wanted[name]["dtype"])
            for name, array in _by_name(batch, list(wanted)).items()
        }
        (said,) = self._runner(**fed).values()
        return np.asarray(said)

    def get_weights(self) -> list[np.ndarray]:
        """Return nothing: they were looked at in the Keras model."""
        return []


def _by_name(batch: Any, wanted: list[str]) -> Mapping[str, np.ndarray]:
    if isinstance(batch, Mapping):
        return {name: batch[name] for name in wanted}
    (name,) = wanted
    return {name: batch}


def write_saved_model(model: keras.Model, folder: Path) -> None:
    """Write a SavedModel: signature `serving_default`, inputs by their names, the number of samples is free."""
    model.export(str(folder), format="tf_saved_model", verbose=False)


def write_litert(model: keras.Model, path: Path) -> None:
    """Write a LiteRT file, of LiteRT's own operations and without the large TensorFlow ones, which phones lack.

    Args:
        model: Functional.
        path: Ends in `.tflite`.

    Raises:
        NotImplementedError: A layer has no such operations: those that step through a sequence.
    """
    if found := _recurrent(model):
        raise NotImplementedError(
            f"Layer {found!r} steps through a sequence, for which LiteRT has no operations. Expected a model without "
            "recurrent layers. Take another format."
        )
    only = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    try:
        model.export(str(path), format="litert", verbose=False, target_spec=only)
    except Exception as error:  # the converter has kinds of its own
        told = " ".join(str(error).split())[:300]
        raise NotImplementedError(
            f"LiteRT cannot say what a layer of {model.name!r} does. Expected its own operations alone. Received: "
            f"{told}. Take another format."
        ) from error


def _recurrent(model: keras.Model) -> str:
    layers = model._flatten_layers(include_self=False)  # noqa: SLF001  # those of models inside models, too
    return next((layer.name for layer in layers if hasattr(layer, "return_sequences")), "")
