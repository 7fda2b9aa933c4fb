"""Recurrent layers in two compiled loops are Keras' own: answers, gradients, and what a file says of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from pipeline.training.fused_recurrence import fuse_recurrence

CELLS = {"simple": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}
STEPS, WIDTH, UNITS = 7, 5, 4
MASKS = {
    "all steps": None,
    "padding behind": np.arange(STEPS) < np.array([[7], [3], [1], [5], [0], [6]]),
    "padding in front and between": np.random.default_rng(3).random((6, STEPS)) < 0.6,
}


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    """Let nothing depend on what this machine has."""
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _kind: [])


def pair(cell, *, both_ways=False, steps=STEPS, **settings):
    """Return a model of one layer twice, with the same drawn weights: as Keras has it, and fused."""
    layer = CELLS[cell](UNITS, **settings)
    layer = layers.Bidirectional(layer) if both_ways else layer
    inputs, present = keras.Input((steps, WIDTH)), keras.Input((steps,), dtype="bool")
    own = keras.Model([inputs, present], layer(inputs, mask=present))
    draw = np.random.default_rng(1)
    own.set_weights([draw.normal(0, 0.5, weights.shape) for weights in own.get_weights()])
    fused = keras.Model.from_config(own.get_config())
    fused.set_weights(own.get_weights())
    fuse_recurrence(fused)
    return own, fused


def recurrent_layer(model):
    """Return the layer with a state."""
    return model.layers[-1]


def passed(model, inputs, mask):
    """Return the answers, and the gradients of inputs and weights."""

    @tf.function
    def both_ways(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            answers = recurrent_layer(model)(inputs, mask=mask, training=True)
            loss = tf.reduce_sum(answers * tf.sin(3.0 * answers))
        return answers, tape.gradient(loss, [inputs, *recurrent_layer(model).trainable_variables])

    answers, gradients = both_ways(inputs)
    return [answers, *gradients]


def drawn(*shape):
    """Return normal numbers."""
    return tf.constant(np.random.default_rng(0).normal(0.0, 1.5, shape).astype(np.float32))


def assert_equal_in_training(own, fused, mask):
    """They agree to some units in the last place of the largest number of each array, and Keras' own is not called."""
    inputs = drawn(6, STEPS, WIDTH)
    mask = None if mask is None else tf.constant(mask)
    answers = passed(own, inputs, mask)
    with pytest.MonkeyPatch.context() as patch:
        for kind in CELLS.values():
            patch.setattr(kind, "call", None)
        fused_answers = passed(fused, inputs, mask)
    for expected, received in zip(answers, fused_answers, strict=True):
        np.testing.assert_allclose(received, expected, rtol=0, atol=2e-6 * max(1.0, np.abs(expected).max()))


PARTLY = "padding in front and between"


@pytest.mark.parametrize(("keep_all", "mask"), [(False, "all steps"), (True, PARTLY)])
@pytest.mark.parametrize("cell", CELLS)
def test_a_sequence_is_read_as_by_keras(cell, keep_all, mask):
    """Padded steps leave the state as it was, wherever they stand, and teach nothing."""
    own, fused = pair(cell, return_sequences=keep_all)
    assert "call" in vars(recurrent_layer(fused))
    assert_equal_in_training(own, fused, MASKS[mask])


@pytest.mark.parametrize(("keep_all", "mask"), [(False, "padding behind"), (True, PARTLY)])
@pytest.mark.parametrize("cell", CELLS)
def test_a_sequence_is_read_from_both_ends_as_by_keras(cell, keep_all, mask):
    """The layer of each direction is fused within the one that holds both."""
    own, fused = pair(cell, both_ways=True, return_sequences=keep_all)
    both = recurrent_layer(fused)
    assert "call" in vars(both.forward_layer)
    assert "call" in vars(both.backward_layer)
    assert_equal_in_training(own, fused, MASKS[mask])


def test_one_step_has_no_state_before_it():
    """The kernel of the state is not used, and learns nothing."""
    _, fused = pair("lstm", steps=1)
    *_, to_recurrent_kernel, to_bias = passed(fused, drawn(6, 1, WIDTH), None)
    np.testing.assert_array_equal(to_recurrent_kernel, 0.0)
    assert np.abs(to_bias).max() > 0.1


@pytest.mark.long
@pytest.mark.parametrize("both_ways", [False, True], ids=["forwards", "both ways"])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("keep_all", [False, True], ids=["last state", "all states"])
@pytest.mark.parametrize("cell", CELLS)
def test_whatever_is_asked_of_it(cell, keep_all, mask, both_ways):
    """All of the above together."""
    own, fused = pair(cell, both_ways=both_ways, return_sequences=keep_all)
    assert_equal_in_training(own, fused, MASKS[mask])


def sigmoid(x):
    """1 / (1 + e^-x)."""
    return 1 / (1 + np.exp(-x))


