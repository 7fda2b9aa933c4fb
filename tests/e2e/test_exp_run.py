"""`dvc exp run` in a copy of the project, `--temp` or from the queue, works on the copy and records in the project."""

import json
import subprocess

import pytest

from tests.e2e.clones import clone, environment

pytestmark = pytest.mark.slow


def dvc(folder, *arguments):
    """Run DVC as a user would; return what it said."""
    # A stage finds the Python of the project by VIRTUAL_ENV, because a clone here has no .venv.
    return subprocess.run(
        ["dvc", *arguments], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )


def test_the_copy_has_the_parameters_of_the_experiment(tmp_path):
    """`check` refuses what the experiment sets, and passes what it sets, whatever the workspace has."""
    folder = clone(tmp_path / "clone", "quick/digits")
    refused = dvc(folder, "exp", "run", "--temp", "-S", "training.epochs=-5", "check")
    assert 0 != refused.returncode
    assert "training.epochs" in refused.stdout + refused.stderr
    passed = dvc(folder, "exp", "run", "--temp", "--name", "other-seed", "-S", "seed=8", "check")
    assert 0 == passed.returncode, passed.stdout + passed.stderr
    assert "no problem found" in passed.stdout
    assert not (folder / "reports/check/passed.json").exists()


@pytest.mark.parametrize("way", ["--temp", "--queue"])
def test_a_whole_experiment_is_recorded_in_the_project(way, tmp_path):
    """The model that the copy made stands in the project's registry, with the copy gone."""
    folder = clone(tmp_path / "clone", "quick/digits")
    done = dvc(folder, "exp", "run", way, "--name", "eight", "-S", "seed=8")
    if way == "--queue":
        assert 0 == done.returncode, done.stdout + done.stderr
        dvc(folder, "queue", "start")
        logged = dvc(folder, "queue", "logs", "--follow", "eight")
        done = dvc(folder, "queue", "status")
        dvc(folder, "queue", "stop")
        assert "Success" in done.stdout, logged.stdout
    assert 0 == done.returncode, done.stdout + done.stderr
    assert (folder / "mlflow.db").is_file()
    assert list((folder / "mlartifacts").rglob("model.keras"))
    shown = dvc(folder, "exp", "show", "--json")
    assert "eight" in shown.stdout
    applied = dvc(folder, "exp", "apply", "eight")
    assert 0 == applied.returncode, applied.stderr
    assert "seed: 8" in (folder / "params.yaml").read_text()
    assert json.loads((folder / "reports/evaluate/metrics.json").read_text())
