"""dvc.yaml agrees with the code it runs."""

import ast
from pathlib import Path

import pytest

from pipeline.stage_inputs import declared_inputs
from pipeline.strict_yaml import read_yaml

ROOT = Path(__file__).resolve().parent.parent
STAGES = [path.stem for path in sorted((ROOT / "pipeline/stages").glob("*.py")) if path.stem != "__init__"]

# Code that frames, names or shows results and cannot move one: paths, locks, messages, parameter types
# (docs/decisions/0004), the ledger of the test set, the MLflow record (an outcome of what the other stages computed).
FRAME = {
    "__init__",
    "config",
    "paths",
    "processes",
    "stage_inputs",
    "strict_yaml",
    "live_log",
    "follow",
    "report",
    "test_ledger",
    "json_lines",
}


def imported_modules(path):
    """Return the files of `pipeline` that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    files = set()
    for name in names:
        if name.startswith("pipeline."):
            file = ROOT / (name.replace(".", "/") + ".py")
            package = ROOT / name.replace(".", "/") / "__init__.py"
            files |= {found for found in (file, package) if found.is_file()}
    if 'f"pipeline.models.{' in path.read_text():  # looked up by name: the families, and what they import
        files |= {
            needed
            for family in (ROOT / "pipeline/models").glob("*.py")
            for needed in imported_modules(family)
        }
    return files


def code_behind(path):
    """Return every file of `pipeline` that a file needs, without the frame."""
    found, waiting = set(), [path]
    while waiting:
        file = waiting.pop()
        for needed in imported_modules(file) - found:
            if (
                needed.stem in FRAME
                or "tracking" in needed.parts
                or {"models", "settings"} & set(needed.parts)
            ):
                continue
            found.add(needed)
            waiting.append(needed)
    return {file.relative_to(ROOT).as_posix() for file in found | {path}}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_it_runs(stage):
    """Editing a file that a stage imports makes the stage run again, and no other file does."""
    body = read_yaml(ROOT / "dvc.yaml")["stages"][stage]
    declared = {dep for dep in body.get("do", body)["deps"] if dep.endswith(".py") and "${" not in dep}
    assert code_behind(ROOT / f"pipeline/stages/{stage}.py") == declared


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_of_dvc_yaml_has_its_file_and_command(stage):
    """Stage, file and dvc.yaml name are the same word, and the command is one plain program."""
    body = read_yaml(ROOT / "dvc.yaml")["stages"][stage]
    command = body.get("do", body)["cmd"]
    assert command.removesuffix(" ${key}") == f"pipeline/run {stage}"


def test_dvc_yaml_has_no_stage_without_a_file():
    """No stage is left over."""
    assert sorted(read_yaml(ROOT / "dvc.yaml")["stages"]) == STAGES


def test_our_reading_of_the_templates_is_dvcs():
    """Dependencies as we resolve them are those DVC resolves."""
    from dvc.repo import Repo

    with Repo(str(ROOT)) as repo:
        for stage in repo.stage.collect(None):
            deps = {
                dep.def_path for dep in stage.deps if dep.protocol == "local" and not hasattr(dep, "params")
            }
            whole_files = {"params.yaml"} if stage.name == "check" else set()
            assert deps | whole_files == set(declared_inputs(stage.name).dependencies)


def test_no_stage_depends_on_a_url():
    """DVC deletes the local file of a URL dependency whose server is down."""
    assert "://" not in "\n".join(
        line for line in (ROOT / "dvc.yaml").read_text().splitlines() if not line.lstrip().startswith("#")
    )


def test_ignore_patterns_are_anchored():
    """`models/` in .gitignore would hide pipeline/models as well."""
    import subprocess

    ignored = subprocess.run(
        ["git", "check-ignore", "pipeline/models/cnn.py", "data/source.json", "models/best/model.keras"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    assert ignored == ["models/best/model.keras"]
