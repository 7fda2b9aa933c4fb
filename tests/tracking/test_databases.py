"""A database goes where its project goes: its addresses follow it, and a copy leaves the original alone."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.runtime.errors import StorageFailed
from pipeline.tracking import databases
from pipeline.tracking.store import open_existing_store, open_store


@pytest.fixture
def project(tmp_path, monkeypatch, empty_store):
    """A project with a run, its artifact, and a registered version with its files."""
    root = tmp_path / "was here"
    root.mkdir()
    shutil.copy(empty_store, root / "mlflow.db")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MILLRACE_HOME", raising=False)
    # MLflow asks its global store for a logged model, not the client's: a stage stands in its project.
    monkeypatch.chdir(root)
    store = open_store(root, "m")
    client = store.client
    run = client.create_run(store.experiment_id)
    client.log_text(run.info.run_id, "first", "told.txt")
    model = client.create_logged_model(store.experiment_id, name="m", source_run_id=run.info.run_id)
    (root / "packed").mkdir()
    (root / "packed/model.keras").write_text("bytes")
    client.log_model_artifacts(model.model_id, str(root / "packed"))
    client.create_registered_model("m")
    client.finalize_logged_model(model.model_id, "READY")
    source = f"models:/{model.model_id}"
    client.create_model_version("m", source=source, run_id=run.info.run_id, model_id=model.model_id)
    client.create_model_version("m", source=run.info.artifact_uri, run_id=run.info.run_id)
    return root


def everything_in(path):
    """Return every value of every table, as text."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return "\n".join(
            repr(row) for table in tables for row in connection.execute(f"SELECT * FROM '{table}'")
        )


def first_artifact(store):
    """Return where the artifact of the only run is said to lie."""
    (run,) = store.client.search_runs([store.experiment_id])
    return Path(store.client.download_artifacts(run.info.run_id, "told.txt"))


def test_after_a_move_everything_is_found_where_it_is_now(project, tmp_path, capsys):
    """No address of the old place is left, the files are read from the new one, and one line says so."""
    moved = tmp_path / "is 100% here?"
    project.rename(moved)
    store = open_store(moved, "m")
    assert "first" == first_artifact(store).read_text()
    (run,) = store.client.search_runs([store.experiment_id])
    assert run.info.artifact_uri.startswith((moved / "mlartifacts").as_uri())
    (model,) = store.client.search_logged_models([store.experiment_id])
    assert (moved / "mlartifacts").as_uri() in model.artifact_location
    old = (project / "mlartifacts").as_uri()
    left = [row for row in everything_in(moved / "mlflow.db").splitlines() if old in row]
    assert [] == left
    (line,) = capsys.readouterr().err.splitlines()
    assert f"came from {project}" in line
    open_store(moved, "m")
    assert "" == capsys.readouterr().err
    assert not project.exists()


def test_a_copy_leaves_the_original_as_it_is(project, tmp_path):
    """Each has its own files, and what the copy records stays with the copy."""
    copied = tmp_path / "copy"
    shutil.copytree(project, copied)
    before = sorted(path for path in (project / "mlartifacts").rglob("*"))
    rows = everything_in(project / "mlflow.db")
    store = open_store(copied, "m")
    run = store.client.create_run(store.experiment_id)
    store.client.log_text(run.info.run_id, "second", "told.txt")
    assert (copied / "mlartifacts" / run.info.run_id / "artifacts/told.txt").is_file()
    assert before == sorted(path for path in (project / "mlartifacts").rglob("*"))
    assert rows == everything_in(project / "mlflow.db")


def test_those_who_only_read_find_it_as_well(project, tmp_path):
    """`millrace verify` and `lineage` may be the first to open it."""
    project.rename(tmp_path / "moved")
    store = open_existing_store(tmp_path / "moved")
    sources = {version.source for version in store.client.search_model_versions("name = 'm'")}
    assert [(tmp_path / "moved").as_uri() in source for source in sorted(sources)] == [True, False]


def test_a_database_without_its_artifacts_is_refused(project, tmp_path):
    """It would write into those of the project it came from."""
    (tmp_path / "alone").mkdir()
    with closing(sqlite3.connect(project / "mlflow.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(project / "mlflow.db", tmp_path / "alone")
    with pytest.raises(StorageFailed, match="without its artifacts"):
        open_store(tmp_path / "alone", "m")


def test_a_disk_that_is_not_mounted_is_not_taken_for_a_move(project, tmp_path):
    """What the database names is nowhere: it stays as it was, and is found again once the disk is back."""
    with closing(sqlite3.connect(project / "mlflow.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (tmp_path / "moved").mkdir()
    shutil.copy(project / "mlflow.db", tmp_path / "moved")
    (project / "mlartifacts").rename(project / "unmounted")
    before = everything_in(tmp_path / "moved/mlflow.db")
    with pytest.raises(StorageFailed, match="Mount the disk"):
        open_store(tmp_path / "moved", "m")
    assert before == everything_in(tmp_path / "moved/mlflow.db")


@pytest.mark.parametrize("name", ["kept", "mlartifacts"])
def test_artifacts_on_another_disk_are_left_alone(name, project, tmp_path):
    """Somebody who chose a place for an experiment chose it."""
    chosen = tmp_path / "disk" / name
    chosen.mkdir(parents=True)
    store = open_store(project, "m")
    store.client.create_experiment("big", chosen.as_uri())
    project.rename(tmp_path / "moved")
    store = open_store(tmp_path / "moved", "m")
    assert chosen.as_uri() == store.client.get_experiment_by_name("big").artifact_location


@pytest.mark.parametrize("name", ["50% off", "a%20b", "why?", "Prüfung & Söhne", "#1 'quoted'"])
def test_a_project_may_have_any_name(name, tmp_path, monkeypatch, empty_store):
    """The database and the artifacts lie in the project, and nothing beside it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / name
    root.mkdir()
    shutil.copy(empty_store, root / "mlflow.db")
    store = open_store(root, "m")
    run = store.client.create_run(store.experiment_id)
    store.client.log_text(run.info.run_id, "first", "told.txt")
    assert "first" == first_artifact(store).read_text()
    assert [] == open_existing_store(root).client.search_registered_models()
    assert {"mlartifacts", "mlflow.db"} <= {path.name for path in root.iterdir()}
    assert [name] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("revision", "told"),
    [
        ("1b5f0d9ad7c1", "an older MLflow.*mlflow db upgrade"),
        ("ffffffffffff", "a newer MLflow.*another store"),
    ],
)
def test_tables_of_another_mlflow_are_told_from_a_store_that_is_down(revision, told, project):
    """74 in one line: an older one can be upgraded, for good, a newer one cannot be read."""
    with closing(sqlite3.connect(project / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    for opened in (lambda: open_store(project, "m"), lambda: open_existing_store(project)):
        with pytest.raises(StorageFailed, match=told) as refused:
            opened()
        assert 1 == len(str(refused.value).splitlines())


def test_the_newest_tables_are_those_that_mlflow_makes(project):
    """By a second opinion: alembic's, on the migrations of the installed MLflow."""
    from alembic.script import ScriptDirectory

    made = ScriptDirectory(str(databases.MIGRATIONS.parent)).get_current_head()
    assert made == databases._newest_revision()
    assert made == databases._revision_of(f"sqlite:///{project}/mlflow.db")