def of_the_papers(cell, inputs, kernel, recurrent_kernel, bias):
    """Return the last state in 64 bits, without Keras: Elman; Hochreiter and Schmidhuber; Cho et al. with cuDNN's reset."""
    hidden, carried = np.zeros((len(inputs), UNITS)), np.zeros((len(inputs), UNITS))
    for step in range(STEPS):
        if cell == "gru":
            update, reset, new = np.split(inputs[:, step] @ kernel + bias[0], 3, axis=1)
            update_on, reset_on, new_on = np.split(hidden @ recurrent_kernel + bias[1], 3, axis=1)
            update, reset = sigmoid(update + update_on), sigmoid(reset + reset_on)
            hidden = update * hidden + (1 - update) * np.tanh(new + reset * new_on)
            continue
        sums = inputs[:, step] @ kernel + hidden @ recurrent_kernel + bias
        if cell == "simple":
            hidden = np.tanh(sums)
            continue
        enter, forget, new, leave = np.split(sums, 4, axis=1)
        carried = sigmoid(forget) * carried + sigmoid(enter) * np.tanh(new)
        hidden = sigmoid(leave) * np.tanh(carried)
    return hidden


@pytest.mark.parametrize("cell", CELLS)
def test_the_sums_are_those_of_the_papers(cell):
    """In 64 bits and NumPy; gradients by central differences of them."""
    _, fused = pair(cell)
    inputs = drawn(6, STEPS, WIDTH)
    answers, to_inputs, *to_weights = passed(fused, inputs, None)
    numbers = [inputs.numpy().astype(np.float64), *(one.astype(np.float64) for one in fused.get_weights())]
    np.testing.assert_allclose(answers, of_the_papers(cell, *numbers), atol=2e-6)

    def loss(numbers):
        answers = of_the_papers(cell, *numbers)
        return np.sum(answers * np.sin(3.0 * answers))

    draw = np.random.default_rng(2)
    for position, gradient in enumerate([to_inputs, *to_weights]):
        direction = draw.normal(size=numbers[position].shape)
        ends = []
        for sign in (1, -1):
            moved = list(numbers)
            moved[position] = moved[position] + sign * 1e-5 * direction
            ends.append(loss(moved))
        expected = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(np.sum(np.asarray(gradient) * direction), expected, rtol=1e-4, atol=1e-4)


def test_answers_and_files_are_those_of_keras(tmp_path):
    """Fusing ends where training does."""
    own, fused = pair("lstm")
    given = [drawn(6, STEPS, WIDTH), tf.constant(MASKS["padding behind"])]
    np.testing.assert_array_equal(own(given), fused(given))
    assert own.get_config() == fused.get_config()
    fused.save(tmp_path / "model.keras")
    opened = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(own(given), opened(given))
    assert "call" not in vars(recurrent_layer(opened))


def test_a_batch_of_another_size_needs_no_new_function():
    """As the last one of an epoch, whose rows are fewer."""
    _, fused = pair("gru")
    layer = recurrent_layer(fused)

    @tf.function(input_signature=[tf.TensorSpec((None, STEPS, WIDTH))])
    def read(inputs):
        return layer(inputs, training=True)

    inputs = drawn(6, STEPS, WIDTH)
    np.testing.assert_allclose(read(inputs)[:2], read(inputs[:2]), atol=1e-6)


@pytest.mark.parametrize(
    ("cell", "settings"),
    [
        ("simple", {"activation": "relu"}),
        ("lstm", {"recurrent_activation": "hard_sigmoid"}),
        ("gru", {"reset_after": False}),
        ("gru", {"use_bias": False}),
        ("lstm", {"dropout": 0.1}),
        ("lstm", {"recurrent_dropout": 0.1}),
        ("gru", {"unroll": True}),
        ("gru", {"zero_output_for_mask": True}),
        ("lstm", {"dtype": "mixed_float16"}),
    ],
    ids=lambda value: str(value),
)
def test_layers_of_another_kind_stay_as_they_are(cell, settings):
    """Their sums are Keras' own."""
    _, fused = pair(cell, **settings)
    assert "call" not in vars(recurrent_layer(fused))


def test_where_there_is_a_gpu_layers_stay_as_they_are(monkeypatch):
    """Keras asks cuDNN there."""
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [f"/device:{kind}:0"])
    assert "call" not in vars(recurrent_layer(pair("gru")[1]))


def test_a_given_first_state_is_kept():
    """Keras' own sums are taken for it."""
    own, fused = pair("gru")
    inputs, first = drawn(6, STEPS, WIDTH), drawn(6, UNITS)
    expected, received = (
        recurrent_layer(model)(inputs, initial_state=first, training=True) for model in (own, fused)
    )
    np.testing.assert_array_equal(expected, received)
    assert np.abs(received - recurrent_layer(fused)(inputs, training=True)).max() > 0.01
