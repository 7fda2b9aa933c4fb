"""The features stage: fitted on train only, the same bytes each time, and clear about data it cannot use."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.progress import Progress
from sklearn.datasets import load_digits

from pipeline.features.images import feature_names, image_features
from pipeline.inputs.specs import input_spec, output_spec
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused, InputMissing
from pipeline.runtime.files import write_json
from pipeline.stages.features import features
from tests.helpers.featured import (
    SERIES,
    SIDE,
    TEXT,
    WINDOWS,
    run_features,
    write_samples,
    write_split,
    write_texts,
    write_windowed,
)

SETTINGS = (["texture", "edges"], 4, 8)


@pytest.fixture
def data(project):
    """60 digits: 40 to train, 10 each to choose and to judge, two of the training rows excluded."""
    digits = load_digits()
    images = (digits.images[:60, ..., None] * 255 / 16).astype(np.uint8)
    splits = np.array(["train"] * 40 + ["val"] * 10 + ["test"] * 10)
    splits[:2] = "excluded"
    rows = np.arange(60, dtype=np.int32)
    table = pd.DataFrame(
        {
            "sample_id": [f"{row:03}" for row in rows],
            "row": rows,
            "label": [str(d) for d in digits.target[:60]],
            "split": splits,
        }
    )
    write(images, table)
    return images, table


def write(images: np.ndarray, table: pd.DataFrame) -> None:
    for path in (paths.PAYLOAD_NPY, paths.SPLIT_PARQUET):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_samples(Path(), images, [1] * len(images))
    table.to_parquet(paths.SPLIT_PARQUET)


def run(settings=SETTINGS) -> dict:
    return features(*settings, Progress(disable=True))


def written() -> tuple[bytes, bytes]:
    return paths.FEATURES_STATE.read_bytes(), paths.FEATURES_NPY.read_bytes()


def test_the_state_holds_what_numpy_finds_in_the_training_rows(data):
    """Classes, counts, image and feature statistics of the 38 training rows; features of all 60."""
    images, table = data
    run()
    state = json.loads(paths.FEATURES_STATE.read_text())
    train = np.arange(2, 40)
    labels = table["label"][2:40]
    assert sorted(set(labels)) == state["classes"]
    assert [(labels == name).sum() for name in state["classes"]] == state["class_counts"]
    assert state["image"]["shape"] == [8, 8, 1]
    assert (images[train] / 255).mean() == pytest.approx(state["image"]["mean"][0])
    assert (images[train] / 255).std() == pytest.approx(state["image"]["standard_deviation"][0])

    values = np.load(paths.FEATURES_NPY)
    assert feature_names((8, 8, 1), *SETTINGS) == state["handmade"]["names"]
    assert np.array_equal(image_features(images[59], *SETTINGS), values[59])
    assert values[train].mean(axis=0) == pytest.approx(state["handmade"]["mean"], abs=1e-5)


def test_no_row_outside_train_changes_a_fitted_number(data):
    """Fit on train only: other pixels in val, test and excluded rows leave the state as it was."""
    images, table = data
    run()
    before, features_before = written()
    changed = images.copy()
    changed[:2] = changed[40:] = 255 - images[40:42].mean(dtype=np.uint8)
    write(changed, table)
    run()
    after, features_after = written()
    assert before == after
    assert features_before != features_after


def test_one_training_row_changes_the_state(data):
    """The opposite: what is trained on shows."""
    images, table = data
    run()
    before, _features = written()
    images[5] = 255 - images[5]
    write(images, table)
    run()
    assert before != written()[0]


def test_the_same_command_gives_the_same_bytes(data, stage_environment):
    """Run as DVC runs it, twice: exit 0, a line to read, equal files."""
    write_json(paths.LEAKS_SUMMARY, {"passed": True})
    results = []
    for _time in range(2):
        command = [sys.executable, "-m", "pipeline.stages.features"]
        ended = subprocess.run(command, capture_output=True, text=True, env=stage_environment, timeout=120)
        assert ended.returncode == 0, ended.stderr
        assert "10 classes, 38 training images" in ended.stdout
        results.append(written())
    assert results[0] == results[1]


def test_a_split_that_leaks_is_refused(data, stage_environment):
    """Nothing is fitted on a split that the leak gate did not pass."""
    write_json(paths.LEAKS_SUMMARY, {"passed": False})
    command = [sys.executable, "-m", "pipeline.stages.features"]
    ended = subprocess.run(command, capture_output=True, text=True, env=stage_environment, timeout=120)
    assert (65, True) == (ended.returncode, "did not pass the leak gate" in ended.stderr)


def test_other_word_vectors_than_the_pinned_ones_are_refused(project, stage_environment):
    """DVC does not know the file: with another content under the same name the stage stops, both digests told."""
    write_texts(project, ["win now", "at home"] * 4, ["train"] * 6 + ["val", "test"], ["spam", "ham"] * 4)
    write_json(paths.LEAKS_SUMMARY, {"passed": True})
    Path("vectors.txt").write_text("win 1 2\nhome 3 4\n")
    digest = hashlib.sha256(b"win 1 2\nhome 3 4\n").hexdigest()
    example = Path("examples/sms-spam.yaml").read_text()
    pinned = example.replace("vectors: null ", f"vectors: vectors.txt\n    vectors_sha256: {digest} ")
    Path("params.yaml").write_text(pinned)
    command = [sys.executable, "-m", "pipeline.stages.features"]
    ended = subprocess.run(command, capture_output=True, text=True, env=stage_environment, timeout=120)
    assert 0 == ended.returncode, ended.stderr
    Path("vectors.txt").write_text("win 1 2\nhome 3 5\n")
    ended = subprocess.run(command, capture_output=True, text=True, env=stage_environment, timeout=120)
    other = hashlib.sha256(b"win 1 2\nhome 3 5\n").hexdigest()
    assert (65, True) == (ended.returncode, f"vectors_sha256={digest}. Received: {other}" in ended.stderr)


def test_without_groups_there_are_no_columns(data):
    """`groups: []`: pixel statistics as always, no features."""
    state = run(([], 4, 8))
    assert np.load(paths.FEATURES_NPY).shape == (60, 0)
    assert [] == state["handmade"]["names"] == state["handmade"]["mean"]


def test_models_can_be_built_from_the_state(data):
    """What is written is what `input_spec` and `output_spec` read."""
    run()
    state = json.loads(paths.FEATURES_STATE.read_text())
    assert input_spec(state, "cnn").shape == (8, 8, 1)
    assert (np.load(paths.FEATURES_NPY).shape[1],) == input_spec(state, "dense").shape
    assert 0 not in input_spec(state, "dense").standard_deviation
    assert output_spec(state).num_classes == 10


def test_a_class_that_train_does_not_have_is_refused(data):
    """A model that never saw a class cannot be judged on it; the class is named."""
    images, table = data
    table.loc[55, "label"] = "eleven"
    write(images, table)
    with pytest.raises(DataRefused, match="not among them: eleven"):
        run()


def test_an_excluded_class_is_no_class(data):
    """Rows that are excluded bring no class with them."""
    images, table = data
    table.loc[0, "label"] = "eleven"
    write(images, table)
    assert "eleven" not in run()["classes"]


def test_images_too_small_for_the_groups_are_refused(data):
    """The same message as the check stage gives, where it could not yet know the size."""
    with pytest.raises(DataRefused, match=r"edge_cell_px=9, images of 8x8\. Lower edge_cell_px"):
        run((["edges"], 9, 8))


def test_a_split_of_other_data_is_refused(data):
    """One row less in the split than in the images means they do not belong together."""
    images, table = data
    write(images, table[:-1])
    with pytest.raises(InputMissing, match="59 rows for 60 samples"):
        run()


def test_side_columns_of_images_are_features(data):
    """Read where features.side asks for them, one-hot and scaled; left out where it does not."""
    images, _table = data
    towns = ["Ulm", "Bonn"] * 30
    write_samples(Path(), images, [1] * 60, side={"town": towns}, kinds={"town": "category"})
    assert "side" not in run()
    state = features(*SETTINGS, Progress(disable=True), side=SIDE)
    assert ["town=(other or missing)", "town=Bonn", "town=Ulm"] == state["side"]["names"]
    assert (60, 3) == np.load(paths.SIDE_NPY).shape
    assert 3 == input_spec(state, "cnn").num_side


def test_a_kind_without_its_settings_is_refused(folder):
    """Texts need features.text; the message names the block."""
    write_texts(folder, ["a", "b", "c"], ["train", "val", "test"], ["x", "x", "x"])
    with pytest.raises(DataRefused, match=r"features\.text is missing"):
        run_features()


def test_regression_without_a_target_is_refused(folder):
    """The rows without a number are named."""
    write_texts(folder, ["a", "b", "c"], ["train", "val", "test"], ["", "", ""])
    write_split(folder, ["train", "val", "test"], targets=[1, np.nan, 3])
    with pytest.raises(DataRefused, match=r"none in 1 of 3 samples, rows \[1\]"):
        run_features(task="regression", text=TEXT)


def test_texts_too_rare_are_refused(folder):
    """Where no token is frequent enough there is nothing to learn from."""
    write_texts(folder, ["a", "b", "c"], ["train", "val", "test"], ["x", "x", "x"])
    with pytest.raises(DataRefused, match=r"min_count=2\. Lower it"):
        run_features(text=TEXT | {"min_count": 2})


def test_a_series_shorter_than_all_of_train_is_refused(folder):
    """Models built for equal lengths know no padding; the sample and the way out are named."""
    lengths = [3, 3, 2]
    write_samples(folder, np.ones((8, 1), np.float32), lengths, channels=("x",))
    write_split(folder, ["train", "val", "test"], labels=["x", "x", "x"], stops=lengths)
    with pytest.raises(DataRefused, match=r"002 \(2\).*max_length to 4"):
        run_features(series=SERIES)
    state = run_features(series=SERIES | {"max_length": 4})
    assert (4, True) == (state["series"]["max_length"], state["series"]["has_padding"])


def test_problems_of_windows_are_told_together(folder):
    """Unknown columns and missing times at once."""
    write_windowed(folder, np.ones((9, 3), np.float32), [("train", 0, 0, 9)], time=[""])
    windows = WINDOWS | {"targets": ["lod"], "known": ["worm"]}
    with pytest.raises(DataRefused, match=r"(?s)targets.*lod.*known.*worm.*calendar needs times"):
        run_features(task="forecasting", windows=windows, series=SERIES, side=SIDE)


def test_a_split_without_windows_is_refused(folder):
    """A val set shorter than the horizon, and a test set that is all gaps, have nothing to say."""
    payload = np.ones((30, 3), np.float32)
    payload[20:, 0] = np.nan
    write_windowed(folder, payload, [("train", 0, 0, 18), ("val", 0, 18, 19), ("test", 0, 20, 30)])
    with pytest.raises(DataRefused, match=r"(?s)val has no window.*longest of 1 steps.*test has no window"):
        run_features(task="forecasting", windows=WINDOWS, series=SERIES, side=SIDE)


def test_known_categories_need_their_limit(folder):
    """features.side says how many categories there may be."""
    write_windowed(folder, np.ones((9, 3), np.float32), [("train", 0, 0, 9)])
    with pytest.raises(DataRefused, match=r"Expected the block features\.side"):
        run_features(task="forecasting", windows=WINDOWS, series=SERIES)
