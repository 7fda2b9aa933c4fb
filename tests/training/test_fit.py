"""`pipeline.training.fit`: the same bytes whatever happens, the best epoch, and no broken pass."""

import multiprocessing
import random
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from pipeline.inference import prediction
from pipeline.training import fit as training_fit
from pipeline.training import losses, optimizers
from pipeline.training.batches import BatchedData
from pipeline.training.fit import TrainingDiverged
from pipeline.training.ranks import Ranks
from tests.helpers.training_runs import images, run, small_network


@pytest.fixture(scope="module")
def start():
    """Starts `training_runs.run` in a cheap new process, forked from one that has only imported TensorFlow."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tensorflow", "keras", "tests.helpers.training_runs"])

    def start(folder, **settings):
        process = context.Process(target=run, args=(str(folder),), kwargs=settings)
        process.start()
        return process

    return start


@pytest.fixture(scope="module")
def uninterrupted(start, tmp_path_factory):
    """Digest and epoch lines of the training of `training_runs`, run once without a break."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    start(folder).join()
    return (folder / "digest").read_text(), (folder / "epochs").read_text().splitlines()


@pytest.mark.long
def test_two_processes_give_the_same_bytes(uninterrupted, start, tmp_path):
    """A second process ends with the weights of the first, bit for bit."""
    start(tmp_path).join()
    assert uninterrupted[0] == (tmp_path / "digest").read_text()


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_training_ends_in_the_same_bytes(uninterrupted, start, tmp_path, seed):
    """A training with dropout, augmentation, EMA and Adam, killed with -9 again and again, loses nothing."""
    moments = random.Random(seed)
    epochs = tmp_path / "epochs"
    for kill_after in sorted(moments.sample(range(1, 8), 3)):
        process = start(tmp_path)
        while process.is_alive() and _last_epoch(epochs) < kill_after:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.03))  # into the checkpoint, or into the next epoch
        process.kill()
        process.join()
    assert not (tmp_path / "digest").exists(), "killed before its end, or the test shows nothing"
    start(tmp_path).join()
    assert uninterrupted[0] == (tmp_path / "digest").read_text()
    assert set(uninterrupted[1]) == set(epochs.read_text().splitlines()), "every epoch, and no other value"


@pytest.mark.long
def test_stopping_on_the_way_changes_nothing(uninterrupted, start, tmp_path):
    """Rungs: stop after 1, after 4, then train to the end: the bytes of a training in one go."""
    for stop_after in (1, 4, None):
        start(tmp_path, stop_after=stop_after).join()
    assert uninterrupted[0] == (tmp_path / "digest").read_text()
    assert uninterrupted[1] == (tmp_path / "epochs").read_text().splitlines(), "each epoch was trained once"


@pytest.mark.long
@pytest.mark.parametrize("max_steps", [1, 2])
def test_steps_of_one_call_change_nothing(uninterrupted, start, tmp_path, max_steps):
    """How many steps run between two returns to Python has no influence on the weights."""
    start(tmp_path, max_steps=max_steps).join()
    assert uninterrupted[0] == (tmp_path / "digest").read_text()


@pytest.mark.long
def test_damaged_checkpoint_starts_over(tmp_path, caplog):
    """One flipped bit in a checkpoint is noticed; the training starts over and says so."""
    fit(small_network(), tmp_path / "c", epochs=3, stop_after=2)
    content = bytearray((tmp_path / "c").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "c").write_bytes(content)
    seen = []
    fit(small_network(), tmp_path / "c", epochs=3, on_epoch=lambda epoch, _logs: seen.append(epoch))
    assert seen == [1, 2, 3]
    assert "The training starts over." in caplog.text


@pytest.mark.long
def test_checkpoint_of_another_model_starts_over(tmp_path, caplog):
    """A checkpoint whose arrays do not fit the model is refused, not half loaded."""
    training_fit.save_checkpoint(tmp_path / "c", {"model": [np.zeros(3)], "optimizer": [], "best": []}, {})
    result = fit(small_network(), tmp_path / "c", epochs=1)
    assert [logs["epoch"] for logs in result.history] == [1]
    assert "belong to another model" in caplog.text


def test_ranks_go_on_together_after_the_last_checkpoint(tmp_path, monkeypatch):
    """A follower reads it after the last epoch: until all have, nobody returns, whose caller may remove it."""
    told, tell = [], Ranks.told
    monkeypatch.setattr(Ranks, "told", lambda ranks, word: told.append(word) or tell(ranks, word))
    fit(small_network(), tmp_path / "c", epochs=1, ranks=Ranks(0, 1, []))
    assert [False, None] == told[-2:], "it goes on after its last epoch, and waits once more"


