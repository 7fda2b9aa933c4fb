"""Family `cnn`: blocks of convolution, normalisation, activation and pooling, then a dense head.

Over the places of an image, the tokens of a text or the steps of a series.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.models.layers.blocks import (
    dense_block,
    dropped,
    initializer,
    l2_penalty,
    max_over_steps,
    mean_over_steps,
    normalized_activation,
    only_present,
    step_mask,
)
from pipeline.models.layers.heads import answer, require_forecasting
from pipeline.models.layers.inputs import begin, joined, relative_to_last

# By the rank of what they read: steps and features, or height, width and channels.
CONVOLUTIONS = {3: layers.Conv1D, 4: layers.Conv2D}
POOLINGS = {
    (3, "max"): layers.MaxPooling1D,
    (3, "average"): layers.AveragePooling1D,
    (4, "max"): layers.MaxPooling2D,
    (4, "average"): layers.AveragePooling2D,
}


def build(
    input_spec: InputSpec,
    output_spec: OutputSpec,
    *,
    filters: Sequence[int] = (32, 64),
    convolutions_per_block: int = 1,
    kernel_size: int = 3,
    kernel_sizes: Sequence[int] = (),
    side_by_side: bool = False,
    shortcuts: bool = False,
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
    embedding_units: int = 64,
    last_value_residual: bool = False,
    output_activation: str = "linear",
    fusion_units: Sequence[int] = (),
) -> keras.Model:
    """Return an untrained convolutional network.

    Args:
        input_spec: Of kind `image`, `tokens` or `series`. Padded steps count for nothing.
        output_spec: What is asked.
        filters: Kernels of each block.
        convolutions_per_block: Convolutions before the pooling of a block.
        kernel_size: Side of a kernel in pixels, tokens or steps.
        kernel_sizes: Several instead of `kernel_size`: one for each block, or with `side_by_side` all in
            each block.
        shortcuts: Whether what goes into the convolutions of a block is added to what comes out, before the last
            activation (ResNet, He et al. 2016); by a convolution of one place where the number of features or
            places differs. With `side_by_side` a block is one of InceptionTime's (Fawaz et al. 2020).
        side_by_side: Whether each convolution reads with every one of `kernel_sizes`, `filters` kernels of each.
        strides: Step of the first convolution of each block in pixels, tokens or steps.
        padding: `same` or `valid`.
        pooling: `max`, `average` or `none`, at the end of each block.
        pool_size: Side and step of the pooling window.
        batch_normalization: Whether to normalise before each activation.
        activation: `relu`, `sigmoid` or `tanh`.
        block_dropout: Share dropped after each block.
        head: `flatten`, or `global_average` or `global_max` over the places of the last block.
        units: Width of the dense layer before side features are joined, 0 for none.
        dropout: Share dropped before the output.
        l2: Strength of the penalty on kernels.
        embedding_units: Tokens: width of the vector of each.
        last_value_residual: Forecasting: read distances from the last step, and predict the change from it.
        output_activation: `linear` or `tanh`; regression and forecasting.
        fusion_units: Width of each dense layer between the join and the output.

    Returns:
        Raw inputs in; probabilities or numbers out, see `pipeline.models.layers.heads`.

    Raises:
        ValueError: Kernel sizes do not fit the blocks or the padding, or nothing is left after a block.
    """
    start = begin(input_spec, ("image", "tokens", "series"), embedding_units=embedding_units)
    hidden, present, last = start.hidden, start.present, None
    if last_value_residual:
        require_forecasting(output_spec, "last_value_residual")
        hidden, last = relative_to_last(start)
    block_settings: dict[str, Any] = {
        "strides": strides,
        "padding": padding,
        "activation": activation,
        "batch_normalization": batch_normalization,
        "l2": l2,
    }
    if shortcuts and padding != "same":
        raise ValueError(
            f"A shortcut needs as many places before as after. Expected padding=same. Received: padding={padding}."
        )
    sizes_per_block = _sizes_per_block(len(filters), kernel_size, kernel_sizes, side_by_side, padding)
    for block, (kernels, sizes) in enumerate(zip(filters, sizes_per_block, strict=True)):
        before = hidden
        for index in range(convolutions_per_block):
            name = f"block_{block}_convolution_{index}"
            settings = block_settings if index == 0 else block_settings | {"strides": 1}
            if shortcuts and index == convolutions_per_block - 1:
                settings = settings | {"activation": "linear"}
            hidden, present = _convolved(hidden, present, kernels, sizes, name, **settings)
        if shortcuts:
            hidden = _with_shortcut(hidden, before, present, f"block_{block}_shortcut", **block_settings)
        if pooling != "none":
            name = f"block_{block}_pooling"
            hidden = POOLINGS[len(hidden.shape), pooling](pool_size, name=name)(hidden)
            present = _pooled(present, pool_size, pool_size, "valid", f"{name}_present")
        hidden = dropped(hidden, block_dropout, f"block_{block}_dropout")
    hidden = _headed(hidden, present, head)
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
    return answer(
        "cnn",
        start,
        joined(hidden, start),
        output_spec,
        l2=l2,
        fusion_units=tuple(fusion_units),
        output_activation=output_activation,
        last=last,
    )


def _sizes_per_block(
    num_blocks: int, kernel_size: int, kernel_sizes: Sequence[int], side_by_side: bool, padding: str
) -> list[list[int]]:
    """Return for each block the sizes that each of its convolutions reads with."""
    if side_by_side:
        if padding != "same" or not kernel_sizes:
            raise ValueError(
                "Kernels side by side must give as many places each. Expected padding=same and some "
                f"kernel_sizes. Received: padding={padding}, kernel_sizes={list(kernel_sizes)}."
            )
        return [list(kernel_sizes)] * num_blocks
    if kernel_sizes and len(kernel_sizes) != num_blocks:
        raise ValueError(
            f"Kernel sizes do not fit the blocks. Expected {num_blocks}, one for each of filters. Received: "
            f"kernel_sizes={list(kernel_sizes)}. Add or remove some, or set side_by_side: true."
        )
    return [[size] for size in kernel_sizes or [kernel_size] * num_blocks]


def _convolved(
    hidden: keras.KerasTensor,
    present: keras.KerasTensor | None,
    kernels: int,
    sizes: list[int],
    name: str,
    *,
    strides: int,
    padding: str,
    activation: str,
    batch_normalization: bool,
    l2: float,
) -> tuple[keras.KerasTensor, keras.KerasTensor | None]:
    """Return `hidden` after a convolution with kernels of every size, and which of its places are present."""
    convolution = CONVOLUTIONS[len(hidden.shape)]
    read = [
        convolution(
            kernels,
            size,
            strides=strides,
            padding=padding,
            use_bias=not batch_normalization,
            kernel_initializer=initializer(activation),
            kernel_regularizer=l2_penalty(l2),
            name=name if len(sizes) == 1 else f"{name}_of_{size}",
        )(hidden)
        for size in sizes
    ]
    hidden = read[0] if len(read) == 1 else layers.Concatenate(name=name)(read)
    # A kernel of `same` stands on the first of its `strides` places, one of `valid` reads all its places.
    window = strides if padding == "same" else sizes[0]
    present = _pooled(present, window, strides, padding, f"{name}_steps")
    mask = step_mask(present, f"{name}_mask") if batch_normalization else None
    hidden = normalized_activation(hidden, name, activation, batch_normalization, mask)
    return only_present(hidden, present, f"{name}_present"), present


def _with_shortcut(
    hidden: keras.KerasTensor,
    before: keras.KerasTensor,
    present: keras.KerasTensor | None,
    name: str,
    *,
    strides: int,
    padding: str,
    activation: str,
    batch_normalization: bool,
    l2: float,
) -> keras.KerasTensor:
    """Return the activation of `hidden` plus what the block began with."""
    if strides > 1 or before.shape[-1] != hidden.shape[-1]:
        before = CONVOLUTIONS[len(hidden.shape)](
            hidden.shape[-1],
            1,
            strides=strides,
            padding=padding,
            use_bias=not batch_normalization,
            kernel_regularizer=l2_penalty(l2),
            name=name,
        )(before)
        mask = step_mask(present, f"{name}_mask") if batch_normalization else None
        before = normalized_activation(before, name, "linear", batch_normalization, mask)
    both = layers.Add(name=f"{name}_added")([hidden, before])
    both = layers.Activation(activation, name=f"{name}_joined_activation")(both)
    return only_present(both, present, f"{name}_present")


def _pooled(
    present: keras.KerasTensor | None, window: int, strides: int, padding: str, name: str
) -> keras.KerasTensor | None:
    """Return which places are present after a layer that looks at `window` of them; one is enough."""
    if present is None or window == strides == 1:
        return present
    return layers.MaxPooling1D(window, strides=strides, padding=padding, name=name)(present)


def _headed(hidden: keras.KerasTensor, present: keras.KerasTensor | None, head: str) -> keras.KerasTensor:
    """Return what the blocks made, (batch, features)."""
    if head == "flatten":
        return layers.Flatten(name=head)(hidden)
    if len(hidden.shape) == 4:
        pools: dict[str, Any] = {
            "global_average": layers.GlobalAveragePooling2D,
            "global_max": layers.GlobalMaxPooling2D,
        }
        return pools[head](name=head)(hidden)
    return (mean_over_steps if head == "global_average" else max_over_steps)(hidden, present, head)
