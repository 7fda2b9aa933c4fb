"""The tree uses the cache and the remotes of the project, wherever the tree is."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.artifacts import file_digest
from pipeline.retraining import dvc_places


@pytest.fixture
def project(tmp_path):
    """A project with a relative remote in git, another one of this machine, and a tree below it."""
    for folder in ("project/.dvc", "project/tree/.dvc"):
        (tmp_path / folder).mkdir(parents=True)
    shared = (
        "[core]\n    analytics = false\n    remote = store\n['remote \"store\"']\n    url = ../../store\n"
    )
    (tmp_path / "project" / dvc_places.SHARED).write_text(shared)
    (tmp_path / "project/tree" / dvc_places.SHARED).write_text(shared)
    local = (
        "['remote \"cloud\"']\n    url = s3://bucket/path\n    secret_access_key = 50%off\n"
        "    credentialpath = keys\n['remote \"home\"']\n    url = ~/store\n"
    )
    (tmp_path / "project" / dvc_places.LOCAL).write_text(local)
    return tmp_path / "project"


def write(project):
    """Write the settings of the tree and return its folder."""
    text = dvc_places.settings_for(project, project / "tree")
    (project / "tree" / dvc_places.LOCAL).write_text(text)
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
    with (project / dvc_places.LOCAL).open("a") as local:
        local.write("['remote \"store\"']\n    url = s3://bucket/store\n")
    assert "url = s3://bucket/store" in dvc_places.settings_for(project, project / "tree")
    assert str(project.parent / "store") not in dvc_places.settings_for(project, project / "tree")


def test_a_tree_may_have_a_cache_of_its_own(project):
    """Also where the project's lies elsewhere; the remotes are the project's all the same."""
    with (project / dvc_places.LOCAL).open("a") as file:
        file.write("[cache]\n    dir = /shared\n")
    text = dvc_places.settings_for(project, project / "tree", own_cache=True)
    assert f"dir = {project}/tree/.dvc/cache\n" in text
    assert f"url = {project.parent}/store\n" in text


def test_a_remote_is_there_or_not(project):
    """`dvc push` needs a default one."""
    tree = write(project)
    assert dvc_places.has_remote(tree)
    (tree / dvc_places.SHARED).write_text("")
    assert not dvc_places.has_remote(tree)


def test_a_damaged_object_of_the_cache_is_none(project):
    """It is found by its digest, and only if it still has it."""
    tree = write(project)
    (project / "x").write_text("rows")
    md5 = file_digest(project / "x")
    assert dvc_places.cached(tree, md5) is None
    kept = project / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    kept.parent.mkdir(parents=True)
    kept.write_text("rows")
    assert kept == dvc_places.cached(tree, md5)
    kept.write_text("other")
    assert dvc_places.cached(tree, md5) is None
