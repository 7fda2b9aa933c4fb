"""The record and the registry over HTTP, on a real MLflow server in front of PostgreSQL."""

import threading
import time
from contextlib import suppress

import pytest

from pipeline.evaluation.measures import Yardstick
from pipeline.gate.question import Rules
from pipeline.metrics.names import primary_called
from pipeline.provenance import state as provenance_state
from pipeline.tracking import record, registry
from pipeline.tracking.follower import Breaker, Follower, follow
from pipeline.tracking.store import open_store
from tests.e2e.services import MlflowServer, postgres
from tests.helpers.registration import make_registration_project, model, put_best
from tests.helpers.synthetic_project import HISTORY, write_live_log

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]
NAMES = ["cnn", "linear", "majority"]


@pytest.fixture(scope="module")
def database():
    """Run PostgreSQL."""
    with postgres() as uri:
        yield uri


@pytest.fixture(scope="module")
def server(database, tmp_path_factory):
    """Run an MLflow server on it."""
    with MlflowServer(database, tmp_path_factory.mktemp("server") / "mlartifacts") as running:
        yield running


@pytest.fixture
def project(tmp_path, monkeypatch, server):
    """Stand in a project that records on the server."""
    from pipeline.inference import backend

    with suppress(RuntimeError):  # another file of this worker may have started TensorFlow already
        backend.prepare_tensorflow(2, 7)
    root = make_registration_project(tmp_path / "project")
    monkeypatch.chdir(root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    return root


def run_register(experiment):
    from pipeline.stages import register

    original, register.console.print_report = register.console.print_report, lambda *_a, **_k: None
    try:
        return register.register(
            candidates=NAMES,
            baselines=NAMES[1:],
            model_name=experiment,
            experiment=experiment,
            rules=Rules(
                primary=primary_called("accuracy"), margin=0.0, confidence=0.95, resamples=200, seed=7
            ),
            yardstick=Yardstick(),
            uncommitted="these tests have no git",
        )
    finally:
        register.console.print_report = original


@pytest.mark.long
def test_registration_over_http_and_its_repetition(project):
    """Over HTTP a version needs its model id; the second run changes nothing; a better model takes over."""
    put_best(project, model(9.0, confused=12.0))
    first = run_register("http")
    assert first == run_register("http")
    put_best(project, model(9.0))
    assert "promoted" == run_register("http")["decision"]
    store = open_store(project, "http")
    assert {"champion": 2, "previous": 1} == registry.aliases(store, "http")
    version = registry.champion_version(store, "http")
    folder = registry.fetch_model(store, version, project / "back")
    assert (folder / "data/model.keras").read_bytes() == (project / "models/best/model.keras").read_bytes()


@pytest.mark.long
def test_server_stopped_in_mid_training_loses_and_doubles_nothing(project, server):
    """The server goes away between epochs and comes back; every value is there once, under its time."""
    path = write_live_log(project, "linear", "live-outage", epochs=1, ended=False)
    follower = Follower("linear", "outage", project, path, 0)
    thread = threading.Thread(target=follow, args=(follower, Breaker(report=lambda _line: None)))
    thread.start()
    try:
        time.sleep(3)
        server.stop()
        write_live_log(project, "linear", "live-outage", epochs=2, ended=False)
        time.sleep(4)
    finally:
        server.start()
        write_live_log(project, "linear", "live-outage", epochs=3)
    thread.join(120)
    assert follower.ended
    recorded = record.record_pipeline(open_store(project, "outage"), provenance_state.read_state(NAMES))
    history = open_store(project, "outage").client.get_metric_history(
        recorded.candidate_run_ids["linear"], "val/loss"
    )
    assert [(logs["epoch"], logs["val_loss"]) for logs in HISTORY] == [
        (item.step, item.value) for item in history
    ]


@pytest.mark.long
def test_training_that_never_met_the_server_is_filled_in_later(project):
    """With only the live log left, the run appears with the training's own time stamps."""
    write_live_log(project, "linear", "live-late")
    store = open_store(project, "late")
    recorded = record.record_pipeline(store, provenance_state.read_state(NAMES))
    history = store.client.get_metric_history(recorded.candidate_run_ids["linear"], "val/loss")
    assert [1_700_000_002_500, 1_700_000_005_000, 1_700_000_007_500] == [item.timestamp for item in history]


def test_two_machines_recording_at_once_leave_one_family(project):
    """Two reconcilers without a common lock end with one parent and one child per candidate."""
    store = open_store(project, "race")
    state = provenance_state.read_state(NAMES)
    threads = [threading.Thread(target=_try, args=(store, state)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record.record_pipeline(store, state)
    found = store.client.search_runs([store.experiment_id])
    kinds = sorted(run.data.tags["millrace.kind"] for run in found)
    assert ["candidate"] * 3 + ["pipeline"] + ["trial"] * 2 == kinds


def _try(store, state):
    try:
        record.record_pipeline(store, state)
    except Exception as error:  # the other one removed a run under our hands; a repetition mends it
        print(error)
