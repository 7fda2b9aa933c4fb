"""A small picture data set behind HTTP that grows, drifts, breaks and recovers, and a project that follows it."""

import io
import json
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

from tests.e2e.clones import clone, environment

CLASSES = ("circle", "cross", "square")
SIZE = 8


def pictures(first, count, *, brightness=0.0, noise=55.0):
    """Return `count` pictures as {name in the archive: PNG}, the same for the same numbers.

    Picture i is of class i modulo 3; `brightness` (grey levels) is what drifts. Every other picture of a class is a
    negative, so that no linear model can tell the classes apart: a network has something to win.
    """
    prototypes = np.sign(np.random.default_rng(0).normal(size=(len(CLASSES), SIZE, SIZE)))
    files = {}
    for index in range(first, first + count):
        rng = np.random.default_rng(1000 + index)
        contrast = 45 * rng.choice([-1, 1])
        pixels = (
            128
            + contrast * prototypes[index % len(CLASSES)]
            + rng.normal(0, noise, (SIZE, SIZE))
            + brightness
        )
        file = io.BytesIO()
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, "PNG")
        files[f"{CLASSES[index % len(CLASSES)]}/{index:05d}.png"] = file.getvalue()
    return files


class GrowingSource:
    """Serves one zip of pictures at `url`; `mode` says how well."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.mode = "good"
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                owner._answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/pictures.zip"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def zipped(self) -> bytes:
        """Return the archive; equal files give equal bytes."""
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name in sorted(self.files):
                archive.writestr(zipfile.ZipInfo(name), self.files[name])
        return file.getvalue()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request):
        request.close_connection = True
        body = self.zipped()
        if self.mode == "down":
            body = b"try later"
            request.send_response(503)
        elif self.mode == "login":
            body = b"<!doctype html><title>Sign in</title>"
            request.send_response(200)
            request.send_header("Content-Type", "text/html")
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: len(body) // 2] if self.mode == "truncated" else body)


def tiny_params(text: str) -> str:
    """Return the quick digits example with a small convolutional candidate and the baselines."""
    yaml = YAML()
    content = yaml.load(text)
    kept = ("cnn", "linear", "majority")
    content["candidates"] = {name: content["candidates"][name] for name in kept}
    content["candidates"]["cnn"]["model"].update(filters=[8], units=32, dropout=0.0)
    content["candidates"]["cnn"]["tune"] = {}
    content["training"]["epochs"] = 30
    content["training"]["learning_rate"] = 0.01
    content["features"]["groups"] = []
    content["evaluate"]["bootstrap_resamples"] = 200
    content["register"]["model_name"] = "pictures"
    content["register"]["experiment"] = "pictures"
    file = io.StringIO()
    yaml.dump(content, file)
    return file.getvalue()


def following(folder: Path, source: GrowingSource) -> Path:
    """Clone the project into `folder`, point it at the source, and commit."""
    clone(folder, "quick/digits")
    params = folder / "params.yaml"
    params.write_text(tiny_params(params.read_text()))
    done = millrace(folder, "init", "--kind", "image_folder", "--url", source.url, "--moving")
    if done.returncode:
        raise AssertionError(done.stderr)
    git(folder, "config", "user.name", "t")
    git(folder, "config", "user.email", "t@example.org")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "follow the pictures")
    return folder


def millrace(folder: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess:
    """Run a millrace command in a project as its user would."""
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(PYTHONPATH=str(folder), **extra),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def command(*arguments: str) -> list[str]:
    """Return how a millrace command is started."""
    return [sys.executable, "-m", "pipeline.cli", *arguments]


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder and return what it says."""
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def history(folder: Path) -> list[dict]:
    """Return the entries of `millrace history`."""
    path = folder / ".millrace/retrain/history.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
