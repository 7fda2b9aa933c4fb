"""`pipeline.training.optimizers` against the formulas in plain Python."""

import math

import pytest

from pipeline.training import optimizers

COMMON = {"learning_rate": 0.1, "epochs": 10, "steps_per_epoch": 10, "decay_rate": 0.5, "decay_epochs": 2.0}


def rate(name, step, warmup_share=0.0):
    """Return the learning rate at a step of 100."""
    schedule = optimizers.create_schedule(name, warmup_share=warmup_share, **COMMON)
    return schedule if isinstance(schedule, float) else float(schedule(step))


def test_constant():
    """It is a plain number."""
    assert rate("constant", 50) == 0.1


@pytest.mark.parametrize("step", [0, 1, 19, 20, 55, 99])
def test_exponential(step):
    """It falls smoothly: halved every 2 epochs of 10 steps."""
    assert 0.1 * 0.5 ** (step / 20) == pytest.approx(rate("exponential", step), rel=1e-5)


@pytest.mark.parametrize("step", [0, 1, 19, 20, 55, 99])
def test_step(step):
    """It is halved at the end of every second epoch and constant between."""
    assert 0.1 * 0.5 ** (step // 20) == pytest.approx(rate("step", step), rel=1e-5)


@pytest.mark.parametrize("step", [0, 1, 50, 99])
def test_cosine(step):
    """It falls along half a cosine over all 100 steps."""
    assert 0.05 * (1 + math.cos(math.pi * step / 100)) == pytest.approx(rate("cosine", step), rel=1e-4)


@pytest.mark.parametrize("step", [0, 1, 10, 19, 20, 60, 99])
def test_cosine_with_warm_up(step):
    """It rises linearly from 0 over 20 steps, then falls along half a cosine over the other 80."""
    expected = 0.1 * step / 20 if step < 20 else 0.05 * (1 + math.cos(math.pi * (step - 20) / 80))
    assert expected == pytest.approx(rate("cosine", step, warmup_share=0.2), rel=1e-4, abs=1e-9)


def test_unknown_name():
    """The message names the choices."""
    with pytest.raises(ValueError, match="constant, exponential, step or cosine"):
        rate("linear", 0)
