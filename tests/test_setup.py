"""`make setup` takes a Python that the locked packages have wheels for, says which, and why not another."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("sh", "cat", "cksum", "git", "grep", "mkdir", "cp", "chmod", "rm")


@pytest.fixture
def project(tmp_path):
    """A folder with the script, and a `bin` in which only a few tools are."""
    root = tmp_path / "Prüfung & 50% 'ours'?"
    (root / "pipeline/runtime").mkdir(parents=True)
    shutil.copy(ROOT / "pipeline/runtime/setup", root / "pipeline/runtime/setup")
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    return root


def python(folder, name, version):
    """Make a program that answers as a Python of that version: "" for one that does not start, "-" without venv."""
    (folder / name).write_text(
        f"""#!/bin/sh
[ -n "{version}" ] || exit 127
case "$*" in
*ensurepip*) [ "{version}" = - ] || echo "{version}" ;;
*version_info*) echo "{version}" ;;
*"-m venv --clear .venv")
    mkdir -p .venv/bin
    cp "$0" .venv/bin/python
    echo "$PWD/.venv/bin/python" >.venv/bin/pip
    chmod +x .venv/bin/pip
    ;;
esac
"""
    )
    (folder / name).chmod(0o755)


def setup(project, **variables):
    """Run the script until .venv has its Python; return exit code and what it said."""
    path = f"{project}/.venv/bin:{project.parent / 'bin'}"
    done = subprocess.run(
        ["pipeline/runtime/setup", "--venv"],
        cwd=project,
        env={"PATH": path, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).strip()


def test_it_says_which_python_it_took_and_why_no_other(project):
    """The first of those that work; each of the others with its reason."""
    python(project.parent / "bin", "python3.11", "")
    python(project.parent / "bin", "python3.12", "-")
    python(project.parent / "bin", "python3.13", "3.13")
    code, said = setup(project)
    assert 0 == code
    assert said.startswith(
        f"Python 3.13 for .venv: {project.parent}/bin/python3.13 (not python3.11: does not start; "
    )
    assert "python3.12: has no venv and ensurepip" in said


def test_without_one_it_ends_with_66(project):
    """A system whose only Python is too new; nothing was made."""
    python(project.parent / "bin", "python3", "3.14")
    code, said = setup(project)
    assert 66 == code
    assert "Expected 3.11, 3.12 or 3.13" in said
    assert "python3: is 3.14" in said
    assert "python3.11: not found" in said
    assert not (project / ".venv").exists()


def test_one_that_was_asked_for_is_taken_or_refused(project):
    """`make setup PYTHON=...` never takes another instead."""
    python(project.parent / "bin", "python3.11", "3.11")
    python(project.parent / "bin", "mine", "3.10")
    code, said = setup(project, PYTHON="mine")
    assert 66 == code
    assert "mine: is 3.10" in said
    assert "python3.11" not in said.replace("/path/to/python3.11", "")


def test_what_is_there_is_kept_and_nothing_is_said(project):
    """A second call does nothing."""
    python(project.parent / "bin", "python3.12", "3.12")
    setup(project)
    (project / ".venv/kept").touch()
    assert (0, "") == setup(project)
    assert (0, "") == setup(project, PYTHON="python3.12")
    assert (project / ".venv/kept").exists()


def test_a_venv_of_a_wrong_python_is_made_anew(project):
    """One that TensorFlow has no wheel for, and another than was asked for."""
    python(project.parent / "bin", "python3.11", "3.11")
    setup(project)
    python(project / ".venv/bin", "python", "3.14")
    code, said = setup(project)
    assert (0, True) == (code, ".venv is made anew: its Python is 3.14." in said)
    python(project.parent / "bin", "python3.12", "3.12")
    code, said = setup(project, PYTHON="python3.12")
    assert (0, True) == (code, "PYTHON=python3.12 was asked for" in said)


def test_a_venv_whose_python_is_gone_is_made_anew(project):
    """The Python that it points to was removed, or never came along."""
    python(project.parent / "bin", "python3.11", "3.11")
    setup(project)
    (project / ".venv/bin/python").unlink()
    (project / ".venv/bin/python").symlink_to("/gone/python3.11")
    code, said = setup(project)
    assert (0, True) == (code, "its Python is gone" in said)


@pytest.mark.parametrize("way", ["move", "copy"])
def test_a_venv_that_came_from_another_folder_is_made_anew(way, project):
    """Its programs name the old one: after a move they do not start, in a copy they run the original's packages."""
    python(project.parent / "bin", "python3.11", "3.11")
    setup(project)
    moved = project.parent / "moved"
    shutil.copytree(project, moved, symlinks=True)
    if way == "move":
        shutil.rmtree(project)
    code, said = setup(moved)
    assert (0, True) == (code, "it was made in another folder" in said)
    assert (0, "") == setup(moved)


