"""A project as teams have it: below a monorepo, in a path with blanks and umlauts, run by cron, closed to others.

One pipeline is run once, and everything else is done with what it left.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.runtime.strict_yaml import read_yaml
from tests.conftest import copy_project
from tests.e2e.clones import executed, lock_of, make_small

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
FOLDER = "Größe & Maß/ml projekt"
NOT_IN_GIT = {"check", "register"}
"""Stages that write only what neither git nor DVC's cache keeps: another clone runs them."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The home of the user."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def cron(home):
    """Run a command in a folder as cron does: almost no environment, another umask, no terminal."""

    def call(folder, *command, check=True):
        done = subprocess.run(
            command,
            cwd=folder,
            env={"HOME": str(home), "LOGNAME": "ada", "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"},
            umask=0o077,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    return call


@pytest.fixture(scope="module")
def dvc(cron):
    """Run DVC in a project, from its environment that nobody activated."""
    return lambda folder, *arguments: cron(folder, ".venv/bin/dvc", "--wait-for-lock", *arguments)


@pytest.fixture(scope="module")
def millrace(cron):
    """Run Millrace in a project, without an assertion about its exit code."""
    # By module, as the schedules do: the program on PATH is that of the tests' own environment.
    return lambda folder, *arguments: cron(
        folder, ".venv/bin/python", "-m", "pipeline.cli", *arguments, check=False
    )


@pytest.fixture(scope="module")
def git(cron):
    """Run git with a name."""
    named = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")
    return lambda folder, *arguments, check=True: cron(folder, *named, *arguments, check=check)


def stages_run(done):
    """Return the stages that a `dvc repro` ran, as a set."""
    return set(executed(done))


@pytest.fixture(scope="module")
def ran(tmp_path_factory, cron, dvc, git):
    """The project below its monorepo, run once, committed, and run again; and what the runs said."""
    top = tmp_path_factory.mktemp("top") / "all of us"
    project = top / FOLDER
    project.mkdir(parents=True)
    git(project, "init", "-q", "-b", "main", str(top))
    (top / "README").write_text("everybody's\n")
    copy_project(project)
    (project / "dvc.lock").unlink()
    shutil.rmtree(project / "reports")
    make_small(project, held=True)
    set_up(project, cron)
    dvc(project, "remote", "add", "--local", "--default", "ours", str(top / "remote"))
    first = dvc(project, "repro")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "first results")
    return project, first, dvc(project, "repro")


def set_up(project, cron):
    """Do what `make setup` does, with the environment of these tests."""
    (project / ".venv").symlink_to(sys.prefix)
    common = cron(project, "git", "rev-parse", "--path-format=absolute", "--git-common-dir").stdout.rstrip(
        "\n"
    )
    # .gitignore names a folder, and this one is a link.
    Path(common, "info/exclude").write_text(".venv\n/remote\n")
    cron(project, ".venv/bin/python", "-m", "pipeline.runtime.dvc_place")


def test_a_first_model_is_champion_and_the_commit_that_follows_is_found(ran, dvc, git, millrace):
    """Blanks, umlauts and `&` in the path, a folder of a larger repository, the environment of cron."""
    project, first, second = ran
    assert sorted(executed(first)) == sorted(lock_of(project)["stages"])
    assert "became champion" in first.stdout
    assert [] == executed(second)
    assert [] == executed(dvc(project, "repro"))
    said = millrace(project, "lineage").stdout
    assert "digits version 1 (champion)" in said
    assert git(project, "rev-parse", "HEAD").stdout.strip()[:7] in said


def test_nothing_is_open_to_others(ran):
    """Umask 077: nobody else may read a file that Millrace wrote."""
    project, *_ = ran
    written = [*project.glob(".millrace/**/*"), *project.glob("reports/*/*.json")]
    written += [project / "mlflow.db", *project.glob("mlartifacts/**/*")]
    files = [path for path in written if path.is_file() and not path.is_symlink()]
    assert len(files) > 30
    assert [] == [str(path) for path in files if path.stat().st_mode & 0o077]


def test_a_retrain_wants_a_repository_of_its_own(ran, millrace):
    """It works in a second working tree, which a monorepo would fill with everybody's files."""
    project, *_ = ran
    refused = millrace(project, "retrain")
    assert 66 == refused.returncode, refused.stderr
    assert f"Received: prefix={FOLDER}/" in refused.stderr


