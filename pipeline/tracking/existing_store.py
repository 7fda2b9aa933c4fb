"""The store of a project for reading, without making anything."""

from pathlib import Path

from mlflow.tracking import MlflowClient

from pipeline.runtime.paths import SQLITE, home_dir, tracking_uri
from pipeline.runtime.stage import InputMissing
from pipeline.tracking.store import Store, has_tables, opening, service_errors, without_password

DATABASES = ("postgresql", "mysql", "mssql")


def open_existing_store(root: Path) -> Store:
    """Return the store for reading; neither a database nor an experiment is made.

    Args:
        root: The project's folder; see `store.open_store`.

    Raises:
        InputMissing: There is none.
    """
    uri = tracking_uri(root / home_dir())
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
        raise InputMissing(
            f"There is no model registry. Expected {uri.removeprefix(SQLITE)}. Received: no such file. Set "
            "MLFLOW_TRACKING_URI to the store that has the model, or run `dvc repro`."
        )
    with service_errors(uri):
        client = _existing_client(uri)
    if client is None:
        raise InputMissing(
            f"There is no model registry. Expected tables of MLflow in {without_password(uri)}. Received: none. Set "
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
    if not uri.startswith(DATABASES):
        return MlflowClient(uri)
    with opening(uri):
        return MlflowClient(uri) if has_tables(uri) else None