def test_best_epoch_by_validation(tmp_path):
    """The model leaves with the weights of its best epoch, not of its last."""
    model = small_network()
    targets = np.random.default_rng(0).permutation(images(90)[1])  # nothing to learn, so it only gets worse
    result = fit(model, tmp_path / "c", epochs=5, learning_rate=0.03, targets=targets)
    losses_by_epoch = [logs["val_loss"] for logs in result.history]
    assert int(np.argmin(losses_by_epoch)) + 1 == result.best_epoch
    assert losses_by_epoch[-1] > 1.01 * min(losses_by_epoch), "or the test shows nothing"
    probabilities = prediction.predict(model, images(90)[0], np.arange(70, 90))
    expected = -np.log(probabilities[np.arange(20), targets[70:]]).mean()
    assert result.best_logs["val_loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.long
def test_validation_measures_the_averaged_weights(tmp_path):
    """With EMA, val metrics and the final weights are those of the average, and training does not notice."""
    averaged, raw, plain = small_network(), small_network(), small_network()
    result = fit(averaged, tmp_path / "c", epochs=2, stop_after=1, learning_rate=0.1, ema_momentum=0.9)
    training_fit.assign(raw.variables, training_fit.load(tmp_path / "c")[0]["model"], "weights")
    fit(plain, tmp_path / "plain", epochs=2, stop_after=1, learning_rate=0.1)
    for expected, received in zip(plain.get_weights(), raw.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, received)
    logits = averaged.layers[-2].kernel, plain.layers[-2].kernel
    assert not np.allclose(*map(np.asarray, logits), atol=0.01)
    inputs, targets = images(90)
    probabilities = prediction.predict(averaged, inputs, np.arange(70, 90))
    expected = -np.log(probabilities[np.arange(20), targets[70:]]).mean()
    assert result.best_logs["val_loss"] == pytest.approx(expected, rel=1e-4)


def test_early_stopping(tmp_path):
    """Training ends after so many epochs without a better value, and a second call does not go on."""
    result = fit(small_network(), tmp_path / "c", epochs=40, learning_rate=0.3, patience=2)
    assert result.best_epoch + 2 == len(result.history) < 40
    assert result.finished
    seen = []
    again = fit(
        small_network(),
        tmp_path / "c",
        epochs=40,
        learning_rate=0.3,
        patience=2,
        on_epoch=lambda *a: seen.append(a),
    )
    assert ([], result) == (seen, again)


def test_monitor_accuracy_means_higher_is_better(tmp_path):
    """With val_accuracy the best epoch is the first of those with the highest value."""
    result = fit(small_network(), tmp_path / "c", epochs=4, learning_rate=0.002, monitor="val_accuracy")
    accuracies = [logs["val_accuracy"] for logs in result.history]
    assert int(np.argmax(accuracies)) + 1 == result.best_epoch
    assert accuracies[0] < max(accuracies), "or the test shows nothing"


def test_an_earlier_rung_is_not_answered_from_a_later_checkpoint(tmp_path, caplog):
    """Asked again for a rung it has passed, a training gives what it gave then, weights included."""
    models = small_network(), small_network()
    first = fit(models[0], tmp_path / "c", epochs=4, stop_after=2)
    fit(small_network(), tmp_path / "c", epochs=4, stop_after=3)
    assert first == fit(models[1], tmp_path / "c", epochs=4, stop_after=2)
    for expected, received in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_array_equal(expected, received)
    assert "is at epoch 3, past 2. The training starts over." in caplog.text


def test_diverging_training_is_stopped(tmp_path):
    """A loss that is not finite ends the training with exit code 65 and what to change."""
    with pytest.raises(TrainingDiverged, match=r"epoch 1.*loss=nan.*Lower training.learning_rate") as caught:
        fit(small_network(), tmp_path / "c", epochs=2, loss=lambda _y, p: keras.ops.mean(p, axis=1) * np.nan)
    assert caught.value.exit_code == 65
    assert not (tmp_path / "c").exists(), "no checkpoint of a broken state"


def test_nan_weights_behind_healthy_metrics_are_noticed(tmp_path):
    """A model with NaN weights scores accuracy 1.0 when all labels are class 0; the guard looks at weights."""
    inputs = keras.Input((8, 8, 1), dtype="uint8")
    hidden = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    unused = keras.layers.Dense(3, trainable=False, name="unused")
    outputs = keras.layers.Add()([keras.layers.Dense(3)(hidden), keras.layers.Rescaling(0.0)(unused(hidden))])
    model = keras.Model(inputs, keras.layers.Activation("softmax")(outputs))
    unused.bias.assign([0, 0, np.nan])

    def healthy(_targets, probabilities):
        return keras.ops.where(keras.ops.isnan(probabilities[:, 0]), 0.5, probabilities[:, 0])

    with pytest.raises(TrainingDiverged, match=r"Received: [0-9]+ weight arrays with NaN"):
        fit(model, tmp_path / "c", epochs=1, loss=healthy)


def test_predictions_of_a_broken_model_are_refused():
    """predict of NaN weights through ReLU gives healthy-looking probabilities; ours raises."""
    model = small_network()
    broken = next(layer for layer in model.layers if layer.name.startswith("batch"))
    broken.moving_variance.assign(np.full(4, np.nan))
    with pytest.raises(ValueError, match="not finite"):
        prediction.predict(model, images(4)[0], np.arange(4))


def test_healthy_looking_predictions_of_broken_weights_are_refused():
    """Of a table of vectors the NaN that nobody asked for does not show in the answers, only in the weights."""
    inputs = keras.Input((2,), dtype="int32")
    vectors = keras.layers.Flatten()(keras.layers.Embedding(4, 3, name="vectors")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(vectors))
    model.get_layer("vectors").set_weights([np.array([[0.1] * 3, [0.2] * 3, [0.3] * 3, [np.nan] * 3])])
    rows = np.array([[0, 1], [2, 0]], np.int32)
    assert np.isfinite(model.predict_on_batch(rows)).all()
    with pytest.raises(ValueError, match="not finite"):
        prediction.predict(model, rows, np.arange(2))


def test_predictions_from_broken_inputs_are_refused():
    """A NaN among the inputs of a vector model raises and names its row."""
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(keras.layers.ReLU()(inputs)))
    with pytest.raises(ValueError, match="row 1"):
        prediction.predict(model, np.array([[0, 1], [np.nan, 1]], np.float32), np.arange(2))


