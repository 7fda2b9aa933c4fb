"""Looking for a model makes nothing."""

import pytest

from pipeline.runtime import InputMissing
from pipeline.tracking.existing_store import open_existing_store


def test_looking_makes_no_database(tmp_path, monkeypatch):
    """Where there is no store there is none afterwards."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputMissing, match="no model registry"):
        open_existing_store(tmp_path)
    assert [] == list(tmp_path.iterdir())
