"""Two clones give the same bytes, and a crash is a pause."""

import json
import os
import random
import time
from pathlib import Path

import pytest
import yaml

from pipeline.params.load import load_params
from pipeline.runtime.files import file_digest
from pipeline.runtime.strict_yaml import read_yaml
from pipeline.tracking import champions, registry
from pipeline.tracking.store import open_existing_store
from tests.e2e.clones import clone, commit, dvc, lock_of, model_files
from tests.e2e.kills import half_files, kill_once, mend, orphans

KILLS = int(os.environ.get("MILLRACE_KILLS", "10"))


def folded_clone(folder):
    """Make a clone of the quick digits example that cross-validates in two folds and trains the chosen one again."""
    clone(folder, "quick/digits")
    params = read_yaml(folder / "params.yaml")
    params["select"] = {"min_val_units": 1000, "folds": 2, "repeats": 1, "refit": True, "temperature": True}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    commit(folder, "folds")
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A clone in which the quick digits example ran through, and how long it took in seconds."""
    folder = folded_clone(tmp_path_factory.mktemp("first"))
    start = time.monotonic()
    dvc(folder, "repro")
    return folder, time.monotonic() - start


@pytest.mark.slow
def test_two_clones_at_different_paths_give_the_same_bytes(undisturbed, tmp_path):
    """Parsed dvc.lock files are equal, and every model file."""
    folder, _ = undisturbed
    other = folded_clone(tmp_path / "another" / "place")
    dvc(other, "repro")
    assert lock_of(folder) == lock_of(other)
    assert model_files(folder) == model_files(other)


def runs_left_running(store):
    """Return the runs of all experiments that nobody ended."""
    experiments = [item.experiment_id for item in store.client.search_experiments()]
    return [run.info.run_id for run in store.client.search_runs(experiments, "attributes.status = 'RUNNING'")]


@pytest.fixture(scope="module")
def killed(undisturbed, tmp_path_factory):
    """A clone in which dvc was killed at random moments of the whole pipeline, and then ran through."""
    _, seconds = undisturbed
    folder = folded_clone(tmp_path_factory.mktemp("killed") / "clone")
    seed = int(os.environ.get("MILLRACE_SEED", time.time_ns() % 10**6))
    print(f"MILLRACE_SEED={seed}")
    moments = random.Random(seed)
    delivered = 0
    while delivered < KILLS:
        killed = kill_once(folder, moments, max(3.0, seconds * 2.5 / KILLS))
        print(f"killed {killed}" if killed else "done before the kill", flush=True)
        assert [] == orphans(folder), f"after {killed}"
        delivered += bool(killed)
    mend(folder)
    dvc(folder, "repro")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(10_000)
def test_killed_at_random_moments_and_repeated_gives_the_same_bytes(undisturbed, killed):
    """After each kill -9 of dvc no stage lives on; in the end the files are those of the quiet run, and no others."""
    folder, _ = undisturbed
    assert lock_of(folder) == lock_of(killed)
    assert model_files(folder) == model_files(killed)
    assert [] == half_files(killed)


@pytest.mark.slow
@pytest.mark.timeout(10_000)
def test_killed_at_random_moments_registers_and_promotes_once(undisturbed, killed):
    """One version of the one model, with the decision of the quiet run, which was carried out once; one run page."""
    folder, _ = undisturbed
    decision = Path("reports/register/decision.json")
    assert (folder / decision).read_bytes() == (killed / decision).read_bytes()
    name = load_params(killed / "params.yaml").register.model_name
    store = open_existing_store(killed)
    (version,) = registry.versions(store, name)
    assert file_digest(killed / "models/best/model.keras", "sha256") == version.model_sha256
    assert json.loads((killed / decision).read_text()) == registry.recorded_decision(version)
    assert "true" == version.tags[registry.APPLIED]
    (champion,) = champions.champions(store, name)
    assert (version.number, True) == (champion.version, champion.mirrored)
    assert {"champion": version.number} == champions.aliases(store, name)
    assert [] == runs_left_running(store)
