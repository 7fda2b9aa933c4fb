"""What a polynomial leaves of a window, by hand and against NumPy."""

import numpy as np
import pytest

from pipeline.inference.backend import prepare_tensorflow
from pipeline.inference.keras_files import load_model, save_model
from pipeline.inference.prediction import reconstruction_errors
from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.models import polynomial

prepare_tensorflow(2, 7)

ANOMALY = OutputSpec(task="anomaly")


def test_a_line_through_three_steps_by_hand():
    """Through 0, 3, 0 goes the line of height 1: it leaves -1, 2, -1, a mean square of 2. Nothing of 1, 2, 3."""
    assert np.array([[5, 2, -1], [2, 2, 2], [-1, 2, 5]]) / 6 == pytest.approx(polynomial.projection(3, 1))
    model = polynomial.build(InputSpec("series", (3, 1)), ANOMALY, degree=1)
    asked = np.array([[0, 3, 0], [1, 2, 3]], np.float32)[:, :, None]
    assert [2, 0] == pytest.approx(reconstruction_errors(model, asked, np.arange(2)).tolist(), abs=1e-6)


def test_the_fit_is_that_of_numpy(tmp_path):
    """Degree 4 over 48 steps, each of two channels by itself, also after saving."""
    windows = np.random.default_rng(1).normal(size=(5, 48, 2)).astype(np.float32)
    model = polynomial.build(InputSpec("series", (48, 2)), ANOMALY, degree=4)
    save_model(model, tmp_path / "model.keras")
    steps = np.arange(48)
    flat = windows.transpose(1, 0, 2).reshape(48, -1)
    fitted = np.stack([np.polynomial.Polynomial.fit(steps, column, 4)(steps) for column in flat.T])
    received = load_model(tmp_path / "model.keras").predict_on_batch(windows)
    assert fitted.reshape(5, 2, 48).transpose(0, 2, 1) == pytest.approx(received, abs=1e-4)


def test_a_degree_that_leaves_nothing_is_refused():
    """Six steps and degree 5 go through every step."""
    with pytest.raises(ValueError, match=r"below 5\. Received: degree=5"):
        polynomial.build(InputSpec("series", (6, 1)), ANOMALY, degree=5)
