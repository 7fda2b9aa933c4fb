"""A store that cannot be used says why, with an exit code and a cure of its own: never "a bug in Millrace"."""

import json
import sqlite3
import sys

import pytest
import requests
from mlflow import MlflowClient
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

from pipeline.runtime.errors import (
    Busy,
    InputMissing,
    Misconfigured,
    NotPermitted,
    ServiceDown,
    StorageFailed,
)
from pipeline.tracking.causes import cause_of
from pipeline.tracking.store import create_sqlite, open_existing_store, open_store, service_errors
from tests.helpers.mlflow_answers import FORBIDDEN, LOGIN, NOT_FOUND, UNKNOWN, answering, folder_of_others


@pytest.mark.parametrize(
    ("answer", "version", "kind", "cure"),
    [
        (UNKNOWN, "3.17.2", NotPermitted, "MLFLOW_TRACKING_USERNAME"),
        (FORBIDDEN, "3.17.2", NotPermitted, "Ask whoever runs the server"),
        (NOT_FOUND, None, Misconfigured, "static-prefix"),
        (LOGIN, None, Misconfigured, "Correct MLFLOW_TRACKING_URI"),
        (NOT_FOUND, "2.22.1", Misconfigured, "3 or newer"),
    ],
    ids=["401", "403", "404", "a login page", "MLflow 2"],
)
def test_each_answer_of_a_server_has_its_code_and_cure(tmp_path, monkeypatch, answer, version, kind, cure):
    """To whoever opens the store for writing; the address is told without its password."""
    with answering({"": answer}, version) as (uri, _):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.replace("//", "//me:S3CRET@"))
        with pytest.raises(kind, match=cure) as refused:
            open_store(tmp_path, "digits")
        assert f"at {uri}" in str(refused.value)
        assert "S3CRET" not in str(refused.value)


def test_an_old_server_is_refused_by_commands_that_only_look(tmp_path, monkeypatch):
    """A version without logged models could be found, and not loaded."""
    with answering({}, "2.9.2") as (uri, _):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(Misconfigured, match=r"too old.*Received: 2\.9\.2"):
            open_existing_store(tmp_path)


NO_ADDRESSES = [
    "localhost:5000",
    "mlflow.example.com",
    "./mlruns",
    "mlruns",
    "/srv/mlruns",
    "file:///srv/mlruns",
    "sqlite://mlflow.db",
    "sqlite:mlflow.db",
    "me:S3CRET@host:5000",
]


@pytest.mark.parametrize("uri", NO_ADDRESSES)
def test_an_address_that_is_none_is_refused(tmp_path, monkeypatch, uri):
    """Nothing is made in a folder of that name either."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    for look in (lambda: open_store(tmp_path, "digits"), lambda: open_existing_store(tmp_path)):
        with pytest.raises(Misconfigured, match=r"Expected http\(s\)://HOST") as refused:
            look()
        assert "S3CRET" not in str(refused.value)
    assert [] == list(tmp_path.iterdir())


def test_a_blank_around_the_address_is_none_of_it(tmp_path, monkeypatch):
    """As a secret made with `echo` has it."""
    with answering({"": UNKNOWN}) as (uri, _):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{uri}\n")
        with pytest.raises(NotPermitted):
            open_store(tmp_path, "digits")


def test_a_scheme_that_nobody_knows_is_a_setting(tmp_path, monkeypatch):
    """MLflow lists those it knows."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "htp://host:5000")
    with pytest.raises(Misconfigured, match="Correct MLFLOW_TRACKING_URI"):
        open_store(tmp_path, "digits")


def test_a_driver_that_is_not_installed_is_named(tmp_path, monkeypatch):
    """Artifacts on S3 need boto3, which MLflow imports when it first writes one."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputMissing, match=r"boto3.*pip install 'boto3'"), service_errors("http://host"):
        S3ArtifactRepository("s3://bucket/x").log_artifact(str(tmp_path / "file"))


def test_another_module_that_is_missing_is_no_driver():
    """That is a bug, and shown as one."""
    with pytest.raises(ModuleNotFoundError), service_errors("http://host"):
        raise ModuleNotFoundError("no", name="something")


@pytest.mark.parametrize("mode", [0o777, 0o755], ids=["the file", "its folder"])
def test_a_database_that_may_not_be_written_is_no_server_to_be_started(monkeypatch, mode):
    """sqlite's word is in MLflow's error; the cure is about permissions."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with folder_of_others(mode) as (folder, unprivileged):
        create_sqlite(folder / "mlflow.db")
        for path in folder.iterdir():
            path.chmod(0o444)
        with (
            unprivileged(),
            pytest.raises(NotPermitted, match=r"mlflow\.db may not be written.*chmod u\+w") as refused,
        ):
            open_store(folder, "digits")
    assert "Start the server" not in str(refused.value)


