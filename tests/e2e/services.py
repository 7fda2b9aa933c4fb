"""Real services for tests: PostgreSQL in a folder of its own, an MLflow server as `make ui` starts it, a proxy before it."""

import base64
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

# What only root calls is not on everybody's PATH.
RUNUSER = shutil.which("runuser", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def postgres_bin() -> Path:
    """Return the folder of PostgreSQL's programs, or skip the test with the reason."""
    # Debian keeps the programs off PATH.
    found = [shutil.which("initdb"), *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    programs = [Path(item).parent for item in found if item]
    if not programs:
        pytest.skip("PostgreSQL is not installed: no initdb under /usr/lib/postgresql or on PATH")
    if os.getuid() == 0 and RUNUSER is None:
        pytest.skip("PostgreSQL does not run as root, and there is no runuser to become another user")
    return programs[-1]


@contextmanager
def postgres():
    """Run a PostgreSQL server with its data in a new folder; yield the URI of an empty database."""
    programs, port = postgres_bin(), free_port()
    as_root = os.getuid() == 0
    prefix = [RUNUSER, "-u", "postgres", "--"] if as_root else []
    # Not one of pytest's folders: those are closed to the user that PostgreSQL runs as.
    folder = Path(tempfile.mkdtemp(prefix="millrace-postgres-"))
    if as_root:
        shutil.chown(folder, "postgres")
    data = folder / "data"

    def call(program: str, *arguments: str) -> None:
        # No pipes: the server that pg_ctl starts would keep them open.
        with (folder / "calls.log").open("ab") as log:
            command = [*prefix, str(programs / program), *arguments]
            subprocess.run(command, cwd=folder, check=True, stdout=log, stderr=log)

    try:
        call("initdb", "-D", str(data), "-U", "mlflow", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data} -c fsync=off"
        call("pg_ctl", "-D", str(data), "-w", "-l", str(data / "log"), "-o", options, "start")
        try:
            call("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", "runs")
            yield f"postgresql://mlflow@127.0.0.1:{port}/runs"
        finally:
            call("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class MlflowServer:
    """An MLflow server that can be stopped and started again on the same port.

    Args:
        store_uri: Where it keeps runs.
        artifacts: Where it keeps artifacts.
        prefix: Path below which it lies, such as `/mlflow`.
        destination: Address of the artifacts, where they are not in that folder.
    """

    def __init__(self, store_uri: str, artifacts: Path, prefix: str = "", destination: str = "") -> None:
        self.store_uri = store_uri
        self.artifacts = artifacts
        self.prefix = prefix
        self.destination = destination or str(artifacts)
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += [
            "--backend-store-uri",
            self.store_uri,
            "--artifacts-destination",
            self.destination,
            "--workers",
            "1",
        ]
        if self.prefix:
            command += ["--static-prefix", self.prefix]
        log = self.artifacts.with_suffix(".server.log").open("ab")
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdout=log,
            stderr=log,
            cwd=self.artifacts.parent,
            start_new_session=True,
        )
        deadline = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen(f"{self.uri}{self.prefix}/health", timeout=2):
                    return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.3)

    def stop(self) -> None:
        """Stop it and its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class PasswordProxy:
    """Stands before a server as nginx does in a team: HTTP basic authentication, then every request is handed on.

    Args:
        port: Of the server, on this machine.
        user: Who may pass.
        password: Theirs.

    Attributes:
        refused: Paths of requests without the right password.
    """

    def __init__(self, port: int, user: str, password: str) -> None:
        self.refused: list[str] = []
        owner, wanted = self, "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = dict(self.headers.items())
                if headers.pop("Authorization", "") != wanted:
                    owner.refused.append(self.path)
                    self.reply(401, [("WWW-Authenticate", "Basic")], b"who are you?")
                    return
                del headers["Host"]
                server = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                server.request(self.command, self.path, body, headers)
                answer = server.getresponse()
                self.reply(answer.status, answer.getheaders(), answer.read())
                server.close()

            def reply(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
