"""What Keras trains, saves, loads and scores although it is broken; here it is refused."""

import warnings
import zipfile

import numpy as np
import pytest

from pipeline.evaluation.rows import EvaluationRows
from pipeline.inference import backend, prediction
from pipeline.inference.keras_files import load_model, save_model
from pipeline.metrics import classification
from pipeline.runtime.errors import NotPermitted, StorageFailed
from pipeline.training import fit
from pipeline.training import fit as training_fit
from pipeline.training.batches import BatchedData
from pipeline.training.fit import TrainingDiverged
from tests.helpers import training_runs

backend.prepare_tensorflow(2, 7)

import keras  # noqa: E402

CLASSES = 3


def network(name="small"):
    """Return a classifier of 4 numbers with a ReLU between two layers."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,), name="inputs")
    hidden = keras.layers.Dense(8, activation="relu", name="hidden")(inputs)
    answers = keras.layers.Dense(CLASSES, activation="softmax", name="probabilities")(hidden)
    return keras.Model(inputs, answers, name=name)


def broken(model):
    """Return the model with NaN in every weight."""
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    return model


def test_an_input_of_nan_is_in_the_last_bin():
    """Predictions of a model that puts a number into bins, for one that is NaN.

    Plain: NaN is in the last bin, so that an unknown age is the oldest one.
    Millrace: inputs that are not finite are refused by row before anything is predicted.
    """
    inputs = keras.Input((4,), name="inputs")
    bins = keras.layers.Rescaling(1.0)(keras.layers.Discretization([18.0, 65.0])(inputs))
    model = keras.Model(inputs, keras.layers.Dense(CLASSES, activation="softmax")(bins))
    unknown, oldest = (np.full((1, 4), value, np.float32) for value in (np.nan, 99))
    np.testing.assert_array_equal(model.predict_on_batch(unknown), model.predict_on_batch(oldest))
    with pytest.raises(ValueError, match="not finite"):
        prediction.predict(model, unknown, np.arange(1))


def test_a_model_of_nan_on_a_test_set_of_one_class():
    """A model whose weights are NaN, judged on examples of the first class.

    Plain: the argmax of NaN is class 0, so accuracy is 1.0.
    Millrace: answers that are not finite have no score.
    """
    answers = broken(network()).predict_on_batch(np.ones((5, 4), np.float32))
    truth = np.zeros(5, dtype=np.int64)
    assert float(np.mean(answers.argmax(axis=1) == truth)) == 1.0
    with pytest.raises(ValueError, match="not finite"):
        classification.accuracy_score(truth, answers)


def test_weights_of_nan(tmp_path):
    """Saving a model after its loss became NaN.

    Plain: Keras writes it over the good one.
    Millrace: nothing is written, and the good file stays.
    """
    model, plain, ours = network(), tmp_path / "plain.keras", tmp_path / "ours.keras"
    model.save(plain)
    save_model(model, ours)
    good = ours.read_bytes()
    broken(model).save(plain)
    assert np.isnan(keras.saving.load_model(plain, compile=False).get_weights()[0]).all()
    with pytest.raises(ValueError, match="not finite"):
        save_model(model, ours)
    assert good == ours.read_bytes()


def test_a_flipped_bit_in_the_weights(tmp_path):
    """One bit of a stored weight is another.

    Plain: Keras loads other weights from the weights file without a word.
    Millrace: the archive's checksum and the recorded digest refuse the file.
    """
    model = network()
    model.save_weights(tmp_path / "plain.weights.h5")
    content = bytearray((tmp_path / "plain.weights.h5").read_bytes())
    kernel = np.ascontiguousarray(model.get_weights()[0]).tobytes()
    content[content.index(kernel) + 3] ^= 0x40
    (tmp_path / "plain.weights.h5").write_bytes(content)
    other = network("other")
    other.load_weights(tmp_path / "plain.weights.h5")
    assert not np.array_equal(other.get_weights()[0], model.get_weights()[0])

    save_model(model, tmp_path / "ours.keras")
    content = bytearray((tmp_path / "ours.keras").read_bytes())
    content[content.index(kernel) + 3] ^= 0x40
    (tmp_path / "ours.keras").write_bytes(content)
    with pytest.raises(StorageFailed):
        load_model(tmp_path / "ours.keras")


def test_a_validation_loss_of_nan(tmp_path):
    """A training whose loss is NaN from the first epoch on, with the best model to be kept.

    Plain: `ModelCheckpoint(save_best_only=True)` lets it go on to the last epoch, and `fit` ends well.
    Millrace: the first epoch ends the training with what to change, and no checkpoint is left.
    """
    images, targets = training_runs.images(32)

    def nan(_targets, probabilities):
        return keras.ops.mean(probabilities, axis=1) * np.nan

    model = training_runs.small_network()
    model.compile("adam", nan)
    keep = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trained = model.fit(
            images, targets, epochs=2, validation_data=(images, targets), callbacks=[keep], verbose=0
        )
    assert np.isnan(trained.history["val_loss"]).all()

    rows = np.arange(32)
    with pytest.raises(TrainingDiverged):
        fit.fit(
            training_runs.small_network(),
            nan,
            BatchedData(images, rows, targets, batch_size=16, seed=1, shuffle=True),
            BatchedData(images, rows, targets, batch_size=16, seed=1, shuffle=False),
            optimizer=keras.optimizers.Adam(),
            epochs=2,
            checkpoint_path=tmp_path / "state",
        )
    assert not (tmp_path / "state").exists()


def test_a_torn_checkpoint(tmp_path):
    """The machine lost power while a checkpoint was written.

    Plain: `BackupAndRestore` finds a file it cannot read and the training cannot go on.
    Millrace: a checkpoint carries its digest; a torn one is known as such and the training starts from what is whole.
    """
    training_fit.save_checkpoint(tmp_path / "state", {"model": [np.ones(3, np.float32)]}, {"epoch": 1})
    whole = (tmp_path / "state").read_bytes()
    (tmp_path / "state").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(training_fit.DamagedCheckpoint):
        training_fit.load(tmp_path / "state")


def test_code_in_a_model_file(tmp_path):
    """A stranger's model with Python code in a Lambda layer.

    Plain: Keras loads it as soon as somebody sets `safe_mode=False`, as many recipes advise.
    Millrace: there is no such switch; the file is refused before Keras opens it.
    """
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x + 1)])
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras", safe_mode=False, compile=False) is not None
    with pytest.raises(NotPermitted):
        load_model(tmp_path / "model.keras")


def test_a_class_that_one_split_lacks(tmp_path):
    """A test folder without the first class.

    Plain: `image_dataset_from_directory` numbers the classes of each folder by itself, so labels are shifted.
    Millrace: there is one list of classes, from train, and labels are found in it by name.
    """
    for split, names in (("train", "abc"), ("test", "bc")):
        for name in names:
            (tmp_path / split / name).mkdir(parents=True)
            keras.utils.save_img(tmp_path / split / name / "0.png", np.zeros((2, 2, 3)))
    numbered = {
        split: keras.utils.image_dataset_from_directory(
            tmp_path / split, image_size=(2, 2), verbose=0
        ).class_names
        for split in ("train", "test")
    }
    assert numbered["train"].index("b") != numbered["test"].index("b")
    rows = EvaluationRows(("x", "y"), np.arange(2), ("b", "c"))
    assert rows.class_indices(("a", "b", "c")).tolist() == [1, 2]
    with pytest.raises(ValueError, match="classes the model does not know"):
        EvaluationRows(("x",), np.arange(1), ("d",)).class_indices(("a", "b", "c"))


def test_members_are_looked_at(tmp_path):
    """A model file with a pickle beside its three members.

    Plain: Keras ignores what it does not know and loads the rest; MLflow's own pickle there would run.
    Millrace: a file with any other member is refused.
    """
    save_model(network(), tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras", "a") as archive:
        archive.writestr("custom_objects.cloudpickle", b"cos\nsystem\n(S'true'\ntR.")
    assert keras.saving.load_model(tmp_path / "model.keras", compile=False) is not None
    with pytest.raises(NotPermitted):
        load_model(tmp_path / "model.keras")
