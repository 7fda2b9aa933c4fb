"""A champion of last night is taken back: in seconds, and no retrain brings the same model back."""

import time

import pytest

from pipeline.tracking import champions
from pipeline.tracking.store import open_store
from tests.e2e.growing_source import history
from tests.e2e.machines import Machines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def machines(tmp_path):
    """One machine, and a gate that every refresh passes."""
    made = Machines(tmp_path, 1, f"sqlite:///{tmp_path / 'registry.db'}")
    yield made
    made.close()


def test_a_revoked_model_stays_out_after_the_next_retrain(machines, tmp_path, monkeypatch):
    """Two nights, two champions; the second is taken back; the same data trains the same model, and it is refused."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", machines.registry)
    (folder,) = machines.folders
    assert machines.start(folder).wait(900) == 0
    machines.grow(20)
    assert machines.start(folder).wait(900) == 0
    started = time.monotonic()
    assert machines.start(folder, "rollback", "--reason", "wrong on Mondays").wait(120) == 0
    seconds = time.monotonic() - started
    print(f"rollback: {seconds:.1f} s")
    assert machines.start(folder, "retrain", "--force").wait(900) == 3, machines.log(folder).read_text()[
        -3000:
    ]
    entry = history(folder)[-1]
    assert entry["outcome"] == "refused"
    assert "wrong on Mondays" in entry["reasons"][0]
    store = open_store(tmp_path, "pictures")
    listed = [item.version for item in champions.champions(store, "pictures")]
    assert (listed, champions.aliases(store, "pictures")["champion"]) == ([1, 2, 1], 1)
    machines.grow(20)
    assert machines.start(folder).wait(900) == 0
    assert [1, 2, 1, 3] == [item.version for item in champions.champions(store, "pictures")]
