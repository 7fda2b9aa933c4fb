"""`pipeline.training.optimizers` against steps worked by hand."""

import keras
import numpy as np
import pytest

from pipeline.training import optimizers


def step(optimizer, gradient, name="kernel", steps=1):
    """Return a variable of ones after some steps with the same gradient."""
    variable = keras.Variable(np.ones(len(gradient), np.float32), name=name)
    optimizer.build([variable])
    for _ in range(steps):
        optimizer.apply([np.array(gradient, np.float32)], [variable])
    return np.asarray(variable)


def test_sgd_with_nesterov_momentum():
    """Two steps by hand: velocity v = 0.9 v - 0.1 g, weight += 0.9 v - 0.1 g."""
    first = 1 + (0.9 * -0.1 - 0.1)
    second = first + (0.9 * (0.9 * -0.1 - 0.1) - 0.1)
    received = step(optimizers.create_optimizer("sgd", 0.1, momentum=0.9), [1.0], steps=2)
    np.testing.assert_allclose([second], received, rtol=1e-6)


def test_adam_first_step_is_the_learning_rate():
    """Whatever the size of the gradient, Adam's first step is its sign times the learning rate."""
    np.testing.assert_allclose(
        [0.9, 1.1], step(optimizers.create_optimizer("adam", 0.1), [5.0, -0.01]), rtol=1e-4
    )


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_weight_decay_takes_a_share_of_kernels_only(name):
    """With a gradient of 0 a kernel loses learning_rate * weight_decay; biases and scales lose nothing."""
    for variable, expected in {
        "kernel": 0.95,
        "recurrent_kernel": 0.95,
        "bias": 1,
        "gamma": 1,
        "beta": 1,
    }.items():
        optimizer = optimizers.create_optimizer(name, 0.1, weight_decay=0.5)
        np.testing.assert_allclose([expected], step(optimizer, [0.0], variable), rtol=1e-6, err_msg=variable)


def test_weight_decay_in_a_model():
    """The same holds for the variables of layers, whose names Keras gives."""
    layers = [keras.layers.Dense(1, bias_initializer="ones"), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((1,)), *layers])
    optimizer = optimizers.create_optimizer("adamw", 0.1, weight_decay=0.5)
    optimizer.build(model.trainable_variables)
    before = [np.array(variable) for variable in model.trainable_variables]
    optimizer.apply([np.zeros(variable.shape, np.float32) for variable in model.trainable_variables])
    moved = {
        variable.name
        for variable, old in zip(model.trainable_variables, before, strict=True)
        if not np.array_equal(old, np.asarray(variable))
    }
    assert {"kernel"} == moved


def test_clip_norm_limits_the_whole_gradient():
    """Gradients of 3 and 4 for two variables are one of norm 5, which is scaled to norm 1: 0.6 and 0.8."""
    optimizer = optimizers.create_optimizer("sgd", 1.0, clip_norm=1.0)
    kernel, bias = (keras.Variable(np.ones(1, np.float32), name=name) for name in ("kernel", "bias"))
    optimizer.build([kernel, bias])
    optimizer.apply([np.array([3], np.float32), np.array([4], np.float32)], [kernel, bias])
    np.testing.assert_allclose([[1 - 0.6], [1 - 0.8]], [np.asarray(kernel), np.asarray(bias)], rtol=1e-6)


def test_moving_average_of_the_weights():
    """After the steps 1 -> 0.9 -> 0.8 the average is 0.1 * 0.9 + 0.9 * 0.8: a second step trusts the first one little."""
    optimizer = optimizers.create_optimizer("sgd", 0.1, ema_momentum=0.5)
    variable = keras.Variable(np.ones(1, np.float32), name="kernel")
    optimizer.build([variable])
    for _ in range(2):
        optimizer.apply([np.ones(1, np.float32)], [variable])
    optimizer.finalize_variable_values([variable])
    np.testing.assert_allclose([0.81], np.asarray(variable), rtol=1e-6)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_the_average_forgets_the_weights_it_began_with(name):
    """From 100 down by 1 a step, 400 steps: the average at 0.999 lags by a tenth of the way, not by all of it."""
    optimizer = optimizers.create_optimizer(name, 1.0, ema_momentum=0.999)
    variable = keras.Variable(np.full(1, 100, np.float32), name="kernel")
    optimizer.build([variable])
    for _ in range(400):
        optimizer.apply([np.ones(1, np.float32)], [variable])
    last = float(np.asarray(variable)[0])
    optimizer.finalize_variable_values([variable])
    assert 0.05 < (float(np.asarray(variable)[0]) - last) / (100 - last) < 0.15


def test_unknown_name():
    """The message names the choices."""
    with pytest.raises(ValueError, match="adam, adamw or sgd"):
        optimizers.create_optimizer("rmsprop", 0.1)


def test_the_gradient_of_all_ranks_is_made_before_it_is_clipped():
    """The mean of (3, 4) and (0, 0) is (1.5, 2), of norm 2.5: at most 2 it is (1.2, 1.6). Clipped first it would be half."""
    seen = []

    def mean(gradients, step):
        seen.append(int(step))
        return [gradient / 2 for gradient in gradients]

    optimizer = optimizers.create_optimizer("sgd", 1.0, clip_norm=2.0, ema_momentum=0.5, mean_gradients=mean)
    variables = [
        keras.Variable(np.zeros(2, np.float32), name="kernel"),
        keras.Variable(np.zeros(1), name="unused"),
    ]
    optimizer.build(variables)
    for _ in range(2):
        with pytest.warns(UserWarning, match="unused"):
            optimizer.apply([np.float32([3, 4]), None], variables)
    np.testing.assert_allclose([-2 * 1.2, -2 * 1.6], np.asarray(variables[0]), rtol=1e-6)
    assert [0, 1] == seen
