"""Whether one can go back to what made a result."""

import json
import os
import subprocess

import pytest

from pipeline.provenance.origin import committed_state, origin_tags
from pipeline.runtime.repository import locked_stages
from tests.helpers.synthetic_project import make_project, write_lock

NAMES = ["cnn", "linear"]


def git(*arguments):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Stand in a project whose state is committed."""
    root = make_project(tmp_path / "larger/project")
    monkeypatch.chdir(tmp_path / "larger")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "all")
    monkeypatch.chdir(root)
    return root


def state():
    return committed_state(locked_stages(NAMES), NAMES)


def test_clean_tree_with_its_lock_is_committed(project):
    """Nothing to complain of, also where the project is a folder of a larger repository."""
    found = state()
    assert ((), "false", "true") == (found.problems, found.dirty, found.lock)
    tags = origin_tags(locked_stages(NAMES), found)
    assert ("false", "true", found.commit) == (
        tags["git.dirty"],
        tags["dvc.lock.committed"],
        tags["git.commit"],
    )


def test_reports_and_the_register_stage_do_not_count(project):
    """What DVC adds after the stage has asked, and results in reports/, cannot be committed yet."""
    lock = json.loads((project / "dvc.lock").read_text())
    lock["stages"]["register"] = {"outs": [{"path": "reports/register/decision.json", "md5": "0" * 32}]}
    lock["stages"]["train@gone"] = {"outs": []}
    (project / "dvc.lock").write_text(json.dumps(lock, indent=1))
    (project / "reports/evaluate/metrics.json").write_text("{}")
    assert () == state().problems


@pytest.mark.parametrize(
    ("path", "content"), [("params.yaml", "seed: 8\ncandidates: {}\n"), ("notes.txt", "new")]
)
def test_changed_and_new_files_make_the_tree_dirty(project, path, content):
    """The message names the file and says what to do."""
    (project / path).write_text(content)
    found = state()
    assert "true" == found.dirty
    (problem,) = found.problems
    assert path in problem
    assert "commit them, then run `dvc repro` again: it will be judged anew in seconds" in problem


def test_lock_that_is_not_committed_is_told(project):
    """Another result than the commit's lock holds cannot be gone back to."""
    write_lock(project, ("cnn", "linear"), "x")
    found = state()
    assert "false" == found.lock
    assert ["dvc.lock is not committed as it is now"] == [text.partition(":")[0] for text in found.problems]


def test_lock_that_git_does_not_know_is_not_committed(project):
    """A lock removed from git has never been committed."""
    git("rm", "-q", "--cached", "dvc.lock")
    git("commit", "-qm", "without")
    assert "false" == state().lock


def test_without_git_there_is_nothing_to_go_back_to(tmp_path, monkeypatch):
    """A downloaded ZIP has no commit."""
    monkeypatch.chdir(make_project(tmp_path))
    found = state()
    assert ("none", "none", "none") == (found.commit, found.dirty, found.lock)
    assert "git init" in found.problems[0]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
def test_a_repository_of_somebody_else_is_no_missing_one(project):
    """Root in a container that mounts a user's project: `git init` would be the wrong advice."""
    os.chown(project.parent / ".git", 12345, 12345)
    os.chown(project.parent, 12345, 12345)
    (problem,) = state().problems
    assert "dubious ownership" in problem
    assert "git config --global --add safe.directory" in problem
    assert "git init" not in problem
