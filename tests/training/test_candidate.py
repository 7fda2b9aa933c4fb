"""`pipeline.training.candidate`: the recipe, for every family."""

import json

import keras
import numpy as np
import pytest
import sklearn.metrics

from pipeline.inference.keras_files import load_model
from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.inputs.train_data import TrainData, load_train_data
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.files import file_digest
from pipeline.training import candidate
from pipeline.training.fit import Length, TrainingDiverged
from tests.helpers.train_project import MODELS, TRAINING, write_train_project


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A tiny project; the working directory is inside it."""
    write_train_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(family, folder, *, checkpoint_dir="checkpoints", on_epoch=None, stop_after=None, **changes):
    """Train a family and write its files."""
    data = load_train_data(family)
    training = TRAINING | ({"epochs": 0} if family == "majority" else {}) | changes
    trained = candidate.train_candidate(
        family, data, MODELS[family], training, seed=4, checkpoint_dir=folder / checkpoint_dir,
        on_epoch=on_epoch, stop_after=stop_after,
    )  # fmt: skip
    settings = {"family": family, "model": MODELS[family], "training": training, "seed": 4, "threads": 1}
    candidate.write_candidate(folder / "out", trained, data, settings)
    return trained


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=() if name in ("linear", "dense") else pytest.mark.long) for name in MODELS],
)
def test_every_family_goes_through_the_recipe(family, tiny):
    """The files appear, are alike on a second run, and say the same thing as the model they belong to."""
    train(family, tiny)
    digests = {path.name: file_digest(path) for path in sorted((tiny / "out").iterdir())}
    expected = {"model.keras", "history.json", "metrics.json", "settings.json", "val_predictions.npy"}
    assert expected | ({"autoencoder.keras"} if family == "autoencoder" else set()) == set(digests)
    train(family, tiny, checkpoint_dir="others")
    assert digests == {path.name: file_digest(path) for path in sorted((tiny / "out").iterdir())}

    data = load_train_data(family)
    probabilities = np.load(tiny / "out/val_predictions.npy")
    loaded = load_model(tiny / "out/model.keras").predict_on_batch(data.inputs[data.val_rows])
    np.testing.assert_array_equal(loaded, probabilities)
    metrics = json.loads((tiny / "out/metrics.json").read_text())
    correct = float(np.mean(probabilities.argmax(axis=1) == data.targets[data.val_rows]))
    assert correct == pytest.approx(metrics["val_accuracy"], abs=1e-6)
    of_target = probabilities[np.arange(15), data.targets[data.val_rows]]
    assert -np.log(of_target).mean() == pytest.approx(metrics["val_loss"], rel=1e-4)


@pytest.mark.long
def test_rungs_of_an_autoencoder_end_in_the_same_bytes(tiny):
    """Stopped after one epoch and continued, both phases end as in one go."""
    train("autoencoder", tiny)
    expected = {path.name: file_digest(path) for path in sorted((tiny / "out").iterdir())}
    seen = []
    train("autoencoder", tiny, checkpoint_dir="rungs", stop_after=1, on_epoch=lambda *both: seen.append(both))
    train("autoencoder", tiny, checkpoint_dir="rungs", on_epoch=lambda *both: seen.append(both))
    assert expected == {path.name: file_digest(path) for path in sorted((tiny / "out").iterdir())}
    names = [("pretrain" if "pretrain_loss" in logs else "classifier", epoch) for epoch, logs in seen]
    assert names == [("pretrain", 1), ("pretrain", 2), ("classifier", 1), ("classifier", 2)]


@pytest.mark.long
def test_autoencoder_is_kept_as_it_was_before_the_classifier(tiny):
    """Fine-tuning the encoder of the classifier leaves the autoencoder alone: its error stays what it was."""
    trained = train("autoencoder", tiny, learning_rate=0.1)
    data = load_train_data("autoencoder")
    images = data.inputs[data.val_rows]
    rebuilt = load_model(tiny / "out/autoencoder.keras").predict_on_batch(images)
    error = float(np.mean((rebuilt - images / 255) ** 2))
    assert trained.pretraining.best_logs["val_loss"] == pytest.approx(error, rel=1e-4)


@pytest.mark.long
def test_labelled_anomalies_have_no_say_in_the_best_epoch(tmp_path):
    """Half of val is labelled and far off: the losses that choose are those of the normal half alone."""
    rng = np.random.default_rng(0)
    windows = rng.normal(size=(60, 6, 1)).astype(np.float32)
    windows[50:] *= 100
    spec = InputSpec("series", (6, 1))
    normal = np.arange(40, 60) < 50
    whole = np.arange(60)
    data = TrainData(
        windows, None, whole[:40], whole[40:], spec, OutputSpec(task="anomaly"), normal_val=normal
    )
    model = {"kind": "dense", "codes": 2, "units": [8]}
    trained = candidate.train_candidate(
        "autoencoder", data, model, TRAINING, seed=4, checkpoint_dir=tmp_path / "checkpoints"
    )
    rebuilt = trained.model.predict_on_batch(windows[40:50])
    expected = float(np.mean((rebuilt - windows[40:50]) ** 2))
    assert expected == pytest.approx(trained.result.best_logs["val_loss"], rel=1e-4)
    candidate.write_candidate(tmp_path / "out", trained, data, {"training": TRAINING})
    assert (20,) == np.load(tmp_path / "out/val_predictions.npy").shape
    assert expected == pytest.approx(json.loads((tmp_path / "out/metrics.json").read_text())["val_loss"])


@pytest.mark.long
def test_result_does_not_depend_on_what_ran_before(tiny):
    """A worker that has built and trained other models gives the same weights."""
    first = train("cnn", tiny).model.get_weights()
    keras.layers.Dense(3, name="other").build((2, 2))
    train("rnn", tiny, checkpoint_dir="rnn")
    for expected, received in zip(
        first, train("cnn", tiny, checkpoint_dir="again").model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(expected, received)


@pytest.mark.long
def test_test_time_flip_reaches_the_probabilities(tiny):
    """With test_time_flip the probabilities are the mean over both sides; features have no sides."""
    trained = train("cnn", tiny, test_time_flip=True)
    data = load_train_data("cnn")
    images = np.asarray(data.inputs[data.val_rows])
    both = trained.model.predict_on_batch(images), trained.model.predict_on_batch(images[:, :, ::-1])
    np.testing.assert_allclose((both[0] + both[1]) / 2, np.load(tiny / "out/val_predictions.npy"), rtol=1e-6)
    train("dense", tiny, checkpoint_dir="dense", test_time_flip=True)


def test_class_missing_in_val_does_not_shift_labels(tmp_path, monkeypatch):
    """Class numbers come from the one list of classes, by name, also where val lacks the first class."""
    write_train_project(tmp_path, without_val_class="cat")
    monkeypatch.chdir(tmp_path)
    data = load_train_data("cnn")
    assert {1, 2} == set(data.targets[data.val_rows].tolist())
    assert [row % 3 for row in data.val_rows] == data.targets[data.val_rows].tolist()


def test_test_rows_stay_closed(tiny):
    """Training knows no target of the test split."""
    data = load_train_data("cnn")
    used = np.concatenate([data.train_rows, data.val_rows])
    assert list(range(75)) == sorted(used.tolist())
    assert (data.targets[75:] == -1).all()


def test_unknown_class_in_the_split(tiny):
    """A label that the training set lacks is named."""
    state = json.loads((tiny / "data/features/state.json").read_text())
    state["classes"] = ["cat", "dog"]
    (tiny / "data/features/state.json").write_text(json.dumps(state))
    with pytest.raises(ValueError, match="emu"):
        load_train_data("cnn")


def test_a_training_of_few_rows_has_as_many_steps_as_asked_for(tiny):
    """Three epochs of several passes each: one validation and one line of history per epoch, killed or not."""
    steps = 3 * -(-len(load_train_data("dense").train_rows) // TRAINING["batch_size"])
    trained = train("dense", tiny, epochs=3, min_steps=4 * steps - 1)
    assert (4, 3) == (trained.passes, len(trained.result.history))
    expected = file_digest(tiny / "out/model.keras")
    train("dense", tiny, checkpoint_dir="rungs", epochs=3, min_steps=4 * steps - 1, stop_after=1)
    assert expected != file_digest(tiny / "out/model.keras")
    train("dense", tiny, checkpoint_dir="rungs", epochs=3, min_steps=4 * steps - 1)
    assert expected == file_digest(tiny / "out/model.keras")
    assert 1 == train("dense", tiny, checkpoint_dir="others", epochs=3, min_steps=steps).passes


@pytest.mark.parametrize(
    ("schedule", "expected"),
    # 75 rows are 5 batches: 20 steps in 4 epochs. Rows of train alone are 4, of which two halve the rate.
    [("cosine", 0.0), ("exponential", 0.01 * 0.5 ** (20 / 8)), ("step", 0.01 * 0.5**2), ("constant", 0.01)],
)
def test_a_training_of_given_length_ends_where_its_schedule_does(tiny, schedule, expected):
    """A cosine falls to 0 within the steps that are left of a longer plan; what decays has the rate of the step."""
    data = load_train_data("dense")
    both = data.on_rows(np.arange(75), np.arange(0))
    training = TRAINING | {"epochs": 40, "schedule": schedule}
    trained = candidate.train_candidate(
        "dense", both, MODELS["dense"], training, seed=4, checkpoint_dir=tiny / "memo", length=Length(20, 4)
    )
    assert 4 == len(trained.result.history)
    assert trained.result.history[-1]["learning_rate"] == pytest.approx(expected, abs=1e-7)


def test_a_length_is_trained_whatever_is_monitored_where_nothing_is_validated(tiny):
    """As the refit does, which has no rows of validation: a metric of answers is not asked of none."""
    data = load_train_data("dense")
    both = data.on_rows(np.sort(np.concatenate([data.train_rows, data.val_rows])), data.val_rows[:0])
    made = []
    for monitor in ("val_loss", "val_macro_f1"):
        training = TRAINING | {"monitor": monitor, "ema_momentum": 0.5}
        trained = candidate.train_candidate(
            "dense",
            both,
            MODELS["dense"],
            training,
            seed=4,
            checkpoint_dir=tiny / monitor,
            length=Length(12, 4),
        )
        made.append(trained.model.get_weights())
        assert all("" not in logs and monitor not in logs for logs in trained.result.history)
    assert all(np.array_equal(*pair) for pair in zip(*made, strict=True))


@pytest.mark.parametrize("monitor", ["val_macro_f1", "val_roc_auc"])
def test_the_best_epoch_is_chosen_by_any_metric_of_answers(tiny, monitor):
    """Of averaged weights, as scikit-learn has it; the curve, the metrics and the saved model say the same number."""
    more = {"monitor": monitor, "epochs": 6, "ema_momentum": 0.5, "learning_rate": 0.004}
    trained = train("dense", tiny, **more)
    curve = [logs[monitor] for logs in trained.result.history]
    assert int(np.argmax(curve)) + 1 == trained.result.best_epoch
    assert curve[0] < max(curve), "or the test shows nothing"
    data = load_train_data("dense")
    truth, answers = data.targets[data.val_rows], np.load(tiny / "out/val_predictions.npy")
    expected = {
        "val_macro_f1": sklearn.metrics.f1_score(truth, answers.argmax(axis=1), average="macro"),
        "val_roc_auc": sklearn.metrics.roc_auc_score(truth, answers, multi_class="ovr"),
    }[monitor]
    assert max(curve) == pytest.approx(expected)
    assert json.loads((tiny / "out/metrics.json").read_text())[monitor] == pytest.approx(expected)
    once = file_digest(tiny / "out/model.keras")
    train("dense", tiny, checkpoint_dir="rungs", stop_after=2, **more)
    train("dense", tiny, checkpoint_dir="rungs", **more)
    assert once == file_digest(tiny / "out/model.keras")


def test_a_training_that_diverges_is_told_so_whatever_is_monitored(tiny):
    """Weights that are no numbers give no answers; the user hears of the learning rate, as by val_loss."""
    for monitor in ("val_loss", "val_macro_f1"):
        with pytest.raises(TrainingDiverged, match=r"training\.learning_rate"):
            train("dense", tiny, checkpoint_dir=monitor, monitor=monitor, learning_rate=1e30)


def test_a_monitor_that_does_not_exist_for_the_validation_rows_is_refused(tiny):
    """One class alone has no ROC curve: that is no divergence, and another learning rate would not help."""
    data = load_train_data("dense")
    alone = data.on_rows(data.train_rows, data.val_rows[data.targets[data.val_rows] == 0])
    training = TRAINING | {"monitor": "val_roc_auc"}
    with pytest.raises(DataRefused, match="monitor=val_roc_auc does not exist for the"):
        candidate.train_candidate(
            "dense", alone, MODELS["dense"], training, seed=4, checkpoint_dir=tiny / "memo"
        )
