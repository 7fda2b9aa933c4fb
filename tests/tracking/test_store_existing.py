"""Looking for a model makes nothing."""

import shutil

import pytest

from pipeline import cli
from pipeline.runtime.errors import InputMissing
from pipeline.tracking.store import open_existing_store
from tests.helpers.synthetic_project import HERE


def test_looking_makes_no_database(tmp_path, monkeypatch):
    """Where there is no store there is none afterwards."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputMissing, match="no model registry"):
        open_existing_store(tmp_path)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["lineage"], 66),
        (["lineage", "--data", "ab" * 32], 66),
        (["rollback", "--reason", "bad"], 66),
        (["verify"], 74),
    ],
    ids=lambda value: "_".join(value)[:20] if isinstance(value, list) else "",
)
def test_no_command_that_looks_makes_a_database(tmp_path, monkeypatch, capsys, arguments, code):
    """A fresh clone: the command says that `dvc repro` is what is missing, and leaves no mlflow.db."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    shutil.copy(HERE / "params.yaml", tmp_path / "params.yaml")
    shutil.copy(HERE / "dvc.yaml", tmp_path / "dvc.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.paths, "project_root", lambda: tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert code == ended.value.code
    said = capsys.readouterr().err
    assert "There is no model registry" in said
    assert "`dvc repro`" in said
    assert not list(tmp_path.glob("ml*"))


def test_project_that_another_working_tree_belongs_to_is_looked_at(tmp_path, monkeypatch):
    """`MILLRACE_HOME` names the project whose store counts, as for `open_store`."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "home"))
    with pytest.raises(InputMissing, match=r"home/mlflow\.db"):
        open_existing_store(tmp_path / "tree")
