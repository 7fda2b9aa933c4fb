"""A project that is ready to be registered: tiny models with weights set by hand, so that scores are known."""

import json
import shutil
from contextlib import chdir, suppress
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.evaluation.measures import Yardstick
from pipeline.gate.question import Rules
from pipeline.metrics.names import primary_called
from pipeline.runtime.strict_yaml import read_yaml
from pipeline.tracking.store import open_store
from tests.helpers.empty_store import put_store
from tests.helpers.featured import write_samples
from tests.helpers.synthetic_project import make_project, write_json

CLASSES = ["a", "b", "c"]
NUM_ROWS = 180
SIDE = 4
RULES = Rules(primary=primary_called("accuracy"), margin=0.0, confidence=0.95, resamples=200, seed=7)


def images_and_labels() -> tuple[np.ndarray, np.ndarray]:
    """Return images whose pixel number k is bright for class k."""
    labels = np.arange(NUM_ROWS) % 3
    images = np.random.default_rng(3).integers(0, 60, (NUM_ROWS, SIDE, SIDE, 1), dtype=np.uint8)
    images.reshape(NUM_ROWS, -1)[np.arange(NUM_ROWS), labels] = 255
    return images, labels


def model(strength: float, confused: float = 0.0):
    """Return a model that looks at the three telling pixels.

    Args:
        strength: 0 answers the same for every image.
        confused: Weight of pixel 0 for class 1, which makes class a look like b.
    """
    import keras

    inputs = keras.Input((SIDE, SIDE, 1), dtype="uint8", name="inputs")
    x = keras.layers.Rescaling(1 / 255, name="rescaling")(inputs)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(3, name="logits")(x)
    outputs = keras.layers.Activation("softmax", name="probabilities")(x)
    made = keras.Model(inputs, outputs, name="toy")
    kernel = np.zeros((SIDE * SIDE, 3), np.float32)
    kernel[:3, :3] = strength * np.eye(3)
    kernel[0, 1] = confused
    made.get_layer("logits").set_weights([kernel, np.array([0.1, 0.0, 0.0], np.float32)])
    return made


def make_registration_project(root: Path) -> Path:
    """Make the whole project with a good model in models/best and baselines that know nothing."""
    make_project(root, ("cnn", "linear", "majority"))
    images, labels = images_and_labels()
    ids = [f"s{row:03d}" for row in range(NUM_ROWS)]
    write_samples(root, images, [1] * NUM_ROWS, sample_id=ids)
    split = np.where(np.arange(NUM_ROWS) % 2 == 0, "test", "train")
    table = {
        "sample_id": ids,
        "row": np.arange(NUM_ROWS, dtype=np.int32),
    }
    (root / "data/split").mkdir()
    labels = [CLASSES[label] for label in labels]
    pq.write_table(pa.table(table | {"label": labels, "split": split}), root / "data/split/split.parquet")
    write_json(root / "data/features/state.json", feature_state())
    np.save(root / "data/features/features.npy", np.zeros((NUM_ROWS, 0), np.float32))
    for name in ("linear", "majority"):
        save(root / "models/selected" / name, model(0.0), name)
    put_best(root, model(9.0))
    return root


def feature_state() -> dict:
    """Return what the features stage would have written."""
    image = {"shape": [SIDE, SIDE, 1], "mean": [0.2], "standard_deviation": [0.2]}
    return {"classes": CLASSES, "class_counts": [30, 30, 30], "image": image, "handmade": {"names": []}}


def make_ready_project(root: Path) -> Path:
    """Make the project with an empty store of its own, and start TensorFlow for what loads its models."""
    from pipeline.inference import backend

    with suppress(RuntimeError):  # another file of this worker may have started TensorFlow already
        backend.prepare_tensorflow(2, 7)
    make_registration_project(root)
    put_store(root)
    return root


def put_best(root: Path, made) -> str:
    """Make a model the chosen one, and return the sha256 of its file."""
    from pipeline.evaluation.golden import write_npz
    from pipeline.evaluation.rows import TRAINED_ON, write_trained_on
    from pipeline.export.onnx_model import onnx_bytes
    from pipeline.inference import prediction
    from pipeline.runtime.files import file_digest

    best = root / "models/best"
    shutil.rmtree(best, ignore_errors=True)
    save(best, made, "cnn")
    save(root / "models/tuned/cnn", made, "cnn")
    write_json(best / "state.json", feature_state())
    interval = {"value": 0.9, "low": 0.85, "high": 0.95}
    write_json(
        best / "card.json",
        {
            "candidate": "cnn",
            "primary": {"name": "accuracy", "higher_is_better": True},
            "test": {"accuracy": interval},
        },
    )
    with chdir(root):
        write_trained_on(Path("models/best") / TRAINED_ON, windowed=False)
    images = images_and_labels()[0]
    answers = prediction.predict(made, images[:16], np.arange(16))
    write_npz(best / "golden.npz", {"inputs": images[:16], "predictions": answers})
    (best / "model.onnx").write_bytes(onnx_bytes(made))
    np.save(best / "test_predictions.npy", prediction.predict(made, images, np.arange(0, NUM_ROWS, 2)))
    digest = file_digest(best / "model.keras", "sha256")
    lock = read_yaml(root / "dvc.lock")  # DVC writes YAML, of which JSON is a part
    lock["stages"]["tune@cnn"]["outs"][0]["md5"] = digest[:32]
    (root / "dvc.lock").write_text(json.dumps(lock))
    return digest


def save(folder: Path, made, family: str) -> None:
    """Write a model and its settings."""
    from pipeline.inference.keras_files import save_model

    folder.mkdir(parents=True, exist_ok=True)
    save_model(made, folder / "model.keras")
    settings = {"family": family, "model": {}, "training": {"test_time_flip": False}, "seed": 7, "threads": 2}
    write_json(folder / "settings.json", settings)


def run_register(rules=RULES, uncommitted="these tests have no git"):
    """Register what models/best of the working directory holds, and return the decision."""
    from pipeline.stages import register

    names = ["cnn", "linear", "majority"]
    with patch.object(register.console, "print_report"):
        return register.register(
            candidates=names,
            baselines=names[1:],
            model_name="digits",
            experiment="digits",
            rules=rules,
            yardstick=Yardstick(),
            uncommitted=uncommitted,
        )


def store_of(project):
    """Return the store of a project."""
    return open_store(project, "digits")
