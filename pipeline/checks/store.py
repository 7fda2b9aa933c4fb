"""Ask the store of runs, in two seconds and without MLflow, whether the last stage will be able to use it.

What no later try would change is refused with its own exit code. A store that is silent now is only told: training
needs none, and the last stage fills in what is missing.
"""

import base64
import json
import os
import sys
import time
from pathlib import Path
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pipeline.runtime import paths
from pipeline.runtime.addresses import store_address
from pipeline.runtime.errors import ServiceDown, UserError
from pipeline.runtime.paths import SQLITE, sqlite_path
from pipeline.runtime.processes import run
from pipeline.tracking.causes import cause_of, require_driver, require_new_server

if TYPE_CHECKING:
    from pipeline.runtime.web import Reply

SECONDS = 1.2
"""For all questions together."""
CONFIRM_SECONDS = 60
"""For MLflow itself, which is asked where the short look finds something wrong."""


def ask_store(root: Path, experiment: str) -> list[str]:
    """Return what to tell about the store, nothing if all is well.

    Args:
        root: The project's folder.
        experiment: Name of the experiment that the last stage writes.

    Raises:
        UserError: It cannot be used, and waiting would not help.
    """
    uri = store_address(root / paths.home_dir())
    try:
        if uri.startswith(SQLITE):
            _look_at_file(uri)
        elif uri.startswith("http"):
            _ask_server(uri.rstrip("/"), experiment)
        elif "://" in uri and uri.partition("://")[0].partition("+")[0] in ("postgresql", "mysql", "mssql"):
            require_driver(uri)
            _ask_database(uri)
    except ServiceDown as error:
        return [f"{error} Training goes on; the stage register needs it."]
    return []


def _look_at_file(uri: str) -> None:
    path = sqlite_path(uri)
    places = [place for place in (path.parent, path) if place.exists()]
    if not all(os.access(place, os.W_OK, effective_ids=True) for place in places):
        raise cause_of(uri, "Permission denied")


def _ask_server(uri: str, experiment: str) -> None:
    """Ask for the version and the experiment, as the last stage will."""
    # Here and below: most projects have no server, and pay for no client.
    from pipeline.runtime.web import ask

    deadline = time.monotonic() + SECONDS

    def get(path: str, **query: str) -> "Reply":
        left = max(0.1, deadline - time.monotonic())
        try:
            return ask(
                f"{uri}{path}{'?' if query else ''}{urlencode(query)}", seconds=left, headers=_credentials()
            )
        except OSError as error:
            raise cause_of(uri, str(error)) from error

    try:
        version = get("/version")
        if version.status == 200:
            require_new_server(uri, version.body.decode(errors="replace"))
        found = get("/api/2.0/mlflow/experiments/get-by-name", experiment_name=experiment)
        if found.status == 404 and _json(found).get("error_code") == "RESOURCE_DOES_NOT_EXIST":
            found = get("/api/2.0/mlflow/experiments/get", experiment_id="0")
        answer = _json(found).get("experiment")
        if found.status != 200 or not isinstance(answer, dict):
            raise cause_of(uri, f"status {found.status}, no experiments of MLflow", found.status)
    except ServiceDown:
        raise
    except UserError:
        # This look knows no plug-in for a login, and no certificate of MLflow's settings.
        _ask_mlflow(experiment)
    else:
        require_driver(str(answer.get("artifact_location", "")))


def _credentials() -> dict[str, str]:
    """Return the header by which MLflow says who it is, as far as it stands in the environment."""
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}", "") for name in ("USERNAME", "PASSWORD"))
    token = os.environ.get("MLFLOW_TRACKING_TOKEN", "")
    if user and password:
        return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}
    return {"Authorization": f"Bearer {token}"} if token else {}


def _json(reply: "Reply") -> dict[str, Any]:
    try:
        content = json.loads(reply.body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _ask_mlflow(experiment: str) -> None:
    """Let MLflow open the store, in a process of its own.

    Args:
        experiment: Name of the experiment of the last stage.

    Raises:
        UserError: As the last stage would.
    """
    try:
        answer = run([sys.executable, "-m", "pipeline.tracking.store", experiment], seconds=CONFIRM_SECONDS)
    except TimeoutExpired:
        raise ServiceDown(f"The MLflow store did not answer within {CONFIRM_SECONDS} s.") from None
    if answer.code:
        kinds = {kind.exit_code: kind for kind in UserError.__subclasses__()}
        raise kinds.get(answer.code, UserError)(answer.err.strip())


def _ask_database(uri: str) -> None:
    import sqlalchemy

    from pipeline.runtime.web import within

    def connect() -> None:
        with sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool).connect():
            pass

    try:
        within(SECONDS, connect, uri)
    except OSError as error:
        raise cause_of(uri, str(error)) from error
