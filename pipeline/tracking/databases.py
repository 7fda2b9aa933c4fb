"""A database of MLflow that was not made here a moment ago: moved or copied with its project, or of another MLflow.

MLflow keeps the place of every artifact as an absolute address, so that after `mv` nothing is found, and a copy of a
project writes into the original. Ours lie beside the database, always, so the addresses can follow it.
"""

import re
import sqlite3
import sys
from contextlib import closing
from functools import cache
from pathlib import Path
from urllib.request import url2pathname

import mlflow
import sqlalchemy

from pipeline.runtime.errors import StorageFailed

# --- A database that was moved or copied.

ARTIFACTS = "mlartifacts"
"""Folder of the artifacts beside an sqlite database."""
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Table and column of everything that MLflow finds files by."""


def follow_the_project(path: Path) -> None:
    """Let the addresses of an sqlite database name the artifacts beside it, where they were moved or copied with it.

    What was changed is told in one line on standard error. Artifacts that never lay beside the database, on another
    disk or server, are left alone. The caller holds the lock under which databases are opened.

    Args:
        path: The database, absolute.

    Raises:
        StorageFailed: The database is here and its artifacts are not, or it cannot be written.
    """
    here = path.parent / ARTIFACTS
    former = [
        address for address in _other_places(path, here.as_uri()) if not _chosen(_folder(address), path)
    ]
    if not former:
        return
    for address in former:
        _require_artifacts(path, here, _folder(address))
        _require_mounted(path, here, address)
    try:
        changed = sum(_rewrite(path, address, here.as_uri()) for address in former)
    except sqlite3.OperationalError as error:
        raise StorageFailed(
            f"{path} was moved or copied and names its artifacts where they were. Expected to write {here} into it. "
            f"Received: {error}. Run any command once as a user who may write it."
        ) from error
    print(
        f"millrace: {path} came from {_folder(former[0]).parent}; {changed} addresses in it name the artifacts in "
        f"{here} now.",
        file=sys.stderr,
    )


def _other_places(path: Path, here: str) -> list[str]:
    """Return the addresses, other than `here`, under which experiments like ours keep their artifacts.

    Ours lie in `mlartifacts` itself; MLflow's own are in a folder of it, named by their number.
    """
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        if not _has_tables(connection):
            return []
        found = connection.execute("SELECT DISTINCT artifact_location FROM experiments ORDER BY 1").fetchall()
    return [
        address
        for (address,) in found
        if address
        and address.startswith("file:///")
        and address.endswith(f"/{ARTIFACTS}")
        and address != here
    ]


def _has_tables(connection: sqlite3.Connection) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'experiments'"
    return connection.execute(query).fetchone() is not None


def _chosen(there: Path, path: Path) -> bool:
    """Return whether a folder is one that somebody chose for the artifacts: it is there, and no database beside it."""
    return there.is_dir() and not (there.parent / path.name).is_file()


def _require_artifacts(path: Path, here: Path, there: Path) -> None:
    """Refuse a database that came alone: what it names would be written into where it came from."""
    if there.is_dir() and not here.is_dir():
        raise StorageFailed(
            f"{path} was moved or copied without its artifacts. Expected them in {here}. Received: no such folder; it "
            f"names {there}, which belongs to another database. Run `cp -r '{there}' '{here}'`, or remove {path} and "
            "run `dvc repro`, which fills a new one."
        )


def _require_mounted(path: Path, here: Path, address: str) -> None:
    """Refuse a database whose files are nowhere: a disk that is not mounted comes back, and must be found again."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        query = "SELECT COUNT(*) FROM runs WHERE artifact_uri LIKE ? || '/%'"
        named = connection.execute(query, (address,)).fetchone()[0]
    if named and not here.is_dir() and not _folder(address).is_dir():
        raise StorageFailed(
            f"The artifacts of {named:,} runs in {path} are not there. Expected the folder {_folder(address)}, or "
            f"{here} where they were moved with the project. Received: neither. Mount the disk, or bring them back; "
            f"or remove {path} and run `dvc repro`, which fills a new one."
        )


def _folder(address: str) -> Path:
    return Path(url2pathname(address.removeprefix("file://")))


def _rewrite(path: Path, former: str, here: str) -> int:
    """Replace the beginning of every address, all or none; return how many there were."""
    changed = 0
    with closing(sqlite3.connect(path, timeout=60)) as connection, connection:
        present = {
            (table, column)
            for table, _ in ADDRESSES
            for (column,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
        }
        for table, column in (item for item in ADDRESSES if item in present):
            changed += connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608  # names of ours
                f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (here, len(former) + 1, former, len(former) + 1, f"{former}/"),
            ).rowcount
    return changed


# --- A database whose tables another MLflow made.

MIGRATIONS = Path(mlflow.__file__).parent / "store/db_migrations/versions"
REVISION = re.compile(r"^(revision|down_revision) = [\"'](\w+)[\"']", re.MULTILINE)


def require_same_tables(uri: str, shown: str) -> None:
    """Refuse a database whose tables an older or a newer MLflow made, before MLflow opens it.

    MLflow 3.18 brings those of 3.17 up to date when it opens them, without a word; nobody who has 3.17 can read them
    then. MLflow itself tells a newer one to upgrade, which is no help.

    Args:
        uri: Of the database.
        shown: The same without a password.

    Raises:
        StorageFailed: It is one; says which, and the way out.
    """
    received, expected = _revision_of(uri), _newest_revision()
    if received in ("", expected):
        return
    known = any(path.name.startswith(f"{received}_") for path in MIGRATIONS.glob("*.py"))
    fix = (
        f"Copy the database, for there is no way back, then run `mlflow db upgrade {shown}`; or install its MLflow."
        if known
        else "Install the MLflow that upgraded it, or use another store; an older MLflow cannot read it."
    )
    raise StorageFailed(
        f"The tables in {shown} are of {'an older' if known else 'a newer'} MLflow. Expected those of MLflow "
        f"{mlflow.__version__}, revision {expected}. Received: revision {received}. {fix}"
    )


def _revision_of(uri: str) -> str:
    """Return which migration of MLflow a database is at, or "" where MLflow never opened it."""
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        if not sqlalchemy.inspect(connection).has_table("alembic_version"):
            return ""
        return str(
            connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version")).scalar() or ""
        )


@cache
def _newest_revision() -> str:
    """Return the migration that none follows, in the MLflow that is installed."""
    found: dict[str, set[str]] = {"revision": set(), "down_revision": set()}
    for path in MIGRATIONS.glob("*.py"):
        for kind, revision in REVISION.findall(path.read_text(encoding="utf-8")):
            found[kind].add(revision)
    (newest,) = found["revision"] - found["down_revision"]
    return newest
