"""What models see: who trains and chooses, the truth in its units, and windows that never show test."""

import json

import numpy as np
import pytest

from pipeline.inputs.arrays import ModelInputs
from pipeline.inputs.specs import InputSpec, OutputSpec, input_spec, output_spec
from pipeline.inputs.train_data import load_split_rows, load_train_data
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused, InputMissing
from pipeline.training.validation_scores import validation_metrics
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

SPLITS = ["train", "val", "excluded", "train", "test", "train"]
LABELS = ["spam", "ham", "ham", "ham", "spam", "spam"]
TEXTS = ["win now", "see you", "win now", "at home", "win a car", "prize now"]
SEGMENTS = [("train", 0, 0, 12), ("val", 0, 12, 18), ("test", 0, 18, 24)]


def ramp(steps):
    """Return three channels whose values tell the step: load = step, warm = 100 + step, kind = step % 2."""
    step = np.arange(steps, dtype=np.float32)
    return np.stack([step, 100 + step, step % 2], axis=1)


def test_texts_come_with_class_indices_and_without_test(folder):
    """ham is 0, spam 1, by the alphabet; excluded and test rows are -1 and in no set."""
    write_texts(folder, TEXTS, SPLITS, LABELS)
    run_features(text=TEXT)
    data = load_train_data("rnn")
    assert [1, 0, -1, 0, -1, 1] == data.targets.tolist()
    assert ([0, 3, 5], [1]) == (data.train_rows.tolist(), data.val_rows.tolist())
    assert OutputSpec(("ham", "spam"), (1, 2)) == data.output_spec
    assert ("tokens", (6,), 7) == (
        data.input_spec.kind,
        data.input_spec.shape,
        data.input_spec.vocabulary_size,
    )
    assert isinstance(data.inputs, np.memmap)
    judged = load_split_rows("test", ["tokens"])
    assert ([4], ("004",), ("spam",)) == (judged.rows.tolist(), judged.sample_ids, judged.labels)


def test_bags_are_two_inputs(folder):
    """Families on bags get ids and weights by the names of the models' inputs."""
    write_texts(folder, TEXTS, SPLITS, LABELS)
    run_features(text=TEXT)
    data = load_train_data("linear")
    taken = data.inputs.take(np.array([0, 4]))
    assert {"inputs", "weights"} == taken.keys()
    assert (6, (2, 64), np.int32) == (len(data.inputs), taken["inputs"].shape, taken["inputs"].dtype)
    assert taken["inputs"].max() < data.input_spec.vocabulary_size
    with pytest.raises(TypeError, match=r"TrainData\.targets"):
        data.inputs.take_targets(np.array([0]))


def test_regression_targets_are_scaled_by_train(folder):
    """Mean 20 and deviation sqrt(200/3) of the training targets 10, 20, 30; the truth keeps its unit."""
    write_samples(folder, np.ones((12, 1), np.float32), [2] * 6, channels=("x",))
    write_split(folder, SPLITS, targets=[10, 50, np.nan, 20, 70, 30], stops=[2] * 6)
    run_features(task="regression", series=SERIES)
    data = load_train_data("cnn")
    expected = (np.array([10, 20, 30, 50]) - 20) / np.sqrt(200 / 3)
    np.testing.assert_allclose(expected, data.targets[[0, 3, 5, 1], 0], rtol=1e-6)
    assert np.isnan(data.targets[[2, 4]]).all()
    assert ("regression", ("target",), (20.0,)) == (
        data.output_spec.task,
        data.output_spec.targets,
        data.output_spec.target_mean,
    )
    assert [[70]] == load_split_rows("test", ["series"]).targets.tolist()


