"""An ensemble on its way through `select`, `refit` and `evaluate`: chosen, trained again, judged as one model."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss

from pipeline.evaluation.measures import Yardstick
from pipeline.evaluation.results import Bootstrap
from pipeline.export.onnx_session import OnnxModel
from pipeline.inference.keras_files import load_model
from pipeline.inputs.train_data import load_train_data
from pipeline.metrics.calibration import helpful_temperature, tempered
from pipeline.runtime import paths
from pipeline.runtime.files import read_json, write_json
from pipeline.stages import select
from pipeline.training import candidate
from tests.helpers.judged import judged, no_folds, refitted
from tests.helpers.train_project import TRAINING
from tests.stages.test_evaluate import write_data

FAMILIES = {"first": "cnn", "second": "cnn", "linear": "linear", "majority": "majority"}
MEMBERS = ("first", "second")
SETTINGS = {"select_by": "log_loss", "bootstrap": Bootstrap(200, 0.95, 0), "yardstick": Yardstick(10)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Two small networks of other seeds that stopped early, and the baselines; copied by each test."""
    folder = tmp_path_factory.mktemp("trained")
    before = Path.cwd()
    os.chdir(folder)
    try:
        write_data()
        for seed, (name, family) in enumerate(FAMILIES.items()):
            write_tuned(name, family, seed)
        no_folds(*FAMILIES)
    finally:
        os.chdir(before)
    return folder


def write_tuned(name: str, family: str, seed: int) -> None:
    """Train a candidate and leave it where `tune` would; `linear` knows little, so that it never stands for others."""
    data = load_train_data(family)
    epochs = 5 if family in ("cnn", "dense") else 0
    training = TRAINING | {"epochs": epochs, "augment": {"flip": False, "shift_px": 0, "cutout_px": 0}}
    settings = {"cnn": {"filters": [8], "units": 16}, "dense": {"units": [16]}, "linear": {"l2": 10.0}}
    model = settings.get(family, {})
    trained = candidate.train_candidate(
        family, data, model, training, seed=seed, checkpoint_dir=Path("work") / name
    )
    settings = {"family": family, "model": model, "training": training, "seed": seed, "threads": 1}
    metrics = candidate.write_candidate(paths.tuned_dir(name), trained, data, settings)
    write_json(
        paths.tuned_dir(name) / "trials.json", [{"number": 0, "metrics": metrics, "state": "complete"}]
    )