def test_of_a_venv_that_is_a_link_only_the_link_goes(project):
    """What it leads to may be an environment that others share, with files of theirs."""
    python(project.parent / "bin", "python3.11", "3.11")
    shared = project.parent / "shared"
    (shared / "bin").mkdir(parents=True)
    (shared / "mine.txt").write_text("kept")
    python(shared / "bin", "python", "3.11")
    (project / ".venv").symlink_to(shared)
    code, said = setup(project)
    assert (0, True) == (code, ".venv is made anew" in said)
    assert "kept" == (shared / "mine.txt").read_text()
    assert not (project / ".venv").is_symlink()


def test_a_venv_from_before_this_was_noted_is_known_by_its_programs(project):
    """They begin with the path of their Python."""
    python(project.parent / "bin", "python3.11", "3.11")
    setup(project)
    (project / ".venv/.made").unlink()
    assert (0, "") == setup(project)
    (project / ".venv/bin/pip").write_text("#!/somewhere/else/.venv/bin/python\n")
    assert "it was made in another folder" in setup(project)[1]


def test_a_first_set_up_is_two_lines_and_no_list_of_packages(project):
    """What is done, about how long, and how long it was; uv would print a line for each of 276 packages."""
    shutil.copy(shutil.which("date"), project.parent / "bin/date")
    python(project.parent / "bin", "python3.11", "3.11")
    for name in ("requirements.lock", "pyproject.toml"):
        (project / name).touch()
    uv = project.parent / "bin/uv"
    uv.write_text('#!/bin/sh\ncase "$*" in *--quiet*) ;; *) echo " + absl-py==2.5.1" ;; esac\n')
    uv.chmod(0o755)
    assert 0 == setup(project)[0]
    shutil.copy(uv, project / ".venv/bin/uv")
    done = subprocess.run(
        ["pipeline/runtime/setup"],
        cwd=project,
        env={"PATH": str(project.parent / "bin")},
        capture_output=True,
        text=True,
        check=True,
    )
    first, last = (done.stdout + done.stderr).splitlines()
    assert first.startswith("Installing the locked packages into .venv: a minute or two")
    assert re.fullmatch(r"Set up in \d+ s\.", last)


def test_it_promises_what_pyproject_promises():
    """TensorFlow 2.21 has wheels for 3.11 to 3.13."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert ">=3.11,<3.14" == wanted
    assert "3.11 | 3.12 | 3.13)" in (ROOT / "pipeline/runtime/setup").read_text()
    assert (3, 11) <= sys.version_info[:2] < (3, 14)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["python3.11", "python3.12", "python3.13"])
def test_a_newcomer_sets_it_up_anywhere(name, tmp_path):
    """In a path with umlauts and signs, with each Python that is here; then it is moved, and set up anew."""
    from tests.conftest import copy_project

    if (
        not shutil.which(name)
        or subprocess.run([name, "-c", ""], capture_output=True, check=False).returncode
    ):
        pytest.skip(f"{name} does not start here")
    folder = copy_project(tmp_path / "Prüfung & 50% #1?")
    environment = {
        key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "DVC_SITE_CACHE_DIR")
    }

    def make(where, *arguments):
        done = subprocess.run(
            ["make", *arguments], cwd=where, env=environment, capture_output=True, text=True, check=False
        )
        assert 0 == done.returncode, done.stdout + done.stderr
        return done.stdout

    make(folder, "setup", f"PYTHON={name}")
    assert "" == make(folder, "setup").replace("make: Nothing to be done for 'setup'.\n", "")
    subprocess.run([folder / ".venv/bin/dvc", "status", "--quiet"], cwd=folder, env=environment, check=False)
    folder.rename(tmp_path / "moved")
    assert "it was made in another folder" in make(tmp_path / "moved", "setup", f"PYTHON={name}")
    subprocess.run([tmp_path / "moved/.venv/bin/millrace", "--help"], check=True, stdout=subprocess.DEVNULL)
