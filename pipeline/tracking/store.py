"""Where runs are kept, opened so that many processes may do it at once.

The default is `mlflow.db` and `mlartifacts/` in the project's root, always as absolute paths, because
stages also run in DVC's copies elsewhere. `MLFLOW_TRACKING_URI` names another store.
"""

import hashlib
import os
import sqlite3
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import filelock
import requests
import sqlalchemy
import sqlalchemy.exc
from mlflow.entities import Experiment
from mlflow.environment_variables import MLFLOW_TRACKING_URI
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient
from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from pipeline.runtime import paths
from pipeline.runtime.addresses import shown, store_address
from pipeline.runtime.errors import Busy, InputMissing, NotPermitted, StorageFailed, UserError, say
from pipeline.runtime.files import fsync_dir, remove_leftovers
from pipeline.runtime.paths import SQLITE, home_dir, sqlite_path, sqlite_uri
from pipeline.tracking.causes import INSTALLED_AS, cause_of, missing_package, require_new_server
from pipeline.tracking.databases import ARTIFACTS, follow_the_project, require_same_tables

# --- One writer per store on this machine.
#
# MLflow cannot be opened for the first time by several processes at once, finds no duplicates of runs and
# versions, and moves aliases without compare-and-swap. A lock that dies with its holder closes all three
# among the processes of a machine; the callers deal with other machines by looking again.

LOCK_TIMEOUT_SECONDS = 600.0
"""Longer than any reconciliation; a holder that dies lets go at once."""


@contextmanager
def store_lock(uri: str, purpose: str, timeout_seconds: float = LOCK_TIMEOUT_SECONDS) -> Iterator[None]:
    """Hold the machine's only lock for a store and a purpose.

    Args:
        uri: The tracking URI, absolute: every process that means the same store writes it the same way.
        purpose: `open` or `record`; the two do not wait for each other.
        timeout_seconds: How long to wait for another holder.

    Raises:
        Busy: Another process held it all the time.
    """
    path = lock_path(uri, purpose)
    try:
        with filelock.FileLock(path, timeout=timeout_seconds):
            yield
    except filelock.Timeout:
        raise Busy(
            f"Another process has held {path} for {timeout_seconds:.0f} s. Expected it to finish with the "
            "MLflow store by now. Run the command again."
        ) from None


def lock_path(uri: str, purpose: str) -> Path:
    """Return the lock file: beside an sqlite database, otherwise in this user's private temporary folder."""
    if uri.startswith(SQLITE):
        return Path(f"{sqlite_path(uri)}.{purpose}.lock")
    name = hashlib.sha256(uri.encode()).hexdigest()[:16]
    return private_dir() / f"{name}.{purpose}.lock"


def private_dir() -> Path:
    """Return this user's folder for locks, made private.

    Raises:
        NotPermitted: Somebody else made a folder of that name, so it cannot be trusted.
    """
    folder = Path(tempfile.gettempdir()) / f"millrace-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise NotPermitted(
            f"{folder} is not a private folder of this user. Expected owner {os.getuid()} and mode 0700. "
            f"Received: owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):04o}. Remove it."
        )
    return folder


# --- Where runs are kept, opened so that many processes may do it at once.

DATABASE_FAILED = (sqlalchemy.exc.OperationalError, sqlite3.OperationalError)
ADVISORY_LOCK = int.from_bytes(b"millrace")
EXPERIMENT_KIND = ("mlflow.experimentKind", "custom_model_development")
"""Opens the pages for model training; without it the UI shows those for prompts and traces."""
DESCRIPTION = "A run for each state of a Millrace pipeline, its candidates below it."
LEDGER = "Who was champion and what was taken back, written down once by Millrace. Nothing to compare; please keep it."
"""Of the experiment that is no project: what the list of experiments says of it."""