@pytest.fixture
def project(trained: Path, tmp_path: Path, monkeypatch) -> Path:
    """A copy of the trained project; the working directory is inside it."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows() -> dict[str, dict]:
    """Return what the report shows of every candidate."""
    content = json.loads((paths.EVALUATE_TABLES_DIR / "candidates.json").read_text())
    return {row["candidate"]: row for row in content}


def classes_of(first: int, last: int) -> np.ndarray:
    """Return the number of the digit in some rows, as the sorted names of classes count."""
    from sklearn.datasets import load_digits

    return load_digits().target[first:last]


def test_a_chosen_ensemble_is_trained_again_and_judged_as_one_model(project: Path) -> None:
    """One file, whose test answers are NumPy's mean of its members'; validation as the members answered before.

    And the same bytes when its members are trained once more.
    """
    evaluation = judged(FAMILIES, **SETTINGS, again=True, ensemble=MEMBERS)
    choice, card = read_json(paths.CHOICE_JSON), read_json(paths.BEST_DIR / "card.json")
    assert choice["chosen"] == card["candidate"] == card["family"] == "ensemble"
    assert choice["refit"] == ["first", "linear", "majority", "second"]
    assert card["members"] == list(MEMBERS)
    assert card["reason"].endswith("It is the mean of first and second.")
    assert set(card["refit"]["members"]) == set(MEMBERS)
    assert card["refit"]["rows"] == 400
    temperature = choice["temperatures"].get("ensemble")
    assert card["temperature"] == temperature is not None

    images = np.load(paths.PAYLOAD_NPY)[400:500]
    members = [load_model(paths.selected_dir(name) / "model.keras") for name in MEMBERS]
    assert all(
        (paths.selected_dir(name) / "model.keras").read_bytes()
        != (paths.tuned_dir(name) / "model.keras").read_bytes()
        for name in MEMBERS
    )
    answers = [model.predict_on_batch(images) for model in members]
    # Members that stand for themselves have temperatures of their own, which the ensemble's takes the place of.
    own_ones = [choice["temperatures"].get(name, 1.0) for name in MEMBERS]
    by = [temperature / own for own in own_ones]
    expected = np.mean(
        [tempered(given, more, several=False) for given, more in zip(answers, by, strict=True)], axis=0
    )
    best = load_model(paths.BEST_DIR / "model.keras")
    assert best.predict_on_batch(images) == pytest.approx(expected, abs=1e-5)
    assert evaluation.answers == pytest.approx(expected, abs=1e-5)
    assert card["parameters"] == best.count_params() == sum(model.count_params() for model in members)

    before = [np.load(paths.tuned_dir(name) / "val_predictions.npy") for name in MEMBERS]
    truth = classes_of(300, 400)[:, None] == np.arange(10)
    assert temperature == helpful_temperature(truth, np.stack(before), np.arange(100), several=False)
    on_val = np.mean([tempered(own, temperature, several=False) for own in before], axis=0)
    row = rows()["ensemble"]
    assert (row["chosen"], row["baseline"], row["refit"], row["trials"]) == (True, False, True, 0)
    assert row["val"]["log_loss"] == pytest.approx(log_loss(classes_of(300, 400), on_val), abs=2e-6)
    assert row["baseline_val"]["loss"] == pytest.approx(
        log_loss(classes_of(300, 400), np.mean(before, axis=0)), abs=2e-6
    )
    assert row["test"]["log_loss"]["value"] == pytest.approx(
        log_loss(classes_of(400, 500), expected), abs=1e-4
    )
    assert rows()["first"]["refit"] is True

    first = files(paths.SELECTED_DIR)
    refitted(FAMILIES)
    assert files(paths.SELECTED_DIR) == first


def files(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_members_may_read_different_things(project: Path) -> None:
    """Pixels and features: one file of two inputs, exported as it answers; only pixels are mirrored, as settings say."""
    write_tuned("shapes", "dense", 3)
    path = paths.tuned_dir("first") / "settings.json"
    settings = read_json(path)
    write_json(path, settings | {"training": settings["training"] | {"test_time_flip": True}})
    truth = classes_of(300, 400)[:, None] == np.arange(10)
    for half, name in enumerate(("first", "shapes")):  # each knows what the other does not
        told = np.where((np.arange(100) % 2 == half)[:, None], 0.9 * truth + 0.01, 0.1)
        np.save(paths.tuned_dir(name) / "val_predictions.npy", told.astype(np.float32))
    families = {"first": "cnn", "linear": "linear", "majority": "majority", "shapes": "dense"}
    evaluation = judged(families, **SETTINGS, ensemble=("first", "shapes"), pictures=False)
    assert read_json(paths.BEST_DIR / "card.json")["members"] == ["first", "shapes"]
    images, features = np.load(paths.PAYLOAD_NPY)[400:500], np.load(paths.FEATURES_NPY)[400:500]
    network, shapes = (load_model(paths.tuned_dir(name) / "model.keras") for name in ("first", "shapes"))
    both_ways = [network.predict_on_batch(some) for some in (images, images[:, :, ::-1])]
    expected = (np.mean(both_ways, axis=0) + shapes.predict_on_batch(features)) / 2
    assert evaluation.answers == pytest.approx(expected, abs=1e-5)
    golden = np.load(paths.BEST_DIR / "golden.npz")
    assert {"image", "vector", "predictions"} == set(golden.files)
    exported = OnnxModel(paths.BEST_DIR / "model.onnx")
    once = exported.predict_on_batch({"image": images, "vector": features})
    assert once == pytest.approx((both_ways[0] + shapes.predict_on_batch(features)) / 2, abs=1e-5)


def test_an_ensemble_that_was_not_chosen_stands_in_the_report(project: Path) -> None:
    """Of the tuned models, with its scores; judged by a metric by which its best member is as good and smaller."""
    (paths.tuned_dir("second") / "val_predictions.npy").write_bytes(
        (paths.tuned_dir("majority") / "val_predictions.npy").read_bytes()
    )
    evaluation = judged(FAMILIES, **SETTINGS, ensemble=MEMBERS)
    assert evaluation.choice.chosen == "first"
    assert read_json(paths.CHOICE_JSON)["members"] == list(MEMBERS)
    row = rows()["ensemble"]
    assert (row["chosen"], row["refit"], row["family"]) == (False, False, "ensemble")
    members = [load_model(paths.tuned_dir(name) / "model.keras") for name in MEMBERS]
    images = np.load(paths.PAYLOAD_NPY)[400:500]
    expected = np.mean([model.predict_on_batch(images) for model in members], axis=0)
    assert evaluation.predictions["ensemble"] == pytest.approx(expected, abs=1e-6)
    assert (paths.BEST_DIR / "model.keras").read_bytes() == (
        paths.tuned_dir("first") / "model.keras"
    ).read_bytes()


def test_without_an_ensemble_nothing_says_that_there_could_be_one(project: Path) -> None:
    """The files of the choice have the keys they had, so that nobody's results move."""
    select.select(FAMILIES, **SETTINGS, refit=True, temperature=True)
    assert set(read_json(paths.CHOICE_JSON)) == {"chosen", "refit", "temperatures"}
    assert "members" not in read_json(paths.SELECTION_JSON)


