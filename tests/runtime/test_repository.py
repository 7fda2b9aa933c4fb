"""What a kill of DVC cut off is mended and nothing whole touched; a second tree uses cache and remotes of its project."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.retraining.children import Children
from pipeline.runtime import paths, repository
from pipeline.runtime.errors import Busy
from pipeline.runtime.files import file_digest
from tests.helpers.dvc_project import init_dvc
from tests.helpers.fake_project import git

PIPELINE = "stages:\n  one: {cmd: echo 1 > one.txt, outs: [one.txt]}\n  two: {cmd: echo 2 > two.txt, deps: [one.txt], outs: [two.txt]}\n"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A git project of two stages that ran, with its dvc.lock committed; copied by each test."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / paths.DVC_YAML).write_text(PIPELINE)
    init_dvc(folder)
    for command in (["git", "init", "-q"], [f"{sys.exec_prefix}/bin/dvc", "repro", "-q"]):
        subprocess.run(command, cwd=folder, check=True)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "ran")
    return folder


@pytest.fixture
def folder(ran, tmp_path, monkeypatch):
    """A copy of it; the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{sys.exec_prefix}/bin:/usr/bin:/bin")
    return shutil.copytree(ran, tmp_path, dirs_exist_ok=True)


def test_a_whole_lock_is_left_alone(folder):
    """Exit code 1: there was nothing to mend."""
    before = paths.DVC_LOCK.read_bytes()
    assert not repository.mend()
    assert before == paths.DVC_LOCK.read_bytes()
    done = subprocess.run([sys.executable, "-m", "pipeline.runtime.repository"], check=False)
    assert done.returncode == 1


def test_wherever_it_was_cut_dvc_takes_it_or_it_is_mended(folder):
    """At every byte; the torn one is kept."""
    whole = paths.DVC_LOCK.read_bytes()
    mended = 0
    for size in range(len(whole)):
        paths.DVC_LOCK.write_bytes(whole[:size])
        if repository.mend():
            mended += 1
            assert whole == paths.DVC_LOCK.read_bytes()
            assert whole[:size] == repository.TORN_LOCK.read_bytes()
    assert mended > len(whole) / 4


def test_without_a_committed_one_it_begins_without(folder):
    """A first run that was killed: DVC's run cache knows what was finished."""
    git(folder, "rm", "-q", "--cached", "dvc.lock")
    git(folder, "commit", "-qm", "none")
    paths.DVC_LOCK.write_bytes(b"")
    assert repository.mend()
    assert not paths.DVC_LOCK.exists()
    said = subprocess.run(["dvc", "repro"], capture_output=True, text=True, check=True).stdout
    assert "is cached - skipping run" in said


@pytest.mark.long
def test_a_retrain_goes_on_over_a_torn_lock(folder):
    """DVC says no; the lock is mended and the same stage asked for again."""
    (folder / ".millrace").mkdir(exist_ok=True)
    paths.DVC_LOCK.write_bytes(b"")
    Children(folder, folder).repro("two")
    assert "two" in paths.DVC_LOCK.read_text()


@pytest.mark.long
@pytest.mark.parametrize("size", [0, 1, 20])
def test_a_torn_list_of_who_is_at_work_stops_dvc_until_it_is_mended(folder, size):
    """DVC reads it before every stage, and ends with 255 for ever; a retrain mends it by itself."""
    whole = json.dumps({"write": {}, "read": {str(folder / "one.txt"): [{"pid": 1, "cmd": "dvc repro"}]}})
    repository.AT_WORK.write_text(whole[:size])
    (folder / "one.txt").unlink()
    stopped = subprocess.run(["dvc", "repro"], capture_output=True, text=True, check=False)
    assert "JSON structure is corrupted" in stopped.stderr
    Children(folder, folder).repro("two")
    assert (folder / "one.txt").read_text() == "1\n"


def test_a_whole_list_of_who_is_at_work_is_left_alone(folder):
    """Other runs of DVC may stand in it."""
    whole = json.dumps({"write": {}, "read": {str(folder / "one.txt"): [{"pid": 1, "cmd": "dvc repro"}]}})
    repository.AT_WORK.write_text(whole)
    assert repository.mend() == []
    assert repository.AT_WORK.read_text() == whole


