"""A server that answers as MLflow, as an old MLflow, as a proxy before it, or as something else would."""

import json
import os
import tempfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

EXPERIMENT = "/api/2.0/mlflow/experiments/get-by-name"
NONE_SUCH = (404, json.dumps({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}))
FORBIDDEN = (403, json.dumps({"error_code": "PERMISSION_DENIED", "message": "Permission denied"}))
UNKNOWN = (401, "You are not authenticated. Please see https://www.mlflow.org/docs/latest/auth")
LOGIN = (200, "<html>please log in</html>")
NOT_FOUND = (404, "<!doctype html><title>404 Not Found</title>")


def experiment(place="mlflow-artifacts:/0"):
    """Return the answer that tells of an experiment whose artifacts go to a place."""
    content = {
        "experiment_id": "0",
        "name": "digits",
        "artifact_location": place,
        "lifecycle_stage": "active",
    }
    return 200, json.dumps({"experiment": content})


@contextmanager
def answering(answers, version="3.17.2", token=""):
    """Yield the address of a server, and the paths it was asked.

    Args:
        answers: Path to (status, body); `""` for all others.
        version: What it says at /version, or None for the answer to all others.
        token: What it wants to see; without it the answer is 401.
    """
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.partition("?")[0]
            asked.append(path)
            status, body = answers.get(path, answers.get("", NONE_SUCH))
            if path == "/version" and version is not None:
                status, body = 200, version
            elif token and self.headers.get("Authorization") != token:
                status, body = UNKNOWN
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def folder_of_others(mode):
    """Yield a function that puts on the mask of a user who owns nothing, and a folder that others have made.

    root may write what nobody may.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(mode)

        @contextmanager
        def unprivileged():
            user = os.geteuid()
            if user:
                folder.chmod(mode & 0o7555 if mode & 0o002 == 0 else mode)
            else:
                os.seteuid(65534)
            try:
                yield
            finally:
                os.seteuid(user)

        yield folder, unprivileged
        folder.chmod(0o755)
