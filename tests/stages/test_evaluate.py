"""The stage `evaluate` on real, tiny Keras models of scikit-learn's digits."""

import csv
import json
import os
import shutil
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score

from pipeline.evaluation.ledger import all_uses
from pipeline.evaluation.measures import Yardstick
from pipeline.evaluation.results import Bootstrap
from pipeline.inference.keras_files import load_model, save_model
from pipeline.inputs.train_data import load_train_data
from pipeline.metrics.calibration import tempered
from pipeline.preprocessing.statistics import feature_statistics, train_image_statistics
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused, StorageFailed
from pipeline.runtime.files import file_digest, write_json
from pipeline.selection import refit
from pipeline.stages import evaluate
from pipeline.training import candidate
from tests.conftest import copy_project
from tests.helpers.featured import write_samples
from tests.helpers.ingested import write_ingested
from tests.helpers.judged import judged, no_folds
from tests.helpers.train_project import MODELS, TRAINING

FAMILIES = {
    "cnn": "cnn", "autoencoder": "autoencoder", "dense": "dense", "linear": "linear", "majority": "majority",
}  # fmt: skip
EPOCHS = {"cnn": 6, "autoencoder": 4, "dense": 3, "linear": 0, "majority": 0}
SETTINGS = {"select_by": "accuracy", "bootstrap": Bootstrap(200, 0.95, 0), "yardstick": Yardstick(10)}
SPLITS = ["train"] * 300 + ["val"] * 100 + ["test"] * 100


def write_data() -> None:
    """Write 500 digits as the stages before `train` leave them; test labels that no other split has stay out."""
    pixels, targets = load_digits(return_X_y=True)
    images = (pixels[:500].reshape(-1, 8, 8, 1) * 15).astype(np.uint8)
    features = pixels[:500, 20:44].astype(np.float32)
    labels = [f"digit {target}" for target in targets[:500]]
    paths.FEATURES_NPY.parent.mkdir(parents=True, exist_ok=True)
    np.save(paths.FEATURES_NPY, features)
    write_samples(Path(), images, [1] * 500, sample_id=[f"digits/{index:04d}" for index in range(500)])
    write_split(labels, SPLITS)
    train = images[:300] / 255
    write_json(
        paths.FEATURES_STATE,
        {
            "classes": sorted(set(labels)),
            "class_counts": [labels[:300].count(name) for name in sorted(set(labels))],
            "image": {"shape": [8, 8, 1], "mean": [train.mean()], "standard_deviation": [train.std()]},
            "handmade": {
                "names": [f"feature_{index}" for index in range(24)], "mean": features.mean(axis=0).tolist(),
                "standard_deviation": (features.std(axis=0) + 1).tolist(), "groups": ["texture"],
            },
        },
    )  # fmt: skip


def write_split(labels: list[str], splits: list[str]) -> None:
    """Write the split table."""
    paths.SPLIT_PARQUET.parent.mkdir(parents=True, exist_ok=True)
    rows = pa.array(range(len(labels)), pa.int32())
    ids = [f"digits/{index:04d}" for index in range(len(labels))]
    table = pa.table({"sample_id": ids, "row": rows, "label": labels, "split": splits})
    pq.write_table(table, paths.SPLIT_PARQUET)


