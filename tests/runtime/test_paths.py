"""The project is where the process stands, and the record is where the project is."""

from pathlib import Path

import pytest

from pipeline.runtime import paths


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of a project in which DVC runs an experiment, as `dvc exp run --temp` makes it."""
    project, made = tmp_path / "project", tmp_path / "project/.dvc/tmp/exps/tmpcopy"
    made.mkdir(parents=True)
    for folder in (project, made):
        (folder / "dvc.yaml").touch()
    monkeypatch.delenv("MILLRACE_HOME", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(project))
    monkeypatch.setenv("DVC_STAGE", "check")
    monkeypatch.chdir(made)
    return made


def test_a_stage_in_a_copy_works_on_the_copy(copy, tmp_path):
    """Its parameters are the experiment's; `DVC_ROOT` names the project that was copied."""
    assert copy == paths.project_root()
    assert tmp_path / "project" == paths.home_dir()
    assert f"sqlite:///{tmp_path}/project/mlflow.db" == paths.tracking_uri(copy / paths.home_dir())


def test_outside_of_stages_the_variable_of_dvc_says_nothing(copy, monkeypatch):
    """A shell that a stage opened may outlive it."""
    monkeypatch.delenv("DVC_STAGE")
    assert Path() == paths.home_dir()


def test_a_retrain_counts_more_than_dvc(copy, monkeypatch):
    """In its tree `DVC_ROOT` is the tree."""
    monkeypatch.setenv("MILLRACE_HOME", "/home/of/the/project")
    assert Path("/home/of/the/project") == paths.home_dir()


@pytest.mark.parametrize("name", ["plain", "50% off", "a%20b", "why?", "Prüfung & Söhne #1"])
def test_the_uri_of_a_database_is_read_as_it_was_written(name, tmp_path, monkeypatch):
    """As SQLAlchemy reads it, and as we do."""
    from sqlalchemy import make_url

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    uri = paths.tracking_uri(tmp_path / name)
    assert tmp_path / name / "mlflow.db" == paths.sqlite_path(uri)
    assert str(tmp_path / name / "mlflow.db") == make_url(uri).database
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert uri == paths.tracking_uri(Path("/"))


def test_options_of_a_database_are_kept(monkeypatch):
    """They are no part of the file's name."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///runs.db?timeout=30")
    assert "sqlite:////project/runs.db?timeout=30" == paths.tracking_uri(Path("/project"))
    assert Path("/project/runs.db") == paths.sqlite_path(paths.tracking_uri(Path("/project")))
