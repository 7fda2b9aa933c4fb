"""The store of a project for reading, without making anything."""

from pathlib import Path

from mlflow.tracking import MlflowClient

from pipeline.paths import SQLITE, home_dir, tracking_uri
from pipeline.runtime import InputMissing
from pipeline.tracking.store import Store


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
