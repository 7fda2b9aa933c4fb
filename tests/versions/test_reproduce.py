"""The worktree of a rebuild comes and goes, and gets the very data that the version was made from."""

import hashlib
import shutil
import sys
from dataclasses import replace
from importlib.metadata import version
from types import SimpleNamespace

import pytest

from pipeline.fetching.source import stored_tar
from pipeline.provenance.locked import differing_packages
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused, ServiceDown, UserError
from pipeline.runtime.processes import Answer
from pipeline.versions import reproduce
from pipeline.versions import reproduce as versions_reproduce
from pipeline.versions.reproduce import environment, restore_data, run_pipeline, worktree
from tests.helpers.rebuilt_project import FILES, git, md5, origin, repository, source, write

RAW = b"raw"
SHA256 = hashlib.sha256(RAW).hexdigest()
CONSOLE = SimpleNamespace(print=lambda *_a, **_k: None)


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A repository whose data lies in a folder outside, and the version made in it."""
    root = tmp_path / "project"
    commit = repository(root, source({"path": str(tmp_path / "pictures")}, SHA256, "image_folder"))
    monkeypatch.chdir(root)
    return origin(root, commit)


def test_a_worktree_holds_the_commit_and_is_removed(made, tmp_path):
    """Its dvc.lock is gone, edits of the project are not in it, and git forgets it afterwards."""
    write(".", {"params.yaml": "seed: 8\n"})
    with worktree(made, keep=False) as tree:
        assert "seed: 7" in (tree / "params.yaml").read_text()
        assert not (tree / "dvc.lock").exists()
        assert made.commit == git(tree, "rev-parse", "HEAD")
    assert not tree.exists()
    assert 1 == len(git(".", "worktree", "list").splitlines())
    assert (paths.project_root() / "params.yaml").read_text() == "seed: 8\n"


def test_a_worktree_of_a_larger_repository_is_entered_where_the_project_lies(tmp_path, monkeypatch):
    """A monorepo is checked out as a whole; the stages run in the project's folder of it."""
    root = tmp_path / "larger/project"
    write(root, FILES | {"data/source.json": source()})
    git(tmp_path / "larger", "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "code")
    monkeypatch.chdir(root)
    with worktree(origin(root, git(root, "rev-parse", "HEAD")), keep=False) as tree:
        assert "seed: 7" in (tree / "params.yaml").read_text()
        assert (tree / ".dvc/config.local").exists()
    assert not tree.exists()
    assert 1 == len(git(root, "worktree", "list").splitlines())


def test_what_a_killed_rebuild_left_is_no_hindrance(made):
    """A worktree that is still there is replaced, also where git no longer knows it; --keep leaves it."""
    with worktree(made, keep=True) as tree:
        write(tree, {"left": "over"})
    assert (tree / "left").exists()
    shutil.rmtree(paths.project_root() / ".git/worktrees")
    with worktree(made, keep=False) as again:
        assert tree == again
        assert not (again / "left").exists()


def test_keys_to_remotes_go_along_but_no_cache(made):
    """This machine's settings of DVC hold in the worktree, save for where caches lie."""
    secret = """['remote "store"']\n    password = x%y\n[cache]\n    dir = /shared\n[core]\n    site_cache_dir = /site\n"""
    write(".", {".dvc/config.local": secret})
    with worktree(made, keep=False) as tree:
        told = (tree / ".dvc/config.local").read_text()
    assert "password = x%y" in told
    assert "/shared" not in told
    assert f"site_cache_dir = {tree}/.dvc/tmp/site" in told


def test_data_comes_from_the_store_or_the_cache_by_hash(made, tmp_path):
    """A damaged copy in the store is passed over for the object in DVC's cache."""
    tree = tmp_path / "tree"
    write(tree, {"data/source.json": paths.SOURCE_JSON.read_text()})
    cached = reproduce.Path(".dvc/cache/files/md5", md5("raw")[:2], md5("raw")[2:])
    for place, content in ((stored_tar(SHA256), b"rax"), (cached, RAW)):
        place.parent.mkdir(parents=True)
        place.write_bytes(content)
    assert "DVC's cache" == restore_data(made, tree, 1000, CONSOLE)
    assert (tree / stored_tar(SHA256)).read_bytes() == RAW
    stored_tar(SHA256).write_bytes(RAW)
    assert "this project's store" == restore_data(made, tree, 1000, CONSOLE)


def test_other_data_at_its_location_names_the_stage(made, tmp_path, monkeypatch):
    """Exit code 65, from which stage on, both digests."""
    tree = tmp_path / "tree"
    write(tree, {"data/source.json": paths.SOURCE_JSON.read_text()})
    found = SimpleNamespace(source=SimpleNamespace(sha256="f" * 64, files=2))
    monkeypatch.setattr(versions_reproduce, "take_snapshot", lambda *_a, **_k: found)
    with pytest.raises(DataRefused, match=rf"differs from stage fetch on.*{SHA256}.*ffff") as refused:
        restore_data(made, tree, 1000, CONSOLE)
    assert refused.value.exit_code == 65


RELATIVE = "[core]\n    remote = objects\n['remote \"objects\"']\n    url = ../../objects\n"
"""A remote beside the project, as its .dvc sees it."""


def with_fetch(made, config):
    """Return the version made at a commit with a stage fetch and that .dvc/config."""
    write(
        ".",
        {"dvc.yaml": f"stages:\n  fetch:\n    cmd: x\n    outs: [{paths.RAW_TAR}]\n", ".dvc/config": config},
    )
    git(".", "rm", "-q", "--cached", "dvc.lock")
    git(".", "add", "dvc.yaml", ".dvc/config")
    git(".", "commit", "-qm", "fetch")
    stages = made.stages | {"fetch": made.stages["fetch"] | {"cmd": "x"}}
    return replace(made, commit=git(".", "rev-parse", "HEAD"), stages=stages)


def read_again(monkeypatch, sha256):
    """Let the location of the data have files of that digest."""

    def gather(*_arguments, **_keywords):
        stored_tar(sha256).parent.mkdir(parents=True, exist_ok=True)
        stored_tar(sha256).write_bytes(RAW)
        return SimpleNamespace(source=SimpleNamespace(sha256=sha256, files=2))

    monkeypatch.setattr(versions_reproduce, "take_snapshot", gather)


@pytest.mark.parametrize("committed", [RELATIVE, ""], ids=["remote at the commit", "remote added since"])
def test_data_that_was_pushed_comes_from_a_remote_with_a_relative_path(made, tmp_path, committed):
    """The place counts from the project, not from the worktree; no dvc.lock of the commit is needed."""
    made = with_fetch(made, committed)
    write(".", {".dvc/config": RELATIVE})
    write(tmp_path, {f"objects/files/md5/{md5('raw')[:2]}/{md5('raw')[2:]}": "raw"})
    with worktree(made, keep=False) as tree:
        assert "the DVC remote" == restore_data(made, tree, 1000, CONSOLE)
        assert (tree / stored_tar(SHA256)).read_bytes() == RAW
        assert not (tree / "dvc.lock").exists()
    assert not reproduce.Path(".dvc/cache").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("../../gone", "no folder"),
        ("http://127.0.0.1:9/x", "ConnectError"),
        ("s3://bucket/x", "an error of DVC"),
    ],
)
def test_a_remote_that_does_not_answer_is_a_service_that_is_down(made, monkeypatch, url, told):
    """Exit code 69 and not 65, since the data may well lie there; where it came from is tried first."""
    made = with_fetch(made, RELATIVE.replace("../../objects", url))
    with worktree(made, keep=False) as tree:
        read_again(monkeypatch, "f" * 64)
        with pytest.raises(
            ServiceDown, match=rf"remote objects cannot be asked.*{told}.*no longer what it was"
        ):
            restore_data(made, tree, 1000, CONSOLE)
        read_again(monkeypatch, SHA256)
        assert "its location, read again" == restore_data(made, tree, 1000, CONSOLE)


