"""Writers of the registry: versions, champions, and the database itself."""

import hashlib
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.writer import Torn, Writer

# Who is champion, and versions of models in the registry

CHAMPION_ROUNDS = 2
MLFLOW_FILES = ("mlflow.db", "mlartifacts/", "packed-")


@contextmanager
def _store():
    from pipeline.runtime.paths import tracking_uri
    from pipeline.tracking.store import service_errors
    from tests.helpers.registered import store_in

    # As the stages do it.
    with service_errors(tracking_uri(Path.cwd())):
        yield store_in(Path.cwd())


def _champion_prepare() -> None:
    for number in range(CHAMPION_ROUNDS + 2):
        _version_write(number)


def _champion_write(number: int) -> None:
    from pipeline.tracking import registry
    from tests.helpers.registered import decision

    with _store() as store:
        version = registry.version_numbered(store, "digits", number + 1)
        before = registry.version_numbered(store, "digits", number).model_sha256 if number else ""
        made = decision(version, before)
        registry.record_decision(store, "digits", version, made)
        registry.apply_decision(store, "digits", version, made)


def _champion_read() -> int:
    from pipeline.tracking import champions

    with _store() as store:
        champions.settle(store, "digits")
        listed = [item.version for item in champions.champions(store, "digits")]
        if listed != list(range(1, len(listed) + 1)):
            raise Torn(f"champions: {listed}")
        expected = {"champion": listed[-1]} | ({"previous": listed[-2]} if len(listed) > 1 else {})
        if champions.aliases(store, "digits") != expected:
            raise Torn(f"aliases {champions.aliases(store, 'digits')}, champions {listed}")
        return listed[-1] - 1


def _version_write(number: int) -> None:
    """As `register` does it: the version of this very model, made if there is none."""
    from pipeline.tracking import registry
    from tests.helpers.registered import packed

    registry.check_in_fresh_process = lambda _folder: None
    folder = Path(f"packed-{number}")
    content = f"model {number}".encode()
    if not folder.exists():
        packed(folder, content, {"train": ["one"]})
    with _store() as store:
        if registry.the_version(store, "digits", hashlib.sha256(content).hexdigest()) is None:
            run = store.client.create_run(store.experiment_id)
            run_id = run.info.run_id
            registry.create_version(store, "digits", folder, run_id=run_id, tags={}, description="")


def _version_prepare() -> None:
    from tests.helpers.registered import packed

    for number in range(3):
        packed(Path(f"packed-{number}"), f"model {number}".encode(), {"train": ["one"]})


def _version_read() -> int:
    from pipeline.tracking import registry

    with _store() as store:
        found = registry.versions(store, "digits")
        for version in found:
            with TemporaryDirectory() as folder:
                registry.fetch_model(store, version, Path(folder))
    if len({version.model_sha256 for version in found}) < len(found):
        raise Torn(f"a model has two versions: {found}")
    return len(found) - 1


# A new store


def _new_store_write(number: int) -> None:
    from pipeline.tracking.store import create_sqlite, service_errors

    path = Path(f"stores/{number}.db").absolute()
    with service_errors(f"sqlite:///{path}"):
        create_sqlite(path)


def _new_store_read() -> int:
    from pipeline.tracking.store import half_migrated

    stores = sorted(Path("stores").absolute().glob("[0-9]*.db"))
    for store in stores:
        with closing(sqlite3.connect(store)) as connection:
            tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[
                0
            ]
            alembic = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        if half_migrated(store) or tables < 40 or len(alembic) != 1:
            raise Torn(f"{store}: {tables} tables, version {alembic}")
    return len(stores) - 1


REGISTRY_WRITERS: dict[str, Writer] = {
    "champions": Writer(
        _champion_write,
        _champion_read,
        CHAMPION_ROUNDS,
        _champion_prepare,
        MLFLOW_FILES,
        service=True,
        dear=True,
    ),
    "model version": Writer(
        _version_write,
        _version_read,
        1,
        _version_prepare,
        (*MLFLOW_FILES, "../tmp/"),
        service=True,
        dear=True,
    ),
    "new store": Writer(_new_store_write, _new_store_read, 1, service=True, dear=True),
}
