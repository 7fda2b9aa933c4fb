"""A Keras model as an ONNX file: a walk over its graph, a row of `onnx_layers.LAYERS` per layer.

Every layer that `inference.keras_config` lets into a model file has a row, and no other (a test compares the two): what
can be registered can be exported. The same model gives the same bytes.
"""

import math
from dataclasses import replace

import keras

from pipeline.export.onnx_file import Node, Value, model_bytes
from pipeline.export.onnx_graph import Call, Graph, Shape
from pipeline.export.onnx_layers import LAYERS, MOVE_NUMBERS, OF_SEVERAL, READ_A_MASK
from pipeline.export.onnx_session import NUMBERS_PER_SAMPLE


def onnx_bytes(model: keras.Model) -> bytes:
    """Return a model as the content of an ONNX file.

    Args:
        model: Functional, of layers in `LAYERS`, float32 inside.

    Returns:
        Inputs and the output have the names and dtypes of the Keras model's; the first dimension is free.

    Raises:
        NotImplementedError: A layer, or a setting of one, that has no row here; the message names it.
        ValueError: A weight is NaN or infinite.
        OverflowError: The weights are larger than the format can say.
    """
    graph = Graph()
    names = {id(tensor): graph.known(tensor.name, tensor.dtype) for tensor in model.inputs}
    (last,) = _walk(graph, model, names)
    (output,) = model.outputs
    name = model.output_names[0]
    graph.nodes.append(Node("Identity", name, [last], [name], {}))
    return model_bytes(
        model.name,
        graph.nodes,
        graph.constants,
        inputs=[
            Value(tensor.name, tensor.dtype, _behind_the_first(tensor, tensor.name))
            for tensor in model.inputs
        ],
        output=Value(name, "float32", _behind_the_first(output, name)),
        metadata={NUMBERS_PER_SAMPLE: str(graph.numbers)},
    )


def _behind_the_first(tensor: keras.KerasTensor, layer: str) -> Shape:
    shape = tuple(tensor.shape[1:])
    if None in shape:
        raise NotImplementedError(
            f"Layer {layer!r} cannot be exported. Expected a size for every dimension but the first. Received: shape "
            f"{tensor.shape}."
        )
    return shape


def _walk(graph: Graph, model: keras.Model, names: dict[int, str]) -> list[str]:
    """Write every layer of a model, inputs first, and return the names of its outputs.

    Args:
        graph: Is added to.
        model: Its inputs are in `names`.
        names: Keras tensor, by id, to its name in the graph; is added to.
    """
    # Keras has no public way over the nodes of a graph in the order in which they run.
    for depth in sorted(model._nodes_by_depth, reverse=True):  # noqa: SLF001
        for node in model._nodes_by_depth[depth]:  # noqa: SLF001
            layer = node.operation
            if isinstance(layer, keras.layers.InputLayer):
                continue
            mask = node.arguments.kwargs.get("mask")
            own = [tensor for tensor in node.arguments.keras_tensors if tensor is not mask]
            (made,) = node.outputs
            call = Call(
                layer,
                [names[id(tensor)] for tensor in own],
                None if mask is None else names[id(mask)],
                [_behind_the_first(tensor, layer.name) for tensor in own],
                _behind_the_first(made, layer.name),
            )
            names[id(made)] = _written(graph, call)
            graph.numbers += math.prod(call.shape)
    return [names[id(tensor)] for tensor in model.outputs]


def _written(graph: Graph, call: Call) -> str:
    layer = call.layer
    graph.begin(layer.name)
    if isinstance(layer, keras.Model):
        inner = {id(tensor): name for tensor, name in zip(layer.inputs, call.inputs, strict=True)}
        return _walk(graph, layer, inner)[0]
    kind = type(layer).__name__
    if kind not in LAYERS:
        raise NotImplementedError(
            f"Layer {layer.name!r} cannot be exported. Expected one of {', '.join(sorted(LAYERS))}. Received: {kind}. "
            "Add a row to LAYERS in pipeline/export/onnx_layers.py."
        )
    if len(call.inputs) > 1 and kind not in OF_SEVERAL:
        raise call.refuse("one input")
    if call.mask is not None and kind not in READ_A_MASK:
        raise call.refuse("no mask")
    if kind not in MOVE_NUMBERS:
        call = replace(call, inputs=[graph.as_float(name) for name in call.inputs])
    name = LAYERS[kind](graph, call)
    return graph.moved(name, call.inputs[0]) if kind in MOVE_NUMBERS and kind != "Embedding" else name