@dataclass(frozen=True)
class Store:
    """An opened store and the experiment of this project.

    Attributes:
        client: Speaks to the store.
        uri: Absolute tracking URI.
        experiment: Name of the experiment.
        experiment_id: Its id in this store.
    """

    client: MlflowClient
    uri: str
    experiment: str
    experiment_id: str


def artifact_root(uri: str, root: Path) -> str | None:
    """Return where artifacts go: beside an sqlite file, in the root for other databases, else the server's."""
    if uri.startswith(SQLITE):
        return (sqlite_path(uri).parent / ARTIFACTS).as_uri()
    return None if uri.startswith("http") else (root.absolute() / ARTIFACTS).as_uri()


def open_store(root: Path, experiment: str) -> Store:
    """Open the store, making it and the experiment on first use.

    Args:
        root: The project's folder; another working tree of it has its record where `paths.home_dir` says.
        experiment: Name of the experiment.

    Raises:
        ServiceDown: The server or database does not answer.
        StorageFailed: The sqlite file was left half-made by another program.
        UserError: It cannot be used for another reason, see `pipeline.tracking.causes`.
    """
    root = root / paths.home_dir()
    uri = store_address(root)
    with service_errors(uri):
        if uri.startswith("http"):
            require_server(uri)
            client = MlflowClient(uri)
            return Store(client, uri, experiment, _experiment_id(client, experiment, None))
        with opening(uri):
            client = _made(uri)
            return Store(
                client, uri, experiment, _experiment_id(client, experiment, artifact_root(uri, root))
            )


def _made(uri: str) -> MlflowClient:
    """Return a client of a database, made if it is new; the caller holds the locks of `opening`."""
    if uri.startswith(SQLITE):
        create_sqlite(sqlite_path(uri))
        follow_the_project(sqlite_path(uri))
    return _client(uri)


@contextmanager
def opening(uri: str) -> Iterator[None]:
    """Hold the locks under which a database is opened for the first time.

    That creates some fifty tables in many steps. Four processes that do it at once leave a file that no MLflow can
    open again, or fail in PostgreSQL; there the processes of other machines wait as well.

    Raises:
        Busy: Another process held a lock all the time.
    """
    with store_lock(uri, "open"):
        if not uri.startswith("postgresql") or has_tables(uri):
            yield
            return
        engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS:.0f}s'"))
            try:
                # The end of the transaction lets go, also where the process dies.
                key = {"key": ADVISORY_LOCK}
                connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), key)
            except sqlalchemy.exc.OperationalError as error:
                if "lock timeout" not in str(error):
                    raise
                raise Busy(
                    f"Another machine has been making the tables of MLflow in {shown(uri)} for "
                    f"{LOCK_TIMEOUT_SECONDS:.0f} s. Expected it to be done by now. Run the command again."
                ) from None
            yield


def has_tables(uri: str) -> bool:
    """Return whether a database was made by MLflow, to the end: in PostgreSQL its last step shows them all at once."""
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    return bool(sqlalchemy.inspect(engine).has_table("alembic_version"))


