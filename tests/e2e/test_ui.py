"""`millrace ui` says that the dashboard is there once it is, and ends as it should, with a real server."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from pipeline import cli
from pipeline.commands.ui import ANSWERED, listens
from tests.e2e.services import free_port

HERE = Path(__file__).resolve().parents[2]
LINK = "http://127.0.0.1:5000/#/experiments/1/runs/abc"
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Stand in a project whose last run left a link."""
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / ".millrace").mkdir()
    (tmp_path / ".millrace/last_run.json").write_text(json.dumps({"links": {"this run": LINK}}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@contextmanager
def called(project, port):
    """Run the command as a shell does; nothing of it is left behind."""
    environment = {**os.environ, "PYTHONPATH": str(HERE), "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", "pipeline.cli", "ui", "--port", str(port), "--no-browser"]
    process = subprocess.Popen(
        command,
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for one in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else ():
            one.kill()
        process.kill()
        process.communicate()


def servers(process):
    """Return what runs as a server below the command."""
    found = psutil.Process(process.pid).children(recursive=True)
    return [one for one in found if "server" in (one.as_dict(["cmdline"])["cmdline"] or ())]


def health(port):
    """Return what the server says of itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as reply:
        return reply.status


def refused(capsys, *arguments):
    """Return exit code and message."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["ui", "--no-browser", *arguments])
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http", "5_000"])
def test_a_port_that_is_none_is_a_wrong_call(project, capsys, port):
    """Before anything is started."""
    code, said = refused(capsys, f"--port={port}")
    assert 64 == code
    assert f"expected a port, 1 to 65535; received '{port}'" in said


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_told_with_the_fix_before_anything_starts(project, capsys, host):
    """Whether the other one listens for this machine or for everybody; no store is made, no link is shown."""
    with socket.socket() as other:
        other.bind((host, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            cli.main(["ui", "--no-browser", "--port", str(port)])
    told = capsys.readouterr()
    assert (69, "") == (ended.value.code, told.out)
    assert f"127.0.0.1:{port}" in told.err
    assert "`millrace ui --port " in told.err
    assert not (project / "mlflow.db").exists()


def test_it_is_known_whose_socket_it_is():
    """A stranger's is not taken for that of our server."""
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", 0))
        port = ours.getsockname()[1]
        assert not listens(port, os.getsid(0))
        ours.listen()
        assert listens(port, os.getsid(0))
        assert not listens(port, 1)


@pytest.mark.parametrize(
    ("line", "answered"),
    [
        (
            'INFO:     127.0.0.1:51042 - "GET /static-files/static/js/3878.0467b2c4.chunk.js HTTP/1.1" 200 OK',
            True,
        ),
        ('INFO:     127.0.0.1:51042 - "GET /ajax-api/2.0/mlflow/users/current HTTP/1.1" 404 Not Found', True),
        ('INFO:     127.0.0.1:51042 - "POST /graphql HTTP/1.1" 500 Internal Server Error', False),
        ("WARNING mlflow.server: the database is locked", False),
    ],
)
def test_requests_that_were_answered_do_not_push_the_links_away(line, answered):
    """What the server could not do is still told."""
    assert answered is bool(ANSWERED.search(line))


@pytest.mark.long
def test_the_dashboard_is_announced_once_it_answers_and_ends_with_ctrl_c(project):
    """Links first, on the port that was asked for; exit code 0, and nobody listens any more."""
    port = free_port()
    with called(project, port) as process:
        assert f"this run: {LINK.replace('5000', str(port))}\n" == process.stdout.readline()
        with pytest.raises(OSError, match="refused"):
            health(port)
        assert f"Dashboard on http://127.0.0.1:{port}; Ctrl-C ends it\n" == process.stdout.readline()
        assert 200 == health(port)
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (0, "") == (process.returncode, out), err
        assert "Traceback" not in err
        assert started
        assert not [one for one in started if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.long
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_signal_before_it_answers_ends_it_too(project, number, code):
    """Without a word of a dashboard, once the server was started; nothing is left."""
    with called(project, free_port()) as process:
        process.stdout.readline()
        deadline = time.monotonic() + 60
        while not (started := servers(process)) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        out, _err = process.communicate(timeout=60)
        assert (code, "") == (process.returncode, out)
        assert started
        assert not [one for one in started if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.long
def test_a_server_that_dies_is_told_with_what_it_said(project):
    """Killed while it runs: 74, and what it had started is gone too."""
    port = free_port()
    with called(project, port) as process:
        process.stdout.readline()
        assert "Dashboard on" in process.stdout.readline()
        for one in psutil.Process(process.pid).children():
            one.kill()
        out, err = process.communicate(timeout=60)
        assert (74, "") == (process.returncode, out), err
        assert "MLflow's server ended by itself" in err
        assert "exit code -9" in err
        with pytest.raises(OSError, match="refused"):
            health(port)


@pytest.mark.long
def test_a_server_that_cannot_start_is_told_with_what_it_said(project, monkeypatch):
    """A setting of uvicorn that it does not know: no dashboard is announced."""
    monkeypatch.setenv("UVICORN_LOG_LEVEL", "none")
    with called(project, free_port()) as process:
        out, err = process.communicate(timeout=120)
        assert "Dashboard" not in out
        assert 74 == process.returncode, err
        assert "'none' is not one of" in err
