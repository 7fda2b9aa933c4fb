"""Encoders of family `autoencoder`: from an image, a text or a series to what the codes are taken from."""

import math
from collections.abc import Sequence

import keras
from keras import layers

from pipeline.inputs.specs import InputSpec
from pipeline.models.layers.blocks import (
    dense_block,
    initializer,
    l2_penalty,
    max_over_steps,
    mean_over_steps,
    only_present,
)
from pipeline.models.layers.inputs import Start
from pipeline.models.layers.recurrent import CELLS, recurrent
from pipeline.models.layers.shapes import conv_output_sizes

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


# --- Decoders of family `autoencoder`: from codes back to an image, a series, or the words of a text.
#
# A text is not brought back word by word but as a bag: one probability for each entry of the vocabulary,
# alike for every place. A decoder of word vectors could agree with the encoder on vectors of 0 and be always
# right, and one of words in order would spend its codes on grammar; for classes and topics the words are what
# counts (as in neural topic models: Miao et al., ICML 2016).


def decoded(
    codes: keras.KerasTensor,
    spec: InputSpec,
    kind: str,
    *,
    units: Sequence[int],
    filters: Sequence[int],
    activation: str,
    cell: str,
    l2: float,
) -> keras.KerasTensor:
    """Return what the codes stand for.

    Args:
        codes: Shape (batch, codes).
        spec: What was encoded.
        kind: `dense`, `conv` or `sequence`, the mirror of the encoder; of texts dense layers in any case.
        units: Widths of the encoder's layers, mirrored here.
        filters: Kernels of the encoder's convolutions, mirrored here.
        activation: `relu`, `sigmoid` or `tanh`.
        cell: For `sequence`: `simple`, `lstm` or `gru`.
        l2: Strength of the penalty on kernels.

    Returns:
        Images: pixels in [0, 1], NHWC. Series: (batch, length, channels), scaled. Tokens: (batch,
        vocabulary_size), probabilities that sum to 1.
    """
    if spec.kind == "tokens":
        hidden = dense_stack(codes, list(reversed(units)), activation, l2, "decode")
        logits = layers.Dense(spec.vocabulary_size, kernel_regularizer=l2_penalty(l2), name="words")(hidden)
        return layers.Activation("softmax", name="word_probabilities")(logits)
    if kind == "dense":
        return _dense(codes, spec, units, activation, l2)
    if kind == "sequence":
        return _recurrent(codes, spec, units, cell, l2)
    if spec.kind == "image":
        return _conv_image(codes, spec.shape, filters, activation, l2)
    return _conv_series(codes, spec.shape, filters, activation, l2)


def _last(spec: InputSpec) -> tuple[str, str, str]:
    """Return activation of the output, name of the layer that gives it, name of the layer that shapes it."""
    return ("sigmoid", "pixels", "image") if spec.kind == "image" else ("linear", "values", "series")


def _dense(
    hidden: keras.KerasTensor, spec: InputSpec, units: Sequence[int], activation: str, l2: float
) -> keras.KerasTensor:
    output, name, shaped = _last(spec)
    hidden = dense_stack(hidden, list(reversed(units)), activation, l2, "decode")
    hidden = layers.Dense(
        math.prod(spec.shape), activation=output, kernel_regularizer=l2_penalty(l2), name=name
    )(hidden)
    return layers.Reshape(spec.shape, name=shaped)(hidden)


def _recurrent(
    hidden: keras.KerasTensor, spec: InputSpec, units: Sequence[int], cell: str, l2: float
) -> keras.KerasTensor:
    """Return rows or steps one after the other, each told the codes again."""
    output, name, shaped = _last(spec)
    steps = spec.shape[0]
    hidden = layers.RepeatVector(steps, name="repeated_codes")(hidden)
    for index, width in enumerate(reversed(units)):
        hidden = CELLS[cell](
            width,
            return_sequences=True,
            kernel_regularizer=l2_penalty(l2),
            recurrent_regularizer=l2_penalty(l2),
            name=f"decode_{index}",
        )(hidden)
    hidden = layers.Dense(
        math.prod(spec.shape[1:]), activation=output, kernel_regularizer=l2_penalty(l2), name=name
    )(hidden)
    return layers.Reshape(spec.shape, name=shaped)(hidden)


def _conv_image(
    hidden: keras.KerasTensor, shape: tuple[int, ...], filters: Sequence[int], activation: str, l2: float
) -> keras.KerasTensor:
    """Return pixels of exactly `shape`: each step doubles the size and cuts what the encoder rounded up."""
    height, width, channels = shape
    halved = conv_output_sizes(
        (height, width), filters, strides=STRIDES, kernel_size=KERNEL_SIZE, pooling="none"
    )
    sizes = [(height, width), *halved]
    kernels = [filters[0] if filters else channels, *filters]
    hidden = _smallest(hidden, (*sizes[-1], kernels[-1]), activation, l2)
    for index in reversed(range(len(filters))):
        settings = _transposed(kernels[index], activation, l2, index)
        hidden = layers.Conv2DTranspose(**settings)(hidden)
        below, right = (STRIDES * sizes[index + 1][axis] - sizes[index][axis] for axis in (0, 1))
        hidden = layers.Cropping2D(((0, below), (0, right)), name=f"cut_{index}")(hidden)
    return layers.Conv2D(
        channels,
        KERNEL_SIZE,
        padding="same",
        activation="sigmoid",
        kernel_regularizer=l2_penalty(l2),
        name="pixels",
    )(hidden)


def _conv_series(
    hidden: keras.KerasTensor, shape: tuple[int, ...], filters: Sequence[int], activation: str, l2: float
) -> keras.KerasTensor:
    """Return as many steps as the series has, in the way of `_conv_image`."""
    length, channels = shape
    halved = conv_output_sizes(
        (length, length), filters, strides=STRIDES, kernel_size=KERNEL_SIZE, pooling="none"
    )
    sizes = [length, *(size for size, _same in halved)]
    kernels = [filters[0] if filters else channels, *filters]
    hidden = _smallest(hidden, (sizes[-1], kernels[-1]), activation, l2)
    for index in reversed(range(len(filters))):
        hidden = layers.Conv1DTranspose(**_transposed(kernels[index], activation, l2, index))(hidden)
        hidden = layers.Cropping1D((0, STRIDES * sizes[index + 1] - sizes[index]), name=f"cut_{index}")(
            hidden
        )
    return layers.Conv1D(
        channels, KERNEL_SIZE, padding="same", kernel_regularizer=l2_penalty(l2), name="values"
    )(hidden)


def _smallest(
    hidden: keras.KerasTensor, shape: tuple[int, ...], activation: str, l2: float
) -> keras.KerasTensor:
    """Return codes spread over the size that the encoder's last convolution gave."""
    hidden = dense_block(
        hidden,
        math.prod(shape),
        name="decode",
        activation=activation,
        batch_normalization=False,
        dropout=0.0,
        l2=l2,
    )
    return layers.Reshape(shape, name="smallest")(hidden)


def _transposed(kernels: int, activation: str, l2: float, index: int) -> dict[str, object]:
    return {
        "filters": kernels,
        "kernel_size": KERNEL_SIZE,
        "strides": STRIDES,
        "padding": "same",
        "activation": activation,
        "kernel_initializer": initializer(activation),
        "kernel_regularizer": l2_penalty(l2),
        "name": f"decode_{index}",
    }