def create_sqlite(path: Path) -> None:
    """Make an MLflow database at `path` unless there is one; a crash leaves none under this name.

    Raises:
        StorageFailed: There is one, half-made.
    """
    if path.exists():
        if half_migrated(path):
            raise StorageFailed(
                f"{path} is a half-made MLflow store: it has _alembic_tmp_ tables, left by a first start that "
                f"several processes shared or that was killed. Expected a complete one. Nothing but timings is "
                f"lost: `mv {path} {path}.broken` and run `dvc repro` again, which fills a new one."
            )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        store = SqlAlchemyStore(sqlite_uri(beside), (path.parent / ARTIFACTS).as_uri())
        store.engine.dispose()
        with closing(sqlite3.connect(beside)) as connection:
            # Readers and a writer side by side, at half the cost per call; the file remembers it.
            connection.execute("PRAGMA journal_mode=WAL")
        beside.replace(path)
        fsync_dir(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def half_migrated(path: Path) -> bool:
    """Return whether an sqlite store stopped in the middle of being made."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        names = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
    return any(name.startswith("_alembic_tmp_") for name in names)


@contextmanager
def process_set_to(uri: str) -> Iterator[None]:
    """Let a database find its own models: MLflow asks the store that the process is set to, whatever client asks it.

    By default that is one in the working directory; `dvc exp run --temp` and its queue work in copies, which have none.
    """
    if not uri.startswith(SQLITE):
        yield
        return
    before = MLFLOW_TRACKING_URI.get_raw()
    MLFLOW_TRACKING_URI.set(uri)
    try:
        yield
    finally:
        if before is None:
            MLFLOW_TRACKING_URI.unset()
        else:
            MLFLOW_TRACKING_URI.set(before)


@contextmanager
def service_errors(uri: str) -> Iterator[None]:
    """Turn a store that cannot be used into one clear message, with the exit code and the cure of its cause.

    Raises:
        UserError: See `pipeline.tracking.causes`.
    """
    try:
        yield
    except PermissionError as error:
        if not uri.startswith(SQLITE) or not str(error.filename).startswith(str(sqlite_path(uri))):
            raise
        raise cause_of(uri, str(error)) from error
    except ModuleNotFoundError as error:
        if error.name not in INSTALLED_AS:
            raise
        raise missing_package(error.name, f"what the MLflow store at {shown(uri)} uses") from error
    except (
        MlflowException,
        requests.RequestException,
        sqlalchemy.exc.SQLAlchemyError,
        sqlite3.Error,
    ) as error:
        if not is_outage(error):
            raise
        status = error.get_http_status_code() if isinstance(error, MlflowException) else 0
        raise cause_of(uri, str(error), status, network=_is_of_network(error)) from error


def _is_of_network(error: Exception) -> bool:
    """Return whether somebody at the end of a connection said it, and no database: MLflow quotes what those say."""
    return isinstance(error, (MlflowException, requests.RequestException)) and "sqlite3." not in str(error)


UNUSABLE = (
    "UNAUTHENTICATED",
    "CUSTOMER_UNAUTHORIZED",
    "PERMISSION_DENIED",
    "ENDPOINT_NOT_FOUND",
    "NOT_FOUND",
)
"""Answers that are about the server rather than about what was asked of it."""
DATABASE_REFUSED = (
    "permission denied",
    "Can't load plugin",
    "Could not parse",
    "not a database",
    "malformed",
)
"""What a database says that another attempt would not change, by other errors than those of an outage."""


def is_outage(error: Exception) -> bool:
    """Return whether an error of MLflow means that the store failed, rather than that something is not there."""
    if isinstance(error, MlflowException):
        unknown = isinstance(error, UnsupportedModelRegistryStoreURIException)
        return bool(error.get_http_status_code() >= 500 or error.error_code in UNUSABLE or unknown)
    if isinstance(error, (requests.RequestException, *DATABASE_FAILED)):
        return True
    return isinstance(error, (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error)) and any(
        words in str(error) for words in DATABASE_REFUSED
    )


@cache
def require_server(uri: str) -> None:
    """Ask a server for its version, once per process.

    Raises:
        Misconfigured: It is older than MLflow 3.
        MlflowException: It does not answer.
    """
    answer = http_request(get_default_host_creds(uri), "/version", "GET", raise_on_status=False)
    if answer.status_code == 200:
        require_new_server(uri, answer.text)


def experiment_called(store: Store, name: str) -> str:
    """Return the id of another experiment of a store, made if it is new, with its artifacts in the same place."""
    place = None
    if not store.uri.startswith("http"):
        place = store.client.get_experiment(store.experiment_id).artifact_location
    return _experiment_id(store.client, name, place, LEDGER)


def _experiment_id(
    client: MlflowClient, name: str, artifact_location: str | None, description: str = DESCRIPTION
) -> str:
    found: Experiment | None = client.get_experiment_by_name(name)
    if found is None:
        try:
            tags = dict([EXPERIMENT_KIND, ("mlflow.note.content", description)])
            experiment_id = client.create_experiment(name, artifact_location, tags)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            # Another machine was faster.
            experiment_id = client.get_experiment_by_name(name).experiment_id
        return str(experiment_id)
    if found.lifecycle_stage != "active":
        raise NotPermitted(
            f"The MLflow experiment is deleted. Expected an active one. Received: register.experiment={name}. "
            f"Run `mlflow experiments restore -x {found.experiment_id}` or choose another name in params.yaml."
        )
    if found.tags.get(EXPERIMENT_KIND[0]) != EXPERIMENT_KIND[1]:
        client.set_experiment_tag(found.experiment_id, *EXPERIMENT_KIND)
    return str(found.experiment_id)


def main() -> None:
    """Make the project's store if it is new, for programs that know no lock: `python -m pipeline.tracking.store`.

    `mlflow server` on a database that is not there yet would make it beside a first run, which makes it too. With the
    name of an experiment the store is opened as the last stage opens it, a server too.
    """
    os.chdir(paths.project_root())
    try:
        uri = store_address(Path.cwd() / paths.home_dir())
        if len(sys.argv) > 1:
            open_store(Path.cwd(), sys.argv[1])
        elif not uri.startswith("http"):
            with service_errors(uri), opening(uri):
                _made(uri)
    except UserError as error:
        # Not by `stage.exit_codes`: the status file belongs to a run that may go on beside this.
        say(str(error), file=sys.stderr)
        raise SystemExit(error.exit_code) from error


# --- The store of a project for reading, without making anything.

DATABASES = ("postgresql", "mysql", "mssql")


def open_existing_store(root: Path) -> Store:
    """Return the store for reading; neither a database nor an experiment is made.

    Args:
        root: The project's folder; see `store.open_store`.

    Raises:
        InputMissing: There is none.
    """
    uri = store_address(root / home_dir())
    if uri.startswith(SQLITE) and not sqlite_path(uri).is_file():
        raise InputMissing(
            f"There is no model registry. Expected {sqlite_path(uri)}. Received: no such file. Set "
            "MLFLOW_TRACKING_URI to the store that has the model, or run `dvc repro`."
        )
    with service_errors(uri):
        client = _existing_client(uri)
    if client is None:
        raise InputMissing(
            f"There is no model registry. Expected tables of MLflow in {shown(uri)}. Received: none. Set "
            "MLFLOW_TRACKING_URI to the store that has the model, or run `dvc repro`, which makes them."
        )
    return Store(client, uri, "", "")


def has_tagged_version(uri: str, name: str, tag: str, value: str) -> bool:
    """Return whether the registered model has a version with that tag.

    Raises:
        ServiceDown: The store does not answer.
    """
    with service_errors(uri):
        client = _existing_client(uri)
        return client is not None and bool(
            client.search_model_versions(f"name = '{name}' and tags.`{tag}` = '{value}'")
        )


def _existing_client(uri: str) -> MlflowClient | None:
    """Return a client, or None where a database has no tables of MLflow, which a client would begin to make."""
    if uri.startswith(SQLITE):
        with opening(uri):
            follow_the_project(sqlite_path(uri))
            return _client(uri)
    if not uri.startswith(DATABASES):
        if uri.startswith("http"):
            require_server(uri)
        return MlflowClient(uri)
    with opening(uri):
        return _client(uri) if has_tables(uri) else None


def _client(uri: str) -> MlflowClient:
    """Return a client; MLflow makes the folder that an sqlite URI seems to name when its codes are not read."""
    require_same_tables(uri, shown(uri))
    client = MlflowClient(uri)
    misread = Path(uri.removeprefix(SQLITE)).parent
    if uri.startswith(SQLITE) and misread != sqlite_path(uri).parent:
        # It does so with the first question to each of its two stores.
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)
        with suppress(OSError):
            os.removedirs(misread)
    return client


if __name__ == "__main__":
    main()
