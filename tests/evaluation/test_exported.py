"""The exported model beside a chosen one gives its answers, without TensorFlow, or nothing is written down as done."""

import subprocess
import sys

import numpy as np
import pytest

from pipeline.evaluation.exported import write_exported
from pipeline.evaluation.golden import golden_answers, write_npz
from pipeline.inference.backend import prepare_tensorflow
from pipeline.runtime.errors import AnswersDiffer, NotPermitted
from tests.helpers import registration
from tests.helpers.synthetic_project import write_json

prepare_tensorflow(2, 7)

import keras  # noqa: E402


@pytest.fixture
def best(tmp_path):
    """A folder as `evaluate` has it before the export."""
    registration.save(tmp_path, registration.model(9.0), "cnn")
    write_json(tmp_path / "state.json", registration.feature_state())
    inputs = {"inputs": registration.images_and_labels()[0][:16]}
    answers = golden_answers(tmp_path / "model.keras", tmp_path, inputs)
    write_npz(tmp_path / "golden.npz", {**inputs, "predictions": answers})
    return tmp_path


def test_the_exported_model_answers_where_there_is_no_tensorflow(best):
    """Keras and TensorFlow cannot be imported in that process; made again, the file has the same bytes."""
    write_exported(best)
    content = (best / "model.onnx").read_bytes()
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['tensorflow', 'keras', 'mlflow', 'sklearn']));"
        "from pathlib import Path; from pipeline.evaluation.golden import exported_check;"
        f"exported_check(Path({str(best)!r}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    write_exported(best)
    assert content == (best / "model.onnx").read_bytes()


def test_a_model_that_answers_otherwise_is_not_served(best):
    """Other golden answers than those of the model: onnxruntime is asked, and believed."""
    inputs = registration.images_and_labels()[0][:16]
    write_npz(best / "golden.npz", {"inputs": inputs, "predictions": np.full((16, 3), 1 / 3, np.float32)})
    with pytest.raises(
        AnswersDiffer, match=r"does not answer as Keras does.*Predictions differ.*report it"
    ) as found:
        write_exported(best)
    assert 70 == found.value.exit_code


def test_what_cannot_be_exported_is_refused_by_the_name_of_its_layer(best):
    """A setting that no row knows: Keras could run it, nobody could serve it."""
    inputs = keras.Input((4, 4), name="inputs")
    looked = keras.layers.Conv1D(3, 2, padding="causal", name="looks_back")(inputs)
    flat = keras.layers.Flatten(name="flat")(looked)
    registration.save(best, keras.Model(inputs, keras.layers.Dense(3, name="d")(flat), name="toy"), "cnn")
    with pytest.raises(NotPermitted, match=r"not registered. Layer 'looks_back' cannot be exported"):
        write_exported(best)
    assert not (best / "model.onnx").exists()
