"""The store of a project for reading, without making anything."""

from pathlib import Path

from mlflow.tracking import MlflowClient

from pipeline.paths import SQLITE, home_dir, tracking_uri
from pipeline.runtime import InputMissing
from pipeline.tracking.store import Store, service_errors


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
    return Store(MlflowClient(uri), uri, "", "")


def has_tagged_version(uri: str, name: str, tag: str, value: str) -> bool:
    """Return whether the registered model has a version with that tag.

    Raises:
        ServiceDown: The store does not answer.
    """
    with service_errors(uri):
        return bool(MlflowClient(uri).search_model_versions(f"name = '{name}' and tags.`{tag}` = '{value}'"))
