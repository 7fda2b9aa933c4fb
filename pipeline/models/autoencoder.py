"""Family `autoencoder`: learns to reconstruct images from few codes, then to classify by those codes."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from pipeline.conv_shapes import conv_output_sizes
from pipeline.model_ends import (
    BATCH_NORMALIZATION_MOMENTUM,
    classifier,
    dense_block,
    dropped,
    image_inputs,
    initializer,
    l2_penalty,
)
from pipeline.specs import InputSpec, OutputSpec

KERNEL_SIZE = 3
STRIDES = 2


def build_autoencoder(
    input_spec: InputSpec,
    *,
    kind: str = "dense",
    codes: int = 32,
    units: Sequence[int] = (128,),
    filters: Sequence[int] = (16, 32),
    activation: str = "relu",
    l2: float = 0.0,
    **_of_the_classifier: Any,
) -> keras.Model:
    """Return an untrained autoencoder.

    Args:
        input_spec: Of kind `image`.
        kind: `dense`, or `conv` with convolutions of stride 2.
        codes: Numbers that stand for one image.
        units: For `dense`: width of each layer of the encoder; the decoder mirrors them.
        filters: For `conv`: kernels of each convolution of the encoder; the decoder mirrors them.
        activation: `relu`, `sigmoid` or `tanh`; codes have none.
        l2: Strength of the penalty on kernels.

    Returns:
        Raw pixels in, pixels in [0, 1] out. Its layer `encoder` turns raw pixels into codes, shape
        (batch, codes), and its layer `decoder` codes into pixels.
    """
    inputs, hidden = image_inputs(input_spec)
    answer = keras.Input((codes,), name="codes")
    if kind == "dense":
        hidden = _encode_dense(hidden, units, activation, l2)
        pixels = _decode_dense(answer, input_spec.shape, units, activation, l2)
    else:
        hidden = _encode_conv(hidden, filters, activation, l2)
        pixels = _decode_conv(answer, input_spec.shape, filters, activation, l2)
    hidden = layers.Dense(codes, kernel_regularizer=l2_penalty(l2), name="codes")(hidden)
    encoder = keras.Model(inputs, hidden, name="encoder")
    decoder = keras.Model(answer, pixels, name="decoder")
    images = keras.Input(input_spec.shape, dtype="uint8", name="inputs")
    return keras.Model(images, decoder(encoder(images)), name="autoencoder")


def build(
    input_spec: InputSpec,
    output_spec: OutputSpec,
    *,
    encoder: str = "frozen",
    classifier_units: Sequence[int] = (64,),
    activation: str = "relu",
    dropout: float = 0.1,
    l2: float = 0.0,
    trained_encoder: keras.Model | None = None,
    **of_the_autoencoder: Any,
) -> keras.Model:
    """Return a classifier on codes.

    Args:
        input_spec: Of kind `image`.
        output_spec: The classes.
        encoder: `frozen`, or `fine_tuned` while the classifier learns.
        classifier_units: Width of each layer between codes and output.
        activation: `relu`, `sigmoid` or `tanh`.
        dropout: Share dropped after each of those layers, or of the codes where there are none.
        l2: Strength of the penalty on kernels.
        trained_encoder: The layer `encoder` of a trained autoencoder, which stays as it is: the model gets
            a copy. An untrained one is built if None.
        **of_the_autoencoder: The other settings of `build_autoencoder`, which shape an untrained encoder.

    Returns:
        Raw pixels in, probabilities out.
    """
    if trained_encoder is None:
        autoencoder = build_autoencoder(input_spec, activation=activation, l2=l2, **of_the_autoencoder)
        trained_encoder = autoencoder.get_layer("encoder")
    copy = keras.models.clone_model(trained_encoder)
    copy.set_weights(trained_encoder.get_weights())
    copy.trainable = encoder == "fine_tuned"
    inputs = keras.Input(input_spec.shape, dtype="uint8", name="inputs")
    # Nothing in reconstruction fixes the scale of the codes, and a classifier needs one.
    hidden = layers.BatchNormalization(momentum=BATCH_NORMALIZATION_MOMENTUM, name="codes_normalization")(
        copy(inputs)
    )
    for index, width in enumerate(classifier_units):
        hidden = dense_block(
            hidden,
            width,
            name=f"classifier_{index}",
            activation=activation,
            batch_normalization=False,
            dropout=dropout,
            l2=l2,
        )
    if not classifier_units:
        hidden = dropped(hidden, dropout, "dropout")
    return classifier("autoencoder", inputs, hidden, output_spec.num_classes, l2)


def _encode_dense(
    hidden: keras.KerasTensor, units: Sequence[int], activation: str, l2: float
) -> keras.KerasTensor:
    return _dense_stack(layers.Flatten(name="flatten")(hidden), units, activation, l2, "encode")


def _decode_dense(
    hidden: keras.KerasTensor, shape: tuple[int, ...], units: Sequence[int], activation: str, l2: float
) -> keras.KerasTensor:
    hidden = _dense_stack(hidden, list(reversed(units)), activation, l2, "decode")
    hidden = layers.Dense(
        math.prod(shape), activation="sigmoid", kernel_regularizer=l2_penalty(l2), name="pixels"
    )(hidden)
    return layers.Reshape(shape, name="image")(hidden)


def _dense_stack(
    hidden: keras.KerasTensor, units: Sequence[int], activation: str, l2: float, name: str
) -> keras.KerasTensor:
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


def _encode_conv(
    hidden: keras.KerasTensor, filters: Sequence[int], activation: str, l2: float
) -> keras.KerasTensor:
    for index, kernels in enumerate(filters):
        hidden = layers.Conv2D(
            kernels,
            KERNEL_SIZE,
            strides=STRIDES,
            padding="same",
            activation=activation,
            kernel_initializer=initializer(activation),
            kernel_regularizer=l2_penalty(l2),
            name=f"encode_{index}",
        )(hidden)
    return layers.Flatten(name="flatten")(hidden)


def _decode_conv(
    hidden: keras.KerasTensor, shape: tuple[int, ...], filters: Sequence[int], activation: str, l2: float
) -> keras.KerasTensor:
    """Return pixels of exactly `shape`: each step doubles the size and cuts what the encoder rounded up."""
    height, width, channels = shape
    halved = conv_output_sizes(
        (height, width), filters, strides=STRIDES, kernel_size=KERNEL_SIZE, pooling="none"
    )
    sizes = [(height, width), *halved]
    kernels = [filters[0] if filters else channels, *filters]
    smallest = (*sizes[-1], kernels[-1])
    hidden = dense_block(
        hidden,
        math.prod(smallest),
        name="decode",
        activation=activation,
        batch_normalization=False,
        dropout=0.0,
        l2=l2,
    )
    hidden = layers.Reshape(smallest, name="smallest")(hidden)
    for index in reversed(range(len(filters))):
        hidden = layers.Conv2DTranspose(
            kernels[index],
            KERNEL_SIZE,
            strides=STRIDES,
            padding="same",
            activation=activation,
            kernel_initializer=initializer(activation),
            kernel_regularizer=l2_penalty(l2),
            name=f"decode_{index}",
        )(hidden)
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
