"""Promotion by several machines on one PostgreSQL database, directly and through an MLflow server."""

import pytest

from pipeline.tracking import champions, registry
from tests.e2e.services import MlflowServer, postgres
from tests.racing import race
from tests.registered import make_champion, register, store_in

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def database():
    """Run PostgreSQL."""
    with postgres() as uri:
        yield uri


@pytest.fixture(params=["database", "server"])
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
