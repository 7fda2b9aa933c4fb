"""Eight retrains at once: four machines that share a git remote and a registry, each of them called twice.

`MILLRACE_ROUNDS=10 pytest -n 0 -m slow tests/e2e/test_concurrent_retrains.py` runs ten rounds, about 20 minutes for
each kind of registry.
"""

import os
from collections import Counter

import pytest

from pipeline.tracking import champions, registry
from pipeline.tracking.store import open_store
from tests.e2e.growing_source import history
from tests.e2e.machines import Machines
from tests.e2e.services import postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
ROUNDS = int(os.environ.get("MILLRACE_ROUNDS", "2"))
MACHINES, CALLS = 4, 2
DONE, BUSY = 0, 75


def one_round(machines):
    """Call every machine twice at the same moment; return the exit codes per machine, smallest first."""
    calls = {folder: [machines.start(folder) for _ in range(CALLS)] for folder in machines.folders}
    return {folder: sorted(process.wait(1800) for process in calls[folder]) for folder in calls}


def tell(machines, codes):
    """Return what the machines said last, for a failed assertion."""
    return "\n".join(
        f"{folder.name} {codes[folder]}: {machines.log(folder).read_text()[-1500:]}"
        for folder in machines.folders
    )


def retrain_in_rounds(machines, root, monkeypatch):
    """Let the source grow and everybody retrain, round by round; check the registry after each."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", machines.registry)
    results = []
    for number in range(1, ROUNDS + 1):
        if number > 1:
            machines.grow(20)
        codes = one_round(machines)
        print(f"round {number}: {[codes[folder] for folder in machines.folders]}", flush=True)
        # One call of each machine works or, where another machine was faster in the last step, has lost; the other
        # found the machine's lock taken, or came when all was done.
        assert all(set(found) <= {DONE, BUSY} for found in codes.values()), tell(machines, codes)
        store = open_store(root, "pictures")
        listed = champions.champions(store, "pictures")
        assert len(listed) == number, tell(machines, codes)
        assert {"champion": listed[-1].version} == {
            alias: version
            for alias, version in champions.aliases(store, "pictures").items()
            if alias == "champion"
        }
        results.append(machines.results())
        promoted = [
            entry
            for folder in machines.folders
            for entry in history(folder)
            if entry["outcome"] == "promoted"
        ]
        assert number == len({entry["version"] for entry in promoted}), tell(machines, codes)
    assert len(set(results)) == ROUNDS
    return store


def nothing_was_lost(machines, store):
    """Check what all rounds together left: a chain of champions, each model once, everybody at the same place."""
    listed = champions.champions(store, "pictures")
    assert [entry.before for entry in listed] == [0, *(entry.version for entry in listed[:-1])]
    digests = Counter(version.model_sha256 for version in registry.versions(store, "pictures"))
    assert {digest: times for digest, times in digests.items() if times > 1} == {}
    assert set(digests) >= {entry.model_sha256 for entry in listed}
    newest = machines.results()
    for folder in machines.folders:
        (code,) = [machines.start(folder).wait(1800)]
        assert code == DONE
        assert history(folder)[-1]["outcome"] in ("nothing_to_do", "unchanged", "promoted")
    assert machines.results() == newest
    assert champions.champions(store, "pictures") == listed


def test_eight_at_once_promote_once_per_round_on_sqlite(tmp_path, monkeypatch):
    """A database file that all of them may write to."""
    machines = Machines(tmp_path, MACHINES, f"sqlite:///{tmp_path / 'registry.db'}")
    try:
        nothing_was_lost(machines, retrain_in_rounds(machines, tmp_path, monkeypatch))
    finally:
        machines.close()


@pytest.mark.services
def test_eight_at_once_promote_once_per_round_on_postgresql(tmp_path, monkeypatch):
    """No lock of a machine reaches the others here: the database decides."""
    with postgres() as uri:
        machines = Machines(tmp_path, MACHINES, uri)
        try:
            nothing_was_lost(machines, retrain_in_rounds(machines, tmp_path, monkeypatch))
        finally:
            machines.close()
