"""Family `pca`: reconstruction from principal components, the baseline of every autoencoder; solved, not trained."""

import math

import keras
import numpy as np
from keras import layers
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

from pipeline.inputs.specs import PAD, InputSpec, OutputSpec
from pipeline.models.layers.inputs import begin

CHUNK_ROWS = 4096


def build(input_spec: InputSpec, output_spec: OutputSpec, *, codes: int = 8) -> keras.Model:
    """Return a linear autoencoder before its weights are solved for; side features are not used.

    Args:
        input_spec: Of kind `series`; padding counts as 0, the mean.
        output_spec: Of task anomaly.
        codes: Principal components kept; no more than there are numbers in a series are.

    Returns:
        Series in, reconstruction (batch, length, channels) out.

    Raises:
        ValueError: Another task or kind of input.
    """
    if output_spec.task != "anomaly":
        raise ValueError(
            "Family pca reconstructs series. Expected task=anomaly. Received: "
            f"task={output_spec.task}. Use family linear as a baseline."
        )
    start = begin(input_spec, ("series",))
    size = math.prod(input_spec.shape)
    flat = layers.Flatten(name="flatten")(start.hidden)
    hidden = layers.Dense(min(codes, size), name="codes")(flat)
    values = layers.Dense(size, name="values")(hidden)
    output = layers.Reshape(input_spec.shape, name="predictions")(values)
    model = keras.Model(start.model_inputs, output, name="pca")
    model.trainable = False
    return model


def fit_closed_form(model: keras.Model, inputs: np.ndarray, _targets: np.ndarray | None = None) -> None:
    """Set the weights to the principal components of the training series.

    Args:
        model: From `build`; its weights are set.
        inputs: Training series or windows, float32 (num_train, length, channels), `PAD` behind the end.
    """
    codes = model.get_layer("codes")
    with threadpool_limits(1):  # the last bits of a product depend on how many threads share it
        mean, components = principal_components(inputs.reshape(len(inputs), -1), codes.units)
    codes.set_weights([components.T, -components @ mean])
    model.get_layer("values").set_weights([components, mean])


def principal_components(flat: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the directions of largest variance.

    Args:
        flat: float32 (num_samples, num_features); `PAD` counts as 0. Read in chunks, never copied whole.
        count: Directions wanted.

    Returns:
        float64 (num_features,), and (count, num_features): orthonormal rows by falling variance, the largest
        entry of each positive; rows beyond the rank of the data are 0.
    """
    size = flat.shape[1]
    sums, products = np.zeros(size), np.zeros((size, size))
    # From the first row, so that a level far from 0 costs no digits.
    origin = _unpadded(flat[:1])[0]
    for first in range(0, len(flat), CHUNK_ROWS):
        part = _unpadded(flat[first : first + CHUNK_ROWS]) - origin
        sums += part.sum(axis=0)
        products += part.T @ part
    shift = sums / len(flat)
    variances, vectors = np.linalg.eigh(products / len(flat) - np.outer(shift, shift))
    order = np.argsort(variances)[::-1][:count]
    components = vectors[:, order].T
    largest = components[np.arange(len(order)), np.abs(components).argmax(axis=1)]
    components = components * np.where(largest < 0, -1.0, 1.0)[:, None]
    tiny = variances[order] <= max(float(variances[-1]), 0.0) * size * np.finfo(np.float64).eps
    components[tiny] = 0
    return origin + shift, components


def _unpadded(part: np.ndarray) -> np.ndarray:
    return np.where(part == np.float32(PAD), 0.0, part).astype(np.float64)
