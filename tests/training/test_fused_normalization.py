"""Batch normalisation in one operation is Keras' own: answers, gradients, and what batches leave behind."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from pipeline.training.fused_normalization import fuse_normalization


def pair(shape, **settings):
    """Return a model of one normalisation twice, with the same drawn weights: as Keras has it, and fused."""
    inputs = keras.Input(shape)
    own = keras.Model(inputs, layers.BatchNormalization(momentum=0.9, **settings)(inputs))
    draw = np.random.default_rng(1)
    own.set_weights([draw.uniform(0.1, 0.9, weights.shape) for weights in own.get_weights()])
    fused = keras.Model.from_config(own.get_config())
    fused.set_weights(own.get_weights())
    fuse_normalization(fused)
    return own, fused


def passed(model, inputs):
    """Return answers, gradients of inputs and weights, and all weights after a pass forwards and backwards."""

    @tf.function
    def both_ways(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            answers = model(inputs, training=True)
            loss = tf.reduce_sum(answers * tf.sin(3.0 * answers))
        return answers, tape.gradient(loss, [inputs, *model.trainable_variables])

    answers, gradients = both_ways(inputs)
    return [answers, *gradients, *model.get_weights()]


def assert_equal_in_training(own, fused, inputs):
    """They agree to some units in the last place of the largest number of each array."""
    for expected, received in zip(passed(own, inputs), passed(fused, inputs), strict=True):
        np.testing.assert_allclose(received, expected, rtol=0, atol=2e-6 * max(1.0, np.abs(expected).max()))


def drawn(*shape):
    """Return normal numbers."""
    return tf.constant(np.random.default_rng(0).normal(1.0, 2.0, shape).astype(np.float32))


@pytest.mark.parametrize("shape", [(16, 5), (8, 12, 5), (4, 6, 7, 5), (2, 1)])
def test_a_batch_is_normalised_as_by_keras(shape):
    """Of vectors, series and images; the mean and variance that are kept move alike, by the batch's own variance."""
    assert_equal_in_training(*pair(shape[1:]), drawn(*shape))


def test_the_sums_are_those_of_the_paper():
    """Without Keras: (x - mean) / sqrt(variance + epsilon) * gamma + beta, in 64 bits."""
    _, fused = pair((5,))
    gamma, beta, moving_mean, moving_variance = fused.get_weights()
    inputs = drawn(16, 5).numpy().astype(np.float64)
    mean, variance = inputs.mean(axis=0), inputs.var(axis=0)
    answers, *_, kept_mean, kept_variance = passed(fused, tf.constant(inputs, tf.float32))
    np.testing.assert_allclose(answers, (inputs - mean) / np.sqrt(variance + 1e-3) * gamma + beta, atol=1e-5)
    np.testing.assert_allclose(kept_mean, 0.9 * moving_mean + 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(kept_variance, 0.9 * moving_variance + 0.1 * variance, rtol=1e-5)


def test_a_batch_of_one_vector_has_no_variance():
    """TensorFlow's estimate of it would divide by 0."""
    *_, variance = passed(pair((5,))[1], drawn(1, 5))
    np.testing.assert_allclose(variance, 0.9 * pair((5,))[0].get_weights()[3], rtol=1e-6)


def test_answers_and_files_are_those_of_keras(tmp_path):
    """Fusing ends where training does."""
    own, fused = pair((9, 3))
    np.testing.assert_array_equal(own(drawn(7, 9, 3)), fused(drawn(7, 9, 3)))
    assert own.get_config() == fused.get_config()
    fused.save(tmp_path / "model.keras")
    opened = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(own(drawn(7, 9, 3)), opened(drawn(7, 9, 3)))


def test_masked_steps_do_not_count():
    """Keras' own sums are taken for them."""
    own, fused = pair((9, 3))
    inputs = drawn(7, 9, 3)
    present = tf.constant(np.arange(9) < np.arange(1, 8)[:, None])
    expected, received = (model.layers[1](inputs, training=True, mask=present) for model in (own, fused))
    np.testing.assert_array_equal(expected, received)
    assert np.abs(received - fused.layers[1](inputs, training=True)).max() > 0.1


@pytest.mark.parametrize(
    "settings", [{"axis": 1}, {"scale": False}, {"center": False}, {"dtype": "mixed_float16"}]
)
def test_layers_of_another_kind_stay_as_they_are(settings):
    """Their sums are Keras' own."""
    _, fused = pair((9, 3), **settings)
    assert "call" not in vars(fused.layers[1])


def test_frozen_layers_do_not_move():
    """As those of a trunk that another data set has trained."""
    own, fused = pair((9, 3))
    own.layers[1].trainable = fused.layers[1].trainable = False
    assert_equal_in_training(own, fused, drawn(7, 9, 3))


def test_layers_within_models_are_fused_too():
    """As a trunk within a classifier."""
    trunk = keras.Sequential([keras.Input((4,)), layers.BatchNormalization()])
    fuse_normalization(keras.Sequential([keras.Input((4,)), trunk, layers.Dense(2)]))
    assert "call" in vars(trunk.layers[0])
