"""The features stage: fitted on train only, the same bytes each time, and clear about data it cannot use."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from rich.progress import Progress
from sklearn.datasets import load_digits

from pipeline import paths, runtime
from pipeline.features import feature_names, image_features
from pipeline.input_specs import input_spec, output_spec
from pipeline.stages.features import features

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
    for path in (paths.IMAGES_NPY, paths.SPLIT_PARQUET):
        path.parent.mkdir(parents=True, exist_ok=True)
    np.save(paths.IMAGES_NPY, images)
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
    results = []
    for _time in range(2):
        command = [sys.executable, "-m", "pipeline.stages.features"]
        ended = subprocess.run(command, capture_output=True, text=True, env=stage_environment, timeout=120)
        assert ended.returncode == 0, ended.stderr
        assert "10 classes, 38 training images" in ended.stdout
        results.append(written())
    assert results[0] == results[1]


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
    with pytest.raises(runtime.DataRefused, match="not among them: eleven"):
        run()


def test_an_excluded_class_is_no_class(data):
    """Rows that are excluded bring no class with them."""
    images, table = data
    table.loc[0, "label"] = "eleven"
    write(images, table)
    assert "eleven" not in run()["classes"]


def test_images_too_small_for_the_groups_are_refused(data):
    """The same message as the check stage gives, where it could not yet know the size."""
    with pytest.raises(runtime.DataRefused, match=r"edge_cell_px=9, images of 8x8\. Lower edge_cell_px"):
        run((["edges"], 9, 8))


def test_a_split_of_other_data_is_refused(data):
    """One row less in the split than in the images means they do not belong together."""
    images, table = data
    write(images, table[:-1])
    with pytest.raises(runtime.InputMissing, match="59 rows for 60 images"):
        run()
