"""The features stage with pretrained weights: the same bytes each time, and a model that needs nothing else."""

from pathlib import Path

import numpy as np
import pytest
from rich.progress import Progress

from pipeline.inference.backend import prepare_tensorflow
from pipeline.inference.keras_files import load_model
from pipeline.inputs.arrays import named, take
from pipeline.inputs.train_data import load_split_rows, load_train_data
from pipeline.preprocessing.texts import Bag
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused, InputMissing, StorageFailed
from pipeline.runtime.files import file_digest, read_json, write_json
from pipeline.serving.record import Transform
from pipeline.weights.recipes import KIND, STATIC_VECTORS, VECTORS, VOCABULARY, vocabulary_array
from pipeline.weights.safetensors import write_safetensors
from tests.helpers.featured import TEXT, run_features, write_texts
from tests.helpers.train_project import TRAINING, write_train_project

prepare_tensorflow(2, 7)

import keras  # noqa: E402

from pipeline.inference.keras_files import save_model  # noqa: E402
from pipeline.training.candidate import train_candidate, write_candidate  # noqa: E402
from pipeline.weights.frozen import pretrained_features  # noqa: E402
from pipeline.weights.trunks import TRUNK  # noqa: E402

WORDS = ["good", "fine", "bad", "poor", "day", "food"]
TEXTS = [f"{word} {thing}" for word in WORDS[:4] for thing in ("day", "food", "unheard", "")] * 3
LABELS = ["bad" if text.split()[0] in ("bad", "poor") else "good" for text in TEXTS]
SPLITS = ["train"] * 32 + ["val"] * 8 + ["test"] * 8
SETTINGS = {"units": [4], "activation": "relu", "dropout": 0.0, "l2": 0.0}


def pinned_vectors(name="data/weights/words.safetensors"):
    """Write vectors of six words, and return what params.yaml says of them."""
    vectors = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    write_safetensors(
        Path(name),
        {VOCABULARY: vocabulary_array(WORDS), VECTORS: vectors},
        {KIND: STATIC_VECTORS, "cut": "words", "lowercase": "true"},
    )
    return {"file": name, "sha256": file_digest(Path(name), "sha256")}


def with_vectors(pinned):
    state = pretrained_features(run_features(text=TEXT), Progress(disable=True), **pinned)
    write_json(paths.FEATURES_STATE, state)
    return state


@pytest.fixture
def texts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path, TEXTS, SPLITS, LABELS)
    return pinned_vectors()


@pytest.mark.parametrize("bag", [False, True])
def test_a_head_on_texts_is_a_model_that_takes_a_record(texts, bag, tmp_path):
    """Trained on cached vectors; the saved model and state.json answer for a text as for its row."""
    state = with_vectors(texts)
    data = load_train_data("pretrained")
    settings = {**TRAINING, "augment": None, "epochs": 3, "batch_size": 8}
    trained = train_candidate(
        "pretrained",
        data,
        {**SETTINGS, "bag": bag},
        settings,
        seed=7,
        checkpoint_dir=tmp_path / "checkpoints",
    )
    write_candidate(tmp_path / "made", trained, data, {"training": settings})
    model = load_model(tmp_path / "made/model.keras")
    chosen = np.load(tmp_path / "made/val_predictions.npy")
    transform = Transform(state, ["pieces"])
    for row, text in enumerate(TEXTS[32:40]):
        (answer,) = model.predict_on_batch(transform({"text": text}))
        assert answer[0] == pytest.approx(chosen[row, 1], abs=1e-6)


