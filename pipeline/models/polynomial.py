"""Family `polynomial`: a window is given back as the polynomial in time that fits it best; nothing is learned.

What a polynomial leaves is sudden (POLY of the benchmark TSB-AD, Liu & Paparrizos 2024; Li, Ma & Mei 2007).
"""

import keras
import numpy as np
from keras import layers

from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.models.layers.inputs import begin


def build(input_spec: InputSpec, output_spec: OutputSpec, *, degree: int = 4) -> keras.Model:
    """Return the model; its weights follow from the length of a window alone. Side features are not used.

    Args:
        input_spec: Of kind `series`.
        output_spec: Of task anomaly.
        degree: Of the polynomial; below the number of steps.

    Returns:
        Series in, fitted polynomials (batch, length, channels) out, each channel by itself.

    Raises:
        ValueError: Another task or kind of input, or nothing would be left of a window.
    """
    if output_spec.task != "anomaly":
        raise ValueError(
            "Family polynomial gives windows back. Expected task=anomaly. Received: "
            f"task={output_spec.task}. Use family linear as a baseline."
        )
    start = begin(input_spec, ("series",))
    length = input_spec.shape[0]
    if degree >= length - 1:
        raise ValueError(
            f"A polynomial of degree {degree} goes through every step of a window. Expected a degree below "
            f"{length - 1}. Received: degree={degree}. Lower it, or make data.windows.length larger."
        )
    rows = layers.Permute((2, 1), name="channels_first")(start.hidden)
    fit = layers.Dense(length, use_bias=False, name="fit")
    output = layers.Permute((2, 1), name="predictions")(fit(rows))
    model = keras.Model(start.model_inputs, output, name="polynomial")
    fit.set_weights([projection(length, degree)])
    model.trainable = False
    return model


def projection(length: int, degree: int) -> np.ndarray:
    """Return the matrix that turns values at `length` even steps into their least-squares polynomial, float64."""
    powers = np.polynomial.legendre.legvander(np.linspace(-1, 1, length), degree)
    basis, _ = np.linalg.qr(powers)
    return np.asarray(basis @ basis.T)
