"""The stage `evaluate` on texts of two classes, forecasts, regression and anomalies, with tiny real models."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as reference

from pipeline.data.label_sets import as_cell, label_matrix
from pipeline.evaluation.golden import golden_answers, read_npz, write_npz
from pipeline.evaluation.measures import Yardstick
from pipeline.evaluation.results import Bootstrap
from pipeline.inputs.train_data import load_split_rows
from pipeline.metrics.anomalies import AlarmRules
from pipeline.metrics.classification import best_threshold
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from pipeline.stages import select
from tests.helpers.featured import (
    SERIES,
    TEXT,
    WINDOWS,
    run_features,
    write_samples,
    write_split,
    write_texts,
)
from tests.helpers.judged import judged, made_once
from tests.helpers.synthetic_project import HERE
from tests.helpers.tuned import write_tuned

BOOTSTRAP = Bootstrap(200, 0.95, 0)
ALARMS = AlarmRules(quantile=0.99, factor=1.5, smoothing_steps=2, merge_steps=8)
DENSE = {"units": [8], "activation": "relu", "batch_normalization": False, "dropout": 0.0, "l2": 0.0}
AUTOENCODER = {"kind": "dense", "codes": 2, "units": [8], "filters": [], "activation": "tanh", "l2": 0.0}


def write_spam() -> None:
    """Write 240 texts, one in four spam, that a word or two give away."""
    generator = np.random.default_rng(0)
    spam = generator.random(240) < 0.25
    words = {
        False: ["see", "you", "home", "later", "free", "love"],
        True: ["win", "free", "prize", "call", "you"],
    }
    texts = [" ".join(generator.choice(words[bool(item)], 4)) for item in spam]
    splits = ["train"] * 140 + ["val"] * 50 + ["test"] * 50
    write_texts(Path(), texts, splits, ["spam" if item else "ham" for item in spam])
    run_features(text=TEXT)


def write_tickets() -> None:
    """Write 300 texts of up to three topics, each with words of its own; `rare` stands on one in ten."""
    generator = np.random.default_rng(3)
    words = {"billing": ["invoice", "refund"], "login": ["password", "reset"], "rare": ["parcel", "driver"]}
    topics = [
        [
            name
            for name, share in (("billing", 0.5), ("login", 0.4), ("rare", 0.1))
            if generator.random() < share
        ]
        for _ in range(300)
    ]
    texts = [
        " ".join(
            ["hello", *(generator.choice(words[name]) for name in own), *generator.choice(["a", "the"], 2)]
        )
        for own in topics
    ]
    splits = ["train"] * 160 + ["val"] * 70 + ["test"] * 70
    write_texts(Path(), texts, splits, [as_cell(own) for own in topics])
    run_features(task="multilabel", text=TEXT)


def write_hours(task: str) -> None:
    """Write two series of 300 hours that repeat every 24, and windows over them."""
    generator = np.random.default_rng(1)
    hours = np.arange(300)
    day = np.sin(2 * np.pi * hours / 24)
    load = np.concatenate([50 + 10 * day, 500 + 100 * day]) + generator.normal(size=600)
    payload = np.stack([load, generator.normal(size=600)], axis=1).astype(np.float32)
    write_samples(
        Path(), payload, [300, 300], channels=("load", "noise"), time=["2026-01-05T00:00:00"] * 2,
        step_seconds=[3600.0] * 2, sample_id=["000", "001"],
    )  # fmt: skip
    segments = [("train", 0, 180), ("val", 180, 240), ("test", 240, 300)] * 2
    splits, starts, stops = zip(*segments, strict=True)
    write_split(Path(), list(splits), rows=[0, 0, 0, 1, 1, 1], starts=starts, stops=stops)
    horizon = 6 if task == "forecasting" else 1
    windows = WINDOWS | {
        "length": 24,
        "horizon": horizon,
        "known": [],
        "known_categorical": [],
        "calendar": [],
    }
    run_features(task=task, windows=windows, series=SERIES)


def write_heartbeats(anomalous: bool = True) -> None:
    """Write two regular series; in the test part of the first are two stretches of noise, both labelled."""
    generator = np.random.default_rng(2)
    payload = np.zeros((1000, 2), np.float32)
    payload[:, 0] = np.sin(2 * np.pi * np.arange(1000) / 12) + 0.05 * generator.normal(size=1000)
    for start in (340, 440) if anomalous else ():
        payload[start : start + 12, 0] = generator.normal(size=12) * 2
        payload[start - 5 : start + 20, 1] = 1
    write_samples(
        Path(), payload, [500, 500], channels=("beat",), anomalies=True, time=["2026-01-05T00:00:00"] * 2,
        step_seconds=[60.0] * 2,
    )  # fmt: skip
    segments = [("train", 0, 200), ("val", 200, 300), ("test", 300, 500)] * 2
    splits, starts, stops = zip(*segments, strict=True)
    write_split(Path(), list(splits), rows=[0, 0, 0, 1, 1, 1], starts=starts, stops=stops)
    windows = WINDOWS | {
        "length": 12, "horizon": 0, "targets": [], "known": [], "known_categorical": [], "calendar": [],
    }  # fmt: skip
    run_features(task="anomaly", windows=windows, series=SERIES)


SETS = {
    "spam": (
        write_spam,
        {"dense": ("dense", DENSE, 6), "linear": ("linear", {"l2": 0.0}, 3), "majority": ("majority", {}, 0)},
        {"select_by": "positive_f1", "yardstick": Yardstick(10)},
    ),
    "tickets": (
        write_tickets,
        {"dense": ("dense", DENSE, 6), "linear": ("linear", {"l2": 0.0}, 6), "majority": ("majority", {}, 0)},
        {"select_by": "macro_f1", "yardstick": Yardstick(10)},
    ),
    "forecast": (
        lambda: write_hours("forecasting"),
        {"dense": ("dense", DENSE, 4), "linear": ("linear", {"l2": 0.0}, 3), "naive": ("naive", {"season": 24}, 0)},
        {"select_by": "scaled_mean_squared_error", "yardstick": Yardstick(), "season": 24},
    ),
    "regression": (
        lambda: write_hours("regression"),
        {"dense": ("dense", DENSE, 4), "linear": ("linear", {"l2": 0.0}, 3), "majority": ("majority", {}, 0)},
        {"select_by": "mean_absolute_error", "yardstick": Yardstick()},
    ),
    "anomaly": (
        write_heartbeats,
        {"dense": ("autoencoder", AUTOENCODER, 4), "pca": ("pca", {"codes": 2}, 0)},
        {"select_by": "event_f1", "yardstick": Yardstick(alarms=ALARMS)},
    ),
}  # fmt: skip


def judged_set(made, **more):
    """Write a data set and its candidates into the working directory, choose and judge, see `judged`."""
    write, candidates, settings = made
    write()
    for label, (family, model, epochs) in candidates.items():
        write_tuned(label, family, model, epochs)
    families = {label: family for label, (family, _, _) in candidates.items()}
    return judged(families, bootstrap=BOOTSTRAP, **settings, **more)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Return a function that gives the folder and the judgement of a data set, evaluated once; read only."""
    with made_once(tmp_path_factory.mktemp, lambda name: (Path.cwd(), judged_set(SETS[name]))) as of:
        yield of


