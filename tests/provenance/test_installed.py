"""Installed packages are hashed file by file, and what belongs to none of them is found."""

import base64
import hashlib
import py_compile
import sysconfig
from pathlib import Path

import pytest

from pipeline.provenance.installed import installed_problems, strange_places

LOCK = "toy==1.0 \\\n    --hash=sha256:00\n"


def digest(content):
    """Return what RECORD says of a file with that content."""
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


@pytest.fixture
def place(tmp_path):
    """A folder as pip leaves it: one package, compiled, with a script beside the folder."""
    folder = tmp_path / "lib/python3/site-packages"
    (folder / "toy").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    files = {"toy/__init__.py": b"one = 1\n", "toy/data.bin": b"data", "../../../bin/toy": b"#!python"}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    py_compile.compile(str(folder / "toy/__init__.py"))
    info = folder / "toy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    lines = [f"{name},{digest(content)},{len(content)}" for name, content in files.items()]
    (info / "RECORD").write_text("\n".join([*lines, "toy-1.0.dist-info/RECORD,,"]) + "\n")
    return folder


def problems(place):
    return list(installed_problems(LOCK, [place]))


def test_what_was_installed_fits(place):
    """Compiled files of modules that are there, and files that nothing runs, are no problem."""
    (place / "toy/notes.txt").write_text("not run by anybody")
    assert [] == problems(place)


@pytest.mark.parametrize("name", ["toy/__init__.py", "toy/data.bin", "../../../bin/toy"])
@pytest.mark.parametrize("gone", [False, True])
def test_a_file_that_is_not_as_installed_is_found(place, name, gone):
    """The version is still the locked one, and one byte of one file is not, or the file is gone."""
    if gone:
        (place / name).unlink()
    else:
        content = (place / name).read_bytes()
        (place / name).write_bytes(content[:-1] + b"x")
    (found, *_) = problems(place)
    assert found.startswith("toy 1.0: ")
    assert f"{name.rpartition('/')[2]} is not as installed" in found


@pytest.mark.parametrize(
    "name",
    ["sitecustomize.py", "toy/more.py", "start.pth", "toy/fast.so", "toy/__pycache__/gone.cpython-311.pyc"],
)
def test_what_python_would_run_and_no_package_lists_is_found(place, name):
    """A module, a start file, a library, and compiled code whose source is nowhere."""
    (place / name).write_bytes(b"")
    (found,) = problems(place)
    assert f"{name} is of no package" in found


def test_a_locked_package_without_a_record_could_not_be_checked(place):
    """Nothing to compare with is no pass."""
    (place / "toy-1.0.dist-info/RECORD").unlink()
    found = problems(place)
    assert found[0].startswith("toy: could not check: it has no RECORD")


def test_a_locked_package_that_is_not_there_is_found(place):
    """Somewhere on PYTHONPATH its version may be found all the same."""
    (found,) = list(installed_problems(f"{LOCK}gone==2.0 \\\n    --hash=sha256:00\n", [place]))
    assert found.startswith("gone: not installed in")


def test_a_linked_folder_is_found(place, tmp_path):
    """It is importable, and what it leads to is in no RECORD."""
    (tmp_path / "elsewhere").mkdir()
    (place / "more").symlink_to(tmp_path / "elsewhere")
    (found,) = problems(place)
    assert "more is of no package" in found


def test_what_pytest_compiles_is_no_planted_file(place):
    """It has names that Python never imports; without a module of that name it is one all the same."""
    (place / "toy/__pycache__/__init__.cpython-311-pytest-9.2.0.pyc").write_bytes(b"")
    assert [] == problems(place)
    (place / "toy/v0.9.a.py").write_text("")
    (place / "toy/__pycache__/v0.9.a.cpython-311.opt-1.pyc").write_bytes(b"")
    assert ["v0.9.a.py"] == [said.partition(" is of")[0].rpartition("/")[2] for said in problems(place)]
    (place / "toy/v0.9.a.py").unlink()
    (place / "toy/__pycache__/v0.9.a.cpython-311.opt-1.pyc").unlink()
    (place / "toy/__pycache__/other.cpython-311-pytest-9.2.0.pyc").write_bytes(b"")
    assert 1 == len(problems(place))


def test_what_a_package_brings_within_it_is_installed_as_well():
    """Ray imports from a folder of its own; each file there is in its RECORD, or is found by it."""
    within = Path(sysconfig.get_path("purelib")) / "ray/thirdparty_files"
    assert within.is_dir()
    assert [] == list(strange_places([str(within)], []))
    (found,) = strange_places([str(within.parent)], [])
    assert "ray: modules there are imported as well" in found


def test_a_folder_of_modules_beside_python_and_its_packages_is_found(tmp_path):
    """PYTHONPATH comes before what was installed; the project itself, and folders that are not there, are no problem."""
    (tmp_path / "project").mkdir()
    (tmp_path / "other").mkdir()
    places = [
        sysconfig.get_path("stdlib"),
        f"{sysconfig.get_path('stdlib')}/lib-dynload",
        "/gone/python311.zip",
    ]
    here = [str(tmp_path / name) for name in ("project", "other", "gone")]
    (found,) = strange_places([*places, sysconfig.get_path("purelib"), *here], [tmp_path / "project"])
    assert found.startswith(f"{tmp_path / 'other'}: modules there are imported as well")
