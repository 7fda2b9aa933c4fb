"""How much of a picture or series is left after each block of a convolution stack; no TensorFlow needed to ask."""

from collections.abc import Sequence
from typing import Any


def conv_output_sizes(  # noqa: PLR0917 - in the order of params.yaml
    image_size: tuple[int, int],
    filters: Sequence[int],
    convolutions_per_block: int = 1,
    kernel_size: int = 3,
    strides: int = 1,
    padding: str = "same",
    pooling: str = "max",
    pool_size: int = 2,
) -> list[tuple[int, int]]:
    """Return height and width in pixels after each block of family `cnn`.

    A block is `convolutions_per_block` convolutions, of which the first one strides, and a pooling.

    Args:
        image_size: Height and width of the input in pixels.
        filters: Kernels per block; only their number matters here.
        convolutions_per_block: Convolutions before the pooling.
        kernel_size: Side of a kernel in pixels.
        strides: Step of the first convolution of a block in pixels.
        padding: `same` or `valid`, of the convolutions; pooling never pads.
        pooling: `max`, `average` or `none`.
        pool_size: Side and step of the pooling window in pixels.

    Returns:
        One pair per block; 0 where nothing is left, from there on.
    """
    height, width = image_size
    sizes = []
    for _block in filters:
        for index in range(convolutions_per_block):
            step = strides if index == 0 else 1
            height = _after_convolution(height, kernel_size, step, padding)
            width = _after_convolution(width, kernel_size, step, padding)
        if pooling != "none":
            height, width = height // pool_size, width // pool_size
        sizes.append((height, width))
    return sizes


def conv_output_lengths(
    length: int, kernel_sizes: Sequence[int], convolutions_per_block: int = 1, **settings: Any
) -> list[int]:
    """Return the steps after each block of family `cnn` on texts or series.

    Args:
        length: Steps or tokens of the input.
        kernel_sizes: One per block.
        convolutions_per_block: Convolutions before the pooling.
        **settings: strides, padding, pooling and pool_size, as for `conv_output_sizes`.

    Returns:
        One number per block; 0 where nothing is left, from there on.
    """
    lengths = []
    for size in kernel_sizes:
        length = conv_output_sizes((length, 1), [1], convolutions_per_block, size, **settings)[0][0]
        lengths.append(length)
    return lengths


def _after_convolution(size: int, kernel_size: int, strides: int, padding: str) -> int:
    if padding == "same":
        return -(-size // strides)
    return max(0, (size - kernel_size) // strides + 1)