def test_a_remote_without_the_data_is_no_service_that_is_down(made, tmp_path, monkeypatch):
    """It answers, and has other things: then the data is no longer what it was, exit code 65."""
    made = with_fetch(made, RELATIVE)
    (tmp_path / "objects/files").mkdir(parents=True)
    read_again(monkeypatch, "f" * 64)
    with worktree(made, keep=False) as tree, pytest.raises(DataRefused, match="dvc push"):
        restore_data(made, tree, 1000, CONSOLE)


def test_packages_are_compared_with_the_lock():
    """This environment is that of the lock; another version, and a package that is missing, are told."""
    lock = (paths.project_root() / "requirements.lock").read_text()
    assert [] == differing_packages(lock)
    changed = "numpy==0.1 \\\n    --hash=sha256:00\nno-such-package==1\nother==1 ; python_version < '3'\n"
    told = differing_packages(changed)
    assert ["numpy: 0.1 locked", "no-such-package: 1 locked, none installed"] == [told[0][:17], told[1]]


def test_packages_that_cannot_be_installed_are_a_service_that_is_down(tmp_path, monkeypatch):
    """Exit code 69: which package differs, and what to do."""
    write(tmp_path, {"requirements.lock": "no-such-package==1 \\\n    --hash=sha256:00\n"})
    failed = Answer(1, "", "no route to host")
    monkeypatch.setattr(reproduce, "run", lambda *_a, **_k: failed)
    with pytest.raises(
        ServiceDown, match=r"no-such-package: 1 locked.*no route to host.*package index in reach"
    ):
        environment(tmp_path, CONSOLE)


def test_a_rebuild_never_meets_the_registry_of_the_project(tmp_path, monkeypatch):
    """Stages get a store of the worktree, and nothing of a stage that may be running around us."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://registry.example")
    monkeypatch.setenv("DVC_ROOT", "/elsewhere")
    write(tmp_path, {"requirements.lock": f"numpy=={version('numpy')}\n"})
    made = environment(tmp_path, CONSOLE)
    assert (f"sqlite:///{tmp_path}/mlflow.db", sys.prefix) == (
        made["MLFLOW_TRACKING_URI"],
        made["VIRTUAL_ENV"],
    )
    assert "DVC_ROOT" not in made


def test_a_stage_that_stops_gives_its_own_code(tmp_path, monkeypatch):
    """What the stage said, its exit code, and that --keep shows more."""
    monkeypatch.setattr(reproduce, "run", lambda *_a, **_k: Answer(255, "", ""))
    write(
        tmp_path, {".millrace/status.json": '{"stage": "validate", "exit_code": 65, "message": "Too few."}'}
    )
    with pytest.raises(UserError, match=r"stopped at stage validate.*Too few.*--keep") as stopped:
        run_pipeline(tmp_path, {"VIRTUAL_ENV": sys.prefix})
    assert stopped.value.exit_code == 65
