"""Model files whose configuration asks for more than layers: each writes `target` from a good file, see `corpus`."""

import base64
import json
import marshal
import pickle
import struct

from tests.hostile.rewriting import (
    CONFIG,
    config_of,
    in_place_of_dense,
    layer_of,
    members_of,
    with_config,
    with_dense,
    with_member,
)
from tests.hostile.zips import Canary


def _byte_code(canary):
    """Return a lambda that writes the canary, as Keras keeps it."""
    code = compile(f"lambda x: open({str(canary)!r}, 'w') and x", "<model>", "eval").co_consts[0]
    return base64.b64encode(marshal.dumps(code)).decode()


def _lambda(canary):
    return {
        "class_name": "__lambda__",
        "config": {"code": _byte_code(canary), "defaults": None, "closure": None},
    }


def lambda_layer(good, target, canary, _secret):
    """A Lambda layer with byte code."""
    in_place_of_dense(good, target, "keras.layers", "Lambda", {"function": _lambda(canary), "arguments": {}})


def lambda_as_activation(good, target, canary, _secret):
    """Byte code where a layer has its activation."""
    with_dense(
        good,
        target,
        config={"activation": {"class_name": "__lambda__", "config": {"value": _byte_code(canary)}}},
    )


def system_call(good, target, _canary, _secret):
    """A function by its dotted path, from the standard library."""
    function = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
    with_dense(good, target, config={"activation": function})


def class_from_the_library(good, target, canary, _secret):
    """A class of the standard library in place of a layer."""
    in_place_of_dense(good, target, "subprocess", "Popen", {"args": ["touch", str(canary)]})


def function_of_keras(good, target, canary, _secret):
    """A function of Keras that asks the network and writes files."""
    function = {
        "module": "keras.utils",
        "class_name": "function",
        "config": "get_file",
        "registered_name": "get_file",
    }
    with_dense(good, target, config={"activation": function, "origin": canary.as_uri()})


def inner_module_of_keras(good, target, _canary, _secret):
    """A class by its inner module, around the list of public ones."""
    node = "keras.src.layers.core.lambda_layer"
    in_place_of_dense(good, target, node, "Lambda", {"function": "relu"})


def saved_model_from_a_path(good, target, _canary, secret):
    """TFSMLayer loads a whole TensorFlow program from any folder."""
    in_place_of_dense(good, target, "keras.layers", "TFSMLayer", {"filepath": str(secret.parent)})


def torch_pickle(good, target, canary, _secret):
    """TorchModuleWrapper unpickles what it finds in its settings."""
    packed = base64.b64encode(pickle.dumps(Canary(canary))).decode()
    module = {"class_name": "__bytes__", "config": {"value": packed}}
    in_place_of_dense(good, target, "keras.layers", "TorchModuleWrapper", {"module": module})


def vocabulary_from_a_path(good, target, _canary, secret):
    """StringLookup reads its vocabulary from a file: any file of the victim."""
    in_place_of_dense(good, target, "keras.layers", "StringLookup", {"vocabulary": str(secret)})


def text_vocabulary_from_a_path(good, target, _canary, secret):
    """TextVectorization does the same."""
    in_place_of_dense(good, target, "keras.layers", "TextVectorization", {"vocabulary": str(secret)})


def hashing(good, target, _canary, _secret):
    """A built-in layer that no family uses."""
    in_place_of_dense(good, target, "keras.layers", "Hashing", {"num_bins": 3})


def custom_class(good, target, _canary, _secret):
    """A class that somebody registered in this process, under a harmless name."""
    with_dense(good, target, registered_name="package>Dense")


def no_module(good, target, _canary, _secret):
    """A class by its bare name, as older files have it: found wherever Keras looks."""
    with_dense(good, target, module=None)


def type_from_a_module(good, target, _canary, _secret):
    """A type specification, which names a class of any module."""
    spec = {
        "class_name": "__typespec__",
        "spec_name": "Popen",
        "module": "subprocess",
        "registered_name": None,
    }
    with_dense(good, target, config={"activation": spec | {"config": []}})


def constant_array(good, target, _canary, _secret):
    """A constant that is made while the configuration is read."""
    array = {"class_name": "__numpy__", "config": {"value": [[1.0]], "dtype": "object"}}
    with_dense(good, target, config={"kernel_initializer": array})


def losses_of_its_own(good, target, canary, _secret):
    """Instructions for training, with a loss by its dotted path."""
    loss = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
    config = config_of(good)
    config["compile_config"] = {"loss": loss, "optimizer": "adam", "metrics": [f"touch {canary}"]}
    with_config(good, target, config)


def key_twice(good, target, canary, _secret):
    """One key twice in an object: readers disagree which one counts."""
    text = members_of(good)[CONFIG].decode()
    bad = json.dumps({"function": _lambda(canary), "name": "hidden"})
    first = '"class_name": "Dense", '
    with_member(
        good,
        target,
        CONFIG,
        text.replace(first, f'{first}"class_name": "Lambda", "config": {bad}, ', 1).encode(),
    )


def not_a_number(good, target, _canary, _secret):
    """NaN, which JSON does not know and Python reads."""
    with_dense(good, target, config={"units": float("nan")})


def name_that_is_a_path(good, target, canary, _secret):
    """A layer named like a file, for programs that write one file per layer."""
    with_dense(good, target, config={"name": f"../../{canary.name}"})


def text_in_another_encoding(good, target, _canary, _secret):
    """UTF-16, which Python's json recognises and scanners for words do not."""
    with_member(good, target, CONFIG, members_of(good)[CONFIG].decode().encode("utf-16"))


def key_of_another_program(good, target, _canary, _secret):
    """A key that Keras does not know today, and may know tomorrow."""
    with_dense(good, target, hooks=["on_load"])


def unknown_activation(good, target, _canary, _secret):
    """A function by a bare name, which Keras looks for in what was registered."""
    with_dense(good, target, config={"activation": "get_file"})


def settings_that_are_a_text(good, target, _canary, _secret):
    """A layer whose settings are no object."""
    config = config_of(good)
    layer_of(config)["inbound_nodes"] = [{"class_name": "Dense", "module": "keras.layers", "config": "relu"}]
    with_config(good, target, config)


def list_as_model(good, target, _canary, _secret):
    """JSON that is no object."""
    with_member(good, target, CONFIG, struct.pack("2s", b"[]"))


FAMILIES = [
    lambda_layer,
    lambda_as_activation,
    system_call,
    class_from_the_library,
    function_of_keras,
    inner_module_of_keras,
    saved_model_from_a_path,
    torch_pickle,
    vocabulary_from_a_path,
    text_vocabulary_from_a_path,
    hashing,
    custom_class,
    no_module,
    type_from_a_module,
    constant_array,
    losses_of_its_own,
    key_twice,
    not_a_number,
    name_that_is_a_path,
    text_in_another_encoding,
    key_of_another_program,
    unknown_activation,
    settings_that_are_a_text,
    list_as_model,
]
