"""One command runs everything; a second one nothing; a changed key only what reads it."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.runtime.strict_yaml import read_yaml
from tests.e2e.clones import clone, commit, dvc, environment, executed, lock_of

LEFT_OUT = ("rnn", "autoencoder", "dense")
"""Candidates of the quick digits example that only the longer tests train."""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A clone in which the quick digits example ran once, with few candidates, and what DVC printed."""
    folder = clone(tmp_path_factory.mktemp("clone"), "quick/digits")
    params = read_yaml(folder / "params.yaml")
    for name in LEFT_OUT:
        del params["candidates"][name]
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    commit(folder, "fewer candidates")
    return folder, dvc(folder, "repro")


@pytest.fixture(scope="module")
def ran_whole(tmp_path_factory):
    """A clone in which the quick digits example ran once, as it is."""
    folder = clone(tmp_path_factory.mktemp("clone"), "quick/digits")
    dvc(folder, "repro")
    return folder


def test_every_stage_runs_once(ran):
    """`dvc repro` in a fresh clone executes each stage of each candidate."""
    folder, done = ran
    assert sorted(executed(done)) == sorted(lock_of(folder)["stages"])


def test_the_table_at_the_end_names_the_choice(ran):
    """The last thing on the terminal is the table with candidates, choice, intervals and links."""
    _, done = ran
    for part in ("cnn", "linear", "champion", "accuracy", "http://127.0.0.1:5000"):
        assert part in done.stdout


def test_a_second_run_executes_nothing(ran):
    """Nothing changed, so nothing runs."""
    folder, _ = ran
    assert executed(dvc(folder, "repro")) == []


def test_mlflow_has_the_runs_and_one_champion(ran):
    """The store holds a parent run, one run per candidate, and a registered version with the alias."""
    folder, _ = ran
    with sqlite3.connect(folder / "mlflow.db") as store:
        (versions,) = store.execute("select count(*) from model_versions").fetchone()
        aliases = dict(store.execute("select alias, version from registered_model_aliases").fetchall())
        statuses = {status for (status,) in store.execute("select status from runs")}
    assert versions == 1
    assert aliases["champion"] == 1
    assert statuses == {"FINISHED"}


def test_the_decision_says_what_was_decided_and_why(ran):
    """reports/register/decision.json holds the verdict and its numbers."""
    folder, _ = ran
    decision = json.loads((folder / "reports/register/decision.json").read_text())
    assert decision["decision"] == "promoted"


def test_the_notebook_runs_anew(ran):
    """Every cell of examples/notebook.ipynb, beside the champion that was trained here."""
    folder, _ = ran
    command = [sys.executable, "-m", "docs.notebook"]
    subprocess.run(command, cwd=folder, env=environment(), check=True, capture_output=True)
    notebook = json.loads((folder / "examples/notebook.ipynb").read_text())
    said = [
        "".join(out["data"]["text/plain"]) for cell in notebook["cells"] for out in cell.get("outputs", [])
    ]
    assert 3 == len(said)
    assert 3 == len(re.findall(r"\('\d', [01]\.\d+\)", said[1]))
    board = (folder / "reports/evaluate/tables/candidates.json").read_text()
    assert {row["candidate"] for row in json.loads(board)} <= set(re.findall(r"\w+", said[2]))
    subprocess.run(["git", "checkout", "-q", "examples/notebook.ipynb"], cwd=folder, check=True)


@pytest.mark.long
def test_what_dvc_shows(ran):
    """metrics show, params diff, plots show and dag answer as a DVC user expects."""
    folder, _ = ran
    assert "accuracy" in dvc(folder, "metrics", "show").stdout
    assert "tune@cnn" in dvc(folder, "dag").stdout
    page = dvc(folder, "plots", "show", "-o", "plots").stdout.strip().splitlines()[-1]
    assert "index.html" in page