def test_a_lock_that_is_being_written_is_not_torn(folder, monkeypatch):
    """DVC writes in place, under its own lock: busy as long as it holds that, and whole afterwards."""
    monkeypatch.setattr("dvc.lock.DEFAULT_TIMEOUT", 0.1)
    whole = paths.DVC_LOCK.read_bytes()
    paths.DVC_LOCK.write_bytes(whole[:20])
    with repository.dvc_waits(), pytest.raises(Busy, match="A dvc command is at work"):
        repository.mend()
    assert whole[:20] == paths.DVC_LOCK.read_bytes()
    assert not repository.TORN_LOCK.exists()


@pytest.fixture
def project(tmp_path):
    """A project with a relative remote in git, another one of this machine, and a tree below it."""
    for folder in ("project/.dvc", "project/tree/.dvc"):
        (tmp_path / folder).mkdir(parents=True)
    shared = (
        "[core]\n    analytics = false\n    remote = store\n['remote \"store\"']\n    url = ../../store\n"
    )
    (tmp_path / "project" / repository.DVC_CONFIG).write_text(shared)
    (tmp_path / "project/tree" / repository.DVC_CONFIG).write_text(shared)
    local = (
        "['remote \"cloud\"']\n    url = s3://bucket/path\n    secret_access_key = 50%off\n"
        "    credentialpath = keys\n['remote \"home\"']\n    url = ~/store\n"
    )
    (tmp_path / "project" / repository.DVC_CONFIG_LOCAL).write_text(local)
    return tmp_path / "project"


def write(project):
    """Write the settings of the tree and return its folder."""
    text = repository.dvc_config_for(project, project / "tree")
    (project / "tree" / repository.DVC_CONFIG_LOCAL).write_text(text)
    return project / "tree"


def test_dvc_reads_the_settings_as_they_were_meant(project):
    """Asked by dvc itself: absolute places, and what only this machine knows."""
    tree = write(project)
    subprocess.run(["git", "init", "-q"], cwd=tree, check=True)
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "config", "--list"],
        cwd=tree,
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert found["remote.store.url"] == str(project.parent / "store")
    assert found["remote.cloud.url"] == "s3://bucket/path"
    assert found["remote.cloud.secret_access_key"] == "50%off"
    assert found["remote.cloud.credentialpath"] == str(project / ".dvc/keys")
    assert found["remote.home.url"] == str(Path.home() / "store")
    assert found["cache.dir"] == str(project / ".dvc/cache")
    assert found["core.remote"] == "store"


def test_this_machine_s_word_on_a_remote_counts_more_than_the_team_s(project):
    """The team's remote is a folder, this machine reaches it by S3: the folder must not come back."""
    with (project / repository.DVC_CONFIG_LOCAL).open("a") as local:
        local.write("['remote \"store\"']\n    url = s3://bucket/store\n")
    assert "url = s3://bucket/store" in repository.dvc_config_for(project, project / "tree")
    assert str(project.parent / "store") not in repository.dvc_config_for(project, project / "tree")


def test_a_tree_may_have_a_cache_of_its_own(project):
    """Also where the project's lies elsewhere; the remotes are the project's all the same."""
    with (project / repository.DVC_CONFIG_LOCAL).open("a") as file:
        file.write("[cache]\n    dir = /shared\n")
    text = repository.dvc_config_for(project, project / "tree", own_cache=True)
    assert f"dir = {project}/tree/.dvc/cache\n" in text
    assert f"url = {project.parent}/store\n" in text


def test_a_remote_is_there_or_not(project):
    """`dvc push` needs a default one."""
    tree = write(project)
    assert repository.has_remote(tree)
    (tree / repository.DVC_CONFIG).write_text("")
    assert not repository.has_remote(tree)


def test_a_damaged_object_of_the_cache_is_none(project):
    """It is found by its digest, and only if it still has it."""
    tree = write(project)
    (project / "x").write_text("rows")
    md5 = file_digest(project / "x")
    assert repository.cached(tree, md5) is None
    kept = project / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    kept.parent.mkdir(parents=True)
    kept.write_text("rows")
    assert kept == repository.cached(tree, md5)
    kept.write_text("other")
    assert repository.cached(tree, md5) is None


def test_places_with_signs_that_mean_something_to_dvc_arrive_whole(tmp_path):
    """A blank before `#` begins a comment there, a comma a list."""
    project = tmp_path / "ours #1, Prüfung"
    (project / "tree/.dvc").mkdir(parents=True)
    tree = write(project)
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "config", "--list"],
        cwd=tree,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"cache.dir={project}/.dvc/cache" in done.stdout.splitlines()
    assert tree / ".dvc/tmp/site" == Path(
        repository.dvc_config(tree / ".dvc/config.local")["core"]["site_cache_dir"]
    )
