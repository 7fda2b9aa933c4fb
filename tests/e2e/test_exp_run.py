"""`dvc exp run` in the workspace, in a copy of the project (`--temp`) or from the queue: it is recorded in the project."""

import subprocess

import pytest

from tests.e2e.clones import clone, commit, environment, executed, make_small

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def dvc(folder, *arguments, check=True):
    """Run DVC as a user would; return what it said."""
    # A stage finds the Python of the project by VIRTUAL_ENV, because a clone here has no .venv.
    done = subprocess.run(
        ["dvc", *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A project in whose workspace the experiment `first` ran, and was committed."""
    folder = clone(tmp_path_factory.mktemp("clone"))
    make_small(folder)
    commit(folder, "small")
    dvc(folder, "exp", "run", "--name", "first", "-S", "seed=8")
    commit(folder, "first results")
    return folder


def test_the_copy_has_the_parameters_of_the_experiment(tmp_path):
    """`check` refuses what the experiment sets, and passes what it sets, whatever the workspace has."""
    folder = clone(tmp_path / "clone", "quick/digits")
    refused = dvc(folder, "exp", "run", "--temp", "-S", "training.epochs=-5", "check", check=False)
    assert 0 != refused.returncode
    assert "training.epochs" in refused.stdout + refused.stderr
    passed = dvc(folder, "exp", "run", "--temp", "--name", "other-seed", "-S", "seed=8", "check")
    assert "no problem found" in passed.stdout
    assert not (folder / "reports/check/passed.json").exists()


def test_an_experiment_in_the_workspace_is_what_repro_would_have_made(ran):
    """Its parameters and results lie in the workspace, and nothing is left to do."""
    assert "seed: 8" in (ran / "params.yaml").read_text()
    assert "first" in dvc(ran, "exp", "list", "--all-commits").stdout
    assert [] == executed(dvc(ran, "repro"))
    assert (ran / "models/best/model.keras").read_bytes() in registered(ran)


@pytest.mark.parametrize(("way", "units"), [("--temp", 31), ("--queue", 30)])
def test_an_experiment_in_a_copy_is_recorded_in_the_project(ran, way, units):
    """The model that the copy made stands in the project's registry; applied, nothing is trained again."""
    name = f"units-{units}"
    before = len(registered(ran))
    dvc(ran, "exp", "run", way, "--name", name, "-S", f"candidates.cnn.model.units={units}")
    if way == "--queue":
        # Returns when the worker has ended, which writes into the same pipe.
        dvc(ran, "queue", "start")
        logged = dvc(ran, "queue", "logs", name)
        assert "Success" in dvc(ran, "queue", "status").stdout, logged.stdout
    assert before + 1 == len(registered(ran))
    assert f"units: {units}" not in (ran / "params.yaml").read_text()
    dvc(ran, "exp", "apply", name)
    assert f"units: {units}" in (ran / "params.yaml").read_text()
    assert (ran / "models/best/model.keras").read_bytes() in registered(ran)
    # DVC keeps what only they write out of its cache, so that they run again.
    assert {"check", "register"} >= set(executed(dvc(ran, "repro")))
    assert before + 1 == len(registered(ran))


def registered(folder):
    """Return the bytes of every model in the project's store."""
    return {path.read_bytes() for path in (folder / "mlartifacts/models").rglob("model.keras")}
