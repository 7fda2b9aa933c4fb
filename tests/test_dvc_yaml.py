"""dvc.yaml agrees with the code it runs."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from pipeline.fetching.source import KINDS
from pipeline.runtime.files import path_digest
from pipeline.runtime.stage import declared_inputs
from pipeline.runtime.strict_yaml import read_yaml

ROOT = Path(__file__).resolve().parent.parent
STAGES = [path.stem for path in sorted((ROOT / "pipeline/stages").glob("*.py")) if path.stem != "__init__"]

CANNOT_MOVE_A_RESULT = {
    "__init__.py": "holds a docstring and nothing else (tests/test_rooms.py); that of `tracking` sets time-outs",
    "runtime/addresses.py": "what of an address may be shown, and where the record is",
    "runtime/dvc_place.py": "where DVC keeps its own files on this machine",
    "runtime/errors.py": "messages and exit codes",
    "runtime/paths.py": "says where files lie; a stage whose files lie elsewhere fails, for DVC misses its outs",
    "runtime/processes.py": "starts, limits and ends processes",
    "runtime/progress.py": "draws bars, and writes what people and the dashboard read while training runs; `register` "
    "records that, and depends on it",
    "runtime/repository.py": "asks git and DVC what is committed and recorded; `register` decides by that, and depends "
    "on it",
    "runtime/stage.py": "locks a stage, compares the hashes of its inputs, turns errors into exit codes",
    "runtime/web.py": "one question to a server",
    "runtime/terminal.py": "shows texts to people",
    "runtime/strict_yaml.py": "reads values or refuses them; tests/runtime/test_strict_yaml.py compares them with DVC's "
    "own reading, and dvc.lock holds them as the parameters of the stage",
}
"""File to the reason why no stage depends on it. What is not here is a dependency wherever it is reached."""
PARAMETERS = "params"
"""Types and ranges of params.yaml; a default is `None`, `False`, 0 or empty and means "not used" (docs/decisions/0004,
and a test below); the values stand in dvc.lock as parameters. A stage that takes more from this room than the loader
and the types depends on the file."""
TAKEN_FREELY = {"load_params"}
RECORDS = ("runtime/progress.py", "runtime/repository.py")
"""What `register` records and decides by."""
SOURCES_BY_NAME, FAMILIES_BY_NAME = 'f"pipeline.sources.{', 'f"pipeline.models.{'
"""How the code looks up what no import names."""
DEAR = ("train", "tune", "folds", "reduce")
"""Stages that train for minutes: a folder is named only if all that it holds is needed."""


@cache
def imported_names(path):
    """Return (file of `pipeline`, the name taken from it; None: all of it) for each import anywhere in a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            taken = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            taken = [(node.module, alias.name) for alias in node.names]
            taken += [(f"{node.module}.{alias.name}", None) for alias in node.names]
        else:
            continue
        for module, name in taken:
            if module.split(".")[0] == "pipeline":
                place = ROOT / module.replace(".", "/")
                files = (place.with_suffix(".py"), place / "__init__.py")
                found += [(file, name) for file in files if file.is_file()]
    text = path.read_text()
    if SOURCES_BY_NAME in text:
        found += [(ROOT / f"pipeline/sources/{kind}.py", None) for kind in KINDS]
    if FAMILIES_BY_NAME in text:
        # dvc.yaml names the family itself; this is what any of them imports.
        for family in sorted((ROOT / "pipeline/models").glob("*.py")):
            found += imported_names(family)
    return found


@cache
def types_of(file):
    """Return the names of the types that a file of parameters defines."""
    types = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef):
            types.add(node.name)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
            # Annotated[...], Literal[...]
            types |= {
                name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)
            }
    return types


def moves_results(file, name, stage):
    """Tell whether what is taken from a file can move a result: all of it but the frame and the types of params."""
    place = file.relative_to(ROOT / "pipeline")
    if {place.name, place.as_posix()} & CANNOT_MOVE_A_RESULT.keys():
        return stage == "register" and place.as_posix() in RECORDS
    if place.parts[0] != PARAMETERS:
        return True
    return name not in types_of(file) | TAKEN_FREELY


