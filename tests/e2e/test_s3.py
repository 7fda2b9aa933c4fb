"""Artifacts of an MLflow server, and a DVC remote, in an S3 bucket: moto's server stands for the store."""

import shutil
import subprocess
import sys
from contextlib import suppress

import boto3
import pytest

from pipeline.tracking import registry
from pipeline.tracking.store import open_store
from tests.e2e.clones import environment
from tests.e2e.services import MlflowServer, free_port
from tests.e2e.test_mlflow_server import run_register
from tests.helpers.registration import make_registration_project, model, put_best

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(600)]
BUCKET = "models"


@pytest.fixture(scope="module")
def s3():
    """Run an S3 endpoint with one bucket, whose keys and address are in the environment; yield address and client."""
    server = pytest.importorskip(
        "moto.server", reason="moto is not installed: no S3 endpoint to test against"
    )
    address = f"http://127.0.0.1:{(port := free_port())}"
    running = server.ThreadedMotoServer("127.0.0.1", port)
    running.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("MLFLOW_S3_ENDPOINT_URL", address)
        client = boto3.client("s3", endpoint_url=address)
        client.create_bucket(Bucket=BUCKET)
        yield address, client
    running.stop()


def keys(client, prefix):
    """Return the names of the objects below a prefix."""
    return [item["Key"] for item in client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]


def test_a_version_lies_in_the_bucket_and_comes_back_whole(s3, tmp_path, monkeypatch):
    """The server hands files on; what arrives is compared before a version is made."""
    from pipeline.inference import backend

    _, client = s3
    with suppress(RuntimeError):  # another file of this worker may have started TensorFlow already
        backend.prepare_tensorflow(2, 7)
    root = make_registration_project(tmp_path / "project")
    monkeypatch.chdir(root)
    place = tmp_path / "server"
    place.mkdir()
    database, destination = f"sqlite:///{place / 'mlflow.db'}", f"s3://{BUCKET}/mlflow"
    with MlflowServer(database, place / "mlartifacts", destination=destination) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        put_best(root, model(9.0))
        assert "promoted" == run_register("s3")["decision"]
        store = open_store(root, "s3")
        folder = registry.fetch_model(store, registry.champion_version(store, "s3"), root / "back")
    assert (folder / "data/model.keras").read_bytes() == (root / "models/best/model.keras").read_bytes()
    assert 1 == sum(name.endswith("data/model.keras") for name in keys(client, "mlflow/"))
    assert not (place / "mlartifacts").exists()


def test_data_lies_in_the_bucket_and_comes_back(s3, tmp_path):
    """`dvc push` there, and `dvc pull` where the cache is gone."""
    address, client = s3

    def dvc(*arguments):
        command = [sys.executable, "-m", "dvc", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(), check=False, capture_output=True, text=True
        )
        assert 0 == done.returncode, done.stderr

    dvc("init", "--no-scm")
    dvc("remote", "add", "--default", "bucket", f"s3://{BUCKET}/dvc")
    dvc("remote", "modify", "bucket", "endpointurl", address)
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    dvc("add", "rows.csv")
    dvc("push")
    assert 1 == len(keys(client, "dvc/"))
    (tmp_path / "rows.csv").unlink()
    shutil.rmtree(tmp_path / ".dvc/cache")
    dvc("pull")
    assert "a,b\n1,2\n" == (tmp_path / "rows.csv").read_text()
