"""Stores that tests of the record begin with."""

import shutil

import pytest

from pipeline.tracking import registry
from tests.helpers.empty_store import put_store


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """One empty MLflow database, to be copied; its fifty tables take seconds."""
    return put_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def registry_root(empty_store, tmp_path, monkeypatch):
    """Stand in a folder with an empty store; models are not tried, which takes Keras."""
    root = tmp_path / "project"
    root.mkdir()
    shutil.copy(empty_store, root / "mlflow.db")
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(registry, "check_in_fresh_process", lambda _folder: None)
    return root