def write_tuned(name: str, family: str) -> None:
    """Train a candidate for a few epochs and leave it where `tune` would."""
    data = load_train_data(family)
    training = TRAINING | {"loss": "auto", "class_weights": "none"}
    training |= {"epochs": EPOCHS[name], "augment": {"flip": False, "shift_px": 0, "cutout_px": 0}}
    model = MODELS[family] | ({"pretrain_epochs": 8} if family == "autoencoder" else {})
    trained = candidate.train_candidate(
        family, data, model, training, seed=4, checkpoint_dir=Path("work") / name
    )
    settings = {"family": family, "model": model, "training": training, "seed": 4, "threads": 1}
    metrics = candidate.write_candidate(paths.tuned_dir(name), trained, data, settings)
    write_json(
        paths.tuned_dir(name) / "trials.json", [{"number": 0, "metrics": metrics, "state": "complete"}]
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A project whose candidates are trained; copied by each test."""
    folder = tmp_path_factory.mktemp("trained")
    before = Path.cwd()
    os.chdir(folder)
    try:
        write_data()
        for name, family in FAMILIES.items():
            write_tuned(name, family)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def project(trained: Path, tmp_path: Path, monkeypatch) -> Path:
    """A copy of the trained project; the working directory is inside it."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def evaluated(trained: Path, tmp_path_factory) -> Path:
    """A copy that was evaluated; read only."""
    folder = tmp_path_factory.mktemp("evaluated")
    shutil.copytree(trained, folder, dirs_exist_ok=True)
    before = Path.cwd()
    os.chdir(folder)
    try:
        judged(FAMILIES, **SETTINGS)
    finally:
        os.chdir(before)
    return folder


def make_honest(folder: Path) -> None:
    """Write the table of samples and clusters, and statistics that follow from the training rows."""
    images, features = np.load(folder / paths.PAYLOAD_NPY), np.load(folder / paths.FEATURES_NPY)
    split = pq.read_table(folder / paths.SPLIT_PARQUET).sort_by("row").to_pydict()
    write_ingested(folder, images, split["label"])
    ids = pq.read_table(folder / paths.SAMPLES_PARQUET)["sample_id"]
    split_table = pq.read_table(folder / paths.SPLIT_PARQUET).sort_by("row")
    pq.write_table(split_table.set_column(0, "sample_id", ids), folder / paths.SPLIT_PARQUET)
    (folder / paths.DUPLICATES_PARQUET).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"sample_id": ids, "cluster": ids}), folder / paths.DUPLICATES_PARQUET)
    train = np.flatnonzero(np.array(split["split"]) == "train")
    state = json.loads((folder / paths.FEATURES_STATE).read_text())
    for part, found in {
        "image": train_image_statistics(images, train),
        "handmade": feature_statistics(features, train),
    }.items():
        state[part] |= {"mean": found.mean, "standard_deviation": found.standard_deviation}
    write_json(folder / paths.FEATURES_STATE, state)


def table(folder: Path, name: str) -> list[dict[str, str]]:
    """Return a CSV table of the evaluation."""
    with (folder / paths.EVALUATE_TABLES_DIR / name).open(newline="") as file:
        return list(csv.DictReader(file))


def content(folder: Path, path: Path) -> dict:
    """Return a JSON file of the evaluation."""
    return json.loads((folder / path).read_text())


def labels_of_test() -> list[str]:
    """Return the true labels of the 100 test rows."""
    return [f"digit {target}" for target in load_digits().target[400:500]]


def test_all_files_are_there(evaluated: Path) -> None:
    """Tables, pictures and the folder of the chosen model are complete."""
    tables = {path.name for path in (evaluated / paths.EVALUATE_TABLES_DIR).iterdir()}
    pictures = {path.name for path in (evaluated / paths.EVALUATE_PICTURES_DIR).iterdir()}
    best = {path.name for path in (evaluated / paths.BEST_DIR).iterdir()}
    assert tables == {
        "candidates.json", "codes.json", "confusion.csv", "learning_curves.csv", "mistakes.csv", "per_class.csv",
        "selection.json",
    }  # fmt: skip
    assert pictures == {
        f"{name}.png"
        for name in (
            "candidates", "codes", "confusion", "learning_curves", "mistakes", "per_class", "reconstructions",
            "reliability",
        )
    }  # fmt: skip
    assert best == {
        "baseline_linear_predictions.npy", "baseline_majority_predictions.npy", "card.json", "golden.npz",
        "model.keras", "model.onnx", "reference.json", "settings.json", "state.json", "test_predictions.npy",
        "trained_on.parquet",
    }  # fmt: skip


def test_what_the_model_was_trained_on_travels_with_it(evaluated: Path) -> None:
    """300 digits trained, 100 chose, by content; digits that look alike to the bit are one row."""
    samples = pq.read_table(evaluated / paths.SAMPLES_PARQUET).sort_by("row")["content_sha256"].to_pylist()
    table = pq.read_table(evaluated / paths.BEST_DIR / "trained_on.parquet")
    found = set(zip(table["content_sha256"].to_pylist(), table["split"].to_pylist(), strict=True))
    assert found == set(zip(samples[:400], SPLITS[:400], strict=True))


