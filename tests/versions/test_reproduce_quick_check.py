"""Whether a version could be rebuilt is answered by hashes, in seconds, with the exit code of the worst finding."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline import cli
from pipeline.commands import reproduce
from pipeline.fetching.source import stored_tar
from pipeline.params import load
from pipeline.provenance.locked import differing_packages
from pipeline.runtime import paths
from pipeline.runtime.files import path_digest
from pipeline.tracking import store as tracking_store
from pipeline.versions import comparison, lineage
from pipeline.versions import reproduce as versions_reproduce
from pipeline.versions.reproduce import quick_check
from tests.helpers.rebuilt_project import git, origin, repository, source, write

SHA256 = hashlib.sha256(b"raw").hexdigest()


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A version in its repository, with the locked packages installed and its data in the store."""
    root = tmp_path / "project"
    commit = repository(root, source({"path": str(tmp_path / "gone")}, SHA256, "image_folder"))
    monkeypatch.chdir(root)
    monkeypatch.setattr(versions_reproduce, "differing_packages", lambda _lock: [])
    stored_tar(SHA256).parent.mkdir(parents=True)
    stored_tar(SHA256).write_bytes(b"raw")
    return origin(root, commit)


def codes(found):
    return {item.what: item.code for item in found}


def test_all_hashes_equal_is_no_finding(made, capsys):
    """Six things are looked at, each in words; edits in the working tree do not matter."""
    write(".", {"params.yaml": "seed: 8\n", "pipeline/stages/train.py": "print('other')\n"})
    expected = dict.fromkeys(("commit", "model", "code", "params", "data", "environment"), 0)
    assert expected == codes(quick_check(made))
    reproduce._show_quick(made, as_json=False)
    assert 6 == capsys.readouterr().out.count("ok ")


@pytest.mark.parametrize(("raw", "code"), [(b"raw", 0), (b"rax", 65)])
def test_the_command_answers_with_its_exit_code(made, monkeypatch, capsys, raw, code):
    """`millrace reproduce digits/3 --quick` says which version and commit it looked at, and leaves no worktree."""
    store, version = SimpleNamespace(uri="sqlite:///mlflow.db"), SimpleNamespace(number=3, tags={})
    monkeypatch.setattr(tracking_store, "open_existing_store", lambda _root: store)
    monkeypatch.setattr(lineage, "named_version", lambda _store, _text, own: (own, version))
    monkeypatch.setattr(comparison, "read_origin", lambda *_arguments: made)
    params = SimpleNamespace(register=SimpleNamespace(model_name="digits"))
    monkeypatch.setattr(load, "load_params", lambda: params)
    stored_tar(SHA256).write_bytes(raw)
    ended = 0
    try:
        cli.main(["reproduce", "digits/3", "--quick"])
    except SystemExit as error:
        ended = error.code
    assert code == ended
    assert f"digits version 3, made at commit {made.commit[:12]}" in capsys.readouterr().err
    assert not paths.STATE_DIR.joinpath("reproduce").exists()


def test_another_file_of_code_in_the_commit_is_found(made):
    """The stages read a file that the commit does not have like that: exit code 3, the file named."""
    write(
        ".",
        {"pipeline/stages/train.py": "print('other')\n", "params.yaml": "seed: 7\ntraining: {epochs: 3}\n"},
    )
    git(".", "commit", "-qam", "other code")
    found = quick_check(replace(made, commit=git(".", "rev-parse", "HEAD")))
    assert (3, 3, 0) == tuple(codes(found)[what] for what in ("code", "params", "data"))
    told = {item.what: item.told for item in found}
    assert "pipeline/stages/train.py" in told["code"]
    assert "training.epochs" in told["params"]


def test_a_folder_of_code_is_compared_file_by_file(made):
    """A version whose stages depended on folders: what the commit holds below them has the digest that DVC wrote."""
    write(".", {"pipeline/training/fit.py": "fit\n", "pipeline/training/deep/er.py": "deeper\n"})
    git(".", "add", "-A")
    git(".", "commit", "-qm", "a room")
    compiled = "pipeline/training/__pycache__/fit.cpython-311.pyc"
    write(".", {compiled: "compiled"})
    dependency = {"path": "pipeline/training", "hash": "md5", "md5": path_digest(Path("pipeline/training"))}
    stages = {**made.stages, "train@cnn": {**made.stages["train@cnn"], "deps": [dependency]}}
    made = replace(made, commit=git(".", "rev-parse", "HEAD"), stages=stages)
    assert 0 == codes(quick_check(made))["code"]
    write(".", {"pipeline/training/deep/er.py": "other\n"})
    git(".", "commit", "-qm", "an edit in the room", "--", "pipeline/training/deep/er.py")
    code = {item.what: item for item in quick_check(replace(made, commit=git(".", "rev-parse", "HEAD")))}[
        "code"
    ]
    assert (3, True) == (code.code, "pipeline/training" in code.told)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-training.lock"])
