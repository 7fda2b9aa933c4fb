"""Why a store of runs cannot be used, told from what it said: each cause with its exit code and its cure.

Knows no MLflow, so that the first stage can ask too.
"""

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from pipeline.runtime.addresses import shown, without_secrets
from pipeline.runtime.errors import (
    Busy,
    InputMissing,
    Misconfigured,
    NotPermitted,
    ServiceDown,
    StorageFailed,
    UserError,
)
from pipeline.runtime.paths import SQLITE

LONGEST = 300
"""Characters of what a store said."""
OLDEST = 3
"""Major version of an MLflow server: older ones keep no logged models."""
PACKAGES = {
    "s3": "boto3",
    "gs": "google.cloud.storage",
    "wasbs": "azure.storage.blob",
    "abfss": "azure.storage.blob",
}
"""Scheme of an artifact store to the module that reads it."""
INSTALLED_AS = {
    "google": "google-cloud-storage", "google.cloud": "google-cloud-storage", "azure": "azure-storage-blob",
    "google.cloud.storage": "google-cloud-storage", "azure.storage.blob": "azure-storage-blob",
    "psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient", "pymysql": "pymysql",
    "pyodbc": "pyodbc", "boto3": "boto3", "botocore": "boto3",
}  # fmt: skip
"""Module to the package that brings it."""
DRIVERS = {"postgresql": "psycopg", "mysql": "MySQLdb", "mssql": "pyodbc"}
"""What SQLAlchemy takes where the address names no driver."""


class Cause(NamedTuple):
    """One reason why a store cannot be used.

    Attributes:
        said: Pattern of what the store says then.
        kind: Of the error to raise.
        wrong: What is wrong with the store.
        cure: What to do.
    """

    said: str
    kind: type[UserError]
    wrong: str
    cure: str


SQLITE_CAUSES: tuple[Cause, ...] = (
    Cause(
        r"readonly database|read-only|Permission denied",
        NotPermitted,
        "may not be written by this user",
        "Its owner makes the file and its folder writable (`chmod u+w`); on a file system that is mounted read-only, "
        "set MLFLOW_TRACKING_URI to a store elsewhere.",
    ),
    Cause(
        r"unable to open database",
        NotPermitted,
        "cannot be opened",
        "Its folder must exist, and this user must be allowed to read and write there.",
    ),
    Cause(
        r"database is locked",
        Busy,
        "is locked by another program",
        "Run the same command again once that has ended.",
    ),
    Cause(
        r"disk is full|disk I/O error|No space left",
        StorageFailed,
        "cannot be written",
        "Free space on its disk, or check the disk, and run the same command again.",
    ),
    Cause(
        r"not a database|malformed",
        StorageFailed,
        "is damaged, or no database",
        "Move it away and run `dvc repro` again, which fills a new one from the results; versions and champions come "
        "back from a copy only.",
    ),
)
DISK_FAILED = Cause(
    r"",
    StorageFailed,
    "cannot be written, though this user may",
    "Its disk failed, or was full. Free space on it, or check it, and run the same command again.",
)
DATABASE_CAUSES: tuple[Cause, ...] = (
    Cause(
        r"password authentication failed|no password supplied|Access denied for user|Login failed"
        r"|role .* does not exist",
        NotPermitted,
        "does not accept this user or password",
        "Correct them in MLFLOW_TRACKING_URI.",
    ),
    Cause(
        r"permission denied",
        NotPermitted,
        "does not let this user do what MLflow needs",
        "As its owner: GRANT CREATE, USAGE ON SCHEMA public TO the user.",
    ),
    Cause(
        r"database .* does not exist|Unknown database|Cannot open database",
        Misconfigured,
        "has no such database",
        "Make it (`createdb NAME`), or correct MLFLOW_TRACKING_URI.",
    ),
    Cause(
        r"Can't load plugin|Could not parse|URI scheme|unsupported",
        Misconfigured,
        "is no store that MLflow knows",
        "Correct MLFLOW_TRACKING_URI.",
    ),
)
SERVER_CAUSES: tuple[Cause, ...] = (
    Cause(
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed",
        NotPermitted,
        "has a certificate that this machine does not trust",
        "Set MLFLOW_TRACKING_SERVER_CERT_PATH to that of its authority.",
    ),
    Cause(
        r"not in a valid JSON|no experiments of MLflow|status 3\d\d|Invalid URL|No connection adapters|Failed to parse"
        r"|No host supplied|Invalid schema",
        Misconfigured,
        "is no MLflow server: something else answers, or nothing can",
        "Correct MLFLOW_TRACKING_URI; a login page before the server is passed with MLFLOW_TRACKING_TOKEN.",
    ),
)
STATUS_CAUSES = {
    401: Cause(
        r"",
        NotPermitted,
        "does not know who you are",
        "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.",
    ),
    403: Cause(
        r"",
        NotPermitted,
        "does not let this user do that",
        "Ask whoever runs the server for the permission to write this experiment and this registered model.",
    ),
    404: Cause(
        r"",
        Misconfigured,
        "knows no such page, so it is no MLflow server, or one below another path",
        "Correct MLFLOW_TRACKING_URI: what stands before /api belongs to it (`--static-prefix`).",
    ),
}


