"""`millrace ui`: MLflow's dashboard for the store of this project, with the links that open the right view."""

import argparse
import errno
import os
import re
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.runtime.errors import ServiceDown, StorageFailed, WronglyCalled, say
from pipeline.runtime.files import read_json

HELP = (
    "MLflow's dashboard for this project's store, with links to its runs; opens a browser where there is one"
)
RECORDED = False
USUAL = "http://127.0.0.1:5000"
"""What `register` writes into links where the store is a file."""
SHOWN = ("candidates, best first", "candidates compared", "this run", "report and pictures", "model version")
"""Links of the last run; the first one is opened."""
WAIT_SECONDS = 120.0
"""For the server to answer."""
LAST_LINES = 20
"""Of a server that ended, which are shown."""
HIGHEST_PORT = 65535
OK = 200
ANSWERED = re.compile(r'"[A-Z]+ \S+ HTTP/[\d.]+" [1-4]\d\d\b')
"""A request that the server could answer: one page of the dashboard is fifty, which pushed the links away."""
LISTEN = "0A"
"""As /proc/net/tcp writes the state of a socket."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--port", type=_port, default=5000, help="default: 5000; only this machine reaches it"
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the links")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= HIGHEST_PORT):
        raise argparse.ArgumentTypeError(f"expected a port, 1 to {HIGHEST_PORT}; received {text!r}")
    return int(text)


def run(options: argparse.Namespace) -> None:
    """Run the command; it ends with Ctrl-C, or when the server does."""
    require_free(options.port)
    address = f"http://127.0.0.1:{options.port}"
    page = _tell_links(address)
    # Whatever MLFLOW_TRACKING_URI says: a server has a dashboard of its own.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    with suppress(KeyboardInterrupt):
        store = [sys.executable, "-m", "pipeline.tracking.store"]
        opened = subprocess.run(store, env=environment, check=False)
        if opened.returncode:
            raise SystemExit(opened.returncode)  # it has said why
        with _server(options.port, environment) as server:
            server.wait_until_up(address)
            say(f"Dashboard on {address}; Ctrl-C ends it")
            if not options.no_browser and sys.stdout.isatty() and _has_desktop():
                threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()
            server.process.wait()
            raise server.ended()


def require_free(port: int) -> None:
    """Check that a server can listen on a port of 127.0.0.1.

    Raises:
        ServiceDown: Somebody else does.
        WronglyCalled: This user may not.
    """
    with socket.socket() as tried:
        tried.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as the server does, right after another one
        try:
            tried.bind(("127.0.0.1", port))
            tried.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ServiceDown(
                    f"Somebody else listens on 127.0.0.1:{port}, perhaps a dashboard that runs already. Expected a "
                    f"free port. Received: --port {port}. Name another one, `millrace ui --port "
                    f"{port + 1 if port < HIGHEST_PORT else port - 1}`, or end that program."
                ) from error
            raise WronglyCalled(
                f"Nobody can listen on 127.0.0.1:{port} here. Expected a port that this user may take, 1024 to "
                f"{HIGHEST_PORT}. Received: --port {port}: {error.strerror}. Name another one."
            ) from error


def _tell_links(address: str) -> str:
    """Print the links of the last run, and return the page to open first."""
    from pipeline.reports.console import LAST_RUN

    links: dict[str, str] = read_json(LAST_RUN)["links"] if LAST_RUN.is_file() else {}
    own = {name: link.replace(USUAL, address) for name, link in links.items() if link.startswith(USUAL)}
    for name in SHOWN:
        if name in own:
            say(f"{name}: {own[name]}")
    if links and not own:
        say(f"The last run is on another server: {links['this run']}")
    return next((own[name] for name in SHOWN if name in own), address)


class _Server:
    """MLflow's server; what it says is held back until it answers, and shown where it ends by itself."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self._port, self._up = port, False
        self._said: deque[str] = deque(maxlen=LAST_LINES)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        for content in self.process.stdout or ():
            line = content.decode(errors="replace").rstrip()
            self._said.append(line)
            if self._up and not ANSWERED.search(line):
                say(line, file=sys.stderr)

    def wait_until_up(self, address: str) -> None:
        """Wait until it is this server that answers.

        Raises:
            StorageFailed: It ended.
            ServiceDown: It did not answer in time.
        """
        from pipeline.runtime.web import ask

        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise self.ended()
            with suppress(OSError):
                if ask(f"{address}/health", seconds=2).status == OK and listens(self._port, self.process.pid):
                    self._up = True
                    return
            time.sleep(0.3)
        raise ServiceDown(
            f"MLflow's server does not answer on {address}. Expected an answer to /health within {WAIT_SECONDS:.0f} s. "
            f"Received: none. It said:\n{self._last_lines()}\nRun `millrace ui` again, or name another --port."
        )

    def ended(self) -> StorageFailed:
        """Return the error of a server that ended by itself."""
        self._listener.join(1)
        return StorageFailed(
            f"MLflow's server ended by itself. Expected it to run until Ctrl-C. Received: exit code "
            f"{self.process.returncode}. It said:\n{self._last_lines()}\nMend that, and run `millrace ui` again."
        )

    def _last_lines(self) -> str:
        return "\n".join(f"  {line}" for line in self._said if line) or "  nothing"


@contextmanager
def _server(port: int, environment: dict[str, str]) -> Iterator[_Server]:
    from pipeline.runtime.processes import end_group, end_with_parent

    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    stores = ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "./mlartifacts"]
    process = subprocess.Popen(
        [*command, "--workers", "1", *stores],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is ours alone; its workers end with it
        preexec_fn=end_with_parent,  # noqa: PLW1509  # one thread only
    )
    try:
        yield _Server(process, port)
    finally:
        end_group(process)


def listens(port: int, session: int) -> bool:
    """Return whether it is a process of a session that listens on a port; True where the system does not tell."""
    table = Path("/proc/net/tcp")
    if not table.is_file():
        return True
    rows = [line.split() for line in table.read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == LISTEN}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile, or another user's
            if os.getsid(int(folder.name)) == session and sockets.intersection(
                str(opened.readlink()) for opened in (folder / "fd").iterdir()
            ):
                return True
    return False


def _has_desktop() -> bool:
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