@pytest.mark.long
def test_the_look_at_the_test_set_is_noted_before_it_is_opened(project: Path, monkeypatch) -> None:
    """A crash behind it leaves the line; a second run of the same model adds none."""
    families = {"dense": "dense", "linear": "linear"}

    def died(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "_predictions", died)
        with pytest.raises(KeyboardInterrupt):
            judged(families, **SETTINGS, pictures=False)
    chosen = content(project, paths.SELECTION_JSON)["chosen"]
    digest = file_digest(paths.selected_dir(chosen) / "model.keras", "sha256")
    assert [(digest, "evaluate", 100)] == [
        (use.model_sha256, use.by, use.holdout.num_rows) for use in all_uses()
    ]
    judged(families, **SETTINGS, pictures=False)
    assert len(all_uses()) == 1


def test_accuracy_equals_scikit_learn_on_reloaded_predictions(evaluated: Path) -> None:
    """The reported test accuracy is that of the saved model's own predictions, by scikit-learn."""
    model = keras.saving.load_model(evaluated / "models/best/model.keras", compile=False)
    classes = content(evaluated, paths.FEATURES_STATE)["classes"]
    settings = content(evaluated, paths.BEST_DIR / "settings.json")
    inputs = paths.FEATURES_NPY if settings["family"] == "dense" else paths.PAYLOAD_NPY
    answers = model.predict(np.load(evaluated / inputs)[400:500], verbose=0)
    expected = accuracy_score(labels_of_test(), [classes[index] for index in answers.argmax(axis=1)])
    metrics = content(evaluated, paths.EVALUATE_METRICS)["test"]
    assert metrics["accuracy"] == pytest.approx(expected)
    assert metrics["accuracy_low"] < metrics["accuracy"] < metrics["accuracy_high"]


def test_metrics_are_few_finite_numbers(evaluated: Path) -> None:
    """metrics.json holds numbers only, the sections val, test, baselines and codes, and fewer than 50 of them."""
    metrics = content(evaluated, paths.EVALUATE_METRICS)
    assert set(metrics) == {"val", "test", "baselines", "codes"}
    numbers = [*metrics["val"].values(), *metrics["test"].values(), *metrics["codes"].values()]
    numbers += [value for baseline in metrics["baselines"].values() for value in baseline.values()]
    assert all(isinstance(number, float) and np.isfinite(number) for number in numbers)
    assert len(numbers) < 50


def test_the_choice_follows_validation(evaluated: Path) -> None:
    """The chosen candidate has the best val accuracy of all that are no baselines, as its trainer measured it."""
    scores = {
        name: content(evaluated, paths.tuned_dir(name) / "metrics.json")["val_accuracy"]
        for name in ("cnn", "autoencoder", "dense")
    }
    chosen = content(evaluated, paths.EVALUATE_TABLES_DIR / "selection.json")["chosen"]
    assert scores[chosen] == max(scores.values())


def test_tables_agree_with_each_other(evaluated: Path) -> None:
    """confusion.csv has a row per test sample, mistakes.csv those that differ, per_class.csv every class."""
    confusion = table(evaluated, "confusion.csv")
    assert [row["actual"] for row in confusion] == labels_of_test()
    wrong = sum(row["actual"] != row["predicted"] for row in confusion)
    mistakes = table(evaluated, "mistakes.csv")
    assert len(mistakes) == wrong
    sure = [float(row["probability_of_predicted"]) for row in mistakes]
    assert sure == sorted(sure, reverse=True)
    per_class = table(evaluated, "per_class.csv")
    assert sum(int(row["test_examples"]) for row in per_class) == 100
    first = [row["predicted"] for row in confusion if row["actual"] == "digit 0"]
    assert float(per_class[0]["recall"]) == pytest.approx(first.count("digit 0") / len(first), abs=1e-6)


def test_learning_curves_hold_every_epoch(evaluated: Path) -> None:
    """Every trained epoch of every candidate has a row; the majority baseline, never trained, has none."""
    rows = table(evaluated, "learning_curves.csv")
    assert {name: sum(row["candidate"] == name for row in rows) for name in FAMILIES} == EPOCHS


