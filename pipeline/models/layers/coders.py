"""Encoders of family `autoencoder`: from an image, a text or a series to what the codes are taken from."""

from collections.abc import Sequence

import keras
from keras import layers

from pipeline.models.layers.blocks import dense_block
from pipeline.models.layers.blocks import initializer
from pipeline.models.layers.blocks import l2_penalty
from pipeline.models.layers.blocks import max_over_steps
from pipeline.models.layers.blocks import mean_over_steps
from pipeline.models.layers.blocks import only_present
from pipeline.models.layers.inputs import Start
from pipeline.models.layers.recurrent import recurrent

KERNEL_SIZE = 3
STRIDES = 2


def encoded(
    start: Start,
    kind: str,
    *,
    units: Sequence[int],
    filters: Sequence[int],
    activation: str,
    cell: str,
    l2: float,
) -> keras.KerasTensor:
    """Return features of the main input, (batch, features).

    Args:
        start: Images, embedded tokens or series.
        kind: `dense`: layers on the input laid flat, of texts on the mean of their embedded tokens. `conv`:
            convolutions of stride 2, laid flat, of texts the largest value over all places. `sequence`: the
            last state of recurrent layers over rows, tokens or steps.
        units: For `dense` and `sequence`: width of each layer.
        filters: For `conv`: kernels of each convolution.
        activation: `relu`, `sigmoid` or `tanh`; not for `sequence`.
        cell: For `sequence`: `simple`, `lstm` or `gru`.
        l2: Strength of the penalty on kernels.

    Raises:
        ValueError: A sequence without any layer.
    """
    hidden = start.hidden
    if kind == "dense":
        if start.spec.kind == "tokens":
            flat = mean_over_steps(hidden, start.present, "mean_token")
        else:
            flat = layers.Flatten(name="flatten")(hidden)
        return dense_stack(flat, units, activation, l2, "encode")
    if kind == "conv":
        return _convolved(hidden, start, filters, activation, l2)
    if not units:
        raise ValueError(
            "An autoencoder of kind sequence needs recurrent layers. Expected at least one width in units. "
            "Received: units=[]. Set units: [64]."
        )
    if start.spec.kind == "image":
        height, width, channels = start.spec.shape
        hidden = layers.Reshape((height, width * channels), name="rows")(hidden)
    return recurrent(
        hidden, start, cell=cell, units=units, bidirectional=False, l2=l2, keep_all=False, name="encode"
    )


def dense_stack(
    hidden: keras.KerasTensor, units: Sequence[int], activation: str, l2: float, name: str
) -> keras.KerasTensor:
    """Return `hidden` after dense layers of those widths, named `<name>_<index>`."""
    for index, width in enumerate(units):
        hidden = dense_block(
            hidden,
            width,
            name=f"{name}_{index}",
            activation=activation,
            batch_normalization=False,
            dropout=0.0,
            l2=l2,
        )
    return hidden


def _convolved(
    hidden: keras.KerasTensor, start: Start, filters: Sequence[int], activation: str, l2: float
) -> keras.KerasTensor:
    convolution = layers.Conv2D if start.spec.kind == "image" else layers.Conv1D
    present = start.present
    for index, kernels in enumerate(filters):
        hidden = convolution(
            kernels,
            KERNEL_SIZE,
            strides=STRIDES,
            padding="same",
            activation=activation,
            kernel_initializer=initializer(activation),
            kernel_regularizer=l2_penalty(l2),
            name=f"encode_{index}",
        )(hidden)
        if present is not None:
            present = layers.MaxPooling1D(STRIDES, padding="same", name=f"encode_{index}_steps")(present)
            hidden = only_present(hidden, present, f"encode_{index}_present")
    if start.spec.kind == "tokens":
        # Where in a text something is said matters less than that it is said, and lengths differ.
        return max_over_steps(hidden, present, "global_max")
    return layers.Flatten(name="flatten")(hidden)
