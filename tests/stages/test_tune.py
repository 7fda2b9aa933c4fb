"""The stage `tune`: never worse than the baseline, and the same answer however it was interrupted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from pipeline.params.load import load_params
from tests.conftest import copy_project
from tests.helpers.ray_cluster import cluster

MAKE_BASELINE = """
import json, shutil, sys
from pathlib import Path
from pipeline.tuning.trials import open_training
from pipeline.tuning.trials import FILES, Rung

if __name__ == "__main__":
    name, family, settings = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    run_rung = open_training(family, seed=7, threads=1)
    folder = Path("baseline_work")
    run_rung(Rung(0, {}, settings, settings["training"]["epochs"], folder))
    shutil.copytree(folder / FILES, Path("models/baseline") / name)
"""
RUNG_BY_RUNG = """
import json, sys
from pathlib import Path
from pipeline.tuning.trials import open_training
from pipeline.tuning.trials import FILES, Rung

if __name__ == "__main__":
    for family in ("cnn", "autoencoder"):
        settings = json.loads(sys.argv[1])[family]
        other = json.loads(json.dumps(settings))
        other["training"]["learning_rate"] *= 3
        run_rung = open_training(family, seed=7, threads=1)
        for name, chosen, epochs in (("a", settings, 1), ("b", other, 1), ("a", settings, 2), ("whole", settings, 2)):
            run_rung(Rung(1, {}, chosen, epochs, Path(family) / name))
"""
LIST_MODULES = """
import sys
from pipeline.stages import tune

if __name__ == "__main__":
    sys.argv = ["tune", "cnn"]
    tune.main()
    print("loaded:", *sorted({name.split(".")[0] for name in sys.modules} & {"tensorflow", "keras", "optuna", "mlflow"}))
"""
SPACE = {
    "training.learning_rate": {"kind": "float", "low": 1e-3, "high": 3e-1, "log": True},
    "model.l2": {"kind": "float", "low": 0.0, "high": 0.01},
}


def changed(candidate: str, **tune: Any) -> dict[str, Any]:
    """Return the shipped parameters, small, with another search for one candidate."""
    params: dict[str, Any] = msgspec.to_builtins(load_params())
    workers = tune.pop("workers", 1)
    small = {"epochs": 6, "batch_size": 16, "early_stopping_patience": 0, "learning_rate": 1e-3}
    params["training"] |= small | {"monitor": "val_loss"}
    params["tune"] |= {"min_epochs": 3, "generation": 2, "reduction": 2, "workers": workers}
    params["threads"] = 1
    params["candidates"][candidate]["training"] = {}
    params["candidates"][candidate]["tune"] = {"trials": 3, "space": SPACE} | tune
    params["candidates"]["autoencoder"]["model"] |= {"pretrain_epochs": 1, "units": [8], "codes": 3}
    params["candidates"]["cnn"]["model"] |= {"filters": [4], "units": 8}
    return params


def settings_of(params: dict[str, Any], candidate: str) -> dict[str, Any]:
    """Return what trains a candidate."""
    return {"model": params["candidates"][candidate]["model"], "training": params["training"]}


def write_data(folder: Path) -> None:
    """Write 120 images of 6x6 pixels in three classes, with noise, as the stage `features` leaves them."""
    random = np.random.default_rng(0)
    classes = np.arange(120) % 3
    images = random.integers(0, 200, (120, 6, 6, 1))
    images[np.arange(120), classes * 2] += 40
    (folder / "data/interim").mkdir(parents=True)
    np.save(folder / "data/interim/payload.npy", images.astype(np.uint8))
    pd.DataFrame({
        "row": np.arange(120, dtype=np.int32), "group": "", "content_sha256": [f"{row:03d}" for row in range(120)],
    }).to_parquet(folder / "data/interim/samples.parquet")  # fmt: skip
    splits = np.where(np.arange(120) < 72, "train", "val")
    (folder / "data/split").mkdir(parents=True)
    pd.DataFrame({
        "sample_id": [f"{row:03d}" for row in range(120)],
        "row": np.arange(120, dtype=np.int32),
        "label": [f"class {index}" for index in classes],
        "split": splits,
    }).to_parquet(folder / "data/split/split.parquet")  # fmt: skip
    (folder / "data/features").mkdir(parents=True)
    np.save(folder / "data/features/features.npy", np.zeros((120, 0), np.float32))
    state = {
        "classes": ["class 0", "class 1", "class 2"],
        "class_counts": [24, 24, 24],
        "image": {"shape": [6, 6, 1], "mean": [0.4], "standard_deviation": [0.25]},
        "handmade": {"names": [], "mean": [], "standard_deviation": [], "groups": []},
    }
    (folder / "data/features/state.json").write_text(json.dumps(state))


def python(folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a project."""
    (folder / "script.py").write_text(code)
    command = [sys.executable, "script.py", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def tune(folder: Path, candidate: str = "cnn") -> subprocess.CompletedProcess[str]:
    """Run the stage as DVC does."""
    command = [sys.executable, "-m", "pipeline.stages.tune", candidate]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def tune_on(address: str, folder: Path) -> subprocess.Popen[str]:
    """Start the stage with its trials on a cluster."""
    command = [sys.executable, "-m", "pipeline.stages.tune", "cnn"]
    environment = {**os.environ, "MILLRACE_ENGINE": address}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def tuned(folder: Path) -> dict[str, bytes]:
    """Return the files the stage wrote."""
    return {path.name: path.read_bytes() for path in sorted((folder / "models/tuned/cnn").iterdir())}


def trials(folder: Path) -> list[dict[str, Any]]:
    """Return the content of trials.json."""
    return json.loads((folder / "models/tuned/cnn/trials.json").read_text())


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project in which the baseline of `cnn` is trained."""
    folder = copy_project(tmp_path_factory.mktemp("ready"))
    params = changed("cnn")
    (folder / "params.yaml").write_text(json.dumps(params))
    write_data(folder)
    made = python(folder, MAKE_BASELINE, "cnn", "cnn", json.dumps(settings_of(params, "cnn")))
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture
def small_project(ready: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return shutil.copytree(ready, tmp_path / "project")


@pytest.fixture(scope="module")
def searched(ready: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project after an undisturbed search with one worker."""
    folder = shutil.copytree(ready, tmp_path_factory.mktemp("searched") / "project")
    done = tune(folder)
    assert done.returncode == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout)
    return folder


