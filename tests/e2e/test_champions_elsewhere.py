"""Promotion by several machines on one PostgreSQL database, directly and through an MLflow server."""

import subprocess
import sys

import pytest
import sqlalchemy

from pipeline.runtime.errors import Busy, InputMissing, NotPermitted
from pipeline.tracking import champions, registry
from pipeline.tracking import store as tracking_store
from pipeline.tracking.store import has_tagged_version, open_existing_store
from tests.e2e.clones import environment
from tests.e2e.services import MlflowServer, postgres
from tests.helpers.racing import race
from tests.helpers.registered import make_champion, register, store_in

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def database():
    """Run PostgreSQL."""
    with postgres() as uri:
        yield uri


@pytest.fixture(params=["database", pytest.param("server", marks=pytest.mark.slow)])
def root(request, database, tmp_path, monkeypatch):
    """Return a folder whose store is the database, or a server in front of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "check_in_fresh_process", lambda _folder: None)
    if request.param == "database":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
        yield tmp_path
        return
    with MlflowServer(database, tmp_path / "mlartifacts") as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        yield tmp_path


@pytest.mark.long
def test_of_machines_that_promote_at_once_exactly_one_wins(root):
    """No lock of one machine helps here: the database keeps the first entry, three are told that they lost."""
    store = store_in(root)
    if champions.aliases(store, "digits"):
        store.client.delete_registered_model("digits")
    versions = [register(store, root, f"{root} {number}".encode()) for number in range(5)]
    make_champion(store, versions[0])
    outcome = race(root, versions[1:], versions[0].model_sha256)
    (winner,) = [number for number, said in outcome.items() if said == "won"]
    assert [1, winner] == [item.version for item in champions.champions(store, "digits")]
    assert {"champion": winner, "previous": 1} == champions.aliases(store, "digits")


LOOK = """
import sys
from pathlib import Path
from pipeline.tracking.store import has_tagged_version
from pipeline.tracking.store import open_store
if sys.argv[1] == "look":
    print(has_tagged_version(sys.argv[2], "pictures", "millrace.judged", "0"))
else:
    print(open_store(Path.cwd(), "pictures").experiment)
"""


@pytest.mark.slow
def test_machines_that_open_an_empty_database_at_once_make_its_tables_once(tmp_path):
    """Four that look what was judged and four that record, each with temporary folders, and locks, of its own."""
    with postgres() as uri:
        started = []
        for number in range(8):
            folder = tmp_path / str(number)
            (folder / "tmp").mkdir(parents=True)
            settings = environment(MLFLOW_TRACKING_URI=uri, TMPDIR=str(folder / "tmp"))
            command = [sys.executable, "-c", LOOK, ("look", "record")[number % 2], uri]
            started.append(
                subprocess.Popen(
                    command,
                    cwd=folder,
                    env=settings,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        said = [process.communicate()[0] for process in started]
        assert [0] * 8 == [process.returncode for process in started], "\n".join(said)
        assert ["False", "pictures"] * 4 == [text.split()[-1] for text in said]


def test_looking_into_an_empty_database_makes_no_tables(tmp_path, monkeypatch):
    """Neither for what was judged nor for a model."""
    with postgres() as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert not has_tagged_version(uri, "pictures", "millrace.judged", "0")
        for _ in range(2):
            with pytest.raises(InputMissing, match="Expected tables of MLflow in postgresql"):
                open_existing_store(tmp_path)


def test_a_machine_that_never_ends_making_tables_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    """It was suspended, say, with the lock in its hands."""
    monkeypatch.setattr(tracking_store, "LOCK_TIMEOUT_SECONDS", 1.0)
    with postgres() as uri, sqlalchemy.create_engine(uri).begin() as other:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        other.execute(
            sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": tracking_store.ADVISORY_LOCK}
        )
        with pytest.raises(Busy, match="Another machine has been making the tables of MLflow"):
            tracking_store.open_store(tmp_path, "pictures")


def test_a_user_who_may_not_make_tables_is_told_what_is_missing(tmp_path, monkeypatch):
    """PostgreSQL's own default for everybody but the owner."""
    with postgres() as uri:
        with sqlalchemy.create_engine(uri).begin() as owner:
            owner.execute(sqlalchemy.text("CREATE USER guest"))
            owner.execute(sqlalchemy.text("REVOKE CREATE ON SCHEMA public FROM public"))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.replace("mlflow@", "guest@"))
        with pytest.raises(NotPermitted, match="GRANT CREATE, USAGE ON SCHEMA public"):
            tracking_store.open_store(tmp_path, "pictures")
