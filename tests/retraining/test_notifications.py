"""Notifications arrive once, wait while nobody takes them, and never fail a retrain."""

import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pipeline.retraining import notifications
from tests.helpers import load

ENTRY = {"run": "20260301", "stops": 0, "outcome": "promoted", "version": "4"}


@pytest.fixture
def outbox(tmp_path):
    """An outbox with one notification."""
    notifications.put(ENTRY, tmp_path / "outbox")
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
            if server.status in (301, 302, 307, 308):
                self.send_header("Location", "/login")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>please log in</html>")

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
    assert notifications.deliver(writer(tmp_path / "got"), None, 20, outbox=outbox) == 1
    assert json.loads((tmp_path / "got").read_text()) == ENTRY
    assert notifications.deliver(writer(tmp_path / "got"), None, 20, outbox=outbox) == 0


def test_a_webhook_gets_the_decision_as_json(outbox, receiver):
    """As one POST."""
    assert notifications.deliver(None, url_of(receiver), 5, outbox=outbox) == 1
    assert receiver.taken == [("application/json", ENTRY)]


def test_what_is_declined_is_sent_again(outbox, receiver):
    """With the next retrain, the oldest first."""
    receiver.status = 503
    said = []
    assert notifications.deliver(None, url_of(receiver), 5, report=said.append, outbox=outbox) == 0
    assert "503" in said[0]
    notifications.put(ENTRY | {"run": "20260302"}, outbox)
    receiver.status = 200
    assert notifications.deliver(None, url_of(receiver), 5, outbox=outbox) == 2
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
    assert notifications.deliver(command, None, 1.0, report=said.append, outbox=outbox) == 0
    assert "sent again" in said[0]
    assert len(list(outbox.glob("*.json"))) == 1


def test_an_unreachable_webhook_costs_nothing(outbox):
    """Nobody listens on port 9 of this machine."""
    said = []
    assert notifications.deliver(None, "http://127.0.0.1:9/", 1.0, report=said.append, outbox=outbox) == 0
    assert said


def test_a_secret_address_comes_from_the_environment(monkeypatch):
    """It wins over the file in git."""
    monkeypatch.setenv("MILLRACE_NOTIFY_URL", "http://secret")
    assert notifications.url_of("http://public") == "http://secret"
    monkeypatch.delenv("MILLRACE_NOTIFY_URL")
    assert notifications.url_of("http://public") == "http://public"


def speaking(answer, drip_seconds=0.0):
    """Return the address of a server that answers with these bytes, whatever it is asked, and hangs up."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            connection, _ = server.accept()
            with connection:
                try:
                    connection.recv(65536)
                    for byte in answer if drip_seconds else ():
                        connection.sendall(bytes([byte]))
                        time.sleep(drip_seconds)
                    if not drip_seconds:
                        connection.sendall(answer)
                except OSError:
                    pass

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{server.getsockname()[1]}/hook"


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"\xff" * 100,
        b"SSH-2.0-OpenSSH_9.9\r\n",
    ],
    ids=["garbage", "nothing", "endless header", "many headers", "no status", "bytes", "ssh"],
)
def test_a_receiver_that_speaks_no_http_costs_nothing(outbox, answer):
    """It is reported in words, and the notification waits."""
    said = []
    assert 0 == notifications.deliver(None, speaking(answer), 5, report=said.append, outbox=outbox)
    assert 1 == len(said)
    assert "sent again" in said[0]
    assert 1 == len(list(outbox.glob("*.json")))


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9/services/T0/S3CRET x", "http://[::1/S3CRET", "http://a:S3CRET", "ftp://h/S3CRET"],
)
def test_an_address_that_is_none_costs_nothing_and_is_not_told(outbox, url):
    """The path of a webhook is as good as a password."""
    said = []
    assert 0 == notifications.deliver(None, url, 5, report=said.append, outbox=outbox)
    assert "sent again" in said[0]
    assert "S3CRET" not in said[0]


def test_a_blank_around_the_address_belongs_to_no_address(outbox, receiver, monkeypatch):
    """A secret that was made with `echo` ends in a newline."""
    monkeypatch.setenv("MILLRACE_NOTIFY_URL", f" {url_of(receiver)}\n")
    assert 1 == notifications.deliver(None, notifications.url_of(None), 5, outbox=outbox)
    assert [("application/json", ENTRY)] == receiver.taken
    monkeypatch.setenv("MILLRACE_NOTIFY_URL", "\n")
    assert notifications.url_of(None) is None


@pytest.mark.parametrize("status", [301, 302, 307, 404])
def test_a_redirect_to_a_login_page_is_no_delivery(outbox, receiver, status):
    """Followed, the POST would become a GET without the decision, and be answered with 200."""
    receiver.status = status
    said = []
    assert 0 == notifications.deliver(None, url_of(receiver), 5, report=said.append, outbox=outbox)
    assert str(status) in said[0]
    assert ("redirect" in said[0]) == (status < 400)
    assert 1 == len(list(outbox.glob("*.json")))


def test_an_answer_that_drips_has_one_deadline(outbox):
    """Each byte would begin a time-out of the socket anew, and the lock of the retrain would be held for hours."""
    said = []
    url = speaking(b"HTTP/1.1 200 OK\r\nX-Pad: " + b"x" * 200, drip_seconds=0.1)
    began = time.monotonic()
    assert 0 == notifications.deliver(None, url, 1.0, report=said.append, outbox=outbox)
    assert time.monotonic() - began < load.seconds(5)
    assert "within 1 s" in said[0]


def test_slow_deliveries_do_not_hold_the_lock(outbox):
    """What is left once the time is over is sent next time; at least one is sent each time."""
    for number in range(5):
        notifications.put(ENTRY | {"run": f"2026040{number}"}, outbox)
    slow = f"sleep {load.seconds(0.7)}"
    assert 2 == notifications.deliver(slow, None, load.seconds(1), outbox=outbox)
    assert 4 == len(list(outbox.glob("*.json")))


def test_a_command_may_leave_something_running(outbox):
    """Its exit code counts, not the pipe that a child of it holds open."""
    began = time.monotonic()
    assert 1 == notifications.deliver("sh -c 'sleep 20 & exit 0'", None, 5, outbox=outbox)
    assert time.monotonic() - began < load.seconds(4)
