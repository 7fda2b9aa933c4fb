"""The backward pass by hand: the gradients of a small network by the chain rule in NumPy, beside TensorFlow's."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.models import dense
from pipeline.training import losses

CLASSES, FEATURES, ROWS = 3, 5, 7


@pytest.fixture
def network():
    """A hidden layer of four units with tanh, and a softmax of three classes."""
    spec = InputSpec("vector", (FEATURES,), mean=(0.0,) * FEATURES, standard_deviation=(1.0,) * FEATURES)
    answers = OutputSpec(classes=("a", "b", "c"), class_counts=(1, 1, 1))
    tf.keras.utils.set_random_seed(7)
    return dense.build(
        spec, answers, units=(4,), activation="tanh", batch_normalization=False, dropout=0.0, l2=0.0
    )


def test_three_lines_of_the_chain_rule_give_the_gradients_of_tensorflow(network):
    """dL/dW = h' delta, dL/db = delta, dL/dh = delta W'; below softmax and cross-entropy, delta is p - y."""
    generator = np.random.default_rng(7)
    inputs = generator.normal(size=(ROWS, FEATURES)).astype(np.float32)
    truth = generator.integers(0, CLASSES, ROWS)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(losses.classification(CLASSES)(truth, network(inputs)))
    expected = tape.gradient(loss, network.trainable_variables)

    first, first_bias, last, last_bias = (np.asarray(weights) for weights in network.trainable_variables)
    hidden = np.tanh(inputs @ first + first_bias)
    raw = hidden @ last + last_bias
    shares = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    assert float(loss) == pytest.approx(-np.log(shares[np.arange(ROWS), truth]).mean(), rel=1e-6)

    delta = (shares - np.eye(CLASSES)[truth]) / ROWS
    of_last, of_last_bias = hidden.T @ delta, delta.sum(axis=0)
    below = (delta @ last.T) * (1 - hidden**2)
    of_first, of_first_bias = inputs.T @ below, below.sum(axis=0)
    for received, wanted in zip((of_first, of_first_bias, of_last, of_last_bias), expected, strict=True):
        np.testing.assert_allclose(received, wanted, rtol=1e-5, atol=1e-7)
