"""Models are scored only on inputs that mean what they meant when the model was made."""

import json

import numpy as np
import pytest

from pipeline import contenders
from pipeline.contenders import NotComparable, score
from pipeline.judged_rows import JudgedRows

HANDMADE = {"groups": ["edges"], "edge_cell_px": 4, "colour_bins": 8, "names": ["edges_0", "edges_1"]}
STATE = {
    "classes": ["a", "b"],
    "class_counts": [1, 1],
    "image": {"shape": [4, 4, 1], "mean": [0.2], "standard_deviation": [0.1]},
    "handmade": HANDMADE | {"mean": [0.5, 0.5], "standard_deviation": [1.0, 1.0]},
    "data": {"image_size": [4, 4], "channels": 1, "resize": "pad", "policy": "convert"},
}


def changed(section: str, **values) -> dict:
    """Return the state with other values in a section."""
    return STATE | {section: STATE[section] | values}


@pytest.fixture
def scored(tmp_path, monkeypatch):
    """Return a function that scores a stand-in model made with one state on data that has another."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(contenders, "load_model", lambda path: path)
    monkeypatch.setattr(contenders.training, "answers", lambda *_arguments: np.full((1, 2), 0.5))
    monkeypatch.setattr(contenders, "inputs_of", lambda *_arguments: np.zeros((1, 2), np.float32))
    for name in ("data/features", "model"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "model/model.keras").write_bytes(b"model")

    def call(family: str, own: dict, current: dict):
        settings = {"family": family, "training": {"test_time_flip": False}}
        (tmp_path / "model/settings.json").write_text(json.dumps(settings))
        (tmp_path / "model/state.json").write_text(json.dumps(own))
        (tmp_path / "data/features/state.json").write_text(json.dumps(current))
        rows = JudgedRows(("s0",), np.array([0]), ("a",))
        return score("champion", tmp_path / "model/model.keras", tmp_path / "model", rows)

    return call


@pytest.mark.parametrize("family", ["cnn", "dense"])
def test_other_statistics_of_the_same_inputs_do_not_matter(scored, family):
    """More training data moves mean and deviation, which a model carries inside itself."""
    moved = changed("handmade", mean=[0.4, 0.6], standard_deviation=[2.0, 2.0])
    moved["image"] = STATE["image"] | {"mean": [0.3]}
    assert scored(family, STATE, moved).classes == ("a", "b")


@pytest.mark.parametrize(
    ("family", "current", "named"),
    [
        ("dense", changed("handmade", edge_cell_px=3), "handmade.edge_cell_px"),
        ("dense", changed("handmade", colour_bins=4), "handmade.colour_bins"),
        ("dense", changed("image", shape=[5, 5, 1]), "image.shape"),
        ("dense", changed("data", resize="crop"), "data"),
        ("cnn", changed("image", shape=[5, 5, 1]), "image.shape"),
        ("cnn", changed("data", resize="crop"), "data"),
        ("cnn", changed("data", policy="reject"), "data"),
    ],
)
def test_inputs_of_another_meaning_are_not_compared(scored, family, current, named):
    """Equal names and shapes are not enough: other cells, bins or ways of resizing are other inputs."""
    with pytest.raises(NotComparable, match=f"present data has: {named} differ"):
        scored(family, STATE, current)


def test_features_do_not_matter_to_a_model_of_images(scored):
    """A convolutional network never sees the hand-made features."""
    scored("cnn", STATE, changed("handmade", edge_cell_px=3))


def test_champion_from_before_the_data_settings_were_recorded_is_compared(scored):
    """Where one side does not say how its pixels came about, shape and features decide."""
    old = {name: value for name, value in STATE.items() if name != "data"}
    scored("cnn", old, STATE)
    scored("dense", old, STATE)
