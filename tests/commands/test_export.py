"""What the manifest of a bundle says of a model, beside the files that others run."""

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.commands.export import _manifest
from pipeline.evaluation.golden import GOLDEN_ANSWERS, write_npz
from pipeline.runtime.files import write_json

IMAGES, NUMBERS = np.zeros((2, 4, 4, 1), np.uint8), np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("inputs", "flip", "mirrored"),
    [
        ({"inputs": IMAGES}, True, True),
        ({"inputs": IMAGES}, False, False),
        ({"image": IMAGES, "vector": NUMBERS}, True, True),
        ({"inputs": IMAGES, "side": NUMBERS}, True, False),
        ({"inputs": NUMBERS}, True, False),
    ],
    ids=["images", "as they are", "an ensemble of two kinds", "beside columns", "features"],
)
def test_mirrored_is_said_of_models_that_are_asked_for_mirrored_images(inputs, flip, mirrored, tmp_path):
    """By what they read, not by the setting alone; their tensors are told without the answers."""
    write_json(tmp_path / "state.json", {"classes": ["a", "b"], "class_counts": [1, 1]})
    write_json(tmp_path / "settings.json", {"family": "cnn", "training": {"test_time_flip": flip}})
    write_npz(tmp_path / "golden.npz", {**inputs, GOLDEN_ANSWERS: np.zeros((2, 2), np.float32)})
    (tmp_path / "model.keras").write_bytes(b"model")
    model = SimpleNamespace(
        name="one", version="", folder=tmp_path, keras_file=tmp_path / "model.keras", tags={}
    )
    manifest = _manifest(model, {}, None)
    assert mirrored is manifest["model"]["mirrored"]
    assert inputs.keys() == manifest["tensors"].keys()
