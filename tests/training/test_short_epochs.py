"""`pipeline.training.short_epochs`: the bytes of Keras' own loop, traced once."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.training import batches, fit, losses, optimizers, short_epochs
from pipeline.training.batches import BatchedData
from pipeline.training.short_epochs import Traced
from tests.helpers.training_runs import images, small_network


def trained(
    folder: Path, *, traced: Traced | None = None, rows: int = 70, val: bool = True, recurrent: bool = False
):
    """Train with dropout, augmentation, averaged weights and clipping; return history and all weights."""
    inputs, targets = images(90)
    if traced is not None and traced.model is not None:
        model, optimizer = traced.model, traced.optimizer
        traced.set_back()
    else:
        model = small_network(recurrent=recurrent)
        optimizer = optimizers.create_optimizer("adam", 0.01, ema_momentum=0.9, clip_norm=1.0)
    augmentation = batches.create_augmentation(flip=True, shift_px=1, cutout_px=2)
    train = BatchedData(
        inputs, np.arange(rows), targets, batch_size=16, seed=3, shuffle=True, augmentation=augmentation, passes=2
    )  # fmt: skip
    held = BatchedData(inputs, np.arange(70, 90), targets, batch_size=16, seed=3, shuffle=False)
    result = fit.fit(
        model, losses.classification(3, 0.1), train, held if val else None, optimizer=optimizer, epochs=4,
        checkpoint_path=folder / "checkpoint", traced=traced,
    )  # fmt: skip
    return result.history, [array.copy() for array in model.get_weights()]


def assert_same(one, other):
    """Compare histories and weights to the bit."""
    assert one[0] == other[0]
    for expected, received in zip(one[1], other[1], strict=True):
        assert np.array_equal(expected, received)


@pytest.mark.parametrize(("val", "recurrent"), [(True, True), (False, False)])
def test_short_epochs_end_in_the_bytes_of_keras(tmp_path, monkeypatch, val, recurrent):
    """Loss, accuracy, learning rate of each epoch and all weights at the end are those of `model.fit`."""
    short = trained(tmp_path / "short", val=val, recurrent=recurrent)
    calls = []
    monkeypatch.setattr(short_epochs, "MAX_STEPS", 0)
    monkeypatch.setattr(fit, "fit_short_epochs", lambda *_, **__: calls.append(1))
    assert_same(trained(tmp_path / "keras", val=val, recurrent=recurrent), short)
    assert calls == []


def test_a_training_that_follows_another_is_that_of_a_new_model(tmp_path):
    """After 60 rows the same model, set back, learns 70 as a new one does, and nothing is traced anew."""
    traced = Traced()
    trained(tmp_path / "first", traced=traced, rows=65, recurrent=True)
    loops = dict(traced.loops)
    again = trained(tmp_path / "second", traced=traced)
    assert_same(trained(tmp_path / "alone", recurrent=True), again)
    assert loops == traced.loops
    assert {"train_step", "test_step"} == set(loops)


@pytest.mark.parametrize(("rows", "batch_size", "short"), [(64, 1, True), (65, 1, False), (65, 2, True)])
def test_short_is_what_has_few_steps(rows, batch_size, short):
    """Up to 64 steps an epoch."""
    inputs, targets = images(90)
    data = BatchedData(inputs, np.arange(rows), targets, batch_size=batch_size, seed=3, shuffle=True)
    assert short is short_epochs.are_short(data, None)


def test_short_is_what_fits_in_memory(monkeypatch):
    """Five batches of 16 images of 64 bytes and targets of 4: 5,440 bytes."""
    inputs, targets = images(90)
    data = BatchedData(inputs, np.arange(70), targets, batch_size=16, seed=3, shuffle=True)
    monkeypatch.setattr(short_epochs, "MAX_BYTES", 5440)
    assert short_epochs.are_short(data, None)
    monkeypatch.setattr(short_epochs, "MAX_BYTES", 5439)
    assert not short_epochs.are_short(data, None)


def test_seconds_between_checkpoints(tmp_path, monkeypatch):
    """With an hour between them the last epoch alone writes one, with none each; the weights are the same."""
    saved, real = [], fit.save_checkpoint

    def noted(path, groups, state):
        saved.append(state["epoch"])
        real(path, groups, state)

    monkeypatch.setattr(fit, "save_checkpoint", noted)
    inputs, targets = images(90)
    ends = []
    for seconds in (0.0, 3600.0):
        model = small_network()
        train = BatchedData(inputs, np.arange(70), targets, batch_size=16, seed=3, shuffle=True)
        fit.fit(
            model, losses.classification(3), train, None, optimizer=optimizers.create_optimizer("adam", 0.01),
            epochs=3, checkpoint_path=tmp_path / f"{seconds}", checkpoint_seconds=seconds,
        )  # fmt: skip
        ends.append(model.get_weights())
    assert [1, 2, 3, 3] == saved
    for expected, received in zip(*ends, strict=True):
        assert np.array_equal(expected, received)
