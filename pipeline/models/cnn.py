"""Family `cnn`: blocks of convolution, normalisation, activation and pooling, then a dense head."""

from collections.abc import Sequence

import keras
from keras import layers

from pipeline.model_ends import (
    classifier,
    dense_block,
    dropped,
    image_inputs,
    initializer,
    l2_penalty,
    normalized_activation,
)
from pipeline.specs import InputSpec, OutputSpec

POOLINGS = {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D}
HEADS = {"flatten": layers.Flatten, "global_average": layers.GlobalAveragePooling2D}


def build(
    input_spec: InputSpec,
    output_spec: OutputSpec,
    *,
    filters: Sequence[int] = (32, 64),
    convolutions_per_block: int = 1,
    kernel_size: int = 3,
    strides: int = 1,
    padding: str = "same",
    pooling: str = "max",
    pool_size: int = 2,
    batch_normalization: bool = True,
    activation: str = "relu",
    block_dropout: float = 0.0,
    head: str = "flatten",
    units: int = 128,
    dropout: float = 0.3,
    l2: float = 0.0,
) -> keras.Model:
    """Return an untrained convolutional network.

    Args:
        input_spec: Of kind `image`.
        output_spec: The classes.
        filters: Kernels of each block.
        convolutions_per_block: Convolutions before the pooling of a block.
        kernel_size: Side of a kernel in pixels.
        strides: Step of the first convolution of each block in pixels.
        padding: `same` or `valid`.
        pooling: `max`, `average` or `none`, at the end of each block.
        pool_size: Side and step of the pooling window in pixels.
        batch_normalization: Whether to normalise before each activation.
        activation: `relu`, `sigmoid` or `tanh`.
        block_dropout: Share dropped after each block.
        head: `flatten`, or `global_average` over the places of the last block.
        units: Width of the dense layer before the output, 0 for none.
        dropout: Share dropped before the output.
        l2: Strength of the penalty on kernels.

    Returns:
        Raw pixels in, probabilities out.
    """
    inputs, hidden = image_inputs(input_spec)
    for block, kernels in enumerate(filters):
        for index in range(convolutions_per_block):
            name = f"block_{block}_convolution_{index}"
            hidden = layers.Conv2D(
                kernels,
                kernel_size,
                strides=strides if index == 0 else 1,
                padding=padding,
                use_bias=not batch_normalization,
                kernel_initializer=initializer(activation),
                kernel_regularizer=l2_penalty(l2),
                name=name,
            )(hidden)
            hidden = normalized_activation(hidden, name, activation, batch_normalization)
        if pooling != "none":
            hidden = POOLINGS[pooling](pool_size, name=f"block_{block}_pooling")(hidden)
        hidden = dropped(hidden, block_dropout, f"block_{block}_dropout")
    hidden = HEADS[head](name=head)(hidden)
    if units:
        hidden = dense_block(
            hidden,
            units,
            name="head",
            activation=activation,
            batch_normalization=batch_normalization,
            dropout=0.0,
            l2=l2,
        )
    hidden = dropped(hidden, dropout, "dropout")
    return classifier("cnn", inputs, hidden, output_spec.num_classes, l2)
