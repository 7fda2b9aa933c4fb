"""What MLflow calls finished, ready and promoted although it is not."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from mlflow import MlflowClient

from pipeline.inference import backend
from pipeline.runtime.errors import Busy, DataRefused, StorageFailed
from pipeline.runtime.stage import exit_codes
from pipeline.tracking import registry
from pipeline.tracking.store import open_store
from tests.helpers.empty_store import put_store

EXIT_IN_A_RUN = """
import sys, mlflow
mlflow.set_tracking_uri(sys.argv[1])
print(mlflow.start_run().info.run_id, flush=True)
sys.exit(3)
"""


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """One empty MLflow database; its tables take seconds."""
    with suppress(RuntimeError):
        backend.prepare_tensorflow(2, 7)
    folder = tmp_path_factory.mktemp("empty")
    put_store(folder)
    return folder


@pytest.fixture
def store(empty, tmp_path, monkeypatch):
    """An opened store of its own."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty / "mlflow.db", tmp_path / "mlflow.db")
    return open_store(tmp_path, "wrong-pass")


def version_of(store, digest):
    """Make a version without files, as plain MLflow lets anybody."""
    client: MlflowClient = store.client
    with suppress(Exception):
        client.create_registered_model("m")
    made = client.create_logged_model(store.experiment_id, name="m", tags={registry.MODEL_SHA256: digest})
    return client.create_model_version(
        "m", f"models:/{made.model_id}", model_id=made.model_id, tags={registry.MODEL_SHA256: digest}
    )


def test_a_version_without_files(store, tmp_path):
    """A model version whose files do not exist.

    Plain: MLflow says READY, and the alias may point to it.
    Millrace: the files are fetched and their digest compared before anything is done with a version.
    """
    made = version_of(store, "0" * 64)
    assert made.status == "READY"
    store.client.set_registered_model_alias("m", "champion", made.version)
    with pytest.raises(StorageFailed):
        registry.fetch_model(store, registry.champion_version(store, "m"), tmp_path / "files")


def test_the_same_model_twice(store):
    """A registration that is repeated after a crash.

    Plain: MLflow makes a second version of the same model.
    Millrace: a version is found by the sha256 of its model before one is made.
    """
    one, two = version_of(store, "a" * 64), version_of(store, "a" * 64)
    assert one.version != two.version
    assert registry.the_version(store, "m", "a" * 64).number == int(one.version)


def test_eight_promotions_at_once(store):
    """Eight challengers were compared with the same champion and are promoted at the same time.

    Plain: every `set_registered_model_alias` succeeds, and the last one wins, whoever it is.
    Millrace: only the one that still finds the champion it was compared with moves the alias.
    """
    champion, *challengers = [version_of(store, f"{number:064d}") for number in range(9)]
    client = store.client
    client.set_registered_model_alias("m", "champion", champion.version)
    with ThreadPoolExecutor(8) as pool:
        moved = list(
            pool.map(lambda v: client.set_registered_model_alias("m", "champion", v.version), challengers)
        )
    assert len(moved) == 8  # none was refused

    client.set_registered_model_alias("m", "champion", champion.version)
    decision = {"decision": "promoted", "champion_before": f"{0:064d}"}
    outcomes = []
    for challenger in challengers:
        version = registry.the_version(store, "m", challenger.tags[registry.MODEL_SHA256])
        try:
            registry.apply_decision(store, "m", version, decision)
            outcomes.append("moved")
        except Busy:
            outcomes.append("refused")
    assert outcomes == ["moved"] + ["refused"] * 7


def test_a_run_that_ended_with_an_error_code(store):
    """A training script ends with `sys.exit(3)` inside its run.

    Plain: MLflow records FINISHED.
    Millrace: a refused gate is a decision in words and an exit code of the stage, never read off a run's status.
    """
    done = subprocess.run(
        [sys.executable, "-c", EXIT_IN_A_RUN, store.uri], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    run_id = done.stdout.split()[0]
    assert store.client.get_run(run_id).info.status == "FINISHED"
    with pytest.raises(SystemExit) as ended, exit_codes("register"):
        raise DataRefused("no")
    assert ended.value.code == 65