def test_pieces_beside_a_bag_are_read_with_one_bag(texts, monkeypatch):
    """From files and from a record the same arrays; n-grams are looked up once for both."""
    state = with_vectors(texts)
    kinds = ["bag", "pieces", "tokens"]
    found = load_split_rows("val", kinds)
    files = named(take(found.inputs, found.rows))
    calls = []
    transform_of = Bag.transform
    monkeypatch.setattr(Bag, "transform", lambda *given: calls.append(1) or transform_of(*given))
    transform = Transform(state, kinds)
    for row, text in enumerate(TEXTS[32:40]):
        made = transform({"text": text})
        assert files.keys() == made.keys() == {"bag", "bag_weights", "pieces", "tokens"}
        for name, array in made.items():
            np.testing.assert_array_equal(files[name][row : row + 1], array)
    assert len(calls) == 8


def test_features_are_the_same_bytes_and_fitted_on_train_alone(texts):
    """Twice the same files; mean and deviation are those of the training rows."""
    state = with_vectors(texts)
    made = (paths.FROZEN_NPY, paths.TRUNK_KERAS, paths.PIECES_NPY, paths.FEATURES_STATE)
    before = [path.read_bytes() for path in made]
    with_vectors(texts)
    assert before == [path.read_bytes() for path in made]
    frozen = np.load(paths.FROZEN_NPY)
    assert state["pretrained"]["mean"] == pytest.approx(frozen[:32].mean(axis=0), abs=1e-6)
    assert (48, 3) == frozen.shape


def test_another_file_or_none_stops_the_stage(texts):
    """The digest in params.yaml is compared before anything is read."""
    path = Path(texts["file"])
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(StorageFailed, match=r"is not the file of weights that params\.yaml pins"):
        with_vectors(texts)
    path.unlink()
    with pytest.raises(InputMissing, match=r"dvc pull data/weights/words\.safetensors\.dvc"):
        with_vectors(texts)


def keras_trunk(shape=(8, 8, 1)):
    """Write a trunk of our own as a .keras file, and return what params.yaml says of it."""
    keras.utils.set_random_seed(5)
    pixels = keras.Input(shape, dtype="uint8", name="inputs")
    scaled = keras.layers.Rescaling(1 / 255)(pixels)
    hidden = keras.layers.Conv2D(6, 3, activation="relu")(scaled)
    path = Path("data/weights/own.keras")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(hidden), name=TRUNK), path)
    return {"file": str(path), "sha256": file_digest(path, "sha256")}


def test_a_keras_file_is_a_trunk_of_images(tmp_path, monkeypatch):
    """A head learns on its features, and the model that is saved takes pixels."""
    monkeypatch.chdir(tmp_path)
    write_train_project(tmp_path)
    state = {"payload": "image", **read_json(paths.FEATURES_STATE)}
    state = pretrained_features(state, Progress(disable=True), **keras_trunk())
    write_json(paths.FEATURES_STATE, state)
    data = load_train_data("pretrained")
    trained = train_candidate(
        "pretrained", data, SETTINGS, TRAINING, seed=7, checkpoint_dir=tmp_path / "checkpoints"
    )
    write_candidate(tmp_path / "made", trained, data, {"training": TRAINING})
    pixels = np.load(paths.PAYLOAD_NPY)[data.val_rows]
    answers = load_model(tmp_path / "made/model.keras").predict_on_batch(pixels)
    assert answers == pytest.approx(np.load(tmp_path / "made/val_predictions.npy"), abs=1e-6)
    assert trained.head.count_params() < trained.model.count_params()


def test_weights_of_other_samples_are_refused(tmp_path, monkeypatch):
    """Vectors of words for images, and images of another size: said with what to change."""
    monkeypatch.chdir(tmp_path)
    write_train_project(tmp_path)
    state = {"payload": "image", **read_json(paths.FEATURES_STATE)}
    for pinned in (pinned_vectors(), keras_trunk((8, 8, 3))):
        with pytest.raises(DataRefused, match="does not fit this data"):
            pretrained_features(state, Progress(disable=True), **pinned)
    write_texts(tmp_path, TEXTS, SPLITS, LABELS)
    with pytest.raises(DataRefused, match="cannot read texts"):
        with_vectors(keras_trunk())
