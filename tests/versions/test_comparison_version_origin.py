"""A version is traced to a commit and a dvc.lock, or it is said why not."""

from pathlib import Path

import pytest
import yaml

from pipeline.runtime.errors import InputMissing
from pipeline.runtime.files import content_key
from pipeline.runtime.repository import commit_exists
from pipeline.versions import comparison
from pipeline.versions.comparison import read_origin
from tests.helpers.rebuilt_project import git, repository, stages, version, write


@pytest.fixture
def commit(tmp_path, monkeypatch):
    """A repository to stand in, and the commit of its code."""
    root = tmp_path / "project"
    made = repository(root)
    monkeypatch.chdir(root)
    monkeypatch.setattr(comparison, "fetch_model", lambda _store, _version, folder: folder)
    return made


def test_the_lock_beside_the_model_comes_first(commit, tmp_path):
    """A dvc.lock that was packed with the version is the one; its register stage is left out."""
    own = {"fetch": {"outs": []}, "register": {"outs": []}}
    write(tmp_path, {"millrace/dvc.lock": yaml.safe_dump({"stages": own})})
    found = read_origin(None, "digits", version(**{"git.commit": commit}), tmp_path)
    assert (commit, {"fetch": {"outs": []}}) == (found.commit, found.stages)


def test_a_lock_in_a_later_commit_is_found_by_its_digest(commit, tmp_path):
    """Nobody commits dvc.lock before the run; the tag of the version says which one it was."""
    write(".", {"dvc.lock": yaml.safe_dump({"stages": {"fetch": {"outs": []}}})})
    git(".", "commit", "-qam", "another run")
    tags = {"git.commit": commit, "dvc.stages.sha256": content_key(stages())}
    assert stages() == read_origin(None, "digits", version(**tags), tmp_path).stages
    tags["dvc.stages.sha256"] = "f" * 64
    assert {} == read_origin(None, "digits", version(**tags), tmp_path).stages


@pytest.mark.parametrize("beside", [True, False], ids=["beside the model", "in git"])
def test_stages_of_a_candidate_that_was_removed_are_none_of_its_origin(commit, tmp_path, beside):
    """DVC keeps them in dvc.lock, with the code and parameters of then; the version was made without them."""
    with Path("params.yaml").open("a") as file:
        file.write("candidates: {cnn: {}}\n")
    lock = yaml.safe_dump({"stages": {**stages(), "train@old": stages()["train@cnn"], "tune@old": {}}})
    write(".", {"dvc.lock": lock})
    git(".", "commit", "-qam", "another candidate less")
    if beside:
        write(tmp_path, {"millrace/dvc.lock": lock})
    tags = {"git.commit": git(".", "rev-parse", "HEAD"), "dvc.stages.sha256": content_key(stages())}
    assert stages() == read_origin(None, "digits", version(**tags), tmp_path).stages


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"git.dirty": "true"}, r"no commit holds.*git.dirty=true.*Commit them while they are here"),
        ({"git.commit": "none"}, r"no commit holds.*git.commit=none"),
        ({"git.commit": "1" * 40}, r"not in this repository. Expected 1111.*Clone the repository"),
    ],
)
def test_what_cannot_be_rebuilt_says_why(commit, tmp_path, tags, message):
    """Exit code 66 for a dirty tree, for no commit, and for a commit that is not here."""
    with pytest.raises(InputMissing, match=message):
        read_origin(None, "digits", version(**{"git.commit": commit} | tags), tmp_path)


def test_a_commit_that_only_the_remote_has_is_fetched(commit, tmp_path, monkeypatch):
    """A shallow clone asks its origin."""
    git(".", "config", "uploadpack.allowAnySHA1InWant", "true")
    git(tmp_path, "clone", "-q", "--depth", "1", (tmp_path / "project").as_uri(), "shallow")
    monkeypatch.chdir(tmp_path / "shallow")
    assert commit_exists(commit)