def cause_of(uri: str, said: str, status: int = 0, *, network: bool = False) -> UserError:
    """Return the error to raise for a store that cannot be used; one that is silent is `ServiceDown`.

    Args:
        uri: Its address.
        said: What it, or the library that asked it, said.
        status: Of HTTP, if it is known.
        network: Whether somebody at the end of a connection said it: the artifacts of a file's store may lie elsewhere.
    """
    said = (without_secrets(said, uri).strip().splitlines() or ["nothing"])[0][:LONGEST]
    causes = SQLITE_CAUSES if uri.startswith(SQLITE) else DATABASE_CAUSES
    if uri.startswith("http"):
        causes = (*SERVER_CAUSES, *([STATUS_CAUSES[status]] if status in STATUS_CAUSES else []))
    place, kept = shown(uri), "Nothing is lost: all results are in files."
    for cause in causes:
        if re.search(cause.said, said):
            allowed = cause.kind is NotPermitted and uri.startswith(SQLITE) and _may_be_written(uri)
            true = DISK_FAILED if allowed else cause
            return true.kind(
                f"The MLflow store at {place} {true.wrong}. Received: {said}. {kept} {true.cure}"
            )
    if uri.startswith(SQLITE) and not network:
        return StorageFailed(
            f"The MLflow store at {place} cannot be used. Expected a database of MLflow. Received: {said}. {kept} "
            "Check the file and its disk, and run `dvc repro` again."
        )
    if uri.startswith(SQLITE):
        return ServiceDown(
            f"What keeps the artifacts of the MLflow store at {place} does not answer. Received: {said}. {kept} "
            "Run `dvc repro` again once it does; it fills in what is missing."
        )
    return ServiceDown(
        f"The MLflow store does not answer. Expected it at {place}. Received: {said}. {kept} "
        "Start the server (or unset MLFLOW_TRACKING_URI to use mlflow.db in the project) and run `dvc repro` again; it "
        "fills in what is missing."
    )


def _may_be_written(uri: str) -> bool:
    """Return whether this user may write the file of a database; SQLite calls a disk that failed it read-only too."""
    path = Path(uri.removeprefix(SQLITE).partition("?")[0])
    if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True):
        return False
    # What is not there SQLite makes. Beside the database lie its log and that log's index, perhaps of another user.
    parts = [path, *(path.with_name(f"{path.name}{end}") for end in ("-journal", "-shm", "-wal"))]
    return all(os.access(part, os.R_OK | os.W_OK, effective_ids=True) for part in parts if part.exists())


def missing_package(module: str, needed_for: str) -> InputMissing:
    """Return the error for a driver that is not installed."""
    package = INSTALLED_AS.get(module, module)
    return InputMissing(
        f"A package is missing. Expected {package}, for {needed_for}. Received: no module {module}. "
        f"Nothing is lost: all results are in files. Run `.venv/bin/python -m pip install '{package}'`, and "
        "`dvc repro` again."
    )


def require_driver(uri: str) -> None:
    """Look for the module that an address of a database or of artifacts needs, without importing it.

    Raises:
        InputMissing: It is not installed.
    """
    scheme, _, driver = urlsplit(uri).scheme.partition("+")
    module = driver or PACKAGES.get(scheme) or DRIVERS.get(scheme)
    try:
        missing = module is not None and find_spec(module) is None
    except ModuleNotFoundError:  # of the package above it
        missing = True
    if missing and module is not None:
        raise missing_package(module, shown(uri))


def require_new_server(uri: str, version: str) -> None:
    """Refuse a server of before MLflow 3, which keeps no logged models: the last stage would fail, after hours.

    Args:
        uri: Its address.
        version: What it answers at `/version`.

    Raises:
        Misconfigured: It is too old.
    """
    found = re.fullmatch(r"(\d+)\.\d+[\w.+-]*", version.strip())
    if found and int(found[1]) < OLDEST:
        raise Misconfigured(
            f"The MLflow server at {shown(uri)} is too old. Expected version {OLDEST} or newer. Received: "
            f"{version.strip()}. Upgrade it (its database by `mlflow db upgrade`, after a copy), or set "
            "MLFLOW_TRACKING_URI to another one."
        )
