"""What a trained model answers: in batches, in the units of the data, and refused where a number is not finite.

The same for a model of Keras and for an exported one, so that what is served cannot drift from what was judged; so
nothing here imports Keras.
"""

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from pipeline.inputs.arrays import Arrays, Inputs, reconstruction_targets, require_finite, take
from pipeline.inputs.specs import IMAGE, PAD, OutputSpec

PREDICT_BATCH_SIZE = 512
IMAGE_AXES = 4
"""Samples, height, width, channels."""
MAX_BATCH_NUMBERS = 1 << 29
"""Of all layers for one batch: with one thread for operations TensorFlow may hold what all branches gave at once."""


class Model(Protocol):
    """A model of Keras, or one that answers like it: `export.onnx_session.OnnxModel`."""

    name: str

    def predict_on_batch(self, batch: Any) -> np.ndarray:
        """Return the predictions for an array, or for several by the names of the inputs."""

    def get_weights(self) -> list[np.ndarray]:
        """Return all weights."""


class NotFinite(ValueError):
    """A model holds or gives numbers that are not finite."""


def answers(
    model: Model,
    inputs: Inputs,
    rows: np.ndarray,
    training_settings: Mapping[str, Any],
    output_spec: OutputSpec | None = None,
) -> np.ndarray:
    """Return the answers of a candidate in the units of the data; mirrored images count where settings say so.

    Args:
        model: Of a candidate.
        inputs: All samples.
        rows: Index array.
        training_settings: The keys of `training` in params.yaml.
        output_spec: What is asked; None for probabilities as they come.

    Returns:
        float32. Classification: probabilities (len(rows), num_classes), two columns also for one sigmoid. Multilabel:
        the probability of each label (len(rows), num_classes).
        Regression (len(rows), num_targets), forecasting (len(rows), horizon, num_targets). Anomaly: mean
        squared error of the reconstruction per sample, (len(rows),).
    """
    if output_spec is not None and output_spec.task == "anomaly":
        return reconstruction_errors(model, inputs, rows)
    predictions = predict(model, inputs, rows, test_time_flip=bool(training_settings["test_time_flip"]))
    if output_spec is None or output_spec.task == "classification":
        if predictions.shape[1] == 1:
            return np.concatenate([1 - predictions, predictions], axis=1)
        return predictions
    if output_spec.task == "multilabel":
        return predictions
    scale = np.asarray(output_spec.target_standard_deviation, np.float32)
    return predictions * scale + np.asarray(output_spec.target_mean, np.float32)


def reconstruction_errors(model: Model, inputs: Inputs, rows: np.ndarray) -> np.ndarray:
    """Return the mean squared error per sample between main input and reconstruction, float32 (len(rows),).

    Steps of padding count for nothing.
    """
    errors = []
    for start in range(0, len(rows), PREDICT_BATCH_SIZE):
        part = rows[start : start + PREDICT_BATCH_SIZE]
        expected = reconstruction_targets(take(inputs, part))
        squared = (predict(model, inputs, part) - expected) ** 2
        real = (expected != np.float32(PAD)).reshape(len(part), -1)
        errors.append((squared.reshape(len(part), -1) * real).sum(axis=1) / real.sum(axis=1))
    return np.concatenate(errors).astype(np.float32)


def predict(
    model: Model,
    inputs: Inputs,
    rows: np.ndarray,
    *,
    batch_size: int = PREDICT_BATCH_SIZE,
    test_time_flip: bool = False,
) -> np.ndarray:
    """Return the predictions for some rows, float32 `(len(rows), ...)`.

    Args:
        model: Any model with one output.
        inputs: All samples; may be a memmap.
        rows: Index array.
        batch_size: Rows per call of the model.
        test_time_flip: Average with the prediction for the mirrored image, where there is one, see `mirrored_images`.

    Raises:
        ValueError: An input is not a finite number.
        NotFinite: An output is none.
    """
    require_finite(inputs, rows)
    batch_size = min(batch_size, rows_at_once(model))
    chunks = []
    for start in range(0, len(rows), batch_size):
        batch = take(inputs, rows[start : start + batch_size])
        outputs = model.predict_on_batch(batch)
        if test_time_flip and (mirrored := mirrored_images(batch)) is not None:
            outputs = (outputs + model.predict_on_batch(mirrored)) / np.float32(2)
        chunks.append(np.asarray(outputs, dtype=np.float32))
    predictions = np.concatenate(chunks)
    # The weights too: NaN that meets a ReLU comes out as healthy-looking probabilities.
    if not all(np.isfinite(array).all() for array in [predictions, *model.get_weights()]):
        raise NotFinite(
            f"Model {model.name!r} holds or gives numbers that are not finite. Expected finite weights and "
            "predictions. Train it again: `dvc repro --force train`."
        )
    return predictions


def rows_at_once(model: Any) -> int:
    """Return how many samples a model may answer together before memory runs short; at least 1."""
    numbers = getattr(model, "numbers_per_sample", None)  # as an exported model says
    return max(1, MAX_BATCH_NUMBERS // max(1, _numbers_per_sample(model) if numbers is None else numbers))


def _numbers_per_sample(model: Any) -> int:
    """Return how many numbers the layers of a Keras model give for one sample."""
    return sum(
        math.prod(tensor.shape[1:])
        for layer in model.layers
        for node in layer._inbound_nodes  # noqa: SLF001  # no other way to what layers give
        for tensor in node.outputs
        if None not in tensor.shape[1:]
    )


def mirrored_images(batch: Arrays) -> Arrays | None:
    """Return images (NHWC) with left and right exchanged; None for what has neither, and for images beside columns.

    Of what an ensemble reads only the image is mirrored: numbers that were made of it stay, and so do the answers of
    the members that read those.
    """
    if not isinstance(batch, dict):
        return batch[:, :, ::-1] if batch.ndim == IMAGE_AXES else None
    if IMAGE not in batch or "side" in batch or "categories" in batch:
        return None  # training does not change images beside columns either
    return {**batch, IMAGE: batch[IMAGE][:, :, ::-1]}