def test_a_log_of_another_user_beside_the_database_is_a_matter_of_permissions():
    """One call as root leaves one: the file and its folder may be written, what lies beside it may not."""
    with folder_of_others(0o777) as (folder, unprivileged):
        create_sqlite(folder / "mlflow.db")
        (folder / "mlflow.db").chmod(0o666)
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        said = "(sqlite3.OperationalError) attempt to write a readonly database"
        for path in folder.glob("mlflow.db-*"):
            path.unlink()
        with unprivileged():
            assert isinstance(cause_of(uri, said), StorageFailed)
        (folder / "mlflow.db-shm").touch(0o644)
        with unprivileged():
            assert isinstance(cause_of(uri, said), NotPermitted)


def test_a_damaged_database_is_told(tmp_path, monkeypatch):
    """And no traceback of sqlite."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlflow.db").write_bytes(b"no database " * 1000)
    with pytest.raises(StorageFailed, match=r"mlflow\.db is damaged"):
        open_store(tmp_path, "digits")


@pytest.mark.parametrize(
    ("uri", "said", "kind"),
    [
        (
            "sqlite:////p/mlflow.db",
            "(sqlite3.OperationalError) attempt to write a readonly database",
            NotPermitted,
        ),
        ("sqlite:////p/mlflow.db", "(sqlite3.OperationalError) unable to open database file", NotPermitted),
        ("sqlite:////p/mlflow.db", "(sqlite3.OperationalError) database is locked", Busy),
        ("sqlite:////p/mlflow.db", "(sqlite3.OperationalError) database or disk is full", StorageFailed),
        ("sqlite:////p/mlflow.db", "(sqlite3.OperationalError) no such column: x", StorageFailed),
        ("postgresql://h/db", 'FATAL:  password authentication failed for user "u"', NotPermitted),
        ("postgresql://h/db", 'FATAL:  database "mlflow" does not exist', Misconfigured),
        ("postgresql://h/db", "permission denied for schema public", NotPermitted),
        ("mysql+pymysql://h/db", "(1045, \"Access denied for user 'u'@'h'\")", NotPermitted),
        ("postgresql://h/db", "connection to server failed: Connection refused", ServiceDown),
        ("http://h", "Connection refused", ServiceDown),
        ("https://h", "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate", NotPermitted),
    ],
)
def test_what_a_store_said_has_one_kind(uri, said, kind):
    """Texts of sqlite 3, PostgreSQL, MySQL and OpenSSL."""
    assert kind is type(cause_of(uri, said))


@pytest.mark.parametrize("said", ["attempt to write a readonly database", "unable to open database file"])
def test_a_disk_that_failed_is_not_taken_for_a_lack_of_permission(tmp_path, said):
    """SQLite says the same of both; who may write the file and its folder is told to look at the disk."""
    path = tmp_path / "mlflow.db"
    sqlite3.connect(path).close()
    path.touch()
    error = cause_of(f"sqlite:///{path}", f"(sqlite3.OperationalError) {said}")
    assert isinstance(error, StorageFailed)
    assert "Its disk failed, or was full." in str(error)
    path.unlink()
    assert isinstance(cause_of(f"sqlite:///{path}", said), StorageFailed), "SQLite would have made it"
    assert isinstance(cause_of(f"sqlite:///{tmp_path}/gone/mlflow.db", said), NotPermitted)


def test_errors_of_sqlite_itself_are_told_too(tmp_path):
    """Where MLflow is not asked: half-made stores are looked for with sqlite."""
    with pytest.raises(StorageFailed), service_errors(f"sqlite:///{tmp_path}/mlflow.db"):
        raise sqlite3.DatabaseError("file is not a database")


def test_silent_artifacts_of_a_database_that_is_a_file_are_no_damaged_file(tmp_path):
    """They may lie in a bucket: 69 and to be asked again, not 74 and advice about a disk."""
    with (
        pytest.raises(ServiceDown, match=r"What keeps the artifacts of .*mlflow\.db does not answer"),
        service_errors(f"sqlite:///{tmp_path}/mlflow.db"),
    ):
        raise requests.ConnectionError("bucket.s3.amazonaws.com refused")


def test_the_end_of_a_run_shows_no_address(capsys):
    """MLflow's own "View run at" is said ten times by one pipeline, with the password of the address."""
    info = {"run_id": "r", "run_name": "cnn", "experiment_id": "0", "status": "FINISHED"}
    run = 200, json.dumps({"run": {"info": info, "data": {}}, "run_info": info})
    with answering({"": run}) as (uri, asked):
        MlflowClient(uri.replace("//", "//me:S3CRET@")).set_terminated("r")
    assert "/api/2.0/mlflow/runs/update" in asked
    assert "" == capsys.readouterr().out
