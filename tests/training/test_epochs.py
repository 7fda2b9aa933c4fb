"""`pipeline.training.epochs`: the bytes of Keras' own loop, traced once."""

import itertools
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from pipeline.runtime.errors import StorageFailed
from pipeline.training import batches, epochs, fit, losses, optimizers
from pipeline.training.batches import BatchedData
from pipeline.training.epochs import Traced
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


def by_keras(model, train, val, *, callback, initial_epoch, epochs, loops):
    """Do what `fit_epochs` does by Keras' own `fit`."""
    assert not loops
    running = [initial_epoch]

    class Batches(keras.utils.PyDataset):
        def __init__(self, data, epoch):
            super().__init__()
            self.data, self.epoch = data, epoch

        def __len__(self):
            return self.data.num_batches

        def __getitem__(self, index):
            return self.data.batch(self.epoch[0], index)

    counted = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: running.__setitem__(0, epoch))
    model.fit(
        Batches(train, running), validation_data=Batches(val, [0]) if val else None, initial_epoch=initial_epoch,
        epochs=epochs, callbacks=[counted, callback], shuffle=False, verbose=0,
    )  # fmt: skip


@pytest.mark.parametrize(("val", "recurrent"), [(True, True), (False, False)])
def test_epochs_end_in_the_bytes_of_keras(tmp_path, monkeypatch, val, recurrent):
    """Loss, accuracy, learning rate of each epoch and all weights at the end are those of `model.fit`."""
    received = []
    for steps in (64, 4):  # of ten
        monkeypatch.setattr(epochs, "MAX_STEPS", steps)
        received.append(trained(tmp_path / str(steps), val=val, recurrent=recurrent))
    monkeypatch.setattr(fit, "fit_epochs", by_keras)
    expected = trained(tmp_path / "keras", val=val, recurrent=recurrent)
    assert_same(expected, received[0])
    assert_same(expected, received[1])


class Counted:
    """What `fit_epochs` asks of a model, without sums; forgets at each epoch what was taken in the one before."""

    stop_training = False
    optimizer = SimpleNamespace(finalize_variable_values=lambda _: None)
    trainable_weights = ()

    def __init__(self, taken):
        self.taken = taken

    def reset_metrics(self):
        """Begin an epoch."""
        self.taken.clear()

    def get_metrics_result(self):
        """End it."""
        return {"loss": 1.0}


@pytest.mark.parametrize(
    ("bounds", "calls"),
    [
        ({}, [10]),
        ({"MAX_STEPS": 4}, [4, 4, 2]),
        ({"MAX_BYTES": 3 * 1088}, [3, 3, 3, 1]),
        ({"MAX_BYTES": 1}, [1] * 10),
        ({"CALL_SECONDS": 0}, [1] * 10),
        ({"MAKING_SECONDS": 0}, [1, 9]),
    ],
    ids=str,
)
def test_a_call_takes_so_many_batches(monkeypatch, bounds, calls):
    """Of 16 images of 64 bytes and targets of 4; the last batch of both passes has 6. One batch always fits.

    The first calls of a training take one and two, whatever the bounds.
    """
    inputs, targets = images(90)
    data = BatchedData(inputs, np.arange(70), targets, batch_size=16, seed=3, shuffle=True, passes=2)
    for name, bound in ({"CALL_SECONDS": 1e9, "MAKING_SECONDS": 1e9} | bounds).items():
        monkeypatch.setattr(epochs, name, bound)
    taken, begun = [], []

    def loop(arrays, ends):
        begun.append(len(ends) - 1)
        taken.append([arrays[0][start:end] for start, end in itertools.pairwise(ends)])

    epochs.fit_epochs(
        Counted(taken), data, None, callback=keras.callbacks.Callback(), initial_epoch=0, epochs=3,
        loops={"train_step": loop},
    )  # fmt: skip
    assert calls == [len(batches) for batches in taken]
    assert begun[0] == 1
    for index, batch in enumerate(itertools.chain(*taken)):
        np.testing.assert_array_equal(data.batch(2, index)[0], batch)


@pytest.mark.parametrize(("call_seconds", "calls"), [(0.45, [4, 4, 2]), (0.05, [1] * 10)])
def test_a_call_lasts_as_long_as_it_may(monkeypatch, call_seconds, calls):
    """Of steps of a tenth of a second, by a clock that they alone move."""
    now = [0.0]
    monkeypatch.setattr(epochs, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(epochs, "CALL_SECONDS", call_seconds)
    inputs, targets = images(90)
    data = BatchedData(inputs, np.arange(70), targets, batch_size=16, seed=3, shuffle=True, passes=2)
    taken = []

    def loop(_arrays, ends):
        taken.append(len(ends) - 1)
        now[0] += 0.1 * taken[-1]

    epochs.fit_epochs(
        Counted(taken), data, None, callback=keras.callbacks.Callback(), initial_epoch=0, epochs=3,
        loops={"train_step": loop},
    )  # fmt: skip
    assert calls == taken


def test_validation_is_made_once_where_it_is_small(tmp_path, monkeypatch):
    """And anew for each epoch where it is not: it may be gigabytes."""
    counts = []
    for bound in (1 << 24, 1):
        monkeypatch.setattr(epochs, "MAX_BYTES", bound)
        made, asked = BatchedData.batch, []

        def batch(data, epoch, index, made=made, asked=asked):
            asked.extend([index] * (not data.shuffle))
            return made(data, epoch, index)

        with monkeypatch.context() as patch:
            patch.setattr(BatchedData, "batch", batch)
            trained(tmp_path / str(bound))
        counts.append(len(asked))
    assert counts == [2, 1 + 4 * 2]


def test_a_batch_that_cannot_be_made_ends_the_training(tmp_path, monkeypatch):
    """Whatever raises while the next batches are made raises here, with its own type."""
    monkeypatch.setattr(epochs, "MAX_STEPS", 2)
    made = BatchedData.batch

    def batch(data, epoch, index):
        if (epoch, index) == (1, 7):
            raise StorageFailed("gone")
        return made(data, epoch, index)

    monkeypatch.setattr(BatchedData, "batch", batch)
    with pytest.raises(StorageFailed, match="gone"):
        trained(tmp_path)


def test_a_training_that_follows_another_is_that_of_a_new_model(tmp_path):
    """After 60 rows the same model, set back, learns 70 as a new one does, and nothing is traced anew."""
    traced = Traced()
    trained(tmp_path / "first", traced=traced, rows=65, recurrent=True)
    loops = dict(traced.loops)
    again = trained(tmp_path / "second", traced=traced)
    assert_same(trained(tmp_path / "alone", recurrent=True), again)
    assert loops == traced.loops
    assert {"train_step", "test_step"} == set(loops)


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