def test_a_shallow_clone_takes_the_results_from_the_remote(ran, cron, dvc, git):
    """`git clone --depth 1`, `dvc pull`: nothing is trained again, and the model is champion there as well."""
    project, *_ = ran
    top = project.parents[1]
    dvc(project, "push")
    git(top, "clone", "-q", "--depth", "1", top.as_uri(), str(top.parent / "shallow clone"))
    clone = top.parent / "shallow clone" / FOLDER
    set_up(clone, cron)
    dvc(clone, "remote", "add", "--local", "--default", "ours", str(top / "remote"))
    dvc(clone, "pull", "--allow-missing")
    assert same(project, clone, "models/best/model.keras")
    assert NOT_IN_GIT >= stages_run(dvc(clone, "repro"))
    assert "promoted" == decision(clone)


def same(project, other, name):
    """Return whether both have that file, with the same bytes."""
    return (project / name).read_bytes() == (other / name).read_bytes()


def decision(project):
    """Return what the gate decided."""
    return json.loads((project / "reports/register/decision.json").read_text())["decision"]


def test_what_dvc_itself_collects_is_nothing_that_is_needed(ran, dvc, millrace):
    """`dvc gc -w` keeps what the workspace names: nothing runs, and everything still has its hash."""
    project, *_ = ran
    dvc(project, "gc", "-w", "-f")
    assert [] == executed(dvc(project, "repro"))
    said = millrace(project, "verify").stdout
    assert "files of dvc.lock: fits" in said
    assert "registry: fits" in said


def test_cron_runs_the_line_that_schedule_shows(ran, cron, dvc, git, millrace, tmp_path):
    """A copy with a repository of its own: the night finds nothing to do; CI's detached HEAD is told what it lacks."""
    project, *_ = ran
    alone = tmp_path / "Größe & Maß" / "100% allein"
    shutil.copytree(project, alone, symlinks=True)
    (alone / ".venv").unlink()
    git(alone, "init", "-q", "-b", "main")
    set_up(alone, cron)
    git(alone, "add", "-A")
    git(alone, "commit", "-qm", "a repository of its own")
    line = millrace(alone, "schedule", "show", "--kind", "cron").stdout.splitlines()[0]
    time, command = re.fullmatch(r"((?:\S+ ){5})(.*)", line).groups()
    assert "30 2 * * * " == time
    cron("/", "/bin/sh", "-c", command.replace(r"\%", "%"))
    night = json.loads((alone / ".millrace/retrain/history.jsonl").read_text().splitlines()[-1])
    assert ("nothing_to_do", 0) == (night["outcome"], night["exit_code"])
    git(alone, "checkout", "-q", "--detach")
    assert [] == executed(dvc(alone, "repro"))
    refused = millrace(alone, "retrain")
    assert 64 == refused.returncode, refused.stderr
    assert "a detached HEAD" in refused.stderr


def test_two_branches_that_both_changed_the_lock_are_merged(ran, cron, dvc, git):
    """Two colleagues changed a candidate each: after the merge neither is trained again, and one run judges both."""
    project, *_ = ran
    for branch, candidate, settings in (("left", "linear", {"l2": 2e-4}), ("right", "cnn", {"units": 31})):
        git(project, "checkout", "-q", "-b", branch, "main")
        dvc(project, "checkout")
        make_small(project, **{candidate: settings})
        own = {f"{stage}@{candidate}" for stage in ("train", "tune", "folds")}
        assert own | {"select", "refit", "evaluate", "register", "check"} == stages_run(dvc(project, "repro"))
        git(project, "add", "-A")
        git(project, "commit", "-qm", branch)
    merged = git(project, "merge", "left", check=False)
    assert 1 == merged.returncode
    assert "CONFLICT (content): Merge conflict in " in merged.stdout
    assert "<<<<<<<" in (project / "dvc.lock").read_text()
    # What `make run` does where DVC does not take its lock.
    assert "dvc.lock" in cron(project, ".venv/bin/python", "-m", "pipeline.runtime.repository").stdout
    assert {"select", "refit", "evaluate", "check", "register"} >= stages_run(dvc(project, "repro"))
    candidates = read_yaml(project / "params.yaml")["candidates"]
    assert (2e-4, 31) == (candidates["linear"]["model"]["l2"], candidates["cnn"]["model"]["units"])
    git(project, "add", "-A")
    git(project, "commit", "-qm", "both")
    assert [] == executed(dvc(project, "repro"))
    assert "<<<<<<<" not in "".join(path.read_text() for path in (project / "reports").rglob("*.json"))
