"""Notifications arrive once, wait while nobody takes them, and never fail a retrain."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pipeline.retraining import journal

ENTRY = {"run": "20260301", "stops": 0, "outcome": "promoted", "version": "4"}


@pytest.fixture
def outbox(tmp_path):
    """An outbox with one notification."""
    journal.put(ENTRY, tmp_path / "outbox")
    return tmp_path / "outbox"


@pytest.fixture
def receiver():
    """A web server that keeps what is posted, and answers with `status`."""
    taken = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((self.headers["Content-Type"], json.loads(body)))
            self.send_response(server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.status, server.taken = 200, taken
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def url_of(server):
    """Return the address of a server."""
    return f"http://127.0.0.1:{server.server_address[1]}/hook"


def writer(path):
    """Return a command that appends its standard input to a file."""
    code = f"import sys; open({str(path)!r}, 'a').write(sys.stdin.read())"
    return f'{sys.executable} -c "{code}"'


def test_a_command_gets_the_decision_on_standard_input(outbox, tmp_path):
    """Once: afterwards the outbox is empty."""
    assert journal.deliver(writer(tmp_path / "got"), None, 20, outbox=outbox) == 1
    assert json.loads((tmp_path / "got").read_text()) == ENTRY
    assert journal.deliver(writer(tmp_path / "got"), None, 20, outbox=outbox) == 0


def test_a_webhook_gets_the_decision_as_json(outbox, receiver):
    """As one POST."""
    assert journal.deliver(None, url_of(receiver), 5, outbox=outbox) == 1
    assert receiver.taken == [("application/json", ENTRY)]


def test_what_is_declined_is_sent_again(outbox, receiver):
    """With the next retrain, the oldest first."""
    receiver.status = 503
    said = []
    assert journal.deliver(None, url_of(receiver), 5, report=said.append, outbox=outbox) == 0
    assert "503" in said[0]
    journal.put(ENTRY | {"run": "20260302"}, outbox)
    receiver.status = 200
    assert journal.deliver(None, url_of(receiver), 5, outbox=outbox) == 2
    assert [entry["run"] for _, entry in receiver.taken[1:]] == ["20260301", "20260302"]


@pytest.mark.parametrize(
    "command",
    [
        "/no/such/program",
        f"{sys.executable} -c 'raise SystemExit(1)'",
        f"{sys.executable} -c 'import time; time.sleep(60)'",
    ],
)
def test_a_command_that_fails_or_hangs_costs_nothing(outbox, command):
    """It is reported, and the notification stays."""
    said = []
    assert journal.deliver(command, None, 1.0, report=said.append, outbox=outbox) == 0
    assert "sent again" in said[0]
    assert len(list(outbox.glob("*.json"))) == 1


def test_an_unreachable_webhook_costs_nothing(outbox):
    """Nobody listens on port 9 of this machine."""
    said = []
    assert journal.deliver(None, "http://127.0.0.1:9/", 1.0, report=said.append, outbox=outbox) == 0
    assert said


def test_a_secret_address_comes_from_the_environment(monkeypatch):
    """It wins over the file in git."""
    monkeypatch.setenv("MILLRACE_NOTIFY_URL", "http://secret")
    assert journal.url_of("http://public") == "http://secret"
    monkeypatch.delenv("MILLRACE_NOTIFY_URL")
    assert journal.url_of("http://public") == "http://public"
