"""The list of classes that may be built is what the families use, no more and no less."""

import ast
import json
import zipfile
from pathlib import Path

import pytest

from pipeline.inference.backend import prepare_tensorflow
from pipeline.inference.keras_config import ACTIVATIONS, CLASSES, MAX_DEPTH, parse_config
from pipeline.inference.keras_files import save_model
from pipeline.params.families import COMBINATIONS
from pipeline.runtime.errors import NotPermitted, StorageFailed
from tests.models.combination_cases import SETTINGS, built

prepare_tensorflow(2, 7)

import keras  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
IMPLIED = {"InputLayer", "ZeroPadding2D"}
"""What `keras.Input` is in a file; and what trunks of keras.applications have that a user pins (`features.pretrained`)."""


def layers_in_the_code():
    """Return every `layers.X` and `keras.layers.X` of the package."""
    found = set()
    for path in (ROOT / "pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr[0].isupper():
                owner = getattr(node.value, "attr", getattr(node.value, "id", ""))
                if owner == "layers":
                    found.add(node.attr)
    return found


def test_the_list_of_layers_is_what_the_families_use():
    """A layer that a family uses is on the list; a layer that none uses is not."""
    expected = {name for name in layers_in_the_code() if name != "Layer"} | IMPLIED
    assert expected == CLASSES["keras.layers"]


def test_all_of_the_list_exist_under_their_module():
    """Each is a public class of Keras where the list says."""
    for module, names in CLASSES.items():
        if module and module.startswith("keras.") and not module.startswith("keras.src"):
            owner = getattr(keras, module.removeprefix("keras."))
            assert [] == [name for name in names if not isinstance(getattr(owner, name), type)]


def test_activations_of_the_parameters_are_on_the_list(tmp_path):
    """Whatever activation params.yaml may name is allowed in a file."""
    from pipeline.params import families

    text = Path(families.__file__).read_text(encoding="utf-8")
    named = {
        name
        for name in ("relu", "sigmoid", "tanh", "linear", "softmax", "gelu", "elu", "selu")
        if f'"{name}"' in text
    }
    assert named <= ACTIVATIONS


VARIANTS = {
    "rnn": [
        {"cell": cell, "bidirectional": both} for cell in ("simple", "lstm", "gru") for both in (False, True)
    ],
    "cnn": [{"batch_normalization": True, "dropout": 0.2, "block_dropout": 0.1}],
    "autoencoder": [{"encoder": "frozen", "dropout": 0.2, "l2": 0.1}],
    "dense": [{"batch_normalization": True, "dropout": 0.2, "l2": 0.1}],
}


@pytest.mark.long
@pytest.mark.parametrize(
    "row", COMBINATIONS, ids=[f"{row.family}-{row.payload}-{row.task}" for row in COMBINATIONS]
)
def test_every_family_in_every_variant_is_allowed(row, tmp_path):
    """What the families write passes the check that loading makes; tests/models load each of them as well."""
    for settings in [{}, *VARIANTS.get(row.family, [])]:
        if row.task == "anomaly" and row.family == "autoencoder":
            settings = {}
        path = tmp_path / "model.keras"
        save_model(built(row, side=True, **SETTINGS.get(row.family, {}) | settings), path)
        with zipfile.ZipFile(path) as archive:
            assert parse_config(archive.read("config.json"), path)["class_name"] == "Functional"


def test_depth_and_keys_are_judged_before_json_is_read(tmp_path):
    """One level more than allowed is refused, brackets inside texts are not counted, a key twice is damage."""
    at_the_limit = (
        '{"class_name": "Functional", "module": "keras.src.models.functional", "config": {"a": '
        + "[" * (MAX_DEPTH - 2)
        + "]" * (MAX_DEPTH - 2)
        + "}}"
    )
    assert parse_config(at_the_limit.encode(), tmp_path)["config"]
    with pytest.raises(NotPermitted, match=f"at most {MAX_DEPTH} levels. Received: {MAX_DEPTH + 1}"):
        parse_config(at_the_limit.replace("[]", "[[]]").encode(), tmp_path)
    with pytest.raises(NotPermitted, match="could be a path"):
        parse_config(at_the_limit.replace("[]", '["\\"[[[["]').encode(), tmp_path)
    with pytest.raises(StorageFailed, match="a key stands twice"):
        parse_config(b'{"class_name": "Functional", "class_name": "Lambda", "config": {}}', tmp_path)


def test_a_refused_class_says_where_to_allow_it(tmp_path):
    """Somebody with a family of their own learns which file to change."""
    config = {"class_name": "Functional", "module": "keras.src.models.functional", "config": {}}
    config["config"] = {
        "layers": [{"class_name": "LayerNormalization", "module": "keras.layers", "config": {}}]
    }
    with pytest.raises(
        NotPermitted, match=r"keras.layers.LayerNormalization.*CLASSES in pipeline/inference/keras_config.py"
    ):
        parse_config(json.dumps(config).encode(), tmp_path)
