"""Several pipelines and one record: whole runs against a new store, and against a server that goes away."""

import json
import sqlite3
import subprocess
import time
from collections import Counter

import pytest
from mlflow.tracking import MlflowClient

from tests.e2e.clones import clone, environment
from tests.e2e.services import MlflowServer, postgres


def start(folder, uri):
    """Start `dvc repro` in a clone against a store; its output goes to a file."""
    with (folder / "repro.log").open("w") as log:
        return subprocess.Popen(
            ["dvc", "--wait-for-lock", "repro"],
            cwd=folder,
            env=environment(MLFLOW_TRACKING_URI=uri),
            stdout=log,
            stderr=log,
        )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_four_pipelines_started_at_once_share_a_new_store(tmp_path):
    """All four end well on a store that none of them found; it holds one record of their one state."""
    store = tmp_path / "shared.db"
    folders = [clone(tmp_path / f"clone{number}", "quick/digits") for number in range(4)]
    processes = [start(folder, f"sqlite:///{store}") for folder in folders]
    codes = [process.wait() for process in processes]
    assert codes == [0] * 4, [(folder / "repro.log").read_text()[-2000:] for folder in folders]
    decisions = {(folder / "reports/register/decision.json").read_bytes() for folder in folders}
    assert len(decisions) == 1
    with sqlite3.connect(store) as connection:
        (versions,) = connection.execute("select count(*) from model_versions").fetchone()
        parents = connection.execute(
            "select count(*) from tags where key = 'millrace.kind' and value = 'pipeline'"
        ).fetchone()
        twice = connection.execute(
            "select run_uuid, key, step, count(*) from metrics group by run_uuid, key, step having count(*) > 1"
        ).fetchall()
        unfinished = connection.execute("select name from runs where status not in ('FINISHED')").fetchall()
    assert (versions, parents) == (1, (1,))
    assert twice == []
    assert unfinished == []


@pytest.mark.services
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_server_may_go_away_in_mid_training(tmp_path):
    """An MLflow server on PostgreSQL dies while the CNN trains and comes back: nothing lost, nothing doubled."""
    folder = clone(tmp_path / "clone", "digits")
    (folder / "params.yaml").write_text(
        (folder / "params.yaml").read_text().replace("trials: 4", "trials: 0")
    )
    artifacts = tmp_path / "artifacts"
    artifacts.mkdir()
    with postgres() as uri:
        server = MlflowServer(uri, artifacts)
        server.start()
        try:
            process = start(folder, server.uri)
            wait_for_epoch(folder, "cnn", 5)
            server.stop()
            wait_for_end(folder, "cnn")
            server.start()
            assert process.wait() == 0, (folder / "repro.log").read_text()[-3000:]
            assert_complete(folder, MlflowClient(server.uri))
        finally:
            server.stop()


def live_lines(folder, candidate):
    """Return the lines of a candidate's live log."""
    path = folder / ".millrace/live" / f"{candidate}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def wait_for_epoch(folder, candidate, epoch, seconds=400):
    """Wait until a training has come so far."""
    deadline = time.monotonic() + seconds
    while not any(line.get("epoch", 0) >= epoch for line in live_lines(folder, candidate)):
        assert time.monotonic() < deadline, (folder / "repro.log").read_text()[-2000:]
        time.sleep(0.1)


def wait_for_end(folder, candidate, seconds=400):
    """Wait until a training is over; it must have ended well without its server."""
    deadline = time.monotonic() + seconds
    while not any(line.get("end") == "FINISHED" for line in live_lines(folder, candidate)):
        assert time.monotonic() < deadline, (folder / "repro.log").read_text()[-2000:]
        time.sleep(0.1)


def assert_complete(folder, client):
    """Compare what the server holds with the histories that training wrote, value by value."""
    experiment = client.get_experiment_by_name("millrace-digits")
    runs = {
        run.info.run_name.partition(",")[0].removesuffix(" (chosen)"): run
        for run in client.search_runs([experiment.experiment_id], max_results=1000)
    }
    for candidate in ("cnn", "rnn", "dense", "linear"):
        history = json.loads((folder / f"models/tuned/{candidate}/history.json").read_text())["epochs"]
        logged = client.get_metric_history(runs[candidate].info.run_id, "val/accuracy")
        steps = Counter(metric.step for metric in logged)
        assert steps == Counter(entry["epoch"] for entry in history), candidate
        values = {metric.step: metric.value for metric in logged}
        assert values == {entry["epoch"]: pytest.approx(entry["val_accuracy"]) for entry in history}