def test_candidates_have_baseline_and_test_scores(evaluated: Path) -> None:
    """candidates.json says of each what it was before tuning, after it, and on test."""
    rows = {
        row["candidate"]: row
        for row in json.loads((evaluated / "reports/evaluate/tables/candidates.json").read_text())
    }
    assert list(rows) == list(FAMILIES)
    assert sum(row["chosen"] for row in rows.values()) == 1
    assert [name for name, row in rows.items() if row["baseline"]] == ["linear", "majority"]
    assert rows["cnn"]["baseline_val"]["accuracy"] == pytest.approx(rows["cnn"]["val"]["accuracy"], abs=1e-6)
    assert rows["majority"]["test"]["roc_auc"]["value"] == 0.5


def test_codes_are_compared_with_as_many_of_pca(evaluated: Path) -> None:
    """codes.json tells the errors over all test pixels in [0, 1]; the autoencoder's equals a plain computation."""
    codes = content(evaluated, paths.EVALUATE_TABLES_DIR / "codes.json")
    assert codes["codes"] == codes["pca_codes"] == MODELS["autoencoder"]["codes"]
    model = keras.saving.load_model(evaluated / "models/tuned/autoencoder/autoencoder.keras", compile=False)
    images = np.load(evaluated / paths.PAYLOAD_NPY)[400:500]
    expected = np.mean((model.predict(images, verbose=0) - images / 255) ** 2)
    assert codes["reconstruction_error"]["autoencoder"] == pytest.approx(expected, abs=2e-6)
    assert codes["reconstruction_error"]["pca"] < 0.1
    assert 0.3 < codes["probe_accuracy"]["pca"]["value"] <= 1


def test_golden_predictions_are_the_models_own(evaluated: Path) -> None:
    """golden.npz holds 16 test inputs and exactly what the saved model answers to them."""
    golden = np.load(evaluated / "models/best/golden.npz")
    model = load_model(evaluated / "models/best/model.keras")
    assert golden["inputs"].shape[0] == golden["predictions"].shape[0] == 16
    assert np.array_equal(model.predict_on_batch(golden["inputs"]), golden["predictions"])


@pytest.mark.long
def test_second_run_has_the_same_bytes(evaluated: Path, project: Path) -> None:
    """Evaluated again elsewhere, over leftovers, every report, picture and file of the best model is equal."""
    for folder in (paths.EVALUATE_PICTURES_DIR, paths.EVALUATE_TABLES_DIR, paths.BEST_DIR):
        folder.mkdir(parents=True)
        (folder / "leftover.png").write_bytes(b"of an older run")
    judged(FAMILIES, **SETTINGS)
    for folder in (paths.EVALUATE_DIR, paths.BEST_DIR):
        first, second = (
            {
                path.relative_to(root): path.read_bytes()
                for path in (root / folder).rglob("*")
                if path.is_file()
            }
            for root in (evaluated, project)
        )
        assert first.keys() == second.keys()
        assert [name for name in first if first[name] != second[name]] == []


def test_test_labels_never_change_the_choice(evaluated: Path, project: Path) -> None:
    """With the labels of the test set permuted the choice is the same to the byte, and the test scores are not."""
    labels = pq.read_table(paths.SPLIT_PARQUET).column("label").to_pylist()
    permuted = labels[:400] + [labels[400 + index] for index in np.random.default_rng(0).permutation(100)]
    write_split(permuted, SPLITS)
    judged({name: FAMILIES[name] for name in ("cnn", "dense", "linear")}, **SETTINGS, pictures=False)
    choice = content(project, paths.EVALUATE_TABLES_DIR / "selection.json")
    before = content(evaluated, paths.EVALUATE_TABLES_DIR / "selection.json")
    assert [item for item in before["ranking"] if item["candidate"] != "autoencoder"] == choice["ranking"]
    assert content(project, paths.EVALUATE_METRICS)["test"]["accuracy"] < 0.5


def test_the_choice_is_written_before_the_test_set_is_opened(project: Path) -> None:
    """Where the test set cannot be read at all, the choice stands already and nothing else does: its stage is another."""
    labels = pq.read_table(paths.SPLIT_PARQUET).column("label").to_pylist()
    write_split([*labels[:400], *["a class nobody knows"] * 100], SPLITS)
    with pytest.raises(ValueError, match="classes the model does not know"):
        judged(FAMILIES, **SETTINGS)
    assert paths.SELECTION_JSON.is_file()
    assert not paths.EVALUATE_METRICS.exists()
    assert not paths.BEST_DIR.exists()


