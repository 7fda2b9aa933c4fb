"""The champion is compared as it would be used today: with the threshold that today's validation gives it."""

import shutil
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.evaluation.measures import Yardstick
from pipeline.evaluation.scoring import load_test_rows
from pipeline.gate import promotion
from pipeline.gate.question import Rules
from pipeline.inference import backend
from pipeline.metrics.names import primary_called
from pipeline.runtime.files import read_json, write_json
from pipeline.stages import register
from pipeline.tracking import registry
from tests.helpers.empty_store import put_store
from tests.helpers.registration import (
    NUM_ROWS,
    SIDE,
    feature_state,
    make_registration_project,
    put_best,
    save,
)

pytestmark = pytest.mark.timeout(180)
LABELS = np.arange(NUM_ROWS) % 2
STATE = feature_state() | {"classes": ["a", "b"], "class_counts": [30, 30]}
RULES = Rules(primary=primary_called("positive_f1"), margin=0.0, confidence=0.95, resamples=200, seed=7)


def two_class_model(strength, bias=0.0):
    """Return a model that compares the two telling pixels; strength 0 answers by the bias alone."""
    import keras

    inputs = keras.Input((SIDE, SIDE, 1), dtype="uint8", name="inputs")
    x = keras.layers.Flatten(name="flatten")(keras.layers.Rescaling(1 / 255, name="rescaling")(inputs))
    x = keras.layers.Dense(2, name="logits")(x)
    made = keras.Model(inputs, keras.layers.Activation("softmax", name="probabilities")(x), name="toy")
    kernel = np.zeros((SIDE * SIDE, 2), np.float32)
    kernel[:2] = strength * np.eye(2)
    made.get_layer("logits").set_weights([kernel, np.array([0, bias], np.float32)])
    return made


def write_images(root, brightness):
    """Write images whose pixel number k is bright for class k."""
    images = np.random.default_rng(3).integers(0, 60, (NUM_ROWS, SIDE, SIDE, 1), dtype=np.uint8)
    images.reshape(NUM_ROWS, -1)[np.arange(NUM_ROWS), LABELS] = brightness
    np.save(root / "data/interim/payload.npy", images)


def put(root, made, threshold):
    """Make a model the chosen one, with the threshold that evaluate gave it."""
    put_best(root, made)
    write_json(root / "models/best/state.json", STATE)
    card = read_json(root / "models/best/card.json")
    point = {"positive_class": "b", "threshold": threshold}
    write_json(root / "models/best/card.json", card | {"operating_point": point})


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Two classes, a third of the rows each for test, train and val."""
    with suppress(RuntimeError):  # another file of this worker may have started TensorFlow already
        backend.prepare_tensorflow(2, 7)
    root = make_registration_project(tmp_path / "project")
    put_store(root)
    split = pq.read_table(root / "data/split/split.parquet").to_pydict()
    split["label"] = np.array(["a", "b"])[LABELS].tolist()
    split["split"] = np.array(["test", "train", "val"])[np.arange(NUM_ROWS) % 3].tolist()
    pq.write_table(pa.table(split), root / "data/split/split.parquet")
    write_json(root / "data/features/state.json", STATE)
    for name in ("linear", "majority"):
        save(root / "models/selected" / name, two_class_model(0.0), name)
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(registry, "check_in_fresh_process", lambda _folder: None)
    monkeypatch.setattr(register.console, "print_report", lambda *_a, **_k: None)
    return root


def run_register():
    """Register models/best; return the verdict."""
    names = ["cnn", "linear", "majority"]
    return register.register(
        candidates=names,
        baselines=names[1:],
        model_name="toys",
        experiment="toys",
        rules=RULES,
        yardstick=Yardstick(positive_class="b"),
        uncommitted="a project of a test",
    )["decision"]


def test_the_champion_gets_its_threshold_from_validation_as_it_is_today(project):
    """Images have become darker, so that the champion's 0.9 of then finds nothing; at 0.5 or so it is perfect.

    A model that calls everything b (F1 of 2 in 3) would win against 0.9, and loses against today's threshold.
    """
    write_images(project, 255)
    put(project, two_class_model(6.0), 0.9)
    assert "promoted" == run_register()
    write_images(project, 100)
    put(project, two_class_model(0.0, bias=0.4), 0.5)
    assert "refused" == run_register()


def test_a_champion_that_was_trained_on_validation_keeps_its_threshold(project, monkeypatch):
    """It is too sure of rows it knows: of 0.9 it came with, today's validation makes another one only where it is new."""
    write_images(project, 255)
    put(project, two_class_model(6.0), 0.9)
    folder = project / "champion"
    shutil.copytree(project / "models/best", folder / registry.EXTRA_DIR)
    (folder / registry.MODEL_FILE).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(project / "models/best/model.keras", folder / registry.MODEL_FILE)
    card = read_json(folder / registry.EXTRA_DIR / "card.json")
    points = []
    monkeypatch.setattr(
        promotion, "_scored_model", lambda _answers, _measures, point, _rules: points.append(point)
    )
    contest = SimpleNamespace(yardstick=Yardstick(positive_class="b"), rules=RULES)
    for refit in (None, {"epochs": 3}):
        write_json(folder / registry.EXTRA_DIR / "card.json", card | {"refit": refit})
        promotion._reigned("champion", folder, load_test_rows(), None, contest)
    assert points[0]["threshold"] != 0.9
    assert points[1] == {"positive_class": "b", "threshold": 0.9}
    # Validation of five groups teaches no threshold: 0.9 stands, where the challenger's is of train's groups too.
    rows = promotion.load_rows("val")
    grouped = replace(rows, groups=tuple(str(row % 5) for row in range(len(rows))))
    monkeypatch.setattr(promotion, "load_rows", lambda _split: grouped)
    write_json(folder / registry.EXTRA_DIR / "card.json", card | {"refit": None})
    promotion._reigned("champion", folder, load_test_rows(), None, contest)
    assert points[2] == {"positive_class": "b", "threshold": 0.9}