def test_predict_in_chunks():
    """Rows come back in the order asked for, chunked or not."""
    model = small_network()
    inputs, _ = images(10)
    rows = np.array([7, 1, 5, 2, 9])
    expected = np.asarray(model(inputs[rows]))
    np.testing.assert_allclose(expected, prediction.predict(model, inputs, rows, batch_size=2), rtol=1e-5)


def test_test_time_flip():
    """The prediction is the mean over an image and its mirror image."""
    model = small_network()
    inputs, _ = images(6)
    expected = (np.asarray(model(inputs)) + np.asarray(model(inputs[:, :, ::-1]))) / 2
    np.testing.assert_allclose(
        expected, prediction.predict(model, inputs, np.arange(6), test_time_flip=True), rtol=1e-5
    )


def test_jit_is_off_by_name(tmp_path):
    """XLA is off explicitly: op determinism would drop it in silence, on another version perhaps not."""
    asked = []

    class Recorded(keras.Model):
        def compile(self, **settings):
            asked.append(settings["jit_compile"])
            super().compile(**settings)

    network = small_network()
    fit(Recorded(network.inputs, network.outputs), tmp_path / "c", epochs=1)
    assert asked == [False]


def test_fit_sees_every_batch_of_every_epoch_once(tmp_path):
    """fit never repeats the same order each epoch: it asks for the batches of epoch 0, 1, 2, each one once."""
    asked = []

    class Recorded(BatchedData):
        def batch(self, epoch, index):
            asked.append((epoch, index))
            return super().batch(epoch, index)

    fit(small_network(), tmp_path / "c", epochs=3, train_class=Recorded)
    assert [(epoch, index) for epoch in range(3) for index in range(5)] == asked


def test_reconstruction(tmp_path):
    """Without targets the images themselves are the target, and there is no accuracy."""
    inputs = keras.Input((8, 8, 1), dtype="uint8")
    hidden = keras.layers.Rescaling(1 / 255)(inputs)
    model = keras.Model(inputs, keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")(hidden))
    result = fit(
        model, tmp_path / "c", epochs=3, loss=losses.reconstruction, reconstruct=True, learning_rate=0.05
    )
    assert {"epoch", "loss", "val_loss", "learning_rate"} == set(result.history[0])
    assert result.history[-1]["val_loss"] < result.history[0]["val_loss"]


def fit(
    model, path, *, epochs, learning_rate=0.01, ema_momentum=0.0, patience=0, monitor="val_loss", loss=None,
    stop_after=None, on_epoch=None, train_class=BatchedData, reconstruct=False, targets=None, ranks=None,
):  # fmt: skip
    """Fit on 70 images, validate on 20."""
    inputs, classes = images(90)
    if not reconstruct and targets is None:
        targets = classes
    return training_fit.fit(
        model,
        loss or losses.classification(3),
        train_class(inputs, np.arange(70), targets, batch_size=16, seed=1, shuffle=True, reconstruct=reconstruct),
        BatchedData(
            inputs, np.arange(70, 90), targets, batch_size=64, seed=1, shuffle=False, reconstruct=reconstruct
        ),
        optimizer=optimizers.create_optimizer("adam", learning_rate, ema_momentum=ema_momentum),
        epochs=epochs, checkpoint_path=Path(path), monitor=monitor, early_stopping_patience=patience,
        stop_after=stop_after, on_epoch=on_epoch, ranks=ranks,
    )  # fmt: skip


def _last_epoch(path: Path) -> int:
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return int(lines[-1].split()[0]) if lines else 0