@cache
def code_behind(path):
    """Return every file of `pipeline` that a file runs and that can move a result."""
    found, waiting = set(), [path]
    while waiting:
        for needed, name in imported_names(waiting.pop()):
            if needed not in found and moves_results(needed, name, path.stem):
                found.add(needed)
                waiting.append(needed)
    return {file.relative_to(ROOT).as_posix() for file in found | {path}}


def covers(dependency, file):
    """Tell whether a dependency of dvc.yaml is a file or holds it."""
    return file == dependency or file.startswith(f"{dependency}/")


@cache
def code_in_dvc_yaml(stage):
    """Return the files and folders of code that dvc.yaml names for a stage."""
    body = read_yaml(ROOT / "dvc.yaml")["stages"][stage]
    deps = [dep for dep in body.get("do", body)["deps"] if dep.startswith("pipeline/")]
    return [dep for dep in deps if "${" not in dep]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_it_runs(stage):
    """Editing a file that a stage imports makes the stage run again."""
    declared = code_in_dvc_yaml(stage)
    needed = code_behind(ROOT / f"pipeline/stages/{stage}.py")
    assert [] == [file for file in sorted(needed) if not any(covers(dep, file) for dep in declared)]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_nothing_that_it_never_reaches(stage):
    """Each file and folder of code in dvc.yaml holds something that the stage imports, and none stands twice."""
    declared = code_in_dvc_yaml(stage)
    needed = code_behind(ROOT / f"pipeline/stages/{stage}.py")
    code = [dep for dep in declared if (ROOT / dep).is_dir() or dep.endswith(".py")]
    assert [] == [dep for dep in code if not any(covers(dep, file) for file in needed)]
    assert [] == [dep for dep in declared for other in declared if dep != other and covers(other, dep)]


def templates_behind(stage):
    """Return the templates that the code of a stage names, and what they include."""
    folder = ROOT / "pipeline/reports/templates"
    waiting = {
        name
        for file in code_behind(ROOT / f"pipeline/stages/{stage}.py")
        for name in re.findall(r'"(\w[\w.]+\.j2)"', (ROOT / file).read_text())
    }
    found = set()
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= set(re.findall(r'{% include "([\w.]+)" %}', (folder / name).read_text())) - found
    return {(folder / name).relative_to(ROOT).as_posix() for name in found}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_templates_it_fills(stage):
    """A page is as much a result as a table; the stages that draw none name none."""
    declared = code_in_dvc_yaml(stage)
    assert [] == [
        file for file in sorted(templates_behind(stage)) if not any(covers(dep, file) for dep in declared)
    ]


def test_what_is_looked_up_by_name_is_looked_up_where_the_tests_look():
    """Sources and families are imported by a name that is put together: in one place each."""
    for text in (SOURCES_BY_NAME, FAMILIES_BY_NAME):
        assert 1 == sum(text in file.read_text() for file in (ROOT / "pipeline").rglob("*.py"))


def test_a_default_of_a_parameter_means_that_it_is_not_used():
    """Another default would move results of every project that leaves the key out, and no stage would know."""
    for file in ("sections.py", "values.py"):
        for struct in ast.parse((ROOT / "pipeline/params" / file).read_text()).body:
            for field in struct.body if isinstance(struct, ast.ClassDef) else ():
                if isinstance(field, ast.AnnAssign) and field.value is not None:
                    if ast.unparse(field.value) in ("field(default_factory=dict)", "UNSET"):
                        continue
                    assert ast.literal_eval(field.value) in (None, False, 0, ()), (
                        struct.name,
                        field.target.id,
                    )


@pytest.mark.parametrize("stage", DEAR)
def test_a_stage_that_trains_depends_on_no_file_it_could_do_without(stage):
    """An edit elsewhere in a room costs nobody an hour of training."""
    needed = code_behind(ROOT / f"pipeline/stages/{stage}.py")
    held = {
        file.relative_to(ROOT).as_posix()
        for dep in code_in_dvc_yaml(stage)
        for file in ((ROOT / dep).rglob("*.py") if (ROOT / dep).is_dir() else [ROOT / dep])
        if file.suffix == ".py" and file.name != "__init__.py"
    }
    assert held == needed


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


