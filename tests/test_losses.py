"""`pipeline.losses` against hand-worked cases."""

import keras
import numpy as np
import pytest

from pipeline import losses

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]], dtype=np.float32)


def test_cross_entropy_by_hand():
    """Without smoothing it is -log of the probability of the class."""
    loss = losses.classification(3)(np.array([0, 1], np.int32), PROBABILITIES)
    np.testing.assert_allclose([-np.log(0.7), -np.log(0.25)], np.asarray(loss), rtol=1e-6)


def test_label_smoothing_by_hand():
    """With 0.3 over 3 classes the true class counts 0.8 and each other one 0.1."""
    loss = losses.classification(3, 0.3)(np.array([0, 1], np.int32), PROBABILITIES)
    first = -(0.8 * np.log(0.7) + 0.1 * np.log(0.2) + 0.1 * np.log(0.1))
    second = -(0.1 * np.log(0.25) + 0.8 * np.log(0.25) + 0.1 * np.log(0.5))
    np.testing.assert_allclose([first, second], np.asarray(loss), rtol=1e-6)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_sure_and_wrong_stays_finite_in_training(label_smoothing, tmp_path):
    """Logits of -200 for the true class: the loss of a model is taken from its logits, here about 200."""
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Activation("softmax")(inputs))
    model.compile(loss=losses.classification(2, label_smoothing))
    received = model.evaluate(np.array([[-200.0, 0.0]]), np.array([0]), verbose=0)
    assert received == pytest.approx(200 * (1 - label_smoothing / 2), rel=1e-5)


def test_reconstruction_by_hand():
    """The mean over all pixels of one image of the squared difference."""
    images = np.zeros((2, 1, 2, 1), np.float32)
    guesses = np.array([[[[0.5], [0.1]]], [[[0.0], [1.0]]]], np.float32)
    np.testing.assert_allclose([0.13, 0.5], np.asarray(losses.reconstruction(images, guesses)), rtol=1e-6)