def test_other_packages_in_the_commit_are_found(name, made):
    """Stages of versions registered before read the whole lock, later ones the part that can move bits."""
    write(".", {name: "numpy==0.1\n"})
    git(".", "add", "-A")
    git(".", "commit", "-qm", "packages", "--allow-empty")
    made = replace(made, commit=git(".", "rev-parse", "HEAD"))
    dependency = {"path": name, "hash": "md5", "md5": path_digest(Path(name))}
    made.stages["train@cnn"]["deps"] = [dependency]
    assert 0 == codes(quick_check(made))["code"]
    write(".", {name: "numpy==0.2\n"})
    git(".", "commit", "-qam", "other packages")
    found = {item.what: item for item in quick_check(replace(made, commit=git(".", "rev-parse", "HEAD")))}
    assert (3, True) == (found["code"].code, name in found["code"].told)


def test_one_changed_byte_of_data_is_found(made, capsys):
    """Exit code 65; nothing is trained."""
    stored_tar(SHA256).write_bytes(b"rax")
    with pytest.raises(SystemExit) as ended:
        reproduce._show_quick(made, as_json=True)
    assert ended.value.code == 65
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [("data", 65)] == [(item["what"], item["code"]) for item in findings if item["code"]]


def test_data_that_is_nowhere_is_missing(made):
    """Exit code 66: neither here nor where it came from."""
    stored_tar(SHA256).unlink()
    assert codes(quick_check(made))["data"] == 66


def test_data_that_was_not_hashed_is_no_pass(made, tmp_path, capsys):
    """What it was read from stands there, but nobody hashed it: not checked, exit code 66."""
    stored_tar(SHA256).unlink()
    (tmp_path / "gone").mkdir()
    data = {item.what: item for item in quick_check(made)}["data"]
    assert data.code == 66
    assert "not checked" in data.told
    with pytest.raises(SystemExit) as ended:
        reproduce._show_quick(made, as_json=False)
    assert ended.value.code == 66
    assert "missing  data: not checked" in capsys.readouterr().out


def test_what_is_known_to_differ_says_more_than_what_is_missing(made):
    """Other code, and data that is nowhere: exit code 3, not 66."""
    stored_tar(SHA256).unlink()
    write(".", {"pipeline/stages/train.py": "print('other')\n"})
    git(".", "commit", "-qam", "other code")
    with pytest.raises(SystemExit) as ended:
        reproduce._show_quick(replace(made, commit=git(".", "rev-parse", "HEAD")), as_json=True)
    assert ended.value.code == 3


def test_other_packages_are_found(made, monkeypatch):
    """Exit code 3, and that a rebuild would install the locked ones."""
    monkeypatch.setattr(
        versions_reproduce, "differing_packages", lambda _lock: ["numpy: 2 locked, 1 installed"]
    )
    environment = quick_check(made)[-1]
    assert ("environment", 3) == environment[:2]
    assert "would install" in environment.told


def test_a_version_without_a_lock_cannot_be_compared(made):
    """Nothing recorded is no pass."""
    assert codes(quick_check(replace(made, stages={})))["stages"] == 66


@pytest.mark.parametrize("lock", [None, b"# nothing\n"])
def test_a_commit_that_locks_no_package_is_no_pass(made, monkeypatch, lock):
    """Nothing to compare with is exit code 66, not a word that the locked ones are installed."""
    monkeypatch.setattr(versions_reproduce, "differing_packages", differing_packages)
    real = versions_reproduce.file_at
    monkeypatch.setattr(
        versions_reproduce,
        "file_at",
        lambda commit, path: lock if path == "requirements.lock" else real(commit, path),
    )
    assert ("environment", 66) == quick_check(made)[-1][:2]


def test_stages_that_recorded_nothing_are_no_pass(made):
    """A lock without dependencies and parameters compares nothing: exit code 66 for code and for parameters."""
    found = codes(quick_check(replace(made, stages={"train": {"cmd": "x"}})))
    assert (66, 66) == (found["code"], found["params"])
