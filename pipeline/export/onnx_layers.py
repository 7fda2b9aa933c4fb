"""One function per layer that a model may have, in the operators of ONNX; `LAYERS` is the table of them.

Convolutions stand between two transposes, since Keras keeps channels last and ONNX first. Recurrent layers become
ONNX's own LSTM, GRU and RNN, which pass over padding by the length of each sequence.

Source: the operators of ONNX 1.15 (opset 18), and the formulas of the Keras layers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from pipeline.export.onnx_file import INT32
from pipeline.export.onnx_graph import Call, Graph

Write = Callable[[Graph, Call], str]

# --- Layers without weights.


def _activated(graph: Graph, name: str, call: Call) -> str:
    kind = call.layer.activation.__name__
    if kind not in ACTIVATIONS:
        raise call.refuse(f"an activation of {', '.join(sorted(ACTIVATIONS))}")
    operator = ACTIVATIONS[kind]
    if operator is None:
        return name
    return graph.op(operator, name, **({"axis": -1} if operator == "Softmax" else {}))


def _activation(graph: Graph, call: Call) -> str:
    return _activated(graph, call.inputs[0], call)


def _merged(kind: str) -> Write:
    def write(graph: Graph, call: Call) -> str:
        if (
            len({len(shape) for shape in call.shapes}) > 1
        ):  # Keras fits axes together from the left, ONNX from the right
            raise call.refuse("inputs of equally many dimensions")
        result = call.inputs[0]
        for other in call.inputs[1:]:
            result = graph.op(kind, result, other)
        return result

    return write


def _average(graph: Graph, call: Call) -> str:
    """Write the sum in the order of the inputs, divided by their number, as Keras rounds it."""
    total = _merged("Add")(graph, call)
    return graph.op("Div", total, graph.constant(len(call.inputs)))


def _concatenate(graph: Graph, call: Call) -> str:
    return graph.op("Concat", *call.inputs, axis=call.layer.axis)


def _same(_graph: Graph, call: Call) -> str:
    return call.inputs[0]


def _dot(graph: Graph, call: Call) -> str:
    """Write the sum over steps of (batch, steps, features) weighted by (batch, steps)."""
    layer = call.layer
    if layer.axes not in (1, [1, 1], (1, 1)) or layer.normalize or [len(of) for of in call.shapes] != [2, 1]:
        raise call.refuse("Dot(axes=(1, 1)) of (batch, steps, features) and (batch, steps)")
    row = graph.op("Unsqueeze", call.inputs[1], graph.integers([1]))
    return graph.op("Squeeze", graph.op("MatMul", row, call.inputs[0]), graph.integers([1]))


def _cropping(graph: Graph, call: Call) -> str:
    pairs = _pairs(call, call.layer.cropping)
    return graph.sliced(call.inputs[0], [pair[0] for pair in pairs], [pair[1] for pair in pairs])


def _zero_padding(graph: Graph, call: Call) -> str:
    pairs = _pairs(call, call.layer.padding)
    begin, end = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return graph.op("Pad", call.inputs[0], graph.integers([0, *begin, 0, 0, *end, 0]))


def _pairs(call: Call, given: Any) -> list[tuple[int, int]]:
    """Return how much goes or comes at the begin and the end of each axis; of one axis Keras has no list."""
    if getattr(call.layer, "data_format", "channels_last") != "channels_last":
        raise call.refuse("data_format=channels_last")
    return [tuple(pair) for pair in given] if isinstance(given[0], tuple | list) else [tuple(given)]


def _flatten(graph: Graph, call: Call) -> str:
    return graph.reshaped(call.inputs[0], [math.prod(call.shapes[0])])


def _reshape(graph: Graph, call: Call) -> str:
    return graph.reshaped(call.inputs[0], call.shape)


def _permute(graph: Graph, call: Call) -> str:
    return graph.transposed(call.inputs[0], [0, *call.layer.dims])


def _repeat(graph: Graph, call: Call) -> str:
    step = graph.op("Unsqueeze", call.inputs[0], graph.integers([1]))
    return graph.op("Tile", step, graph.integers([1, call.layer.n, 1]))


def _rescaling(graph: Graph, call: Call) -> str:
    scaled = graph.op("Mul", call.inputs[0], graph.constant(call.layer.scale))
    return graph.op("Add", scaled, graph.constant(call.layer.offset))


def _relu(graph: Graph, call: Call) -> str:
    layer = call.layer
    if layer.negative_slope or layer.threshold:
        raise call.refuse("ReLU(max_value=...)")
    if layer.max_value is None:
        return graph.op("Relu", call.inputs[0])
    return graph.op("Clip", call.inputs[0], graph.constant(0.0), graph.constant(layer.max_value))


def _softmax(graph: Graph, call: Call) -> str:
    if not isinstance(call.layer.axis, int):
        raise call.refuse("one axis")
    return graph.op("Softmax", call.inputs[0], axis=call.layer.axis)


def _over_places(kind: str) -> Write:
    """Return what takes the mean or the largest value over all axes between the first and the last."""

    def write(graph: Graph, call: Call) -> str:
        layer = call.layer
        if layer.keepdims or layer.data_format != "channels_last":
            raise call.refuse("keepdims=False, data_format=channels_last")
        axes = range(1, len(call.shapes[0]))
        return graph.op(kind, call.inputs[0], graph.integers(list(axes)), keepdims=0)

    return write


# --- Layers with weights.


def _weights(layer: Any) -> list[np.ndarray]:
    return [np.asarray(weight) for weight in layer.get_weights()]


def _dense(graph: Graph, call: Call) -> str:
    layer = call.layer
    kernel, *bias = _weights(layer)
    result = graph.op("MatMul", call.inputs[0], graph.constant(kernel))
    if bias:
        result = graph.op("Add", result, graph.constant(bias[0]))
    return _activated(graph, result, call)


def _einsum(graph: Graph, call: Call) -> str:
    layer = call.layer
    kernel, *bias = _weights(layer)
    result = graph.op("Einsum", call.inputs[0], graph.constant(kernel), equation=layer.equation)
    if bias:
        result = graph.op("Add", result, graph.constant(bias[0]))
    return _activated(graph, result, call)


def _embedding(graph: Graph, call: Call) -> str:
    if call.layer.mask_zero:
        raise call.refuse("Embedding(mask_zero=False)")
    (table,) = _weights(call.layer)
    ids = graph.op("Cast", call.inputs[0], to=INT32)
    return graph.op("Gather", graph.constant(table), ids, axis=0)


def _normalization(graph: Graph, call: Call) -> str:
    layer = call.layer
    if layer.invert:
        raise call.refuse("Normalization(invert=False)")
    mean, variance = (np.asarray(values, np.float32) for values in (layer.mean, layer.variance))
    deviation = np.maximum(np.sqrt(variance), np.float32(keras.config.epsilon()))
    centred = graph.op("Sub", call.inputs[0], graph.constant(mean))
    return graph.op("Div", centred, graph.constant(deviation))


def _batch_normalization(graph: Graph, call: Call) -> str:
    """Write one product and one sum; the running statistics are constants by now, and a mask is of training only."""
    layer = call.layer
    if layer.axis not in (-1, len(call.shape)):
        raise call.refuse("BatchNormalization(axis=-1)")
    values = {weight.name: np.asarray(weight, np.float64) for weight in layer.weights}
    scale = values.get("gamma", 1.0) / np.sqrt(values["moving_variance"] + layer.epsilon)
    offset = values.get("beta", 0.0) - values["moving_mean"] * scale
    return graph.op("Add", graph.op("Mul", call.inputs[0], graph.constant(scale)), graph.constant(offset))


def _channels_first(graph: Graph, name: str, spatial: int) -> str:
    return graph.transposed(name, [0, spatial + 1, *range(1, spatial + 1)])


def _channels_last(graph: Graph, name: str, spatial: int) -> str:
    return graph.transposed(name, [0, *range(2, spatial + 2), 1])


def _pads(call: Call, size: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """Return the places to add before each axis, then behind each; TensorFlow adds the odd one behind."""
    if call.layer.padding != "same":
        return [0] * 2 * len(size)
    before, behind = [], []
    for length, step, places, wide in zip(
        call.shapes[0][:-1], call.layer.strides, size, dilation, strict=True
    ):
        missing = max((-(-length // step) - 1) * step + (places - 1) * wide + 1 - length, 0)
        before.append(missing // 2)
        behind.append(missing - missing // 2)
    return before + behind


def _convolution(graph: Graph, call: Call) -> str:
    kernel, *bias = _weights(call.layer)
    weights = np.moveaxis(kernel, (-1, -2), (0, 1))  # places, in, out -> out, in, places
    return _convolved(graph, call, weights, bias, call.layer.groups)


def _depthwise_convolution(graph: Graph, call: Call) -> str:
    """Write a convolution with a group of its own for every channel."""
    kernel, *bias = _weights(call.layer)
    channels = kernel.shape[-2]
    weights = np.moveaxis(kernel, (-2, -1), (0, 1))  # places, in, times -> in * times, 1, places
    return _convolved(graph, call, weights.reshape(-1, 1, *kernel.shape[:-2]), bias, channels)


def _convolved(graph: Graph, call: Call, weights: np.ndarray, bias: Sequence[np.ndarray], groups: int) -> str:
    layer = call.layer
    if layer.padding not in ("same", "valid") or layer.data_format != "channels_last":
        raise call.refuse("padding=same or valid, data_format=channels_last")
    spatial = len(call.shape) - 1
    result = graph.op(
        "Conv",
        _channels_first(graph, call.inputs[0], spatial),
        graph.constant(weights),
        *(graph.constant(values) for values in bias),
        pads=_pads(call, layer.kernel_size, layer.dilation_rate),
        strides=list(layer.strides),
        dilations=list(layer.dilation_rate),
        group=groups,
    )
    return _activated(graph, _channels_last(graph, result, spatial), call)


def _transposed_convolution(graph: Graph, call: Call) -> str:
    layer = call.layer
    plain = layer.padding == "same" and layer.output_padding is None and set(layer.dilation_rate) == {1}
    if not plain or layer.data_format != "channels_last":
        raise call.refuse("padding=same, data_format=channels_last and no more")
    spatial = len(call.shape) - 1
    kernel, *bias = _weights(layer)
    # TensorFlow cuts what is too much at the end first; `same` gives strides * size places.
    surplus = [max(size - step, 0) for size, step in zip(layer.kernel_size, layer.strides, strict=True)]
    pads = [half // 2 for half in surplus] + [half - half // 2 for half in surplus]
    grown = [max(step - size, 0) for size, step in zip(layer.kernel_size, layer.strides, strict=True)]
    weights = np.moveaxis(kernel, (-1, -2), (0, 1))  # places, out, in -> in, out, places
    result = graph.op(
        "ConvTranspose",
        _channels_first(graph, call.inputs[0], spatial),
        graph.constant(weights),
        *(graph.constant(values) for values in bias),
        strides=list(layer.strides),
        pads=pads,
        output_padding=grown,
    )
    return _activated(graph, _channels_last(graph, result, spatial), call)


def _pooling(kind: str) -> Write:
    def write(graph: Graph, call: Call) -> str:
        layer = call.layer
        if layer.data_format != "channels_last":
            raise call.refuse("data_format=channels_last")
        spatial = len(layer.pool_size)
        result = graph.op(
            kind,
            _channels_first(graph, call.inputs[0], spatial),
            pads=_pads(call, layer.pool_size, [1] * spatial),
            kernel_shape=list(layer.pool_size),
            strides=list(layer.strides),
        )
        return _channels_last(graph, result, spatial)

    return write


# --- Recurrent layers.

GATES: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "GRU": ("GRU", (0, 1, 2)),
    "LSTM": ("LSTM", (0, 3, 1, 2)),
    "SimpleRNN": ("RNN", (0,)),
}
"""Operator, and where Keras has what ONNX wants first, second ...: gates z r h in both, i f c o against i o f c."""
USUAL_ACTIVATIONS = {
    "GRU": ("tanh", "sigmoid"),
    "LSTM": ("tanh", "sigmoid"),
    "SimpleRNN": ("tanh", None),
}


def _recurrent(graph: Graph, call: Call) -> str:
    """Write a recurrent layer, in one direction or both.

    Keras leaves the state as it is where the mask is 0, and padding stands at the end, so that the sum of the mask is
    the length. At padded steps ONNX answers 0 and Keras the state before; models multiply both by 0
    (`models.layers.blocks.only_present`).
    """
    layer = call.layer
    both = isinstance(layer, keras.layers.Bidirectional)
    cells = [layer.forward_layer, layer.backward_layer] if both else [layer]
    first = cells[0]
    kind = type(first).__name__
    if not _is_plain(layer, first, kind):
        raise call.refuse(
            f"{', '.join(GATES)} with the activations, directions and states of Keras' defaults"
        )
    operator, order = GATES[kind]
    arrays = [_gates(cell, order) for cell in cells]
    kernel, recurrent, bias = (np.stack(parts) for parts in zip(*arrays, strict=True))
    lengths = ""
    if call.mask is not None:
        ones = graph.op("ReduceSum", graph.as_float(call.mask), graph.integers([1]), keepdims=0)
        lengths = graph.op("Cast", ones, to=INT32)
    steps = graph.transposed(call.inputs[0], [1, 0, 2])
    more = {"linear_before_reset": 1} if kind == "GRU" else {}
    every = graph.op(
        operator,
        steps,
        graph.constant(kernel),
        graph.constant(recurrent),
        graph.constant(bias),
        lengths,
        outputs=2,
        hidden_size=first.units,
        direction="bidirectional" if both else "forward",
        **more,
    )
    width = first.units * len(cells)
    if first.return_sequences:  # steps, directions, batch, units
        ordered = graph.transposed(every, [2, 0, 1, 3])
        return graph.reshaped(ordered, [call.shape[0], width])
    return graph.reshaped(graph.transposed(f"{every}_1", [1, 0, 2]), [width])


def _gates(cell: Any, order: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return kernel, recurrent kernel and bias as ONNX has them: gates one below the other, in its order."""
    kernel, recurrent, *rest = _weights(cell)
    units, count = recurrent.shape[0], len(order)
    bias = rest[0] if rest else np.zeros(count * units, np.float32)
    biases = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])

    def ordered(array: np.ndarray) -> np.ndarray:
        parts = np.split(array, count, axis=-1)
        return np.concatenate([parts[place] for place in order], axis=-1)

    return ordered(kernel).T, ordered(recurrent).T, ordered(biases).reshape(-1)


