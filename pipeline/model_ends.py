"""How every model begins and ends, so that any family can be served, scored and compared like any other.

All layers carry names of their own: Keras numbers unnamed layers through the life of the process, and
the bytes of a saved model would tell how many were built before.
"""

import keras
from keras import layers

from pipeline.specs import InputSpec

BATCH_NORMALIZATION_MOMENTUM = 0.9
"""Keras' 0.99 forgets the start after some 500 steps; small data sets train for fewer per epoch than that."""


def image_inputs(spec: InputSpec) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return the input of raw pixels, and those pixels with mean 0 and deviation 1 per channel.

    Args:
        spec: Of kind `image`.

    Returns:
        uint8 and float32 tensors of shape (batch, height, width, channels).

    Raises:
        ValueError: The spec is of another kind.
    """
    _check_kind(spec, "image")
    inputs = keras.Input(spec.shape, dtype="uint8", name="inputs")
    pixels = layers.Rescaling(1 / 255, name="rescaling")(inputs)
    return inputs, _normalized(pixels, spec)


def vector_inputs(spec: InputSpec) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return the input of raw features, and those features with mean 0 and deviation 1.

    Args:
        spec: Of kind `vector`.

    Returns:
        Two float32 tensors of shape (batch, features).

    Raises:
        ValueError: The spec is of another kind.
    """
    _check_kind(spec, "vector")
    inputs = keras.Input(spec.shape, dtype="float32", name="inputs")
    return inputs, _normalized(inputs, spec)


def classifier(
    family: str, inputs: keras.KerasTensor, hidden: keras.KerasTensor, num_classes: int, l2: float
) -> keras.Model:
    """Return the model that ends in one probability per class.

    Args:
        family: Becomes the name of the model.
        inputs: What `image_inputs` or `vector_inputs` gave.
        hidden: Shape (batch, units).
        num_classes: Number of probabilities, which sum to 1.
        l2: Strength of the penalty on the kernel of the logits.
    """
    logits = layers.Dense(num_classes, kernel_regularizer=l2_penalty(l2), name="logits")(hidden)
    return keras.Model(inputs, layers.Activation("softmax", name="probabilities")(logits), name=family)


def dense_block(
    hidden: keras.KerasTensor,
    units: int,
    *,
    name: str,
    activation: str,
    batch_normalization: bool,
    dropout: float,
    l2: float,
) -> keras.KerasTensor:
    """Return `hidden` after a dense layer, normalisation, activation and dropout.

    Args:
        hidden: Shape (batch, features).
        units: Width of the layer.
        name: First part of the names of its layers.
        activation: `relu`, `sigmoid` or `tanh`.
        batch_normalization: Whether to normalise before the activation.
        dropout: Share of outputs set to 0 while training; 0 adds no layer.
        l2: Strength of the penalty on the kernel.
    """
    hidden = layers.Dense(
        units,
        use_bias=not batch_normalization,
        kernel_initializer=initializer(activation),
        kernel_regularizer=l2_penalty(l2),
        name=name,
    )(hidden)
    hidden = normalized_activation(hidden, name, activation, batch_normalization)
    return dropped(hidden, dropout, f"{name}_dropout")


def normalized_activation(
    hidden: keras.KerasTensor, name: str, activation: str, batch_normalization: bool
) -> keras.KerasTensor:
    """Return `hidden` after batch normalisation, where wanted, and the activation."""
    if batch_normalization:
        normalization = layers.BatchNormalization(
            momentum=BATCH_NORMALIZATION_MOMENTUM, name=f"{name}_normalization"
        )
        hidden = normalization(hidden)
    return layers.Activation(activation, name=f"{name}_activation")(hidden)


def dropped(hidden: keras.KerasTensor, dropout: float, name: str) -> keras.KerasTensor:
    """Return `hidden` after dropout; a share of 0 adds no layer."""
    return layers.Dropout(dropout, name=name)(hidden) if dropout else hidden


def initializer(activation: str) -> str:
    """Return the kernel initialiser that keeps the variance of signals under this activation."""
    return "he_normal" if activation == "relu" else "glorot_uniform"


def l2_penalty(strength: float) -> keras.regularizers.Regularizer | None:
    """Return the L2 penalty of that strength, None for 0."""
    return keras.regularizers.L2(strength) if strength else None


def _normalized(hidden: keras.KerasTensor, spec: InputSpec) -> keras.KerasTensor:
    variance = [deviation**2 for deviation in spec.standard_deviation]
    return layers.Normalization(mean=list(spec.mean), variance=variance, name="normalization")(hidden)


def _check_kind(spec: InputSpec, kind: str) -> None:
    if spec.kind != kind:
        raise ValueError(
            f"This family takes another kind of input. Expected {kind}. Received: kind={spec.kind}. "
            "Build the spec with `pipeline.input_specs.input_spec` for the family at hand."
        )
