"""What the configuration inside a model file may say: parts from a short list, and nothing that names a place.

Keras builds whatever class the configuration names, and several of its own run code, read files or ask the
network while they are built, also in its safe mode. So the list below says what may be built, and no text in the
configuration may look like a path, an address or a dotted name.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.inference.file_checks import refused
from pipeline.runtime.errors import NotPermitted, StorageFailed

CLASSES = {
    None: {"__keras_tensor__"},
    "keras": {"DTypePolicy"},
    "keras.initializers": {"GlorotUniform", "HeNormal", "Ones", "Orthogonal", "RandomUniform", "Zeros"},
    "keras.layers": {
        "Activation",
        "Add",
        "Average",
        "AveragePooling1D",
        "AveragePooling2D",
        "BatchNormalization",
        "Bidirectional",
        "Concatenate",
        "Conv1D",
        "Conv1DTranspose",
        "Conv2D",
        "Conv2DTranspose",
        "Cropping1D",
        "Cropping2D",
        "Dense",
        "DepthwiseConv2D",
        "Dot",
        "Dropout",
        "EinsumDense",
        "Embedding",
        "Flatten",
        "GRU",
        "GlobalAveragePooling1D",
        "GlobalAveragePooling2D",
        "GlobalMaxPooling1D",
        "GlobalMaxPooling2D",
        "InputLayer",
        "LSTM",
        "MaxPooling1D",
        "MaxPooling2D",
        "Multiply",
        "Normalization",
        "Permute",
        "ReLU",
        "RepeatVector",
        "Rescaling",
        "Reshape",
        "SimpleRNN",
        "Softmax",
        "Subtract",
        "ZeroPadding1D",
        "ZeroPadding2D",
    },
    "keras.regularizers": {"L2"},
    "keras.src.models.functional": {"Functional"},
}
"""Module to classes: what the families in pipeline/models, and ensembles of them, are built from. A family that uses
another layer adds it here, after a look at what its `from_config` does with texts."""
ACTIVATIONS = {"linear", "relu", "sigmoid", "softmax", "tanh"}
NODE_KEYS = {
    "module",
    "class_name",
    "config",
    "registered_name",
    "build_config",
    "compile_config",
    "inbound_nodes",
    "name",
}
MAX_CONFIG_BYTES = 8 << 20
"""The largest of the worked examples has 20 kB; means of a thousand channels fit as well."""
MAX_DEPTH = 64
"""Of lists and objects in each other. An autoencoder has 14."""
MAX_LAYERS = 2_000
MAX_INTEGER = 2**31 - 1
SAFE_TEXT = re.compile(r"[A-Za-z0-9_,>-]{0,200}")
"""Names, and equations like `ab,b->ab`: no dot, slash, backslash, colon or space."""
VERSION = re.compile(r"[0-9]+(\.[0-9a-z]+){1,3}")


def parse_config(content: bytes, path: Path) -> dict[str, Any]:
    """Return the configuration of a model, checked.

    Args:
        content: Of `config.json`.
        path: For messages.

    Raises:
        StorageFailed: It is not JSON.
        NotPermitted: It names a class that is not on the list, a place, or is of absurd size.
    """
    config = _parsed(content, path)
    check_config(config, path)
    return config


def check_metadata(content: bytes, path: Path) -> None:
    """Check that `metadata.json` says the version of Keras and nothing else.

    Raises:
        StorageFailed: It is not JSON.
        NotPermitted: It says something else.
    """
    found = _parsed(content, path)
    version = found.get("keras_version")
    if set(found) != {"keras_version"} or not isinstance(version, str) or not VERSION.fullmatch(version):
        raise refused(path, "has metadata of another program", "keras_version alone", str(found)[:200])


def check_config(config: dict[str, Any], path: Path) -> None:
    """Check every part of a configuration against the list of what may be built.

    Raises:
        NotPermitted: See `parse_config`.
    """
    if config.get("class_name") != "Functional":
        raise refused(path, "is no model of ours", "class_name=Functional", config.get("class_name"))
    layers = 0
    for key, value in _items(config, ""):
        if isinstance(value, dict):
            layers += "inbound_nodes" in value
            _check_node(value, path)
        elif isinstance(value, str):
            _check_text(key, value, path)
        elif isinstance(value, int) and abs(value) > MAX_INTEGER:
            raise refused(path, "asks for an absurd size", f"at most {MAX_INTEGER:,}", f"{key}={value:.3e}")
    if layers > MAX_LAYERS:
        raise refused(path, "has too many layers", f"at most {MAX_LAYERS:,}", f"{layers:,}")


def _check_node(node: dict[str, Any], path: Path) -> None:
    """Check that what Keras would make an object of is on the list."""
    if "class_name" not in node and "module" not in node and "registered_name" not in node:
        return
    module, name = node.get("module"), node.get("class_name")
    known = isinstance(module, str | None) and isinstance(name, str) and name in CLASSES.get(module, ())
    if not known:
        raise NotPermitted(
            f"{path} needs a class that is not on the list. Expected built-in layers that the families use, without "
            f"code of their own. Received: {str(module)[:100]}.{str(name)[:100]}. Do not load it; if it is a family "
            "of yours, add the class to CLASSES in pipeline/inference/keras_config.py."
        )
    registered = node.get("registered_name")
    if registered is not None and (registered, name) != ("Functional", "Functional"):
        # A name registered in this process would win over the class that was just checked.
        raise refused(path, "names a registered class", "none", f"registered_name={str(registered)[:100]}")
    unknown = sorted(set(node) - NODE_KEYS)
    if unknown:
        raise refused(path, "has a part with unknown keys", ", ".join(sorted(NODE_KEYS)), unknown[0][:100])
    if node.get("compile_config"):
        raise refused(path, "has an optimizer or losses", "an uncompiled model", f"compile_config of {name}")
    config = node.get("config")
    if not isinstance(config, dict):
        raise refused(
            path, "has a part without settings", "config as an object", f"{name}: {type(config).__name__}"
        )
    for key in ("activation", "recurrent_activation"):
        if isinstance(config.get(key), str) and config[key] not in ACTIVATIONS:
            raise refused(
                path, "has an unknown activation", ", ".join(sorted(ACTIVATIONS)), str(config[key])[:100]
            )
    if config.get("unroll"):
        # A loop of as many copies as there are steps, while the model is built.
        raise refused(path, "unrolls a loop", "unroll=false", f"{name}: unroll={config['unroll']}")


def _check_text(key: str, value: str, path: Path) -> None:
    """Check that a text is a short name; modules have dots, and were compared with the list."""
    if key != "module" and not SAFE_TEXT.fullmatch(value):
        raise refused(
            path,
            "has a text that could be a path, an address or code",
            "short names",
            f"{key}={value[:100]!r}",
        )


def _items(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield everything inside a nested structure, itself first, each with the key it stands under."""
    yield key, value
    if isinstance(value, dict):
        for name, item in value.items():
            yield "key", name
            yield from _items(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _items(item, key)


def _parsed(content: bytes, path: Path) -> dict[str, Any]:
    """Return an object from JSON: bounded, no key twice, no NaN."""
    if len(content) > MAX_CONFIG_BYTES:
        raise refused(
            path,
            "has a configuration of absurd size",
            f"at most {MAX_CONFIG_BYTES:,} bytes",
            f"{len(content):,}",
        )
    try:
        text = content.decode("utf-8")
        depth = _depth(text)
        if depth > MAX_DEPTH:
            raise refused(path, "is nested too deeply", f"at most {MAX_DEPTH} levels", f"{depth:,}")
        found = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise StorageFailed(
            f"{path} is damaged or not a Keras model. Expected JSON with every key once, and finite numbers. Received: "
            f"{str(error)[:200]}. Remove the file and fetch or make it again."
        ) from error
    if not isinstance(found, dict):
        raise refused(path, "has a configuration that is no object", "an object", type(found).__name__)
    return found


def _depth(text: str) -> int:
    """Return how deeply lists and objects lie in each other, without the recursion of a parser."""
    deepest = level = 0
    for bracket in re.findall(r"[\[\]{}]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text)):
        level += 1 if bracket in "[{" else -1
        deepest = max(deepest, level)
    return deepest


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # Which of two counts differs between readers: what was checked might not be what is built.
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a finite number")
