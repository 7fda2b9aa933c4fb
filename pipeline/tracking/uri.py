"""Which store is meant; in a file of its own for those who need not open it."""

import os
from pathlib import Path

SQLITE = "sqlite:///"


def tracking_uri(root: Path) -> str:
    """Return the URI of the store: `MLFLOW_TRACKING_URI`, or sqlite in `root`; never a relative path."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "") or f"{SQLITE}mlflow.db"
    if uri.startswith(SQLITE):
        return SQLITE + str((root.absolute() / uri.removeprefix(SQLITE)).resolve())
    return uri
