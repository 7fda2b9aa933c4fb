"""The follower brings a training's epochs to MLflow and never disturbs it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from pipeline.runtime.progress import LiveLog
from pipeline.tracking import runs
from pipeline.tracking.follower import Breaker, Follower, follow
from pipeline.tracking.store import open_store
from tests.helpers.synthetic_project import HERE, write_live_log

STARTED = 1_700_000_000_000


@pytest.fixture
def root(tmp_path, monkeypatch, empty_store):
    """An empty project with a store of its own."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def follower_of(root, since=0):
    return Follower("cnn", "digits", root, root / ".millrace/live/cnn.jsonl", since)


def only_run(root):
    store = open_store(root, "digits")
    (run,) = store.client.search_runs([store.experiment_id])
    return store, run


def history(store, run, name="val/loss"):
    return [
        (item.step, item.timestamp, item.value)
        for item in store.client.get_metric_history(run.info.run_id, name)
    ]


EXPECTED = [(1, STARTED + 2500, 0.8), (2, STARTED + 5000, 0.6), (3, STARTED + 7500, 0.5)]


def test_epochs_arrive_while_the_training_runs_and_the_end_ends_the_run(root):
    """Each look at the log sends what is new, under the log's own time stamps."""
    write_live_log(root, "cnn", "live-1", epochs=1, ended=False)
    follower = follower_of(root)
    follower.send_new()
    store, run = only_run(root)
    assert ("RUNNING", EXPECTED[:1]) == (run.info.status, history(store, run))
    write_live_log(root, "cnn", "live-1", epochs=3, ended=True)
    follower.send_new()
    store, run = only_run(root)
    assert ("FINISHED", EXPECTED) == (run.info.status, history(store, run))
    assert (STARTED, STARTED + 9000) == (run.info.start_time, run.info.end_time)
    assert follower.ended


def test_one_batch_per_epoch(root, monkeypatch):
    """All metrics of an epoch travel in one call."""
    batches = []
    monkeypatch.setattr(runs, "send_epochs", lambda _store, _run, epochs: batches.append(len(epochs)))
    write_live_log(root, "cnn", "live-1")
    follower_of(root).send_new()
    assert [1, 1, 1] == batches


def test_a_new_follower_of_a_resumed_training_doubles_nothing(root):
    """After a kill a second follower finds the run and sends everything again; each value is there once."""
    write_live_log(root, "cnn", "live-1", epochs=2, ended=False)
    follower_of(root).send_new()
    write_live_log(root, "cnn", "live-1", epochs=3)
    follower_of(root).send_new()
    store, run = only_run(root)
    assert EXPECTED == history(store, run)


def test_log_of_an_older_training_is_not_taken_for_this_one(root):
    """The finished log that lies there when the training starts is left alone; its successor is followed."""
    write_live_log(root, "cnn", "old")
    follower = follower_of(root, since=STARTED + 10_000)
    follower.send_new()
    assert not follower.ended
    path = write_live_log(root, "cnn", "new")
    path.write_text(path.read_text().replace(str(STARTED + 9000), str(STARTED + 11_000)))
    follower.send_new()
    assert follower.ended
    _, run = only_run(root)
    assert "new" == run.data.tags["millrace.live_id"]


def test_log_that_was_reopened_for_the_same_inputs_goes_on_in_its_run(root):
    """A training repeated before DVC noted its result: one run, open until the new end, each value once."""
    path = write_live_log(root, "cnn", "live-1")
    follower_of(root).send_new()
    live = LiveLog(path, "cnn", "k")
    follower = follower_of(root, since=STARTED + 10_000)
    follower.send_new()
    store, run = only_run(root)
    assert ("RUNNING", False) == (run.info.status, follower.ended)
    live.end("FINISHED")
    follower.send_new()
    store, run = only_run(root)
    assert follower.ended
    assert ("FINISHED", EXPECTED) == (run.info.status, history(store, run))
    assert run.info.end_time > STARTED + 9000


def test_run_that_the_record_completed_is_not_touched_by_a_repeated_training(root):
    """`dvc repro --force` of a recorded training: status and times of its run stay."""
    path = write_live_log(root, "cnn", "live-1")
    follower_of(root).send_new()
    store, run = only_run(root)
    runs.complete(store, run, STARTED + 9000)
    LiveLog(path, "cnn", "k").end("FINISHED")
    follower_of(root).send_new()
    _, run = only_run(root)
    assert ("FINISHED", STARTED + 9000) == (run.info.status, run.info.end_time)


