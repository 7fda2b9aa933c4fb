"""The bytes that we write are an ONNX file for ONNX's own reader."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from pipeline.export.onnx_file import IR_VERSION, OPSET, PRODUCER, Node, Value, model_bytes


def read(nodes=(), constants=None, shape=(2,), metadata=None):
    """Return what ONNX reads of what we write."""
    content = model_bytes(
        "graph",
        nodes,
        constants or {},
        inputs=[Value("inputs", "uint8", shape)],
        output=Value("answer", "float32", (3,)),
        metadata=metadata or {},
    )
    return onnx.load_model_from_string(content)


def test_the_frame_says_versions_inputs_and_the_output():
    """The first dimension is free; the others are numbers, also beyond one group of seven bits."""
    model = read(shape=(127, 128, 70_000), metadata={"b": "2", "a": "1"})
    assert (IR_VERSION, PRODUCER, OPSET) == (
        model.ir_version,
        model.producer_name,
        model.opset_import[0].version,
    )
    (inputs,), (output,) = model.graph.input, model.graph.output
    assert (
        helper.make_tensor_value_info("inputs", onnx.TensorProto.UINT8, ["batch", 127, 128, 70_000]) == inputs
    )
    assert helper.make_tensor_value_info("answer", onnx.TensorProto.FLOAT, ["batch", 3]) == output
    assert [("a", "1"), ("b", "2")] == [(entry.key, entry.value) for entry in model.metadata_props]


@pytest.mark.parametrize(
    "attributes",
    [
        {"axis": -1},
        {"axis": 2**62},
        {"alpha": 0.25},
        {"auto_pad": "VALID"},
        {"pads": [0, 1, -1]},
        {"b": 0, "a": 1},
    ],
)
def test_a_node_is_what_onnx_would_have_made(attributes):
    """Negative numbers, large ones, floats, texts and lists; attributes stand in the order of their names."""
    (node,) = read([Node("Conv", "n", ["x", ""], ["y", "z"], attributes)]).graph.node
    expected = helper.make_node("Conv", ["x", ""], ["y", "z"], name="n", **dict(sorted(attributes.items())))
    assert expected == node


@pytest.mark.parametrize(
    "array",
    [
        np.float32(0.1),
        np.zeros((0, 3), np.float32),
        np.arange(6, dtype=np.int64).reshape(2, 3).T,
        np.arange(4, dtype=np.int32),
        np.array([1.5, -np.float32(1e-40)], ">f4").astype(np.float32),
    ],
)
def test_an_array_comes_back_as_it_was(array):
    """Of no dimension, of none of a size, in another order of memory."""
    array = np.asarray(array)
    (held,) = read(constants={"c": array}).graph.initializer
    assert "c" == held.name
    np.testing.assert_array_equal(array, numpy_helper.to_array(held), strict=True)