@pytest.mark.long
def test_without_trials_the_baseline_passes_through(small_project: Path) -> None:
    """With `trials: 0` all files are byte copies, and neither TensorFlow nor Optuna is imported."""
    (small_project / "params.yaml").write_text(json.dumps(changed("cnn", trials=0)))
    done = python(small_project, LIST_MODULES)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "loaded:"
    baseline = small_project / "models/baseline/cnn"
    copies = tuned(small_project)
    assert {name: content for name, content in copies.items() if name != "trials.json"} == {
        path.name: path.read_bytes() for path in baseline.iterdir()
    }
    assert [(row["number"], row["chosen"]) for row in trials(small_project)] == [(0, True)]


def test_a_search_finds_something_better(searched: Path) -> None:
    """The chosen trial has the best score of all, its files are complete, and each rung has its line."""
    rows = trials(searched)
    chosen = next(row for row in rows if row["chosen"])
    complete = [row for row in rows if row["state"] == "complete"]
    assert chosen["rungs"][-1]["score"] == min(row["rungs"][-1]["score"] for row in complete)
    assert chosen["number"] != 0
    assert tuned(searched).keys() == {
        "history.json", "metrics.json", "model.keras", "settings.json", "trials.json", "val_predictions.npy",
    }  # fmt: skip
    settings = json.loads(tuned(searched)["settings.json"])
    assert settings["training"]["learning_rate"] == chosen["settings"]["training.learning_rate"]
    assert [[rung["epochs"] for rung in row["rungs"]] for row in rows[1:3]] in (
        [[3, 6], [3]],
        [[3], [3, 6]],
    )
    lines = (searched / "stdout.txt").read_text()
    assert lines.count("epoch 3: val_loss") == 3
    assert not (searched / ".millrace/tune/cnn").exists()


