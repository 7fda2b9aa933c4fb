"""The downloader against a real server on this machine that truncates, stalls, lies and redirects."""

import contextlib
import gzip
import hashlib
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from rich.console import Console

from pipeline.fetching.download import Limits, download
from pipeline.runtime.errors import DataRefused, InputMissing, NotPermitted, ServiceDown
from tests.helpers import load

CONTENT = os.urandom(200_000)
SIZE = len(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = Limits(deadline_seconds=5, minimum_bytes_per_second=10_000, window_seconds=0.5, max_bytes=1_000_000)


class Misbehaving(BaseHTTPRequestHandler):
    """One path per kind of trouble."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """Answer by the first part of the path."""
        self.server.requests.append((self.path, dict(self.headers)))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            getattr(self, self.path.strip("/").split("/")[0])()
        self.close_connection = True

    def answer(self, status=200, length=SIZE, **headers):
        """Send status and headers."""
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def good(self):
        """Send the file."""
        self.answer()
        self.wfile.write(CONTENT)

    def without_length(self):
        """Send the file and hang up."""
        self.answer(length=None, Connection="close")
        self.wfile.write(CONTENT)

    def truncated(self):
        """Promise all, send half."""
        self.answer()
        self.wfile.write(CONTENT[:100_000])

    def truncated_without_length(self):
        """Send half and hang up, which looks like a complete answer."""
        self.answer(length=None, Connection="close")
        self.wfile.write(CONTENT[:100_000])

    def truncated_chunks(self):
        """Begin a chunked answer and never end it."""
        self.answer(length=None, Transfer_Encoding="chunked")
        self.wfile.write(b"186a0\r\n" + CONTENT[:100_000] + b"\r\n")

    def whole_chunks(self):
        """Send a chunked answer to its end."""
        self.answer(length=None, Transfer_Encoding="chunked")
        self.wfile.write(b"%x\r\n" % SIZE + CONTENT + b"\r\n0\r\n\r\n")

    def empty(self):
        """Send nothing, and say so."""
        self.answer(length=0)

    def drip(self):
        """Send a byte now and then, which trips no time-out per read."""
        self.answer()
        while not self.server.stopping.wait(0.1):
            self.wfile.write(b"x")

    def drip_header(self):
        """Send the header itself a byte at a time."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.server.stopping.wait(0.1):
            self.wfile.write(b"x")

    def silent(self):
        """Send the header, then nothing."""
        self.answer()
        self.server.stopping.wait(8)

    def steady(self):
        """Send fast enough for the rate, too slowly for the deadline."""
        self.answer(length=900_000)
        while not self.server.stopping.wait(0.1):
            self.wfile.write(b"x" * 4000)

    def changed(self):
        """Send another file of the same length."""
        self.answer()
        self.wfile.write(bytes(len(CONTENT)))

    def login(self):
        """Send a page instead of the file."""
        page = b"<!DOCTYPE html><html>Please log in</html>"
        self.answer(length=len(page), Content_Type="text/html; charset=utf-8")
        self.wfile.write(page)

    def disguised_login(self):
        """Send a page under a data type."""
        page = b"\n  <HTML>Please log in</HTML>"
        self.answer(length=len(page), Content_Type="application/zip")
        self.wfile.write(page)

    def bomb(self):
        """Send 20 kB that claim to unpack to 20 MB."""
        packed = gzip.compress(bytes(20 << 20))
        self.answer(length=len(packed), Content_Encoding="gzip")
        self.wfile.write(packed)

    def large(self):
        """Announce more than allowed."""
        self.answer(length=2_000_000)

    def endless(self):
        """Send without end and without saying so."""
        self.answer(length=None, Connection="close")
        while not self.server.stopping.is_set():
            self.wfile.write(CONTENT)

    def loop(self):
        """Redirect to itself."""
        self.answer(302, 0, Location="/loop")

    def to_file(self):
        """Redirect to a file of this machine."""
        self.answer(302, 0, Location="file:///etc/passwd")

    def moved(self):
        """Redirect twice, then send."""
        hops = int(self.path.rsplit("/", 1)[1])
        self.answer(301, 0, Location=f"/moved/{hops - 1}" if hops > 1 else "/good")

    def missing(self):
        """Know nothing."""
        self.answer(404, 0)

    def broken(self):
        """Fail."""
        self.answer(503, 0)

    def nothing_moved(self):
        """Redirect to nowhere in particular."""
        self.answer(304, 0)

    def log_message(self, *_):
        """Stay quiet."""


@pytest.fixture
def server(monkeypatch):
    """A server on 127.0.0.1; its `.url` ends in a slash."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Misbehaving)
    server.daemon_threads = True
    server.requests, server.stopping = [], threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.stopping.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["good", "without_length", "moved/2", "moved/5"])
def test_the_right_file_arrives(server, tmp_path, path):
    """With and without a length, directly and over up to five redirects."""
    download(server.url + path, tmp_path / "file", sha256=SHA256, limits=QUICK)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [tmp_path / "file"] == list(tmp_path.iterdir())


def test_the_digest_may_be_typed_in_capitals(server, tmp_path):
    """Some publishers print digests in capitals."""
    download(f"{server.url}good", tmp_path / "file", sha256=SHA256.upper(), limits=QUICK)


TROUBLE = {
    "truncated": (ServiceDown, "could not be downloaded"),
    "truncated_without_length": (DataRefused, "not the file that was asked for"),
    "truncated_chunks": (ServiceDown, "could not be downloaded"),
    "drip": (ServiceDown, "too slow"),
    "drip_header": (ServiceDown, "took too long"),
    "silent": (ServiceDown, "could not be downloaded"),
    "changed": (DataRefused, "not the file that was asked for"),
    "login": (DataRefused, "a web page"),
    "disguised_login": (DataRefused, "a web page"),
    "bomb": (DataRefused, "not the file that was asked for"),
    "large": (DataRefused, "too large"),
    "endless": (DataRefused, "too large"),
    "loop": (ServiceDown, "redirected in circles"),
    "moved/6": (ServiceDown, "redirected in circles"),
    "to_file": (NotPermitted, "outside the web"),
    "missing": (InputMissing, "status=404"),
    "broken": (ServiceDown, "status=503"),
    "nothing_moved": (ServiceDown, "status=304"),
}


@pytest.mark.parametrize(("path", "error", "message"), [(path, *rest) for path, rest in TROUBLE.items()])
def test_trouble_ends_soon_with_a_message_and_leaves_the_old_file(server, tmp_path, path, error, message):
    """Whatever the server does: an error within seconds, no half file, the file of before untouched."""
    (tmp_path / "file").write_bytes(b"before")
    started = time.monotonic()
    with pytest.raises(error, match=message):
        download(server.url + path, tmp_path / "file", sha256=SHA256, limits=QUICK)
    assert time.monotonic() - started < load.seconds(4)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"before"]


def test_the_deadline_ends_even_a_steady_download(server, tmp_path):
    """Fast enough in every window, but the whole takes too long."""
    limits = Limits(deadline_seconds=1, minimum_bytes_per_second=1000, window_seconds=0.4, max_bytes=10**6)
    started = time.monotonic()
    with pytest.raises(ServiceDown, match="took too long"):
        download(f"{server.url}steady", tmp_path / "file", sha256=SHA256, limits=limits)
    assert time.monotonic() - started < load.seconds(2.5)


def test_nobody_listens(tmp_path):
    """A closed port is a service that is down."""
    with pytest.raises(ServiceDown, match="could not be downloaded"):
        download("http://127.0.0.1:1/file", tmp_path / "file", sha256=SHA256, limits=QUICK)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/file"])
def test_only_the_web_is_asked(tmp_path, url):
    """Other protocols are refused before anything is opened."""
    with pytest.raises(NotPermitted, match="outside the web"):
        download(url, tmp_path / "file", sha256=SHA256, limits=QUICK)


def test_no_packed_transfer_is_asked_for(server, tmp_path):
    """The digest is that of the file, so the server is asked to send it as it is."""
    download(f"{server.url}good", tmp_path / "file", sha256=SHA256, limits=QUICK)
    assert [(path, headers["Accept-Encoding"]) for path, headers in server.requests] == [
        ("/good", "identity")
    ]


def test_a_terminal_shows_a_bar_and_a_log_does_not(server, tmp_path):
    """The bar is for people."""
    for is_terminal in (True, False):
        console = Console(file=(tmp_path / "output").open("w+"), force_terminal=is_terminal, width=100)
        download(f"{server.url}good", tmp_path / "file", sha256=SHA256, limits=QUICK, console=console)
        console.file.seek(0)
        assert ("200.0/200.0 kB" in console.file.read()) == is_terminal
        console.file.close()


@pytest.mark.parametrize("path", ["good", "moved/2", "whole_chunks"])
def test_a_moving_file_arrives_with_its_digest(server, tmp_path, path):
    """Nobody knows its digest before; what came is said."""
    assert SHA256 == download(server.url + path, tmp_path / "file", sha256=None, limits=QUICK)
    assert (tmp_path / "file").read_bytes() == CONTENT


MOVING_TROUBLE = {
    "truncated": (ServiceDown, "could not be downloaded"),
    "truncated_chunks": (ServiceDown, "could not be downloaded"),
    "truncated_without_length": (DataRefused, "does not say how long"),
    "without_length": (DataRefused, "does not say how long"),
    "endless": (DataRefused, "does not say how long"),
    "empty": (DataRefused, "does not say how long"),
    "drip": (ServiceDown, "too slow"),
    "login": (DataRefused, "a web page"),
    "disguised_login": (DataRefused, "a web page"),
    "large": (DataRefused, "too large"),
    "broken": (ServiceDown, "status=503"),
}


@pytest.mark.parametrize(
    ("path", "error", "message"), [(path, *rest) for path, rest in MOVING_TROUBLE.items()]
)
def test_without_a_digest_the_end_must_be_certain(server, tmp_path, path, error, message):
    """A moving file is never taken by halves: no stated end, no file."""
    (tmp_path / "file").write_bytes(b"before")
    with pytest.raises(error, match=message):
        download(server.url + path, tmp_path / "file", sha256=None, limits=QUICK)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"before"]