def test_candidates_are_compared_at_the_temperature_that_they_would_be_served_with(project: Path) -> None:
    """Who is right more often and far too sure of it is chosen: its file is made less sure before anybody uses it."""
    truth = classes_of(300, 400)[:, None] == np.arange(10)
    wrong = np.arange(100) % 10 == 3
    for name, logits, wrong_ones in (("first", 12.0, wrong), ("second", 3.0, np.arange(100) % 4 == 3)):
        told = np.where(wrong_ones[:, None], np.roll(truth, 1, axis=1), truth)
        powers = np.exp(logits * told)
        answers = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
        np.save(paths.tuned_dir(name) / "val_predictions.npy", answers)
    raw = {
        name: log_loss(classes_of(300, 400), np.load(paths.tuned_dir(name) / "val_predictions.npy"))
        for name in MEMBERS
    }
    assert raw["first"] > raw["second"]
    select.select(FAMILIES, **SETTINGS, refit=True, temperature=False)
    assert read_json(paths.CHOICE_JSON)["chosen"] == "second"
    select.select(FAMILIES, **SETTINGS, refit=True, temperature=True)
    choice = read_json(paths.CHOICE_JSON)
    assert choice["chosen"] == "first"
    assert choice["temperatures"]["first"] > 2
    ranking = {entry["candidate"]: entry for entry in read_json(paths.SELECTION_JSON)["ranking"]}
    assert ranking["first"]["temperature"] == pytest.approx(choice["temperatures"]["first"])
    answers = np.load(paths.tuned_dir("first") / "val_predictions.npy")
    at = tempered(answers, choice["temperatures"]["first"], several=False)
    assert ranking["first"]["score"] == pytest.approx(log_loss(classes_of(300, 400), at), abs=1e-5)


def test_every_candidate_is_judged_as_it_was_compared(project: Path) -> None:
    """Also those that were not chosen: a page that ranks models of which half are made less sure ranks nothing."""
    judged(FAMILIES, **SETTINGS, again=True, ensemble=MEMBERS, pictures=False)
    temperatures = read_json(paths.CHOICE_JSON)["temperatures"]
    ranking = {entry["candidate"]: entry for entry in read_json(paths.SELECTION_JSON)["ranking"]}
    assert {"first", "second", "ensemble"} <= set(temperatures)
    assert {
        name for name, entry in ranking.items() if "temperature" in entry
    } == temperatures.keys() & ranking
    for name, entry in ranking.items():
        assert rows()[name]["val"]["log_loss"] == pytest.approx(entry["score"], abs=2e-6)
        settings = read_json(paths.selected_dir(name) / "settings.json")
        assert settings.get("temperature") == temperatures.get(name)


def test_who_looks_probabilities_up_is_compared_as_it_answers(project: Path) -> None:
    """There are no logits to divide, and none of a mean with such a member; others have a temperature."""
    truth = classes_of(300, 400)[:, None] == np.arange(10)
    wrong = np.where(np.arange(100)[:, None] % 5 == 0, np.roll(truth, 1, axis=1), truth)
    sure = np.where(wrong, 0.9991, 0.0001).astype(np.float32)
    for name in MEMBERS:
        np.save(paths.tuned_dir(name) / "val_predictions.npy", sure)
    families = FAMILIES | {"second": "nearest"}
    select.select(families, **SETTINGS, refit=True, temperature=True, ensemble=MEMBERS)
    assert {"first", "second", "ensemble"} & set(read_json(paths.CHOICE_JSON)["temperatures"]) == {"first"}
    ranking = {entry["candidate"]: entry for entry in read_json(paths.SELECTION_JSON)["ranking"]}
    assert ranking["ensemble"]["score"] == pytest.approx(log_loss(classes_of(300, 400), sure), abs=1e-5)
    assert ranking["first"]["score"] < ranking["ensemble"]["score"] - 0.5


def test_an_answer_that_is_no_number_is_blamed_on_the_member(project: Path) -> None:
    """Not on the mean of them all."""
    path = paths.tuned_dir("second") / "val_predictions.npy"
    answers = np.load(path)
    answers[3] = np.nan
    np.save(path, answers)
    with pytest.raises(ValueError, match=r"models/tuned/second/val_predictions\.npy"):
        select.select(
            {"first": "cnn", "linear": "linear", "majority": "majority", "second": "cnn"},
            **SETTINGS, refit=True, temperature=True, ensemble=("first", "second"),
        )  # fmt: skip