def test_follower_is_less_patient_than_the_register_stage(root):
    """The follower gives a server seconds, because it asks again; the user's own values win."""
    code = (
        "import pipeline.tracking.follower as f, os; f.follow = lambda *_: None; f.main(); import pipeline.tracking; "
        "print(*[os.environ[name] for name in f.IMPATIENT])"
    )
    (root / "dvc.yaml").write_text("stages: {}\n")
    shutil.copy(HERE / "params.yaml", root / "params.yaml")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    environment |= {"PYTHONPATH": str(HERE), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
    answer = subprocess.run(
        [sys.executable, "-c", code, "cnn"], cwd=root, env=environment, capture_output=True, text=True
    )
    assert "2 1 5" == answer.stdout.strip(), answer.stderr


def test_torn_last_line_waits_for_its_rest(root):
    """Half a line, seen while it is written, is not read yet."""
    path = write_live_log(root, "cnn", "live-1", epochs=2, ended=False)
    path.write_text(path.read_text()[:-20])
    follower_of(root).send_new()
    store, run = only_run(root)
    assert EXPECTED[:1] == history(store, run)


def test_breaker_pauses_longer_after_each_failure_and_never_raises():
    """Failures one after another double the pause up to half a minute; a success resets it."""
    now, calls, lines = [0.0], [], []
    breaker = Breaker(clock=lambda: now[0], report=lines.append)

    def failing():
        calls.append(now[0])
        raise ConnectionError("down")

    while now[0] < 100:
        breaker.call(failing)
        now[0] += 0.5
    assert [0, 1, 3, 7, 15, 31, 61, 91] == calls
    now[0] = 200
    assert breaker.call(lambda: None)
    assert "the server answers again" == lines[-1]
    assert not breaker.call(failing)
    now[0] = 201
    assert breaker.call(lambda: None)


def test_values_missed_in_an_outage_are_sent_when_the_server_is_back(root):
    """A store that fails for a while gets every epoch in the end, once."""
    write_live_log(root, "cnn", "live-1")
    follower, real, failures = follower_of(root), Follower.send_new, [3]

    def send_new():
        if failures[0]:
            failures[0] -= 1
            raise ConnectionError("down")
        real(follower)

    follower.send_new = send_new
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    follow(follower, Breaker(clock=lambda: now[0], report=lambda _line: None), sleep)
    store, run = only_run(root)
    assert EXPECTED == history(store, run)


def start(root, uri=None):
    """Start the follower as training does, under a parent that can be killed."""
    (root / "dvc.yaml").write_text("stages: {}\n")
    shutil.copy(HERE / "params.yaml", root / "params.yaml")
    # Not the time-outs either, which importing the door has set in this process.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "DVC_ROOT" and not name.startswith("MLFLOW")
    }
    environment |= {"PYTHONPATH": str(HERE)} | ({"MLFLOW_TRACKING_URI": uri} if uri else {})
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'pipeline.tracking.follower', 'cnn'],"
        " env=os.environ | {'MILLRACE_PARENT': str(os.getpid())})\n"
        "print(child.pid, flush=True); sys.exit(child.wait())"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return parent, int(parent.stdout.readline())


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "Z"


def wait_until(condition, seconds=40):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.long
def test_follower_process_ends_with_the_training_it_follows(root):
    """The process sends a whole log, exits 0, and leaves a finished run."""
    write_live_log(root, "cnn", "live-1", epochs=2, ended=False)
    parent, _ = start(root)
    time.sleep(1)
    path = write_live_log(root, "cnn", "live-1", epochs=3, ended=True)
    now = time.time_ns() // 1_000_000
    path.write_text(path.read_text().replace(str(STARTED + 9000), str(now)))
    assert 0 == parent.wait(60), parent.stderr.read()
    (line,) = [json.loads(text) for text in path.read_text().splitlines() if '"end"' in text]
    from pipeline.tracking.store import MlflowClient

    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    (run,) = client.search_runs([item.experiment_id for item in client.search_experiments()])
    assert ("FINISHED", line["timestamp"]) == (run.info.status, run.info.end_time)


def test_follower_dies_with_the_training(root):
    """kill -9 of the training takes the follower with it."""
    write_live_log(root, "cnn", "live-1", epochs=1, ended=False)
    parent, follower = start(root)
    time.sleep(2)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: gone(follower), 10)


@pytest.mark.long
def test_hung_server_keeps_the_follower_busy_and_nobody_else(root):
    """A server that accepts and never answers: the follower stays, retries, and writes why."""
    write_live_log(root, "cnn", "live-1", epochs=1, ended=False)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        parent, follower = start(root, f"http://127.0.0.1:{listener.getsockname()[1]}")
        line = parent.stdout.readline()
        assert "next attempt in 1 s: ServiceDown" in line
        assert not gone(follower)
        parent.kill()
        wait_until(lambda: gone(follower), 10)
