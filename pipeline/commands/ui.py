"""`millrace ui`: MLflow's dashboard for the store of this project, with the links that open the right view."""

import argparse
import os
import subprocess
import sys
import threading
import time
import webbrowser
from urllib.request import urlopen

from pipeline.runtime.errors import say
from pipeline.runtime.files import read_json

HELP = (
    "MLflow's dashboard for this project's store, with links to its runs; opens a browser where there is one"
)
RECORDED = False
USUAL = "http://127.0.0.1:5000"
"""What `register` writes into links where the store is a file."""
SHOWN = ("this run", "candidates, best first", "candidates compared", "pictures", "model")
WAIT_SECONDS = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--port", type=int, default=5000, help="default: 5000; only this machine reaches it")
    parser.add_argument("--no-browser", action="store_true", help="only print the links")


def run(options: argparse.Namespace) -> None:
    """Run the command; it ends when the server does."""
    from pipeline.reports.console import LAST_RUN

    address = f"http://127.0.0.1:{options.port}"
    # Whatever MLFLOW_TRACKING_URI says: a server has a dashboard of its own.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    subprocess.run([sys.executable, "-m", "pipeline.tracking.store"], env=environment, check=True)
    links = read_json(LAST_RUN)["links"] if LAST_RUN.is_file() else {}
    own = {name: link.replace(USUAL, address) for name, link in links.items() if link.startswith(USUAL)}
    for name in SHOWN:
        if name in own:
            say(f"{name}: {own[name]}")
    if links and not own:
        say(f"The last run is on another server: {links['this run']}")
    say(f"Dashboard on {address}; Ctrl-C ends it")
    if not options.no_browser and sys.stdout.isatty() and _has_desktop():
        page = own.get("this run", address)
        threading.Thread(target=_open, args=(address, page), daemon=True).start()
    server = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(options.port), "--workers", "1"]
    stores = ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "./mlartifacts"]
    try:
        done = subprocess.run([sys.executable, "-m", *server, *stores], env=environment, check=False)
    except KeyboardInterrupt:
        raise SystemExit(0) from None
    raise SystemExit(done.returncode)


def _has_desktop() -> bool:
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _open(address: str, page: str) -> None:
    """Open a page once the server answers."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            urlopen(f"{address}/health", timeout=2).close()  # noqa: S310  # our own address
        except OSError:
            time.sleep(0.5)
        else:
            webbrowser.open(page)
            return
