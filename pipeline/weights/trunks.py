"""Pretrained trunks as Keras models that take raw samples and give a vector: images or ids of pieces in, features out.

Built from layers that the loader knows, with weights from a pinned file; each makes its samples ready itself (scale of
pixels, table of vectors), so that a model with a trunk inside reads what every other model reads.
"""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import layers

from pipeline.models.layers.blocks import mean_over_steps, only_present

TRUNK = "trunk"
"""The name of every trunk, as a model and as a layer inside another."""
EPSILON = 1e-3
"""Of the batch normalisations of EfficientNet."""
LITE0_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Per stage: blocks, side of the kernel, first stride, expansion, channels (Tan and Le, ICML 2019; Lite without
squeeze-and-excitation, ReLU6 instead of swish)."""
LITE0_FEATURES = 1280


def efficientnet_lite0(shape: Sequence[int], tensors: Mapping[str, np.ndarray]) -> keras.Model:
    """Return EfficientNet-Lite0 without its last layer, batch normalisations folded into the convolutions.

    Args:
        shape: Of the images: height and width of at least 32 pixels, three channels.
        tensors: By the names of PyTorch's file: `_conv_stem.weight`, `_blocks.0._bn1.bias` and so on.

    Returns:
        uint8 pixels (batch, *shape) to float32 (batch, 1280), after the mean over all places.

    Raises:
        ValueError: A tensor is missing, or of another shape.
    """
    kernels: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def convolved(
        hidden: keras.KerasTensor, name: str, convolution: str, norm: str, **how: int
    ) -> keras.KerasTensor:
        kernel, bias = _folded(tensors, convolution, norm)
        stride, depthwise = how.get("stride", 1), how.get("depthwise", 0)
        size = kernel.shape[2]
        if depthwise:
            kernels[name] = np.ascontiguousarray(kernel.transpose(2, 3, 0, 1)), bias
            return layers.DepthwiseConv2D(size, stride, padding="same", name=name)(hidden)
        kernels[name] = np.ascontiguousarray(kernel.transpose(2, 3, 1, 0)), bias
        return layers.Conv2D(len(kernel), size, stride, padding="same", name=name)(hidden)

    def cut(hidden: keras.KerasTensor, name: str) -> keras.KerasTensor:
        return layers.ReLU(6.0, name=f"{name}_relu6")(hidden)

    pixels = keras.Input(tuple(shape), dtype="uint8", name="inputs")
    # (pixel - 127) / 128, as the Lite variants were trained.
    hidden = layers.Rescaling(1 / 128, offset=-127 / 128, name="to_trunk_scale")(pixels)
    hidden = cut(convolved(hidden, "stem", "_conv_stem", "_bn0", stride=2), "stem")
    index, channels = 0, 32
    for blocks, _size, first_stride, expansion, width in LITE0_STAGES:
        for number in range(blocks):
            stride = first_stride if number == 0 else 1
            inside, name, before = f"_blocks.{index}.", f"block_{index}", hidden
            if expansion > 1:
                hidden = convolved(hidden, f"{name}_expand", f"{inside}_expand_conv", f"{inside}_bn0")
                hidden = cut(hidden, f"{name}_expand")
            hidden = convolved(
                hidden,
                f"{name}_depth",
                f"{inside}_depthwise_conv",
                f"{inside}_bn1",
                stride=stride,
                depthwise=1,
            )
            hidden = cut(hidden, f"{name}_depth")
            hidden = convolved(hidden, f"{name}_project", f"{inside}_project_conv", f"{inside}_bn2")
            if stride == 1 and channels == width:
                hidden = layers.Add(name=f"{name}_add")([before, hidden])
            index, channels = index + 1, width
    hidden = cut(convolved(hidden, "head", "_conv_head", "_bn1"), "head")
    features = layers.GlobalAveragePooling2D(name="features")(hidden)
    model = keras.Model(pixels, features, name=TRUNK)
    for name, weights in kernels.items():
        model.get_layer(name).set_weights(weights)
    model.trainable = False
    return model


def _folded(tensors: Mapping[str, np.ndarray], convolution: str, norm: str) -> tuple[np.ndarray, np.ndarray]:
    """Return kernel (out, in, height, width) and bias (out,) of a convolution and the normalisation behind it."""
    names = (
        f"{convolution}.weight",
        *(f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var")),
    )
    missing = [name for name in names if name not in tensors]
    if missing:
        raise ValueError(
            f"The weights have no {missing[0]}. Expected the tensors of EfficientNet-Lite0. Received: {len(tensors)} "
            "others. Make the file again with `millrace weights add`."
        )
    kernel, gamma, beta, mean, variance = (tensors[name].astype(np.float64) for name in names)
    scale = gamma / np.sqrt(variance + EPSILON)
    bias = beta - mean * scale
    return (kernel * scale[:, None, None, None]).astype(np.float32), bias.astype(np.float32)


def mean_of_vectors(max_pieces: int, vectors: np.ndarray) -> keras.Model:
    """Return the mean of the vectors of all pieces of a text.

    Args:
        max_pieces: Ids per text, 0 behind the end.
        vectors: (vocabulary, dimensions); that of id 1 comes first.

    Returns:
        int32 (batch, max_pieces) to float32 (batch, dimensions); of a text without any piece 0.
    """
    ids = keras.Input((max_pieces,), dtype="int32", name="inputs")
    numbers = layers.Rescaling(1.0, name="piece_numbers")(ids)
    is_piece = layers.ReLU(max_value=1.0, name="is_piece")(numbers)
    present = layers.Reshape((max_pieces, 1), name="present")(is_piece)
    table = layers.Embedding(len(vectors) + 1, vectors.shape[1], name="piece_vectors")
    embedded = only_present(table(ids), present, "embedded_pieces")
    table.set_weights([np.vstack([np.zeros_like(vectors[:1]), vectors]).astype(np.float32)])
    model = keras.Model(ids, mean_over_steps(embedded, present, "features"), name=TRUNK)
    model.trainable = False
    return model
