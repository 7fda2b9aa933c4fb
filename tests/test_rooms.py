"""The house stays one that shows itself: rooms, their doors, their size, and tests that mirror them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PIPELINE = ROOT / "pipeline"
FILES = sorted(path for path in PIPELINE.rglob("*.py") if path.name != "__init__.py")
ROOMS = sorted(path.parent for path in PIPELINE.rglob("__init__.py"))
LONGEST = 500
"""Lines of a file; a longer one says why in its docstring, in a sentence with the word "long"."""
MOST_FILES = 20
CONTRACTS = {
    "models": {"families", "sequences", "combinations"},
    "sources": {"mutations", "series_mutations", "advice"},
}
"""Tests that walk through all files of a room."""
MIRRORED = sorted(
    path for path in (ROOT / "tests").iterdir() if (PIPELINE / path.name / "__init__.py").is_file()
)


def test_nothing_but_the_doors_lies_directly_under_pipeline():
    """A new module belongs into a room."""
    assert ["__init__.py", "cli.py", "run"] == sorted(
        path.name for path in PIPELINE.iterdir() if path.is_file()
    )


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_holds_few_files_and_says_what_it_is(room):
    """At most twenty files, and an `__init__` of one docstring: what lives there and where to begin reading."""
    assert len(list(room.glob("*.py"))) <= MOST_FILES
    body = ast.parse((room / "__init__.py").read_text()).body
    if room.name != "tracking":  # MLflow reads settings when it is imported, so they stand before
        assert [ast.Expr] == [type(node) for node in body]
    assert len(ast.get_docstring(ast.Module(body, [])).split(". ")) >= 2 or room == PIPELINE


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PIPELINE).as_posix())
def test_a_long_file_has_its_reason(path):
    """One idea is one file; beyond 500 lines somebody has asked whether it is still one."""
    text = path.read_text()
    if len(text.splitlines()) > LONGEST:
        assert " long" in ast.get_docstring(ast.parse(text))


def test_the_rooms_of_the_linter_are_the_rooms_there_are():
    """Layers name packages, not modules."""
    import tomllib

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["type"] == "layers")["layers"]
    named = {name for layer in layers for name in layer.split(" | ")}
    assert named == {room.name for room in ROOMS if room.parent == PIPELINE} | {"cli"}


def imported_modules(path):
    """Return the modules of `pipeline` that a file imports at its top or below."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pipeline"):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            files = [ROOT / (name.replace(".", "/") + ".py") for name in names]
            found |= {file for file in files if file.is_file()}
    return found


def test_the_way_down_is_short_and_never_leads_back():
    """At most ten files import each other in a row."""
    needs = {path: imported_modules(path) for path in FILES}
    depths = {}

    def depth(path, above=()):
        assert path not in above, f"{path} imports itself through {above}"
        if path not in depths:
            depths[path] = 1 + max((depth(other, (*above, path)) for other in needs[path]), default=0)
        return depths[path]

    assert max(map(depth, FILES)) <= 10 + 1  # files in a row; arrows between them are one fewer


@pytest.mark.parametrize("folder", MIRRORED, ids=lambda folder: folder.name)
def test_tests_mirror_the_rooms(folder):
    """tests/<room>/test_<file>.py tests pipeline/<room>/<file>.py; `test_<file>_<what>.py` one side of it."""
    names = {path.stem for path in (PIPELINE / folder.name).glob("*.py")} | CONTRACTS.get(folder.name, set())
    lost = [
        path.name
        for path in folder.glob("test_*.py")
        if not any(path.stem == f"test_{name}" or path.stem.startswith(f"test_{name}_") for name in names)
    ]
    assert [] == lost