def test_windows_of_a_forecast(folder):
    """Window 0 reads steps 0 to 2 and predicts 3 and 4; val begins where its first two steps are of val."""
    write_windowed(folder, ramp(24), SEGMENTS)
    run_features(task="forecasting", windows=WINDOWS, series=SERIES, side=SIDE)
    data = load_train_data("rnn")
    mean, deviation = np.arange(12).mean(), np.arange(12).std()
    taken = data.inputs.take(np.array([0, 8]))
    assert (8, 5) == (len(data.train_rows), len(data.val_rows))
    np.testing.assert_allclose(
        (np.array([[0, 1, 2], [9, 10, 11]]) - mean) / deviation, taken["inputs"][..., 0], atol=1e-6
    )
    targets = data.inputs.take_targets(np.array([0, 8]))
    np.testing.assert_allclose((np.array([[3, 4], [12, 13]]) - mean) / deviation, targets[..., 0], atol=1e-6)
    # hour 3 and 12 on the circle, warm at the first predicted step, kind unknown | 0 | 1.
    hours = 2 * np.pi * np.array([3, 12]) / 24
    np.testing.assert_allclose(
        np.stack([np.sin(hours), np.cos(hours)], axis=1), taken["side"][:, :2], atol=1e-6
    )
    np.testing.assert_allclose((np.array([3, 12]) - mean) / deviation, taken["side"][:, 2], atol=1e-6)
    assert [[0, 0, 1], [0, 1, 0]] == taken["side"][:, 3:].tolist()
    assert InputSpec("series", (3, 3), num_side=6) == data.input_spec
    assert OutputSpec((), (), "forecasting", ("load",), (mean,), (deviation,), (0,), 2) == data.output_spec
    assert data.targets is None


def test_the_truth_of_windows_has_its_unit_and_its_place(folder):
    """Test windows continue the numbers of train and val; their first predicted steps are 18 to 22."""
    write_windowed(folder, ramp(24), SEGMENTS)
    run_features(task="forecasting", windows=WINDOWS, series=SERIES, side=SIDE)
    judged, data = load_split_rows("test", ["series"]), load_train_data("rnn")
    assert [13, 14, 15, 16, 17] == judged.rows.tolist()
    assert ([0] * 5, [18, 19, 20, 21, 22]) == (judged.series.tolist(), judged.steps.tolist())
    assert [[18, 19], [19, 20], [20, 21], [21, 22], [22, 23]] == judged.targets[..., 0].tolist()
    assert len(data.inputs) == judged.rows[0]
    val = load_split_rows("val", ["series"])
    assert np.array_equal(data.val_rows, val.rows)
    for one, other in zip(
        data.inputs.take(val.rows).values(), val.inputs.take(val.rows).values(), strict=True
    ):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("length", [0, 3])
def test_regression_over_windows_has_one_row_of_targets(length, folder):
    """(windows, targets), as the models answer; without a history the input is what is known of the step."""
    write_windowed(folder, ramp(24), SEGMENTS)
    run_features(
        task="regression", windows=WINDOWS | {"horizon": 1, "length": length}, series=SERIES, side=SIDE
    )
    data = load_train_data("dense")
    assert (4, 1) == data.inputs.take_targets(data.train_rows[:4]).shape
    assert ("vector" if length == 0 else "series") == data.input_spec.kind
    taken = data.inputs.take(data.train_rows[:4])
    assert (4, 6) == (taken if length == 0 else taken["side"]).shape
    assert length or ((6,), (0.0,) * 6, (1.0,) * 6) == (
        data.input_spec.shape,
        data.input_spec.mean,
        data.input_spec.standard_deviation,
    )
    judged = load_split_rows("test", ["series"])
    assert [18, 19, 20, 21, 22, 23] == judged.targets[:, 0].tolist()


def test_windows_of_anomalies_are_their_own_targets(folder):
    """The window lies inside its segment, labels come with it, and the mark is no channel."""
    payload = np.hstack([ramp(24)[:, :1], (np.arange(24) == 20)[:, None]]).astype(np.float32)
    columns = {"time": ["2026-01-05"], "step_seconds": [60.0]}
    write_samples(folder, payload, [24], channels=("load",), anomalies=True, **columns)
    write_split(folder, ["train", "val", "test"], rows=[0, 0, 0], starts=[0, 12, 18], stops=[12, 18, 24])
    nothing = {"horizon": 0, "targets": [], "known": [], "known_categorical": [], "calendar": []}
    run_features(task="anomaly", windows=WINDOWS | nothing, series=SERIES)
    data = load_train_data("autoencoder")
    taken = data.inputs.take(data.val_rows)
    assert (4, 3, 1) == taken.shape
    assert np.array_equal(taken, data.inputs.take_targets(data.val_rows))
    assert OutputSpec(task="anomaly") == data.output_spec
    judged = load_split_rows("test", ["series"])
    assert ([18, 19, 20, 21], None) == (judged.steps.tolist(), judged.targets)
    assert [20] == np.flatnonzero(judged.anomalies[0]).tolist()


