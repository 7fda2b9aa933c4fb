"""DVC's pickles lie where nobody else can put one, and DVC knows whether there is git."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline.runtime import dvc_place
from pipeline.runtime.dvc_place import (
    close_site_cache,
    configure_dvc,
    in_git,
    is_private,
    our_place,
    require_private_place,
    site_cache,
)
from pipeline.runtime.errors import NotPermitted
from pipeline.runtime.repository import SITE_CACHE, dvc_config


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project that everybody may look into, as one in /srv is: what pytest makes is closed at its top."""
    if is_private(Path(tempfile.gettempdir())):
        pytest.skip("nobody else can enter the folder of temporary files")
    for name in ("DVC_SITE_CACHE_DIR", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(tmp_path / "system"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", tempfile.gettempdir())
    top = Path(tempfile.mkdtemp(prefix="millrace-"))
    top.chmod(0o755)
    root = top / "project"
    (root / ".dvc/tmp").mkdir(parents=True)
    (root / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(root)
    yield root
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(top)


def local(project):
    """Return the section `core` of the local config."""
    return dict(dvc_config(project / ".dvc/config.local").get("core", {}))


def test_a_config_with_keys_stays_closed_to_others(project):
    """`dvc remote modify --local` may have put a password there; what we add opens it to nobody."""
    config = project / ".dvc/config.local"
    config.write_text("['remote \"store\"']\n    password = secret\n")
    config.chmod(0o600)
    configure_dvc(project)
    assert 0o600 == config.stat().st_mode & 0o777
    assert "password = secret" in config.read_text()


def test_where_dvc_was_set_up_by_nobody_it_is_refused_once(project):
    """77, with the place; from then on DVC has one of its own."""
    assert (Path("/var/tmp/dvc"), False) == site_cache(project)
    with pytest.raises(NotPermitted, match=r"/var/tmp/dvc.*run the same command again"):
        require_private_place(project)
    require_private_place(project)
    assert {"site_cache_dir": str(project / SITE_CACHE)} == local(project)
    assert 0o700 == (project / SITE_CACHE).stat().st_mode & 0o777


def test_a_place_in_the_project_that_others_can_enter_is_emptied(project):
    """DVC itself makes it writable for everybody: whoever looked into the project could plant a pickle."""
    configure_dvc(project)
    (project / SITE_CACHE / "planted").touch()
    (project / SITE_CACHE).chmod(0o777)
    with pytest.raises(NotPermitted, match="Expected a folder that only you can enter"):
        require_private_place(project)
    require_private_place(project)
    assert [] == list((project / SITE_CACHE).iterdir())


def test_what_dvc_itself_makes_below_it_stays_behind_it(project):
    """Its folders are open to everybody; the closed one above them is not."""
    configure_dvc(project)
    subprocess.run([sys.executable, "-m", "dvc", "status"], check=True, capture_output=True)
    assert 0o777 == (project / SITE_CACHE / "repo").stat().st_mode & 0o777
    require_private_place(project)


def test_a_place_that_a_variable_names_is_refused_until_it_is_closed(project, monkeypatch):
    """No config can help there."""
    place = project.parent / "open"
    place.mkdir()
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(place))
    for _ in range(2):
        with pytest.raises(NotPermitted, match="DVC_SITE_CACHE_DIR"):
            require_private_place(project)
    place.chmod(0o700)
    require_private_place(project)


def test_a_private_place_of_the_users_is_as_good(project, tmp_path):
    """For all projects of a user, in the global config."""
    (tmp_path / "global").mkdir()
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "global/config").write_text(f"[core]\n    site_cache_dir = {tmp_path / 'mine'}\n")
    require_private_place(project)
    assert {} == local(project)


def test_a_link_in_its_place_is_not_followed(project, tmp_path):
    """Somebody who could write there may have put it."""
    (tmp_path / "theirs").mkdir()
    (project / SITE_CACHE).symlink_to(tmp_path / "theirs")
    close_site_cache(project / SITE_CACHE)
    assert not (project / SITE_CACHE).is_symlink()
    assert is_private(project / SITE_CACHE)


def test_a_folder_of_somebody_else_is_not_private(project, tmp_path, monkeypatch):
    """Whatever its mode."""
    (tmp_path / "closed").mkdir(mode=0o700)
    assert is_private(tmp_path / "closed")
    monkeypatch.setattr(dvc_place.os, "getuid", lambda: 12345)
    assert not is_private(tmp_path / "closed")


def git(*arguments):
    """Run git here."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


def test_a_project_without_git_says_so_to_dvc_until_it_has_it(project):
    """`git init` after `make setup` counts; other settings of the user stay, with their comments."""
    (project / ".dvc/config.local").write_text("# mine\n[core]\n    remote = far  # away\n")
    configure_dvc(project)
    assert "true" == local(project)["no_scm"]
    git("init")
    configure_dvc(project)
    assert {"remote": "far", "site_cache_dir": str(project / SITE_CACHE)} == local(project)
    assert "# mine" in (project / ".dvc/config.local").read_text()
    assert "# away" in (project / ".dvc/config.local").read_text()


def test_a_folder_of_a_larger_repository_is_in_git(project, monkeypatch):
    """A monorepo has its `.git` above; one that ignores the folder is not ours."""
    monkeypatch.chdir(project.parent)
    git("init")
    monkeypatch.chdir(project)
    assert in_git()
    (project.parent / ".gitignore").write_text("/project/\n")
    assert not in_git()


@pytest.mark.parametrize("kind", ["worktree", "submodule"])
def test_worktrees_and_submodules_are_in_git(kind, project, tmp_path, monkeypatch):
    """Their `.git` is a file."""
    git("init")
    git("add", "dvc.yaml")
    git("commit", "-m", "start")
    if kind == "worktree":
        git("worktree", "add", str(tmp_path / "other"))
    else:
        (tmp_path / "outer").mkdir()
        monkeypatch.chdir(tmp_path / "outer")
        git("init")
        git(
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "add",
            str(project),
            str(tmp_path / "outer/other"),
        )
    found = tmp_path / ("other" if kind == "worktree" else "outer/other")
    assert (found / ".git").is_file()
    monkeypatch.chdir(found)
    assert in_git()


@pytest.mark.parametrize("name", ["Prüfung & Söhne", "a #1, b", "50% off?"])
def test_a_project_may_have_any_name(name, tmp_path, monkeypatch):
    """DVC reads back what was written, and adds a remote to it: its own commands write ASCII only."""
    root = tmp_path / name
    (root / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(root)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DVC_SITE_CACHE_DIR", raising=False)
    configure_dvc(root)

    def dvc(*arguments):
        command = [sys.executable, "-m", "dvc", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    dvc("remote", "add", "--local", "--default", "ours", "/srv/remote")
    assert str(our_place(root)) == dvc("config", "core.site_cache_dir").rstrip("\n")
    assert "/srv/remote" == dvc("config", "remote.ours.url").rstrip("\n")
    assert is_private(our_place(root))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
def test_a_repository_of_somebody_else_is_named_with_its_cure(project):
    """Not told as no repository at all; the command is git's own."""
    git("init")
    os.chown(project, 12345, 12345)
    os.chown(project / ".git", 12345, 12345)
    with pytest.raises(NotPermitted, match=r"dubious ownership.*git config --global --add safe.directory"):
        configure_dvc(project)
    assert {} == local(project)
