"""The tree of a retrain belongs to the project it lies in, also after a move, and in a copy."""

import shutil

import pytest

from pipeline.retraining import retrain as retraining_retrain
from pipeline.retraining.retrain import Wishes
from tests.helpers.fake_project import FakeChildren, git, make_project, settings


@pytest.fixture
def retrained(tmp_path, monkeypatch):
    """A project that was retrained once."""
    folder = make_project(tmp_path / "project")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MILLRACE_HOME", raising=False)
    assert "promoted" == night(folder)["outcome"]
    return folder


def night(folder):
    """Retrain a project after its code changed."""
    with (folder / "pipeline/code.py").open("a") as file:
        file.write("more = True\n")
    git(folder, "commit", "-qam", "more")
    return retraining_retrain.retrain(FakeChildren(folder), settings(), Wishes())


def results(folder):
    """Return the commit of the branch of results."""
    return git(folder, "rev-parse", "retrain/main")


def test_a_moved_project_goes_on(retrained, tmp_path, monkeypatch):
    """Git and DVC both kept the old place."""
    moved = tmp_path / "moved"
    retrained.rename(moved)
    monkeypatch.chdir(moved)
    before = results(moved)
    assert "promoted" == night(moved)["outcome"]
    assert before != results(moved)
    assert str(retrained) + "/" not in (moved / ".millrace/retrain/tree/.dvc/config.local").read_text()
    assert not retrained.exists()


def test_a_copy_commits_to_its_own_branch(retrained, tmp_path, monkeypatch):
    """The original's branch of results and its tree are as they were."""
    copied = tmp_path / "copy"
    shutil.copytree(retrained, copied, symlinks=True)
    before = results(retrained)
    head = git(retrained / ".millrace/retrain/tree", "status", "--porcelain")
    monkeypatch.chdir(copied)
    assert "promoted" == night(copied)["outcome"]
    assert before == results(retrained)
    assert before != results(copied)
    assert head == git(retrained / ".millrace/retrain/tree", "status", "--porcelain")
    monkeypatch.chdir(retrained)
    assert "promoted" == night(retrained)["outcome"]