def table(folder: Path, name: str) -> list[dict[str, str]]:
    """Return a CSV table of the evaluation."""
    with (folder / paths.EVALUATE_TABLES_DIR / name).open(newline="") as file:
        return list(csv.DictReader(file))


def content(folder: Path, path: Path) -> dict:
    """Return a JSON file of the evaluation."""
    return json.loads((folder / path).read_text())


@pytest.mark.parametrize(
    ("name", "tables", "pictures"),
    [
        ("spam", {"per_class.csv", "confusion.csv", "mistakes.csv"}, {"confusion", "per_class", "reliability", "mistakes"}),
        ("tickets", {"per_label.csv", "mistakes.csv"}, {"per_label", "reliability"}),
        ("forecast", {"per_target.csv", "predictions.csv", "prediction_intervals.json", "errors_by_step.csv"}, {"predicted", "residuals", "stretch", "error_by_step"}),
        ("regression", {"per_target.csv", "predictions.csv", "prediction_intervals.json"}, {"predicted", "residuals", "stretch"}),
        ("anomaly", {"per_series.csv", "events.csv"}, {"timelines"}),
    ],
)  # fmt: skip
def test_every_task_has_its_tables_and_pictures(evaluated, name, tables, pictures) -> None:
    """Beside those of every task, and nothing of another task."""
    folder, _ = evaluated(name)
    shared = {"candidates.json", "learning_curves.csv", "selection.json"}
    assert shared | tables == {path.name for path in (folder / paths.EVALUATE_TABLES_DIR).iterdir()}
    drawn = {path.stem for path in (folder / paths.EVALUATE_PICTURES_DIR).iterdir()}
    assert {"candidates", "learning_curves"} | pictures == drawn