def everything_imported(path):
    """Return every file of `pipeline` that a file imports, through all others, whatever it takes from them."""
    found, waiting = set(), [path]
    while waiting:
        new = {file for file, _ in imported_names(waiting.pop())} - found
        found |= new
        waiting += new
    return {file.relative_to(ROOT).as_posix() for file in found | {path}}


def lock_what_is_there(project):
    """Let dvc.lock hold every dependency as it is now, as if all stages had just run."""
    import yaml

    lock = read_yaml(project / "dvc.lock")
    for name, entry in lock["stages"].items():
        kept = {dep["path"]: dep for dep in entry["deps"]}
        entry["deps"] = [
            {**kept.get(path, {"path": path, "hash": "md5"}), "md5": path_digest(project / path)}
            for path in declared_inputs(name).dependencies
            if (project / path).exists() and path != "params.yaml"
        ]
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))


def changed_dependencies():
    """Return stage to the dependencies that `dvc status` calls modified."""
    from dvc.repo import Repo

    with Repo() as repo:
        return {
            stage: {
                path
                for entry in entries
                if isinstance(entry, dict)
                for path, state in entry.get("changed deps", {}).items()
                if state == "modified"
            }
            for stage, entries in repo.status().items()
        }


@pytest.fixture
def recorded_project(project):
    """A copy of the project under DVC, whose dvc.lock holds the code as it is."""
    import subprocess

    subprocess.run(["git", "init", "-q"], check=True)
    (project / ".dvc/config.local").write_text(
        "[core]\n    no_scm = true\n    site_cache_dir = .dvc/tmp/site\n"
    )
    lock_what_is_there(project)
    return project


@pytest.mark.long
def test_dvc_status_names_every_stage_that_imports_an_edited_file(recorded_project):
    """An edit of any module, anywhere behind a stage, is seen, or the module stands in the list with its reason."""
    names = [stage for stage in read_yaml(Path("dvc.lock"))["stages"] if stage.partition("@")[0] in STAGES]
    declared = {name: declared_inputs(name).dependencies for name in names}
    needed = {name: code_behind(ROOT / f"pipeline/stages/{name.partition('@')[0]}.py") for name in names}
    behind = {
        name: everything_imported(ROOT / f"pipeline/stages/{name.partition('@')[0]}.py") for name in names
    }
    for file in {Path(file) for name in names for file in behind[name] - needed[name]}:
        place = file.relative_to("pipeline")
        reasons = {place.name, place.as_posix()} & CANNOT_MOVE_A_RESULT.keys()
        assert reasons or place.parts[0] == PARAMETERS, f"{file} is left out without a reason"
    assert not any(changed_dependencies().values())

    # One edited file at a time below each dependency, so that a folder that is named is named for that file.
    waiting = {}
    for file in sorted(set().union(*needed.values())):
        shortest = min(
            (dep for deps in declared.values() for dep in deps if covers(dep, file)), key=len, default=file
        )
        waiting.setdefault(shortest, []).append(file)
    while waiting:
        edited = {files.pop() for files in waiting.values()}
        waiting = {dep: files for dep, files in waiting.items() if files}
        before = {file: Path(file).read_bytes() for file in edited}
        for file, content in before.items():
            Path(file).write_bytes(content + b"\nEDITED = True\n")
        told = changed_dependencies()
        for name in names:
            for file in edited & needed[name]:
                assert any(covers(dep, file) for dep in told.get(name, ())), f"{file} is not told of {name}"
        for file, content in before.items():
            Path(file).write_bytes(content)


def test_an_edited_family_concerns_its_own_candidates_alone(recorded_project):
    """After an edit of models/rnn.py only candidates of that family are trained and tuned again."""
    candidates = read_yaml(Path("params.yaml"))["candidates"]
    with Path("pipeline/models/rnn.py").open("a") as file:
        file.write("EDITED = True\n")
    told = {
        stage
        for stage, changed in changed_dependencies().items()
        if any(covers(path, "pipeline/models/rnn.py") for path in changed)
    }
    own = {name for name, block in candidates.items() if block["family"] == "rnn"}
    assert own
    # Who is trained again, and of which family, is known only once somebody is chosen.
    assert told == {f"{stage}@{name}" for stage in ("train", "tune", "folds") for name in own} | {"refit"}
