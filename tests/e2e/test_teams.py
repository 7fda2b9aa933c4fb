"""A project as teams have it: below a monorepo, in a path with blanks and umlauts, run by cron, closed to others.

One pipeline is run once, and everything else is done with what it left.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.runtime.strict_yaml import read_yaml
from tests.conftest import copy_project
from tests.e2e.clones import ROOT, executed, lock_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
FOLDER = "Größe & Maß/ml projekt"
CANDIDATES = ("dense", "linear", "majority")


def cron(folder, *command, check=True):
    """Run a command as cron does: almost no environment, another umask, no terminal."""
    home = folder.parents[1]
    environment = {"HOME": str(home), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    # DVC's configuration holds ASCII only, so that a private place below this project cannot stand there.
    environment["DVC_SITE_CACHE_DIR"] = str(home / ".site")
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        umask=0o077,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not check or done.returncode == 0, f"{command}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


def repro(folder):
    """Run the pipeline and return the names of the stages that ran."""
    return executed(cron(folder, "dvc", "--wait-for-lock", "repro"))


def git(folder, *arguments, check=True):
    """Run git with a name."""
    return cron(folder, "git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments, check=check)


def make_params(folder, **changes):
    """Write params.yaml of three quick candidates."""
    params = read_yaml(ROOT / "examples/quick/digits.yaml")
    params["candidates"] = {name: params["candidates"][name] for name in CANDIDATES}
    params["register"]["uncommitted"] = "a test of the pipeline"
    for key, value in changes.items():
        params["candidates"][key]["model"]["l2"] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The project below its monorepo, run once and committed, with its DVC remote."""
    top = tmp_path_factory.mktemp("top") / "all of us"
    project = top / FOLDER
    project.mkdir(parents=True)
    os.chmod(top, 0o700)
    cron(project, "git", "init", "-q", "-b", "main", str(top))
    (top / "README").write_text("everybody's\n")
    copy_project(project)
    (project / "dvc.lock").unlink(missing_ok=True)
    shutil.rmtree(project / "reports", ignore_errors=True)
    make_params(project)
    (top / ".git/info/exclude").write_text(".venv\n/.site\n/remote\n")
    (project / ".venv").symlink_to(sys.prefix)
    (top / "remote").mkdir()
    cron(project, "dvc", "remote", "add", "--local", "-d", "ours", str(top / "remote"))
    first = repro(project)
    git(project, "add", "-A")
    git(project, "commit", "-qm", "first results")
    return project, first


def test_everything_runs_once_and_a_model_reigns(ran):
    """Blanks, umlauts and `&` in the path, a folder of a larger repository, the environment of cron."""
    project, first = ran
    assert sorted(first) == sorted(lock_of(project)["stages"])
    assert [] == repro(project)
    said = cron(project, "millrace", "lineage").stdout
    assert "digits version 1 (champion)" in said
    commit = git(project, "rev-parse", "HEAD").stdout.strip()
    assert re.search(r"git.commit\s+│\s+([0-9a-f]+)", said) or "git.commit" in said
    assert len(commit) == 40


def test_nothing_is_open_to_others(ran):
    """Umask 077: no file that Millrace wrote may be read by group or world."""
    project, _ = ran
    written = [
        *project.glob(".millrace/**/*"),
        *project.glob("models/**/*"),
        *project.glob("reports/*/*.json"),
    ]
    written += [project / "mlflow.db", *project.glob("mlartifacts/**/*")]
    files = [path for path in written if path.is_file() and not path.is_symlink()]
    assert len(files) > 30
    # DVC makes objects of its cache, and copies of them, readable or not by rules of its own.
    ours = [path for path in files if "models" not in path.relative_to(project).parts[:1]]
    assert [] == [str(path) for path in ours if path.stat().st_mode & 0o077]


def test_a_detached_head_changes_nothing(ran):
    """CI checks commits out, not branches."""
    project, _ = ran
    git(project, "checkout", "-q", "--detach")
    try:
        assert [] == repro(project)
        refused = cron(project, "millrace", "retrain", check=False)
        assert refused.returncode in (64, 66)
        assert "Traceback" not in refused.stderr
    finally:
        git(project, "checkout", "-q", "main")


def test_a_shallow_clone_takes_the_results_from_the_remote(ran):
    """`git clone --depth 1`, `dvc pull`, and nothing is trained again."""
    project, _ = ran
    top = project.parents[1]
    cron(project, "dvc", "push")
    other = top.parent / "shallow clone"
    cron(project, "git", "clone", "-q", "--depth", "1", top.as_uri(), str(other))
    clone = other / FOLDER
    (other / ".git/info/exclude").write_text(".venv\n")
    (clone / ".venv").symlink_to(sys.prefix)
    cron(clone, "dvc", "remote", "add", "--local", "-d", "ours", str(top / "remote"))
    cron(clone, "dvc", "pull")
    model = "models/best/model.keras"
    assert (project / model).read_bytes() == (clone / model).read_bytes()
    assert [] == [name for name in repro(clone) if name != "register"]


def test_what_dvc_itself_collects_is_nothing_that_is_needed(ran):
    """`dvc gc -w` keeps what the workspace names: nothing runs, and everything still has its hash."""
    project, _ = ran
    cron(project, "dvc", "gc", "-w", "-f")
    assert [] == repro(project)
    done = cron(project, "millrace", "verify", check=False)
    assert "files of dvc.lock: fits" in done.stdout, done.stdout + done.stderr
    assert "registry: fits" in done.stdout, done.stdout + done.stderr


def test_two_branches_that_both_changed_the_lock_are_merged(ran):
    """Two colleagues tuned a candidate each: the merge has both, and trains neither again."""
    project, _ = ran
    for branch, changes in (("left", {"linear": 2e-4}), ("right", {"dense": 2e-5})):
        git(project, "checkout", "-q", "-b", branch, "main")
        make_params(project, **changes)
        assert f"train@{next(iter(changes))}" in repro(project)
        git(project, "add", "-A")
        git(project, "commit", "-qm", branch)
    merged = git(project, "merge", "left", check=False)
    assert merged.returncode == 1
    assert "CONFLICT" in merged.stdout
    assert "<<<<<<<" in (project / "dvc.lock").read_text()
    make_params(project, linear=2e-4, dense=2e-5)
    # What `make run` does where DVC does not take its lock.
    said = cron(project, sys.executable, "-m", "pipeline.runtime.repository")
    assert "dvc.lock" in said.stdout
    assert not {"train@linear", "train@dense", "ingest"} & set(repro(project))
    git(project, "add", "-A")
    git(project, "commit", "-qm", "both")
    assert [] == repro(project)
    assert "<<<<<<<" not in "".join(path.read_text() for path in (project / "reports").rglob("*.json"))
