"""Windows given back as the nearest centre: by hand, and against scikit-learn."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from pipeline.inference.backend import prepare_tensorflow
from pipeline.inference.keras_files import load_model, save_model
from pipeline.inference.prediction import reconstruction_errors
from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.models import kmeans

prepare_tensorflow(2, 7)

import keras  # noqa: E402

ANOMALY = OutputSpec(task="anomaly")


def solved(windows, clusters):
    keras.utils.set_random_seed(2)
    model = kmeans.build(InputSpec("series", windows.shape[1:]), ANOMALY, clusters=clusters)
    kmeans.fit_closed_form(model, windows)
    return model


def test_two_groups_by_hand():
    """Windows around (0, 0) and (10, 10): a window (10, 13) lies 3 from the second centre, a mean square of 4.5; (6, 6) is nearer to it."""
    windows = np.array([[0, 0], [0, 0], [10, 9], [10, 11]], np.float32)[:, :, None]
    model = solved(windows, 2)
    asked = np.array([[0, 0], [10, 13], [-1, 1], [6, 6]], np.float32)[:, :, None]
    assert [0, 4.5, 1, 16] == pytest.approx(
        reconstruction_errors(model, asked, np.arange(4)).tolist(), abs=1e-4
    )


def test_distances_are_those_of_scikit_learn(tmp_path):
    """Of 300 windows with two channels around six shapes; the same bytes each time, and the same after saving."""
    random = np.random.default_rng(1)
    shapes = random.normal(0, 3, (6, 8, 2))
    windows = (shapes[np.arange(300) % 6] + random.normal(0, 0.3, (300, 8, 2))).astype(np.float32)
    model = solved(windows, 6)
    save_model(model, tmp_path / "model.keras")
    save_model(solved(windows, 6), tmp_path / "again.keras")
    assert (tmp_path / "model.keras").read_bytes() == (tmp_path / "again.keras").read_bytes()
    reference = KMeans(6, n_init=20, random_state=0).fit(windows.reshape(300, -1))
    expected = reference.transform(windows.reshape(300, -1)).min(axis=1) ** 2 / 16
    received = reconstruction_errors(load_model(tmp_path / "model.keras"), windows, np.arange(300))
    assert expected == pytest.approx(received, abs=1e-3)


def test_fewer_different_windows_than_centres_are_given_back_whole():
    """Three windows and eight centres: nothing is left over, and nothing is not a number."""
    windows = np.random.default_rng(1).normal(size=(3, 5, 1)).astype(np.float32)
    assert windows == pytest.approx(solved(windows, 8).predict_on_batch(windows), abs=1e-5)
