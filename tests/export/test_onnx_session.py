"""The door to onnxruntime opens files of this project, and lets none of them open another."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pipeline.export.onnx_session import NUMBERS_PER_SAMPLE, OnnxModel
from pipeline.runtime.errors import NotPermitted, StorageFailed


def with_weights_elsewhere(location):
    """Return a model that answers with the 16 bytes of another file."""
    weights = TensorProto(
        name="w", data_type=TensorProto.UINT8, dims=[16], data_location=TensorProto.EXTERNAL
    )
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        entry = weights.external_data.add()
        entry.key, entry.value = key, value
    given = helper.make_tensor_value_info("inputs", TensorProto.FLOAT, ["b", 1])
    said = helper.make_tensor_value_info("said", TensorProto.FLOAT, [16])
    node = helper.make_node("Cast", ["w"], ["said"], to=TensorProto.FLOAT)
    graph = helper.make_graph([node], "g", [given], [said], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {NUMBERS_PER_SAMPLE: "1"})
    return model


def test_no_weights_are_read_from_other_files(tmp_path, monkeypatch):
    """Of the working directory, which is the project: onnxruntime alone would read them and answer with them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.bin").write_bytes(b"TOP-SECRET-12345")
    for location in ("secret.bin", str(tmp_path / "secret.bin"), f"../{tmp_path.name}/secret.bin"):
        model = with_weights_elsewhere(location)
        with pytest.raises(StorageFailed, match="damaged or no model"):
            OnnxModel(tmp_path / "model.onnx", model.SerializeToString())


def test_a_model_of_other_inputs_is_told(tmp_path):
    """By the names that are missing."""
    given = helper.make_tensor_value_info("age", TensorProto.FLOAT, ["b", 1])
    said = helper.make_tensor_value_info("said", TensorProto.FLOAT, ["b", 1])
    node = helper.make_node("Identity", ["age"], ["said"])
    graph = helper.make_graph([node], "g", [given], [said])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {NUMBERS_PER_SAMPLE: "1"})
    onnx.checker.check_model(model)
    opened = OnnxModel(tmp_path / "model.onnx", model.SerializeToString())
    with pytest.raises(StorageFailed, match=r"Expected the inputs age\. Received: no age"):
        opened.predict_on_batch({"inputs": np.zeros((1, 1), np.float32)})


def test_a_file_with_other_operators_is_refused_before_it_runs(tmp_path):
    """A loop would never end, and memory would be taken by a shape out of a value."""
    value = helper.make_tensor_value_info
    inputs, output = value("x", TensorProto.FLOAT, ["batch", 1]), value("y", TensorProto.FLOAT, ["batch", 1])
    body = helper.make_graph(
        [helper.make_node("Identity", ["more"], ["again"]), helper.make_node("Add", ["v", "v"], ["w"])],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("more", TensorProto.BOOL, []),
            value("v", TensorProto.FLOAT, None),
        ],
        [value("again", TensorProto.BOOL, []), value("w", TensorProto.FLOAT, None)],
    )
    loops = [
        helper.make_node("Constant", [], ["n"], value_int=2**62),
        helper.make_node("Loop", ["n", "", "x"], ["y"], body=body),
    ]
    hidden = [helper.make_node("Relu", ["x"], ["y"], body=body)]
    elsewhere = [helper.make_node("Relu", ["x"], ["y"], domain="com.microsoft")]
    for nodes, told in (
        (loops, "the operator Loop"),
        (hidden, "a graph inside"),
        (elsewhere, "another domain"),
    ):
        path = tmp_path / "model.onnx"
        path.write_bytes(
            helper.make_model(helper.make_graph(nodes, "g", [inputs], [output])).SerializeToString()
        )
        with pytest.raises(NotPermitted, match=told):
            OnnxModel(path)
    function = helper.make_function(
        "f", "F", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], [helper.make_opsetid("", 18)]
    )
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [inputs], [output])
    path.write_bytes(helper.make_model(graph, functions=[function]).SerializeToString())
    with pytest.raises(NotPermitted, match="functions"):
        OnnxModel(path)


def test_a_graph_behind_a_key_that_protobuf_cuts_off_is_damage(tmp_path):
    """Field 7 to onnxruntime, which drops the bits above 32; field 536,870,919 to whoever reads the number."""
    inputs = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1])
    graph = helper.make_graph([helper.make_node("Softplus", ["x"], ["y"])], "g", [inputs], [output])
    content = helper.make_model(graph).SerializeToString()
    key = content.index(b"\x3a" + bytes([graph.ByteSize()]))
    (tmp_path / "model.onnx").write_bytes(content[:key] + b"\xba\x80\x80\x80\x10" + content[key + 1 :])
    with pytest.raises(StorageFailed, match="a field of number 536870919"):
        OnnxModel(tmp_path / "model.onnx")


def test_the_own_format_of_onnxruntime_is_not_read(tmp_path):
    """A file that is both: whose bytes read as a message say nothing of what onnxruntime would run."""
    import onnxruntime

    inputs = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1])
    graph = helper.make_graph([helper.make_node("Softplus", ["x"], ["y"])], "g", [inputs], [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "model.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    content = (tmp_path / "model.ort").read_bytes()
    assert content[4:8] == b"ORTM"
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises((StorageFailed, NotPermitted)):
        OnnxModel(tmp_path / "model.onnx")


@pytest.mark.parametrize("content", [b"\xff" * 20, b"\x0a\x7f", b"\x0b\x00", b"\x0a"])
def test_what_is_no_message_is_damage(tmp_path, content):
    """With what is wrong in the message."""
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(StorageFailed, match="damaged or no model"):
        OnnxModel(tmp_path / "model.onnx")