def test_removed_candidates_do_not_count(project: Path) -> None:
    """A folder of a candidate that is no longer in params.yaml is never read, however good or broken it is."""
    (paths.TUNED_DIR / "removed").mkdir()
    evaluation = judged({"dense": "dense", "linear": "linear"}, **SETTINGS)
    assert evaluation.choice.chosen == "dense"
    assert list(evaluation.test) == ["dense", "linear"]
    assert not (paths.EVALUATE_TABLES_DIR / "codes.json").exists()


def test_nan_weights_are_refused_even_when_all_labels_are_class_0(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model full of NaN answers class 0 for everything and would score 1.0 on a test set of class 0 alone."""
    labels = pq.read_table(paths.SPLIT_PARQUET).column("label").to_pylist()
    write_split([*labels[:400], *["digit 0"] * 100], SPLITS)
    model = load_model(paths.tuned_dir("linear") / "model.keras")
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    with monkeypatch.context() as unguarded:  # nothing of ours writes such a file
        unguarded.setattr("pipeline.inference.keras_files._broken_weights", lambda _model: [])
        save_model(model, paths.tuned_dir("linear") / "model.keras")
    with pytest.raises((StorageFailed, ValueError), match="not finite"):
        judged({"dense": "dense", "linear": "linear"}, **SETTINGS)
    assert not paths.EVALUATE_METRICS.exists()


def test_nan_answers_on_validation_are_refused(project: Path) -> None:
    """One NaN among the stored validation probabilities stops the choice and names the file."""
    path = paths.tuned_dir("dense") / "val_predictions.npy"
    probabilities = np.load(path)
    probabilities[3] = np.nan
    np.save(path, probabilities)
    with pytest.raises(ValueError, match=r"models/tuned/dense/val_predictions.npy: y_pred is not finite"):
        judged(FAMILIES, **SETTINGS)


def test_probabilities_of_other_rows_are_refused(project: Path) -> None:
    """Validation probabilities of another split (other number of rows) are not silently cut."""
    path = paths.tuned_dir("dense") / "val_predictions.npy"
    np.save(path, np.load(path)[:-1])
    with pytest.raises(ValueError, match="Expected shape"):
        judged(FAMILIES, **SETTINGS)


def test_healthy_probabilities_of_a_broken_model_are_refused(project: Path) -> None:
    """Weights hidden behind ReLU and NaN inputs: features that are NaN are refused, not predicted from."""
    features = np.load(paths.FEATURES_NPY)
    features[450] = np.nan
    np.save(paths.FEATURES_NPY, features)
    with pytest.raises(ValueError, match="not finite"):
        judged({"dense": "dense", "linear": "linear"}, **SETTINGS)


def test_only_baselines_are_refused(project: Path) -> None:
    """Without a real candidate there is nothing to choose, which is the user's to mend."""
    with pytest.raises(DataRefused, match="Add a candidate"):
        judged({"linear": "linear", "majority": "majority"}, **SETTINGS)


def test_a_baseline_is_chosen_where_it_may_win(project: Path) -> None:
    """Of two baselines the better one, and the choice says what it is; its card has a point for each baseline."""
    families = {"linear": "linear", "majority": "majority"}
    evaluation = judged(families, **SETTINGS, baselines_may_win=True)
    assert "linear" == evaluation.choice.chosen
    assert "It is a baseline: no other candidate is shown to do better." in evaluation.choice.reason
    card = content(project, paths.BEST_DIR / "card.json")
    assert ("linear", {"linear", "majority"}) == (card["candidate"], set(card["baseline_operating_points"]))
    selection = content(project, paths.EVALUATE_TABLES_DIR / "selection.json")
    assert evaluation.choice.reason == selection["reason"]


@pytest.mark.parametrize("may_win", [True, False])
def test_a_baseline_stands_for_a_choice_that_test_does_not_bear_out(project: Path, may_win: bool) -> None:
    """Who is ahead on validation but not for sure on test would be refused; the baseline goes, and the reason says so.

    What looks at nothing never stands for anybody.
    """
    families = {"dense": "dense", "linear": "linear", "majority": "majority"}
    judged(families, **SETTINGS, baselines_may_win=may_win, pictures=False)
    selection = content(project, paths.SELECTION_JSON)
    ranking = sorted(selection["ranking"], key=lambda entry: entry["candidate"] != "dense")
    write_json(paths.SELECTION_JSON, selection | {"chosen": "dense", "reason": "Drawn.", "ranking": ranking})
    evaluation = evaluate.evaluate(families, **SETTINGS)
    stands = "linear" if may_win else "dense"
    assert content(project, paths.BEST_DIR / "card.json")["candidate"] == stands == evaluation.choice.chosen
    assert content(project, paths.EVALUATE_TABLES_DIR / "selection.json")["chosen"] == stands
    said = "Drawn. But on test dense does not beat linear: accuracy "
    assert may_win == evaluation.choice.reason.startswith(said)
    assert may_win == evaluation.choice.reason.endswith(
        "So linear stands for it (register.baselines_may_win)."
    )


def test_missing_candidate_names_its_stage(project: Path) -> None:
    """A candidate that was not tuned yet is missing with the command that makes it."""
    with pytest.raises(FileNotFoundError, match="dvc repro tune@rnn"):
        judged({"rnn": "rnn", "linear": "linear"}, **SETTINGS)


def test_saved_models_stay_as_they_are(evaluated: Path, trained: Path) -> None:
    """The best model is a byte copy of the tuned one: one digest names it from here to the registry."""
    chosen = content(evaluated, paths.BEST_DIR / "card.json")["candidate"]
    best = (evaluated / "models/best/model.keras").read_bytes()
    assert best == (trained / "models/tuned" / chosen / "model.keras").read_bytes()


def test_trained_again_with_validation_at_a_temperature_of_its_own(project: Path) -> None:
    """The model judged is another one than tuned; what chose and sets the threshold stays; baselines have theirs.

    Logits are divided inside the file: its answers are those of the model without, tempered.
    """
    evaluation = judged(
        {"dense": "dense", "linear": "linear", "majority": "majority"}, **SETTINGS, again=True, pictures=False
    )
    card = content(project, paths.BEST_DIR / "card.json")
    choice = content(project, paths.CHOICE_JSON)
    assert card["refit"]["rows"] == 400
    assert choice["refit"] == ["dense", "linear", "majority"]
    assert card["temperature"] == choice["temperatures"].get("dense")
    best = (project / "models/best/model.keras").read_bytes()
    assert best == (paths.selected_dir("dense") / "model.keras").read_bytes()
    assert best != (paths.tuned_dir("dense") / "model.keras").read_bytes()
    rows = {
        row["candidate"]: row
        for row in json.loads((paths.EVALUATE_TABLES_DIR / "candidates.json").read_text())
    }
    assert all(row["refit"] for row in rows.values())
    tuned = content(project, paths.tuned_dir("dense") / "metrics.json")
    assert rows["dense"]["val"]["accuracy"] == pytest.approx(tuned["val_accuracy"], abs=1e-6)
    if card["temperature"]:
        assert rows["dense"]["val"]["log_loss"] < tuned["val_loss"]

    before = load_model(paths.tuned_dir("dense") / "model.keras")
    features = np.load(paths.FEATURES_NPY)[400:500]
    plain = before.predict_on_batch(features)
    assert refit.temper(paths.tuned_dir("dense"), 3.0)
    after = load_model(paths.tuned_dir("dense") / "model.keras").predict_on_batch(features)
    assert after == pytest.approx(tempered(plain, 3.0, several=False), abs=1e-5)
    assert content(project, paths.tuned_dir("dense") / "settings.json")["temperature"] == 3.0
    assert evaluation.chosen.temperature == card["temperature"]


@pytest.mark.long
def test_command_line_runs_the_stage(project: Path, stage_environment) -> None:
    """`python -m pipeline.stages.evaluate` judges the candidates of params.yaml, and says what it chose.

    Of 20 persons, which is few, and it says that too.
    """
    copy_project(project)
    yaml = YAML()
    params = yaml.load(paths.PARAMS_YAML)
    for name in set(params["candidates"]) - {"dense", "linear", "majority"}:
        del params["candidates"][name]
    params["register"]["baselines_may_win"] = False
    params["evaluate"]["select_by"] = "accuracy"
    yaml.dump(params, paths.PARAMS_YAML)
    make_honest(project)
    samples = pq.read_table(paths.SAMPLES_PARQUET).drop_columns("group")
    persons = [f"p{row // 5}" for row in range(500)]
    pq.write_table(samples.append_column("group", pa.array(persons)), paths.SAMPLES_PARQUET)
    no_folds("dense", "linear", "majority")
    said = {}
    for stage in ("select", "refit", "evaluate"):
        answer = subprocess.run(
            [sys.executable, "-m", f"pipeline.stages.{stage}"],
            capture_output=True, text=True, env=stage_environment, check=False, timeout=300,
        )  # fmt: skip
        assert (answer.returncode, answer.stderr) == (0, "")
        said[stage] = answer.stdout
    assert "Chosen by 100 validation rows (20 independent units)" in said["select"]
    assert "Warning: Only 20 independent units" in said["select"]
    assert "dense: trained again on 400 rows of train and val, " in said["refit"]
    accuracy = content(project, paths.EVALUATE_METRICS)["test"]["accuracy"]
    assert "Warning: The 100 examples are of too few groups" in answer.stdout
    assert "dense has the best validation accuracy" in answer.stdout
    assert f"test accuracy {accuracy:.4f}" in answer.stdout


def test_rows_of_a_day_are_drawn_together_where_the_split_is_by_time(evaluated: Path, project: Path) -> None:
    """100 test rows of 34 days, whole days right or wrong: wider intervals; of nine days too few are drawn, as before."""
    predictions = np.load(evaluated / paths.BEST_DIR / "test_predictions.npy")
    classes = np.array(content(evaluated, paths.FEATURES_STATE)["classes"])
    order = np.argsort(classes[predictions.argmax(axis=1)] == labels_of_test(), kind="stable")

    def of_days(rows_of_a_day: int) -> dict[str, float]:
        times = ["2026-01-01T00:00:00+00:00"] * 500
        for place, row in enumerate(400 + order):
            times[row] = f"{date(2026, 2, 1) + timedelta(days=place // rows_of_a_day)}T08:00:00+00:00"
        samples = pq.read_table(paths.SAMPLES_PARQUET)
        place = samples.schema.get_field_index("time")
        pq.write_table(samples.set_column(place, "time", pa.array(times)), paths.SAMPLES_PARQUET)
        judged(FAMILIES, **SETTINGS, split_method="time", pictures=False)
        found: dict[str, float] = content(project, paths.BEST_DIR / "card.json")["test"]["accuracy"]
        return found

    before = content(evaluated, paths.BEST_DIR / "card.json")["test"]["accuracy"]
    by_day = of_days(3)
    assert before["value"] == by_day["value"]
    assert by_day["high"] - by_day["low"] > 1.3 * (before["high"] - before["low"])
    assert before == of_days(12)


def test_rows_of_persons_are_judged_by_person(evaluated: Path, project: Path) -> None:
    """100 test rows, sorted by whether they are right, of 34 persons: the same values, wider intervals."""
    predictions = np.load(evaluated / paths.BEST_DIR / "test_predictions.npy")
    classes = np.array(content(evaluated, paths.FEATURES_STATE)["classes"])
    right = classes[predictions.argmax(axis=1)] == labels_of_test()
    samples = pq.read_table(paths.SAMPLES_PARQUET)
    persons = np.array([""] * 500, dtype=object)
    persons[400 + np.argsort(right, kind="stable")] = [f"p{place // 3}" for place in range(100)]
    samples = samples.drop_columns("group").append_column("group", pa.array(persons.tolist()))
    pq.write_table(samples, paths.SAMPLES_PARQUET)
    judged(FAMILIES, **SETTINGS, pictures=False)
    rows, grouped = (content(root, paths.BEST_DIR / "card.json") for root in (evaluated, project))
    assert (rows["candidate"], 34) == (grouped["candidate"], grouped["test_groups"])
    assert "test_groups" not in rows
    before, after = rows["test"]["accuracy"], grouped["test"]["accuracy"]
    assert before["value"] == after["value"]
    assert after["high"] - after["low"] > 1.3 * (before["high"] - before["low"])
    for name in ("codes.json", "per_class.csv"):
        written = [(root / paths.EVALUATE_TABLES_DIR / name).read_text() for root in (evaluated, project)]
        assert written[0] != written[1]
