"""One question has one deadline, and every answer is an answer."""

import http.server
import json
import socket
import threading
import time

import pytest

from pipeline.runtime.web import ask
from tests.helpers import load


@pytest.fixture
def server():
    """A server that tells what it was sent, and redirects below /moved."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            self.send_response(302 if self.path == "/moved" else 404 if self.path == "/none" else 200)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            said = {
                "method": self.command,
                "path": self.path,
                "user": self.headers.get("Authorization"),
                "body": body,
            }
            self.wfile.write(json.dumps(said).encode())

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_every_answer_of_a_server_is_an_answer(server):
    """Errors and redirects too; a user in the address becomes a header, content makes it a POST."""
    reply = ask(f"http://me:a%40b@{server}/x?y=1", seconds=5)
    assert {"method": "GET", "path": "/x?y=1", "user": "Basic bWU6YUBi", "body": ""} == json.loads(reply.body)
    assert "POST" == json.loads(ask(f"http://{server}/x", seconds=5, content=b"{}").body)["method"]
    assert [404, 302] == [ask(f"http://{server}/{path}", seconds=5).status for path in ("none", "moved")]


def test_a_name_that_is_looked_up_for_ever_has_the_same_deadline(monkeypatch):
    """No time-out of a socket covers it."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(30))
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"within 0\.5 s"):
        ask("http://nowhere.example/", seconds=0.5)
    assert time.monotonic() - began < load.seconds(3)
