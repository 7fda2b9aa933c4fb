"""The first stage asks the store, within its two seconds, whether the last one can use it."""

import os
import socket
import subprocess
import sys
import time

import pytest

from pipeline.checks.store import ask_store
from pipeline.runtime.errors import InputMissing, Misconfigured, NotPermitted
from pipeline.tracking import causes
from tests.helpers import load
from tests.helpers.mlflow_answers import (
    EXPERIMENT,
    FORBIDDEN,
    LOGIN,
    NONE_SUCH,
    NOT_FOUND,
    UNKNOWN,
    answering,
    experiment,
    folder_of_others,
)


@pytest.fixture(autouse=True)
def nobody(monkeypatch):
    """No settings but those of the test; MLflow asks once."""
    for name in list(os.environ):
        if name.startswith("MLFLOW_TRACKING"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("MILLRACE_HOME", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.mark.parametrize("found", [experiment(), NONE_SUCH], ids=["known", "new"])
def test_a_server_that_answers_is_fine(tmp_path, monkeypatch, found):
    """Asked for its version and the experiment, as whoever the environment says, and nothing is made."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    answers = {EXPERIMENT: found, "/api/2.0/mlflow/experiments/get": experiment()}
    with answering(answers, token="Bearer t0ken") as (uri, asked):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert [] == ask_store(tmp_path, "digits")
    assert ["/version", EXPERIMENT] == asked[:2]
    assert not [path for path in asked if "create" in path]


@pytest.mark.long
@pytest.mark.parametrize(
    ("answer", "version", "code", "cure"),
    [
        (UNKNOWN, "3.17.2", 77, "MLFLOW_TRACKING_USERNAME"),
        (NOT_FOUND, "2.22.1", 78, "3 or newer"),
    ],
    ids=["401", "MLflow 2"],
)
def test_the_stage_refuses_a_server_that_the_last_stage_could_not_use(
    project, stage_environment, answer, version, code, cure
):
    """Before anything was trained, with the words and the code that the last stage would have had."""
    with answering({"": answer}, version) as (uri, _):
        settings = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.stages.check"],
            env=stage_environment | settings,
            capture_output=True,
            text=True,
        )
    assert code == done.returncode
    assert cure in done.stderr
    assert "bug" not in done.stderr


@pytest.mark.parametrize("answer", [FORBIDDEN, NOT_FOUND, LOGIN], ids=["403", "404", "a login page"])
def test_mlflow_itself_has_the_last_word(tmp_path, monkeypatch, answer):
    """A plug-in may know how to log in where this look does not: only what MLflow refuses too is refused."""
    with answering({"": answer}) as (uri, _):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        confirmed = []
        monkeypatch.setattr("pipeline.checks.store._ask_mlflow", confirmed.append)
        assert [] == ask_store(tmp_path, "digits")
    assert ["digits"] == confirmed


def test_a_silent_server_is_told_and_stops_nothing(tmp_path, monkeypatch):
    """Within the two seconds, also if it takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:S3CRET@{address}")
        began = time.monotonic()
        (warning,) = ask_store(tmp_path, "digits")
    assert time.monotonic() - began < load.seconds(2)
    assert f"does not answer. Expected it at http://{address}" in warning
    assert "Training goes on" in warning
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert 1 == len(ask_store(tmp_path, "digits"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg://me:S3CRET@127.0.0.1:9/db")
    (warning,) = ask_store(tmp_path, "digits")
    assert "S3CRET" not in warning


def test_artifacts_that_no_installed_package_can_write_are_told(tmp_path, monkeypatch):
    """The server keeps them on S3, and the client writes them there itself."""
    monkeypatch.setattr(causes, "find_spec", lambda _name: None)
    with answering({EXPERIMENT: experiment("s3://bucket/0")}) as (uri, _):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(InputMissing, match="pip install 'boto3'"):
            ask_store(tmp_path, "digits")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mysql+pymysql://host/db")
    with pytest.raises(InputMissing, match="pymysql"):
        ask_store(tmp_path, "digits")


@pytest.mark.parametrize("uri", ["localhost:5000", "./mlruns"])
def test_an_address_that_is_none_is_refused_at_once(tmp_path, monkeypatch, uri):
    """Exit code 78."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(Misconfigured):
        ask_store(tmp_path, "digits")


@pytest.mark.parametrize("mode", [0o777, 0o755], ids=["the file", "its folder"])
def test_a_database_that_may_not_be_written_is_refused(mode):
    """Neither the file nor its folder: sqlite writes beside it."""
    with folder_of_others(mode) as (folder, unprivileged):
        assert [] == ask_store(folder, "digits")
        (folder / "mlflow.db").touch(0o444)
        with unprivileged(), pytest.raises(NotPermitted, match=r"chmod u\+w"):
            ask_store(folder, "digits")
