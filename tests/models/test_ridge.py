"""Forecasts by one solved map: against scikit-learn, and by the look-back that is needed."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from pipeline.inference.backend import prepare_tensorflow
from pipeline.inference.keras_files import load_model, save_model
from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.models import ridge

prepare_tensorflow(2, 7)

import keras  # noqa: E402

NUMBERS = {"targets": ("x", "y"), "target_mean": (0.0, 0.0), "target_standard_deviation": (1.0, 1.0)}
AHEAD = OutputSpec(task="forecasting", horizon=4, target_channels=(2, 0), **NUMBERS)


def windows(season, count=500, length=24, seed=1):
    """Return windows (count, length, 3) over noisy series that repeat after a season, and what follows in two."""
    random = np.random.default_rng(seed)
    steps = count + length + 4
    shape = random.normal(size=(season, 3))
    series = np.cumsum(random.normal(0, 0.05, (steps, 3)), axis=0) + shape[np.arange(steps) % season]
    inputs = np.stack([series[first : first + length] for first in range(count)]).astype(np.float32)
    ahead = np.stack([series[first + length : first + length + 4] for first in range(count)])
    return inputs, ahead[:, :, [2, 0]].astype(np.float32)


def solved(inputs, targets, look_backs):
    keras.utils.set_random_seed(1)
    model = ridge.build(InputSpec("series", inputs.shape[1:]), AHEAD, look_backs=look_backs)
    ridge.fit_closed_form(model, inputs, targets)
    return model


def test_the_map_is_that_of_scikit_learn(tmp_path):
    """With the penalty that was found, on distances from the last value, targets as rows; also after saving."""
    inputs, targets = windows(12)
    model = solved(inputs, targets, [24])
    save_model(model, tmp_path / "model.keras")
    kernel, _ = model.get_layer("values").get_weights()
    chosen = inputs[:, :, [2, 0]].astype(float)
    last = chosen[:, -1:]
    rows = (chosen - last).transpose(0, 2, 1).reshape(-1, 24)
    ahead = (targets - last).transpose(0, 2, 1).reshape(-1, 4)
    size = rows.var(axis=0).mean() * len(rows)
    found = [Ridge(penalty * size).fit(rows, ahead) for penalty in ridge.PENALTIES]
    distance = [np.abs(item.coef_.T - kernel).max() for item in found]
    assert 1e-4 > min(distance)
    reference = found[int(np.argmin(distance))].predict(rows).reshape(-1, 2, 4).transpose(0, 2, 1) + last
    received = load_model(tmp_path / "model.keras").predict_on_batch(inputs)
    assert reference == pytest.approx(received, abs=1e-3)


def test_the_look_back_that_is_needed_is_chosen():
    """A season of 12 steps is not seen in 6, and steps before those that are read have no weight."""
    inputs, targets = windows(12)
    model = solved(inputs, targets, [6, 13])
    kernel, _ = model.get_layer("values").get_weights()
    assert not kernel[:-13].any()
    assert kernel[-13:-1].any(axis=1).all()
    new, expected = windows(12, seed=1)
    assert 0.1 > np.mean((model.predict_on_batch(new) - expected) ** 2)


def test_noise_is_answered_with_little_and_short_memory_is_enough():
    """Where the past says nothing a large penalty and few steps forecast best."""
    random = np.random.default_rng(3)
    inputs = random.normal(size=(300, 24, 3)).astype(np.float32)
    targets = random.normal(size=(300, 4, 2)).astype(np.float32)
    model = solved(inputs, targets, [3, 24])
    answers = model.predict_on_batch(inputs)
    assert np.mean((answers - targets) ** 2) < 1.6


def test_windows_must_hold_the_look_back_and_there_must_be_some():
    """Messages say what fits."""
    with pytest.raises(ValueError, match=r"look_backs of 2 to 24.*look_backs=\[48\]"):
        ridge.build(InputSpec("series", (24, 3)), AHEAD, look_backs=[48])
    inputs, targets = windows(12, count=10)
    with pytest.raises(ValueError, match=r"at least 17\. Received: 10"):
        solved(inputs, targets, [24])