@pytest.fixture(scope="module")
def changed(ran_whole):
    """The same clone after a setting of candidate rnn was edited, and what ran."""
    params = ran_whole / "params.yaml"
    before = params.read_text()
    text = before.replace("cell: gru ", "cell: lstm ", 1)
    assert text != before
    params.write_text(text)
    assert "candidates.rnn.model.cell" in dvc(ran_whole, "params", "diff").stdout
    return ran_whole, executed(dvc(ran_whole, "repro"))


@pytest.mark.slow
def test_one_rnn_parameter_reruns_only_the_rnn(changed):
    """Editing a setting of candidate rnn runs its stages and what depends on them, nothing else."""
    _, ran = changed
    assert ran[:4] == ["check", "train@rnn", "tune@rnn", "folds@rnn"]
    # Who reads all candidates runs; who trains again only if another one was chosen.
    assert set(ran[4:]) - {"refit"} == {"select", "evaluate", "register"}


@pytest.mark.slow
def test_going_back_restores_results_and_loses_no_run(changed):
    """Stages restored from DVC's run cache execute no code; their MLflow runs are there all the same."""
    folder, _ = changed
    subprocess.run(["git", "checkout", "-q", "params.yaml"], cwd=folder, check=True)
    for store in folder.glob("mlflow.db*"):
        store.unlink()
    ran_again = executed(dvc(folder, "repro"))
    assert "register" in ran_again
    assert "train@rnn" not in ran_again
    with sqlite3.connect(folder / "mlflow.db") as store:
        names = {re.split(r" \(chosen\)|,", name)[0] for (name,) in store.execute("select name from runs")}
    assert {"cnn", "rnn", "autoencoder", "dense", "linear", "majority"} <= names


def test_dvc_works_without_an_activated_environment(ran, tmp_path):
    """`.venv/bin/dvc repro` with a bare PATH finds the project's Python."""
    folder, _ = ran
    bare = {name: value for name, value in environment().items() if name != "VIRTUAL_ENV"} | {
        "PATH": "/usr/bin:/bin"
    }
    if not (folder / ".venv").exists():
        (folder / ".venv").symlink_to(sys.prefix)
    done = subprocess.run(
        [str(Path(sys.executable).parent / "dvc"), "repro", "-sf", "check"],
        cwd=folder,
        env=bare,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_busy_repository_is_waited_for(ran):
    """`make run` survives another dvc command that holds the lock for longer than DVC waits by itself."""
    folder, _ = ran
    hold = "import sys, time; from dvc.repo import Repo\nwith Repo('.').lock: print('held', flush=True); time.sleep(8)"

    def repro(*flags):
        holder = subprocess.Popen([sys.executable, "-c", hold], cwd=folder, stdout=subprocess.PIPE, text=True)
        holder.stdout.readline()
        done = subprocess.run(
            ["dvc", *flags, "repro", "-sf", "check"],
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        holder.wait()
        return done.returncode

    flag = re.search(r"dvc (--\S+) repro", (folder / "Makefile").read_text()).group(1)
    assert repro(flag) == 0
    assert repro() != 0  # what DVC does by itself


@pytest.mark.long
def test_a_damaged_cache_object_stops_the_stage_that_reads_it(ran):
    """DVC checks out an object with changed bytes in silence; the next stage refuses it and says what to do."""
    folder, _ = ran
    dvc(folder, "repro")
    split = folder / "data/split/split.parquet"
    (md5,) = (
        out["md5"]
        for out in lock_of(folder)["stages"]["split"]["outs"]
        if out["path"].endswith("split.parquet")
    )
    stored = folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    good, times = stored.read_bytes(), (stored.stat().st_atime_ns, stored.stat().st_mtime_ns)

    def replace_stored(content):
        stored.chmod(0o644)
        stored.write_bytes(content)
        os.utime(stored, ns=times)
        stored.chmod(0o444)
        split.unlink()
        dvc(folder, "checkout", "data/split/split.parquet")

    replace_stored(good[:-1] + bytes([good[-1] ^ 1]))
    refused = dvc(folder, "repro", "-sf", "features", check=False)
    replace_stored(good)
    assert refused.returncode != 0
    assert "data/split/split.parquet differ from what dvc.lock recorded" in refused.stderr
