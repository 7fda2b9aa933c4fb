"""An empty MLflow database, made once: its fifty tables take longer than most tests."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.tracking.store import create_sqlite


@cache
def _content() -> bytes:
    with TemporaryDirectory() as folder:
        create_sqlite(Path(folder) / "mlflow.db")
        return (Path(folder) / "mlflow.db").read_bytes()


def put_store(root: Path) -> Path:
    """Write mlflow.db into a folder, as a first start would make it, and return its path."""
    path = root / "mlflow.db"
    path.write_bytes(_content())
    return path