@pytest.mark.parametrize("name", SETS)
def test_the_primary_metric_is_named_everywhere(evaluated, name) -> None:
    """selection.json, card.json and metrics.json agree on which metric decides, and its value has an interval."""
    folder, evaluation = evaluated(name)
    primary = SETS[name][2]["select_by"]
    selection = content(folder, paths.EVALUATE_TABLES_DIR / "selection.json")
    card = content(folder, paths.BEST_DIR / "card.json")
    assert primary == selection["primary"]["name"] == card["primary"]["name"] == evaluation.primary.name
    assert selection["operating_point"] == card["operating_point"]
    found = content(folder, paths.EVALUATE_METRICS)["test"]
    assert found[f"{primary}_low"] <= found[primary] <= found[f"{primary}_high"]
    assert set(card["baseline_operating_points"]) == set(evaluation.baselines)


def test_several_labels_are_compared_at_one_temperature_of_all_logits(
    evaluated, tmp_path, monkeypatch
) -> None:
    """Each label by its own sigmoid: nothing is taken from one to give it to another."""
    folder, _ = evaluated("tickets")
    shutil.copytree(folder, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    path = paths.tuned_dir("dense") / "val_predictions.npy"
    before = np.load(path).astype(float)
    surer = before**4 / (before**4 + (1 - before) ** 4)
    np.save(path, surer.clip(1e-6, 1 - 1e-6).astype(np.float32))
    families = {label: family for label, (family, _, _) in SETS["tickets"][1].items()}
    settings = SETS["tickets"][2] | {"select_by": "log_loss", "bootstrap": BOOTSTRAP}
    select.select(families, **settings, refit=False, temperature=True)
    entry = next(
        one for one in content(Path(), paths.SELECTION_JSON)["ranking"] if one["candidate"] == "dense"
    )
    temperature = content(Path(), paths.CHOICE_JSON)["temperatures"]["dense"]
    assert temperature > 2
    rows = load_split_rows("val", ["bag"])
    truth = label_matrix(rows.labels, ["billing", "login", "rare"])
    logits = np.log(np.load(path) / (1 - np.load(path).astype(float)))
    shares = 1 / (1 + np.exp(-logits / temperature))
    assert entry["score"] == pytest.approx(
        -np.mean(truth * np.log(shares) + (1 - truth) * np.log(1 - shares)), abs=1e-4
    )


@pytest.mark.parametrize("name", SETS)
def test_golden_predictions_are_the_models_own(evaluated, name) -> None:
    """16 inputs under the names of the model's inputs, and what it answers to them, units and all."""
    folder, evaluation = evaluated(name)
    arrays = dict(np.load(folder / "models/best/golden.npz"))
    expected = arrays.pop("predictions")
    names = {"inputs", "weights"} if name in ("spam", "tickets") else {"inputs"}
    assert names == arrays.keys()
    assert np.array_equal(
        expected, golden_answers(folder / "models/best/model.keras", folder / "models/best", arrays)
    )
    assert np.allclose(expected[[0, -1]], evaluation.answers[[0, -1]], rtol=1e-4, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("name", ["spam", "tickets", "forecast"])
def test_golden_predictions_work_in_a_fresh_process(evaluated, name, tmp_path) -> None:
    """The check of the registry accepts them, and refuses answers that differ by a thousandth."""
    folder, _ = evaluated(name)
    (tmp_path / "data").mkdir()
    shutil.copytree(folder / "models/best", tmp_path / "millrace")
    shutil.copy(folder / "models/best/model.keras", tmp_path / "data/model.keras")
    command = [sys.executable, "-m", "pipeline.evaluation.golden", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    assert subprocess.run(command, check=False, env=environment).returncode == 0
    if name == "forecast":
        arrays = read_npz(tmp_path / "millrace/golden.npz")
        write_npz(tmp_path / "millrace/golden.npz", arrays | {"predictions": arrays["predictions"] * 1.001})
        answer = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
        assert "Predictions differ" in answer.stderr


@pytest.mark.long
@pytest.mark.parametrize("name", SETS)
def test_a_second_run_has_the_same_bytes(evaluated, name) -> None:
    """Evaluated again, every report and picture is equal."""
    folder, evaluation = evaluated(name)
    before = {path: path.read_bytes() for path in (folder / paths.EVALUATE_DIR).rglob("*.*")}
    families = {label: item.family for label, item in evaluation.candidates.items()}
    judged(families, bootstrap=BOOTSTRAP, **SETS[name][2])
    assert before == {path: path.read_bytes() for path in (folder / paths.EVALUATE_DIR).rglob("*.*")}


def test_the_threshold_is_that_of_validation(evaluated) -> None:
    """F1 of spam, on validation and on test, is scikit-learn's at the threshold that validation chose."""
    folder, evaluation = evaluated("spam")
    point = content(folder, paths.BEST_DIR / "card.json")["operating_point"]
    assert point["positive_class"] == "spam"
    val = np.load(evaluation.chosen.folder / "val_predictions.npy")[:, 1]
    truth = np.array(load_split_rows("val", ["bag"]).labels) == "spam"
    assert point["threshold"] == best_threshold(truth, val)
    chosen = reference.f1_score(truth, val >= point["threshold"])
    assert chosen == pytest.approx(evaluation.chosen.val["positive_f1"])
    said = evaluation.answers[:, 1] >= point["threshold"]
    expected = reference.f1_score(evaluation.y_true, said)
    assert expected == pytest.approx(evaluation.test[evaluation.choice.chosen]["positive_f1"].value)


def test_every_label_is_judged_at_its_own_threshold(evaluated) -> None:
    """F1 of each label, and their mean, are scikit-learn's at the thresholds that validation chose."""
    folder, evaluation = evaluated("tickets")
    thresholds = content(folder, paths.BEST_DIR / "card.json")["operating_point"]["thresholds"]
    val = np.load(evaluation.chosen.folder / "val_predictions.npy")
    truth = label_matrix(load_split_rows("val", ["bag"]).labels, evaluation.classes)
    for index, name in enumerate(evaluation.classes):
        assert thresholds[name] == best_threshold(truth[:, index] == 1, val[:, index])
    said = evaluation.answers >= np.array([thresholds[name] for name in evaluation.classes])
    expected = reference.f1_score(evaluation.y_true, said, average=None)
    found = evaluation.test[evaluation.choice.chosen]["macro_f1"]
    assert expected.mean() == pytest.approx(found.value)
    rows = table(folder, "per_label.csv")
    assert ["billing", "login", "rare"] == [row["label"] for row in rows]
    assert expected.tolist() == pytest.approx([float(row["f1"]) for row in rows], abs=1e-6)
    assert evaluation.y_true.sum(axis=0).tolist() == [int(row["test_examples"]) for row in rows]
    mistakes = {row["sample_id"]: row for row in table(folder, "mistakes.csv")}
    wrong = np.flatnonzero((said != evaluation.y_true).any(axis=1))
    assert {evaluation.rows.sample_ids[row] for row in wrong} == mistakes.keys()


def test_the_majority_knows_how_frequent_each_label_is(evaluated) -> None:
    """Its only answer is the share of training samples with each label."""
    _, evaluation = evaluated("tickets")
    spec = evaluation.spec
    shares = np.array(spec.class_counts) / spec.train_samples
    assert np.allclose(evaluation.predictions["majority"], shares, atol=1e-6)


def test_intervals_of_a_forecast_are_its_errors_before_the_test(evaluated) -> None:
    """Per step and target the 95 % rank of validation's absolute errors; on test, the share of values inside."""
    folder, evaluation = evaluated("forecast")
    chosen = evaluation.choice.chosen
    errors = np.abs(
        np.load(paths.tuned_dir(chosen) / "val_predictions.npy").astype(float)
        - load_split_rows("val", ["series"]).targets
    )
    rank = int(np.ceil((len(errors) + 1) * 0.95))
    widths = np.sort(errors, axis=0)[rank - 1]
    told = content(folder, paths.BEST_DIR / "card.json")["prediction_intervals"]
    assert np.array(told["half_widths"]) == pytest.approx(widths)
    covered = np.mean(np.abs(evaluation.answers.astype(float) - evaluation.y_true) <= widths)
    coverage = content(folder, paths.EVALUATE_METRICS)["coverage"]
    assert coverage["value"] == pytest.approx(covered, abs=1e-6)
    assert coverage["low"] <= coverage["value"] <= coverage["high"]
    assert told["coverage"]["value"] == coverage["value"]


def test_forecasts_are_judged_in_the_units_of_the_data(evaluated) -> None:
    """MAE is that of stored predictions against the payload, MASE of the seasonal naive is near 1."""
    folder, evaluation = evaluated("forecast")
    payload, series = np.load(folder / paths.PAYLOAD_NPY)[:, 0], evaluation.rows.timeline
    first = np.array([0, 300])[series.series] + series.starts
    truth = payload[first[:, None] + np.arange(6)]
    predictions = np.load(folder / "models/best/test_predictions.npy")[..., 0]
    found = evaluation.test[evaluation.choice.chosen]["mean_absolute_error"].value
    assert np.mean(np.abs(predictions - truth)) == pytest.approx(found, rel=1e-6)
    naive = evaluation.test["naive"]["mean_absolute_scaled_error"].value
    assert 0.7 < naive < 1.3
    assert evaluation.rows.sample_ids[:2] == ("000@240", "000@241")


def test_windows_of_a_regression_have_one_value_per_target(evaluated) -> None:
    """One step ahead, shape (windows, targets); predictions.csv holds them."""
    folder, evaluation = evaluated("regression")
    assert evaluation.y_true.shape == evaluation.answers.shape == (120, 1)
    rows = table(folder, "predictions.csv")
    assert [float(row["actual"]) for row in rows] == pytest.approx(evaluation.y_true[:, 0].tolist(), abs=1e-5)


def test_errors_choose_the_lowest(evaluated) -> None:
    """Direction is read off the metric: the chosen candidate has the lowest error of those that may be chosen."""
    folder, evaluation = evaluated("regression")
    ranking = content(folder, paths.EVALUATE_TABLES_DIR / "selection.json")["ranking"]
    assert evaluation.choice.chosen == "dense"
    assert [item["candidate"] for item in ranking] == ["dense"]
    assert (
        evaluation.test["dense"]["mean_absolute_error"].value
        < evaluation.test["majority"]["mean_absolute_error"].value
    )


def test_anomalies_are_found_and_told_series_by_series(evaluated) -> None:
    """Both stretches of noise are found; the normal series has no labelled anomaly; the events say which."""
    folder, evaluation = evaluated("anomaly")
    rows = {row["series"]: row for row in table(folder, "per_series.csv") if row["candidate"] == "dense"}
    assert (rows["000"]["anomalies"], rows["000"]["found"], rows["001"]["anomalies"]) == ("2", "2", "0")
    found = [row for row in table(folder, "events.csv") if row["outcome"] == "found an anomaly"]
    assert {row["series"] for row in found} == {"000"}
    thresholds = content(folder, paths.BEST_DIR / "card.json")["operating_point"]["thresholds"]
    assert set(thresholds) == {"", "000", "001"}
    assert evaluation.test["dense"]["event_recall"].value == 1.0


def test_where_validation_has_no_anomaly_the_reconstruction_chooses(evaluated) -> None:
    """The choice says so, and its score is the mean error on normal validation windows."""
    _, evaluation = evaluated("anomaly")
    assert evaluation.choice.select_by == "reconstruction_error"
    assert evaluation.choice.reason.startswith(
        "Validation has no labelled anomaly, so event_f1 could not choose."
    )
    errors = np.load(evaluation.chosen.folder / "val_predictions.npy")
    assert evaluation.choice.ranking[0].score == pytest.approx(float(errors.mean()), abs=1e-6)


def test_detectors_keep_the_model_whose_errors_set_their_alarms(tmp_path, monkeypatch) -> None:
    """Asked to train again, nobody is: thresholds are in units of the errors of one model on rows it has not seen."""
    monkeypatch.chdir(tmp_path)
    evaluation = judged_set(SETS["anomaly"], again=True, pictures=False)
    assert [] == json.loads(paths.CHOICE_JSON.read_text())["refit"]
    for name in ("dense", "pca"):
        tuned = paths.tuned_dir(name) / "model.keras"
        assert tuned.read_bytes() == (paths.selected_dir(name) / "model.keras").read_bytes()
    assert not evaluation.chosen.refit


def test_test_rows_without_a_label_are_refused(tmp_path, monkeypatch) -> None:
    """Nothing is labelled in the test part: nobody can be judged, and the message says what to do."""
    monkeypatch.chdir(tmp_path)
    write_heartbeats(anomalous=False)
    write_tuned("dense", "autoencoder", AUTOENCODER, 1)
    with pytest.raises(DataRefused, match=r"cannot be judged by evaluate.select_by=event_f1.*Label some"):
        judged({"dense": "autoencoder"}, bootstrap=BOOTSTRAP, **SETS["anomaly"][2])


def test_a_metric_of_two_classes_is_refused_for_three(tmp_path, monkeypatch) -> None:
    """positive_f1 needs exactly two classes; the message names those that exist."""
    monkeypatch.chdir(tmp_path)
    labels = ["a", "b", "c"] * 8
    write_texts(
        Path(),
        [f"word {label}" for label in labels],
        (["train"] * 6 + ["val"] * 3 + ["test"] * 3) * 2,
        labels,
    )
    run_features(text=TEXT)
    write_tuned("dense", "dense", DENSE, 1)
    with pytest.raises(DataRefused, match=r"select_by=positive_f1 does not exist.*macro_f1"):
        judged({"dense": "dense"}, bootstrap=BOOTSTRAP, **SETS["spam"][2])