def test_the_score_is_the_cross_entropy_of_the_predictions(searched: Path) -> None:
    """Scores are measured on the predictions, without penalties, so settings with another penalty compare."""
    probabilities = np.load(searched / "models/tuned/cnn/val_predictions.npy").astype(float)
    expected = -np.log(probabilities[np.arange(48), np.arange(72, 120) % 3]).mean()
    chosen = next(row for row in trials(searched) if row["chosen"])
    assert chosen["metrics"]["val_loss"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_two_workers_and_a_kill_end_in_the_same_bytes(small_project: Path, searched: Path) -> None:
    """Two workers, killed with -9 in the middle and started again, write what one undisturbed worker writes."""
    (small_project / "params.yaml").write_text(json.dumps(changed("cnn", workers=2)))
    command = [sys.executable, "-m", "pipeline.stages.tune", "cnn"]
    process = subprocess.Popen(command, cwd=small_project, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(small_project.glob(".millrace/tune/cnn/*/*/rung-*.json"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (small_project / "models/tuned").exists()
    done = tune(small_project)
    assert done.returncode == 0, done.stderr
    assert "remembered" in done.stdout
    assert tuned(small_project) == tuned(searched)


@pytest.mark.long
def test_worse_trials_leave_the_baseline_in_place(small_project: Path) -> None:
    """When no trial is better on validation the baseline's files come out, byte for byte."""
    hopeless = {"training.learning_rate": {"kind": "float", "low": 1e-9, "high": 1e-8}}
    (small_project / "params.yaml").write_text(json.dumps(changed("cnn", trials=1, space=hopeless)))
    done = tune(small_project)
    assert done.returncode == 0, done.stderr
    assert "baseline kept" in done.stdout
    baseline = small_project / "models/baseline/cnn"
    assert tuned(small_project)["model.keras"] == (baseline / "model.keras").read_bytes()
    assert [row["chosen"] for row in trials(small_project)] == [True, False]


@pytest.mark.long
def test_when_every_trial_fails_the_stage_says_why(small_project: Path) -> None:
    """All failed is exit 65 with a line per cause, nothing is written, and the next attempt starts anew."""
    absurd = {"training.learning_rate": {"kind": "float", "low": 1e36, "high": 1e37}}
    (small_project / "params.yaml").write_text(json.dumps(changed("cnn", trials=2, space=absurd)))
    done = tune(small_project)
    assert done.returncode == 65
    assert done.stderr.count("TrainingDiverged") == 2
    assert "trial   1" in done.stderr
    assert not (small_project / "models/tuned").exists()
    assert not (small_project / ".millrace/tune/cnn").exists()


@pytest.mark.slow
def test_a_trial_does_not_depend_on_rungs_or_on_the_trials_before_it(small_project: Path) -> None:
    """Trained rung by rung with another trial in between, the model has the bytes of one straight training."""
    params = changed("cnn")
    params["training"] |= {"epochs": 2}
    settings = {family: settings_of(params, family) for family in ("cnn", "autoencoder")}
    done = python(small_project, RUNG_BY_RUNG, json.dumps(settings))
    assert done.returncode == 0, done.stderr
    for family in settings:
        files = {path.name for path in (small_project / family / "whole/files").iterdir()}
        assert "model.keras" in files
        for name in files:
            piecewise, whole = (small_project / family / part / "files" / name for part in ("a", "whole"))
            assert piecewise.read_bytes() == whole.read_bytes(), name


@pytest.mark.ray
@pytest.mark.slow
def test_two_machines_give_the_same_bytes(searched: Path, small_project: Path) -> None:
    """Trials on two raylets leave the files of one worker here, trials.json and the model included."""
    with cluster() as found:
        process = tune_on(found.address, small_project)
        _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert tuned(small_project) == tuned(searched)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("killed", ["raylet", "head"])
def test_a_machine_that_dies_changes_nothing(searched: Path, small_project: Path, killed: str) -> None:
    """A raylet under kill -9 loses its rungs to the other; without its head the search ends with 69 and goes on later."""
    with cluster() as found:
        process = tune_on(found.address, small_project)
        assert process.stdout is not None
        assert process.stdout.readline()  # the first rung has ended, so others run or wait
        os.kill(found.raylets[1] if killed == "raylet" else found.head, signal.SIGKILL)
        _, errors = process.communicate(timeout=600)
    if killed == "head":
        assert process.returncode == 69, errors
        assert "does not answer" in errors
        assert tune(small_project).returncode == 0
    else:
        assert process.returncode == 0, errors
    assert tuned(small_project) == tuned(searched)