def _is_plain(layer: Any, first: Any, kind: str) -> bool:
    """Return whether a recurrent layer computes what ONNX's operator does."""
    if kind not in GATES:
        return False
    inner = getattr(getattr(first, "recurrent_activation", None), "__name__", None)
    usual = (first.activation.__name__, inner) == USUAL_ACTIVATIONS[kind]
    if isinstance(layer, keras.layers.Bidirectional) and layer.merge_mode != "concat":
        return False
    return usual and not first.go_backwards and not first.stateful and getattr(first, "reset_after", True)


LAYERS: Mapping[str, Write] = {
    "Activation": _activation,
    "Add": _merged("Add"),
    "Average": _average,
    "AveragePooling1D": _pooling("AveragePool"),
    "AveragePooling2D": _pooling("AveragePool"),
    "BatchNormalization": _batch_normalization,
    "Bidirectional": _recurrent,
    "Concatenate": _concatenate,
    "Conv1D": _convolution,
    "Conv1DTranspose": _transposed_convolution,
    "Conv2D": _convolution,
    "Conv2DTranspose": _transposed_convolution,
    "Cropping1D": _cropping,
    "Cropping2D": _cropping,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise_convolution,
    "Dot": _dot,
    "Dropout": _same,
    "EinsumDense": _einsum,
    "Embedding": _embedding,
    "Flatten": _flatten,
    "GRU": _recurrent,
    "GlobalAveragePooling1D": _over_places("ReduceMean"),
    "GlobalAveragePooling2D": _over_places("ReduceMean"),
    "GlobalMaxPooling1D": _over_places("ReduceMax"),
    "GlobalMaxPooling2D": _over_places("ReduceMax"),
    "LSTM": _recurrent,
    "MaxPooling1D": _pooling("MaxPool"),
    "MaxPooling2D": _pooling("MaxPool"),
    "Multiply": _merged("Mul"),
    "Normalization": _normalization,
    "Permute": _permute,
    "ReLU": _relu,
    "RepeatVector": _repeat,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "SimpleRNN": _recurrent,
    "Softmax": _softmax,
    "Subtract": _merged("Sub"),
    "ZeroPadding1D": _zero_padding,
    "ZeroPadding2D": _zero_padding,
}
"""Every layer of `inference.keras_config.CLASSES` but the input, which stands for itself."""
ACTIVATIONS: Mapping[str, str | None] = {
    "linear": None,
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "softmax": "Softmax",
    "tanh": "Tanh",
}
"""Every one of `inference.keras_config.ACTIVATIONS`."""
MOVE_NUMBERS = ("Embedding", "Flatten", "Permute", "Reshape")
"""Layers that take whole numbers as they are."""
READ_A_MASK = ("BatchNormalization", "Bidirectional", "GRU", "LSTM", "SimpleRNN")
"""Layers that are called with a mask: of a normalisation it is for training alone."""
OF_SEVERAL = ("Add", "Average", "Concatenate", "Dot", "Multiply", "Subtract")
"""Layers that read more than one tensor."""
