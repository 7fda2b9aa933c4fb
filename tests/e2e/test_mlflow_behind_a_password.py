"""A team's MLflow server: behind a password and below a path, as a proxy in front of it makes it."""

from contextlib import suppress

import pytest

from pipeline.tracking import registry
from pipeline.tracking.store import open_store
from tests.e2e.services import MlflowServer, PasswordProxy
from tests.e2e.test_mlflow_server import run_register
from tests.helpers.registration import make_registration_project, model, put_best

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]
PREFIX, USER, PASSWORD = "/teams/mlflow", "ada", "sehr ge:heim"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    """Run an MLflow server on sqlite below a path, and the proxy that asks for the password."""
    folder = tmp_path_factory.mktemp("server")
    with MlflowServer(f"sqlite:///{folder / 'mlflow.db'}", folder / "mlartifacts", PREFIX) as server:
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
    return root


def test_a_model_is_registered_and_comes_back_whole(project, proxy, capfd):
    """Runs, uploads, versions and aliases pass; the links lie below the path, and the password is never printed."""
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
    assert PASSWORD not in last_run + said.out + said.err
    assert PASSWORD not in str(version.tags)
