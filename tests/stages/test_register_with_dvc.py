"""The register stage as DVC runs it: held until committed, judged anew by the same command, then left in peace."""

import io
import json
import subprocess
import sys
from contextlib import suppress

import pytest
from ruamel.yaml import YAML

from pipeline.runtime.strict_yaml import read_yaml
from tests.helpers.dvc_project import init_dvc, reproduced, status
from tests.helpers.empty_store import put_store
from tests.helpers.registration import make_registration_project, model, put_best
from tests.helpers.synthetic_project import HERE

pytestmark = pytest.mark.timeout(600)
NAMES = ("cnn", "linear", "majority")
DEPS = ("data/interim", "data/split", "data/features", "models", "params.yaml", "data/source.json")
IGNORED = "/mlflow.db*\n/mlartifacts\n/.millrace\n/models\n/data/*\n!/data/source.json\n/reports/register/\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Stand in a committed project of which only the register stage is left to run."""
    from pipeline.inference import backend

    with suppress(RuntimeError):  # another file of this worker may have started TensorFlow already
        backend.prepare_tensorflow(2, 7)
    root = make_registration_project(tmp_path / "project")
    params = read_yaml(HERE / "examples/quick/digits.yaml")
    params["candidates"] = {name: params["candidates"][name] for name in NAMES}
    write_yaml(root / "params.yaml", params)
    lock = json.loads((root / "dvc.lock").read_text())
    del lock["stages"]["register"]
    stages = {name: {"cmd": "true", **stage} for name, stage in lock["stages"].items()}
    write_yaml(root / "dvc.lock", {"schema": "2.0", "stages": stages})
    outs = read_yaml(HERE / "dvc.yaml")["stages"]["register"]["outs"]
    command = f"{HERE}/pipeline/run register"
    write_yaml(
        root / "dvc.yaml", {"stages": {"register": {"cmd": command, "deps": list(DEPS), "outs": outs}}}
    )
    put_store(root)
    (root / ".gitignore").write_text(IGNORED)
    monkeypatch.chdir(root)
    for name in ("DVC_ROOT", "DVC_STAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    git("init", "-q")
    init_dvc(root, site_cache_dir=str(tmp_path / "site"))
    commit()
    return root


def write_yaml(path, content):
    buffer = io.StringIO()
    YAML().dump(content, buffer)
    path.write_text(buffer.getvalue())


def git(*arguments):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(["git", *who, *arguments], check=True, capture_output=True, text=True).stdout


def commit():
    git("add", "-A")
    git("commit", "-qm", "all")


def repro():
    """Run the pipeline; return the stages that ran, and the verdict."""
    ran = reproduced()
    with open("reports/register/decision.json") as file:
        return ran, json.load(file)["decision"]


@pytest.mark.long
def test_a_challenger_is_held_until_the_commit_and_settled_after_it(project):
    """A change nobody committed: held, exit code 0, again held; after the commit promoted; then nothing runs."""
    put_best(project, model(9.0, confused=12.0))
    assert (["register"], "promoted") == repro()
    put_best(project, model(9.0))
    (project / "notes.txt").write_text("not committed")
    assert (["register"], "held") == repro()
    assert "reports/register/settled" in str(status())
    assert (["register"], "held") == repro()
    commit()
    assert (["register"], "promoted") == repro()
    assert ([], "promoted") == repro()
    assert {} == status()
    commit()
    assert ([], "promoted") == repro()


@pytest.mark.long
def test_the_first_champion_is_settled_before_and_after_the_commit(project):
    """A second `dvc repro` runs nothing, dvc.lock has nothing to add after the commit, and lineage finds it then."""
    (project / "notes.txt").write_text("not committed")
    put_best(project, model(8.0))  # and dvc.lock is another than the committed one
    assert (["register"], "promoted") == repro()
    assert ([], "promoted") == repro()
    assert "true" == lineage()["git.dirty"]
    commit()
    assert git("rev-parse", "HEAD").strip() == lineage()["git.commit"]
    assert "false" == lineage()["git.dirty"]
    assert ([], "promoted") == repro()
    assert git("status", "--porcelain") == ""


def lineage():
    """Return the tags of the champion, as the command tells them."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "lineage", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["tags"]


@pytest.mark.long
def test_committed_from_the_start_promotes_at_once(project):
    """What a fresh clone of a finished project meets: nothing to hold, and its dvc.lock depends on no commit."""
    assert (["register"], "promoted") == repro()
    first = read_yaml(project / "dvc.lock")
    commit()
    (project / "reports/register/decision.json").unlink()
    assert (["register"], "promoted") == repro()
    assert first == read_yaml(project / "dvc.lock")
    assert git("status", "--porcelain") == ""