def write_marked(folder, *labelled):
    """Write 24 hours of one series with anomalies at some steps; val is 12 to 17, test 18 to 23."""
    steps = np.arange(24, dtype=np.float32)
    payload = np.stack([steps, np.isin(steps, labelled).astype(np.float32)], axis=1)
    columns = {"time": ["2026-01-05T00:00:00"], "step_seconds": [3600.0]}
    write_samples(folder, payload, [24], channels=("load",), anomalies=True, **columns)
    splits, rows, starts, stops = zip(*SEGMENTS, strict=True)
    write_split(folder, list(splits), rows=list(rows), starts=starts, stops=stops)
    windows = WINDOWS | {"horizon": 0, "targets": [], "known": [], "known_categorical": [], "calendar": []}
    run_features(task="anomaly", windows=windows, series=SERIES)


def test_labelled_anomalies_are_not_learned(folder):
    """Of ten training windows of three steps, the three that hold the labelled step 5 are left out; val keeps its own."""
    write_marked(folder, 5)
    data = load_train_data("autoencoder")
    assert [0, 1, 2, 6, 7, 8, 9] == data.train_rows.tolist()
    assert 4 == len(data.val_rows)


def test_labelled_anomalies_do_not_choose_the_epoch(folder):
    """Of the val windows 12-14 to 15-17 the two with step 16 stop nothing, and are still measured."""
    write_marked(folder, 16)
    data = load_train_data("autoencoder")
    assert [12, 13, 14, 15] == load_split_rows("val", ["series"]).steps.tolist()
    assert [10, 11, 12, 13] == data.val_rows.tolist()
    assert [10, 11] == data.monitored_rows.tolist()
    assert {"val_loss": 2.0} == validation_metrics(data, np.array([1, 3, 90, 90], np.float32))


def test_validation_without_a_normal_window_is_refused(folder):
    """Step 14 is in three of the four val windows and 17 in the fourth: nothing says when training should end."""
    write_marked(folder, 14, 17)
    with pytest.raises(DataRefused, match=r"4 val windows, all of them with a labelled step"):
        load_train_data("autoencoder")


def test_series_are_padded_where_lengths_differ(folder):
    """The longest training series sets the length; a longer one of val is cut, a shorter one padded."""
    lengths = [4, 6, 1, 2, 1, 3]
    write_samples(folder, np.ones((17, 1), np.float32), lengths, channels=("x",))
    write_split(folder, SPLITS, labels=LABELS, stops=lengths)
    run_features(series=SERIES)
    data = load_train_data("rnn")
    assert InputSpec("series", (4, 1), has_padding=True) == data.input_spec
    taken = data.inputs.take(np.arange(6))
    assert [4, 4, 1, 2, 1, 3] == (taken[..., 0] > -1e8).sum(axis=1).tolist()
    assert isinstance(data.inputs, ModelInputs)


def test_a_missing_file_names_its_stage(folder):
    """Without features the message says what to run."""
    write_texts(folder, TEXTS, SPLITS, LABELS)
    run_features(text=TEXT)
    paths.TOKENS_NPY.unlink()
    with pytest.raises(InputMissing, match=r"tokens.npy does not exist. Run `dvc repro features`"):
        load_train_data("rnn")
    paths.FEATURES_STATE.unlink()
    with pytest.raises(FileNotFoundError, match="dvc repro features"):
        load_train_data("rnn")


def test_word_vectors_are_named_to_the_model(folder):
    """The spec points to one row per token id."""
    (folder / "vectors.txt").write_text("win 1 2 3\nhome 4 5 6\n")
    write_texts(folder, TEXTS, SPLITS, LABELS)
    run_features(text=TEXT | {"vectors": "vectors.txt"})
    spec = input_spec(json.loads(paths.FEATURES_STATE.read_text()), "cnn")
    assert (spec.vocabulary_size, 3) == np.load(spec.vectors_path).shape


def test_a_state_of_images_from_before_has_the_same_specs():
    """A state without `task` and `payload` is one of images and classes."""
    state = {
        "classes": ["a", "b"],
        "class_counts": [1, 2],
        "image": {"shape": [2, 2, 1], "mean": [0.5], "standard_deviation": [0.25]},
    }
    assert InputSpec("image", (2, 2, 1), (0.5,), (0.25,)) == input_spec(state, "cnn")
    assert OutputSpec(("a", "b"), (1, 2)) == output_spec(state)
