"""A team's MLflow server: PostgreSQL behind it, a password and a path before it, as a proxy makes them."""

from contextlib import suppress

import pytest

from pipeline.checks.store import ask_store
from pipeline.runtime.errors import NotPermitted
from pipeline.tracking import registry
from pipeline.tracking.store import open_store
from tests.e2e.services import MlflowServer, PasswordProxy, postgres
from tests.e2e.test_mlflow_server import run_register
from tests.helpers.registration import make_registration_project, model, put_best

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(600)]
PREFIX, USER, PASSWORD = "/teams/mlflow", "ada", "sehr ge:heim"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    """Run PostgreSQL, an MLflow server below a path, and the proxy that asks for the password."""
    folder = tmp_path_factory.mktemp("server")
    with postgres() as database:
        with MlflowServer(database, folder / "mlartifacts", prefix=PREFIX) as server:
            with PasswordProxy(server.port, USER, PASSWORD) as running:
                yield running


@pytest.fixture
def project(tmp_path, monkeypatch, proxy):
    """Stand in a project that records there."""
    from pipeline.inference import backend

    with suppress(RuntimeError):  # another file of this worker may have started TensorFlow already
        backend.prepare_tensorflow(2, 7)
    root = make_registration_project(tmp_path / "project")
    monkeypatch.chdir(root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{proxy.uri}{PREFIX}")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    proxy.refused.clear()
    return root


def test_a_model_is_registered_and_comes_back_whole(project, proxy, capfd):
    """Runs, uploads, versions and aliases pass; the links lie below the path, and the password is never printed."""
    assert [] == ask_store(project, "behind")
    put_best(project, model(9.0))
    assert "promoted" == run_register("behind")["decision"]
    store = open_store(project, "behind")
    assert {"champion": 1} == registry.aliases(store, "behind")
    version = registry.champion_version(store, "behind")
    folder = registry.fetch_model(store, version, project / "back")
    assert (folder / "data/model.keras").read_bytes() == (project / "models/best/model.keras").read_bytes()
    assert [] == proxy.refused
    last_run = (project / ".millrace/last_run.json").read_text()
    assert f"{proxy.uri}{PREFIX}/#/" in last_run
    said = capfd.readouterr()
    assert PASSWORD not in last_run + said.out + said.err + str(version.tags)


def test_a_wrong_password_is_told_before_anything_is_trained(project, proxy, monkeypatch):
    """The stage check asks as the last stage will; the message names the variables and not what they hold."""
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "ge:raten")
    with pytest.raises(NotPermitted, match="MLFLOW_TRACKING_PASSWORD") as refused:
        ask_store(project, "behind")
    assert "ge:raten" not in str(refused.value)
    assert [] != proxy.refused
