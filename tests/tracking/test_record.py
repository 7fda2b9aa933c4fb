"""The store is opened safely, and the record shows every pipeline state completely and once."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading

import pytest

from pipeline.provenance import state as provenance_state
from pipeline.runtime.errors import Busy, NotPermitted, ServiceDown, StorageFailed
from pipeline.runtime.paths import tracking_uri
from pipeline.runtime.progress import Epoch, history_epochs, metric_name, same_values
from pipeline.tracking import record, runs
from pipeline.tracking import runs as tracking_runs
from pipeline.tracking import store as tracking_store
from pipeline.tracking.follower import IMPATIENT
from pipeline.tracking.store import create_sqlite, experiment_called, half_migrated, open_store
from tests.helpers.synthetic_project import HERE, HISTORY, make_project, write_live_log, write_lock


@pytest.fixture
def project(tmp_path, monkeypatch, empty_store):
    """Stand in a finished pipeline with an empty store of its own."""
    root = make_project(tmp_path / "project")
    shutil.copy(empty_store, root / "mlflow.db")
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return root


def all_runs(store):
    return store.client.search_runs([store.experiment_id])


def snapshot(store):
    """Return everything the tracking tables hold, as sqlite itself reads it."""
    with sqlite3.connect(store.uri.removeprefix("sqlite:///")) as connection:
        return {
            table: sorted(map(repr, connection.execute(f"SELECT * FROM {table}")))
            for table in (
                "runs",
                "metrics",
                "latest_metrics",
                "params",
                "tags",
                "datasets",
                "inputs",
                "experiments",
            )
        }


def test_default_store_is_absolute_wherever_the_process_stands(tmp_path, monkeypatch):
    """The default store lies in the project, not in the working directory of the process."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir("/")
    assert f"sqlite:///{tmp_path}/mlflow.db" == tracking_uri(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other/runs.db")
    assert f"sqlite:///{tmp_path}/other/runs.db" == tracking_uri(tmp_path)


def test_another_working_tree_has_its_record_in_the_project(project, tmp_path, monkeypatch):
    """`MILLRACE_HOME` names it; nothing is made in the tree."""
    (tmp_path / "tree").mkdir()
    monkeypatch.chdir(tmp_path / "tree")
    monkeypatch.setenv("MILLRACE_HOME", str(project))
    store = open_store(tmp_path / "tree", "e")
    assert store.uri == f"sqlite:///{project}/mlflow.db"
    assert list((tmp_path / "tree").iterdir()) == []


def test_artifacts_of_the_default_store_are_absolute_and_nothing_lands_in_the_working_directory(
    project, tmp_path, monkeypatch
):
    """A run opened from another folder keeps its artifacts in the project."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    store = open_store(project, "digits")
    run = store.client.create_run(store.experiment_id)
    store.client.log_text(run.info.run_id, "hello", "note.txt")
    assert run.info.artifact_uri.startswith((project / "mlartifacts").as_uri())
    assert [] == list(elsewhere.iterdir())


@pytest.mark.slow
def test_four_processes_open_a_fresh_store_at_once(tmp_path):
    """The race of the first start: four processes that meet a new sqlite store all get in."""
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        from pipeline.tracking.store import open_store
        import time
        time.sleep(max(0, float(sys.argv[2]) - time.time()))
        print(open_store(Path(sys.argv[1]), "digits").experiment_id)
    """)
    import time

    start = str(time.time() + 8)
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), start],
            cwd=HERE,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    answers = [process.communicate(timeout=120) for process in processes]
    assert [0, 0, 0, 0] == [process.returncode for process in processes], answers
    assert 1 == len({out for out, _ in answers})
    assert not half_migrated(tmp_path / "mlflow.db")


def test_a_killed_first_start_leaves_no_store_under_its_name(tmp_path, monkeypatch):
    """A database that could not be made completely does not appear, so the next start makes it."""
    from pipeline.tracking import store as tracking_store

    def broken(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(tracking_store, "SqlAlchemyStore", broken)
    with pytest.raises(KeyboardInterrupt):
        create_sqlite(tmp_path / "mlflow.db")
    assert [] == list(tmp_path.iterdir())


def test_half_migrated_store_is_named_with_its_cure(tmp_path, monkeypatch):
    """A store with `_alembic_tmp_` tables is refused with the command that mends it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("CREATE TABLE _alembic_tmp_runs (id INTEGER)")
    with pytest.raises(StorageFailed, match=r"half-made MLflow store.*`mv .*mlflow\.db\.broken`"):
        open_store(tmp_path, "digits")


def test_sqlite_store_writes_ahead(empty_store):
    """WAL is on: readers and a writer do not wait for each other."""
    with sqlite3.connect(empty_store) as connection:
        assert ("wal",) == connection.execute("PRAGMA journal_mode").fetchone()


def test_experiment_opens_in_the_view_for_models(project):
    """The experiment says that it holds models, so the UI shows charts and not traces."""
    store = open_store(project, "digits")
    assert (
        "custom_model_development"
        == store.client.get_experiment(store.experiment_id).tags["mlflow.experimentKind"]
    )


def test_experiments_say_what_they_are(project):
    """A person who opens the list of experiments finds that of the project, and leaves the ledger alone."""
    store = open_store(project, "digits")
    ledger = experiment_called(store, "millrace-champions")
    told = [
        store.client.get_experiment(number).tags["mlflow.note.content"]
        for number in (store.experiment_id, ledger)
    ]
    assert "candidates below it" in told[0]
    assert "please keep it" in told[1]


def test_rules_for_mlflow_stand_before_it_is_imported():
    """Importing the door sets bounded time-outs, no telemetry and no pickles; the user's time-out wins."""
    code = (
        "import os, pipeline.tracking; import mlflow.environment_variables as e; "
        "print(e.MLFLOW_HTTP_REQUEST_MAX_RETRIES.get(), e.MLFLOW_HTTP_REQUEST_TIMEOUT.get(), "
        "e.MLFLOW_ALLOW_PICKLE_DESERIALIZATION.get(), os.environ['MLFLOW_DISABLE_TELEMETRY'])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    environment |= {"MLFLOW_HTTP_REQUEST_TIMEOUT": "9", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true"}
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=HERE, env=environment, capture_output=True, text=True
    )
    assert "3 9 False true" == answer.stdout.strip()


@pytest.mark.long
@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["dead", "hung"])
def test_dead_or_hung_server_is_reported_in_seconds(tmp_path, monkeypatch, kind):
    """With the follower's patience a dead or silent server costs seconds, not four minutes, and says what to do."""
    import socket
    import time

    for name, value in IMPATIENT.items() if kind == "hung" else ():
        monkeypatch.setenv(name, value)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        if kind == "hung":
            listener.listen(5)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        started = time.monotonic()
        with pytest.raises(ServiceDown, match=r"does not answer.*Nothing is lost.*dvc repro"):
            open_store(tmp_path, "digits")
        assert time.monotonic() - started < 20


def test_the_quoted_address_of_a_dead_server_hides_the_password_too(tmp_path, monkeypatch):
    """MLflow quotes the whole address in its own message, which ours repeats."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(ServiceDown, match=r"127\.0\.0\.1:9/version") as caught:
        open_store(tmp_path, "digits")
    assert "secret" not in str(caught.value)


@pytest.mark.long
def test_store_is_made_for_a_server_that_knows_no_lock(tmp_path):
    """`make ui` first lets us make the database, or waits until a run that makes it has finished."""
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    shutil.copy(HERE / "params.yaml", tmp_path / "params.yaml")
    environment = {
        name: value for name, value in os.environ.items() if name not in ("DVC_ROOT", "MLFLOW_TRACKING_URI")
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.tracking.store"],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(HERE)},
        stderr=subprocess.PIPE,
        text=True,
    )
    with (
        tracking_store.store_lock(f"sqlite:///{tmp_path}/mlflow.db", "open"),
        pytest.raises(subprocess.TimeoutExpired),
    ):
        process.wait(10)
    assert not (tmp_path / "mlflow.db").exists()
    assert 0 == process.wait(60), process.stderr.read()
    assert not half_migrated(tmp_path / "mlflow.db")
    assert not (tmp_path / ".millrace/status.json").exists()


def test_lock_folder_of_another_user_is_not_trusted(tmp_path, monkeypatch):
    """A lock folder that others may write to is refused."""
    monkeypatch.setattr(tracking_store.tempfile, "gettempdir", lambda: str(tmp_path))
    assert 0o700 == tracking_store.private_dir().stat().st_mode & 0o777
    tracking_store.private_dir().chmod(0o777)
    with pytest.raises(NotPermitted, match="not a private folder"):
        tracking_store.private_dir()


def test_lock_is_held_by_one_at_a_time(tmp_path):
    """The second holder of a store's lock is told to come back."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with tracking_store.store_lock(uri, "record"), pytest.raises(Busy, match="Another process has held"):
        with tracking_store.store_lock(uri, "record", timeout_seconds=0.1):
            pass


def test_runs_of_dead_processes_are_closed_and_those_of_the_living_are_not(project):
    """A run whose process was killed does not stay RUNNING for ever; a run that is fed goes on."""
    store = open_store(project, "digits")
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    dead = store.client.create_run(store.experiment_id, tags=tracking_runs.owner_tags(child.pid))
    child.kill()
    child.wait()
    alive = store.client.create_run(store.experiment_id, tags=tracking_runs.owner_tags(os.getpid()))
    reused = {**tracking_runs.owner_tags(os.getpid()), tracking_runs.STARTED: "another boot:17"}
    other = store.client.create_run(store.experiment_id, tags=reused)
    foreign = store.client.create_run(
        store.experiment_id, tags={**tracking_runs.owner_tags(child.pid), tracking_runs.HOST: "another-host"}
    )
    assert {dead.info.run_id, other.info.run_id} == set(tracking_runs.sweep(store))
    status = {run.info.run_id: run.info.status for run in all_runs(store)}
    assert ["KILLED", "KILLED", "RUNNING", "RUNNING"] == [
        status[run.info.run_id] for run in (dead, other, alive, foreign)
    ]


@pytest.mark.long
def test_runs_of_a_record_that_was_killed_are_closed_by_the_next(project):
    """kill -9 in register, then edited parameters: the runs of the abandoned state do not stay RUNNING."""
    code = textwrap.dedent("""
        import os, signal
        from pathlib import Path
        from pipeline.provenance import state
        from pipeline.tracking import record, runs
        from pipeline.tracking.store import open_store
        runs.complete = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        record.record_pipeline(open_store(Path.cwd(), "digits"), state.read_state(["cnn", "linear"]))
    """)
    killed = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(HERE)})
    assert -9 == killed.returncode
    store = open_store(project, "digits")
    left = [run.info.run_id for run in all_runs(store)]
    assert {"RUNNING"} == {run.info.status for run in all_runs(store)}
    assert set(left) == set(tracking_runs.sweep(store))
    assert {"KILLED"} == {run.info.status for run in all_runs(store)}


def test_names_of_metrics_make_sections():
    """Keras' names become `train/` and `val/`, also for the reconstruction of autoencoders."""
    names = ["loss", "val_loss", "learning_rate", "pretrain_loss", "pretrain_val_loss"]
    assert [
        "train/loss",
        "val/loss",
        "train/learning_rate",
        "train/pretrain_loss",
        "val/pretrain_loss",
    ] == list(map(metric_name, names))


def test_what_counted_the_argmax_is_called_so():
    """Of a model that is used at a threshold; a loss counts no answers."""
    metrics = {"val_accuracy": 0.9, "val_loss": 0.3, "parameters": 5}
    assert {"val/best_accuracy": 0.9, "val/best_loss": 0.3} == record.best_metrics(metrics)
    assert {"val/best_argmax_accuracy": 0.9, "val/best_loss": 0.3} == record.best_metrics(
        metrics, ("accuracy",)
    )


def test_histories_are_the_same_only_if_steps_and_values_are():
    """A live log is a witness of a model only if all its epochs have the model's values."""
    epochs = list(history_epochs({"epochs": HISTORY}))
    assert same_values(epochs, list(history_epochs(HISTORY)))
    solved = {"epochs": [], "solved": {"penalty": 0.1}}
    assert [] == list(history_epochs(solved))  # what a solver says is no epoch
    assert not same_values(epochs, epochs[:2])
    assert not same_values(epochs, [*epochs[:2], Epoch(3, {**epochs[2].metrics, "val/loss": 0.51})])
    assert not same_values([], epochs)
    assert same_values([], [])  # a baseline that is not trained


def test_fingerprint_follows_results_and_params_but_not_the_registration(project):
    """Equal states have equal fingerprints; a removed candidate and register itself do not count."""
    before = provenance_state.read_state(["cnn", "linear"]).fingerprint
    text = (project / "dvc.lock").read_text()
    (project / "dvc.lock").write_text(text.replace("9" * 32, "8" * 32))
    assert before == provenance_state.read_state(["cnn", "linear"]).fingerprint
    write_lock(project, ("cnn", "linear"), change="x")
    assert before != provenance_state.read_state(["cnn", "linear"]).fingerprint


def test_state_without_git_and_commits_says_none(project):
    """A folder that is no repository gets tags that say so."""
    tags = provenance_state.read_state(["cnn"]).tags
    assert ("none", "none") == (tags["git.commit"], tags["git.dirty"])
    assert 64 == len(tags["requirements.lock.sha256"])


def test_digest_of_the_stages_is_that_of_the_dvc_lock_that_gets_saved(project):
    """DVC adds register to dvc.lock after the tags are written: the tag can still be found from the file."""
    saved = (project / "dvc.lock").read_text()
    lock = json.loads(saved)
    del lock["stages"]["register"]
    (project / "dvc.lock").write_text(json.dumps(lock, indent=4))
    tag = provenance_state.read_state(["cnn", "linear"]).tags["dvc.stages.sha256"]
    (project / "dvc.lock").write_text(saved)
    assert tag == provenance_state.read_state(["cnn", "linear"]).tags["dvc.stages.sha256"]
    text = json.dumps(lock["stages"], sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == tag


def test_stages_that_dvc_restored_get_their_runs(project):
    """Files without any live log (restored from the run cache) become a parent, children and grandchildren."""
    store = open_store(project, "digits")
    recorded = record.record_pipeline(store, provenance_state.read_state(["cnn", "linear"]))
    names = sorted(run.info.run_name for run in all_runs(store))
    parent_name = store.client.get_run(recorded.parent_run_id).info.run_name
    assert sorted(["cnn", "cnn-trial-0", "cnn-trial-1", "linear", parent_name]) == names
    run = store.client.get_run(recorded.candidate_run_ids["cnn"])
    assert "cnn".ljust(32, "0") + ".dir" == run.data.tags["dvc.out.md5"]
    assert recorded.parent_run_id == run.data.tags["mlflow.parentRunId"]
    assert "0.01" == run.data.params["training.learning_rate"]
    assert {"FINISHED"} == {run.info.status for run in all_runs(store)}
    values = [metric.value for metric in store.client.get_metric_history(run.info.run_id, "val/accuracy")]
    assert [0.6, 0.75, 0.8125] == values


def test_parent_shows_test_metrics_pictures_reports_and_data_sets(project):
    """The parent's page has the numbers, the pictures, the report and the data sets with DVC's md5."""
    store = open_store(project, "digits")
    recorded = record.record_pipeline(store, provenance_state.read_state(["cnn", "linear"]))
    parent = store.client.get_run(recorded.parent_run_id)
    expected = {
        "test/accuracy": 0.9,
        "test/log_loss": 0.4,
        "test/linear_accuracy": 0.7,
        "val/accuracy": 0.8125,
    }
    assert expected == parent.data.metrics
    assert ["pictures/evaluate/confusion.png", "reports/validate/report.html"] == [
        item.path
        for folder in ("pictures/evaluate", "reports/validate")
        for item in store.client.list_artifacts(recorded.parent_run_id, folder)
    ]
    data_sets = sorted((item.dataset.name, item.dataset.digest) for item in parent.inputs.dataset_inputs)
    assert [(f"digits-{split}", "3" * 32) for split in ("test", "train", "val")] == data_sets


def test_recording_again_changes_nothing(project):
    """A second reconciliation leaves every row of the database as it was."""
    write_live_log(project, "linear", "live-1")
    store = open_store(project, "digits")
    state = provenance_state.read_state(["cnn", "linear"])
    first = record.record_pipeline(store, state)
    before = snapshot(store)
    assert first == record.record_pipeline(store, state)
    assert before == snapshot(store)


@pytest.mark.long
@pytest.mark.parametrize("calls", [3, 8, 13, 19, 26])
def test_recording_killed_at_any_call_ends_in_the_same_record(project, monkeypatch, calls):
    """A reconciliation that dies after some calls is continued: the same runs and metrics, none doubled."""
    write_live_log(project, "linear", "live-1")
    store = open_store(project, "digits")
    state = provenance_state.read_state(["cnn", "linear"])
    left = [calls]

    class Killed(BaseException):
        """The process dies."""

    class Failing:
        def __getattr__(self, name):
            method = getattr(store.client, name)

            def call(*arguments, **keywords):
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
                return method(*arguments, **keywords)

            return call

    with pytest.raises(Killed):
        record.record_pipeline(
            type(store)(Failing(), store.uri, store.experiment, store.experiment_id), state
        )
    recorded = record.record_pipeline(store, state)
    assert 5 == len(all_runs(store))
    for run_id in recorded.candidate_run_ids.values():
        assert 3 == len(store.client.get_metric_history(run_id, "val/loss"))


def test_live_run_is_taken_over_with_its_time_stamps(project):
    """The run that showed the training live becomes the candidate's run; what it missed is filled in, once."""
    write_live_log(project, "linear", "live-1")
    store = open_store(project, "digits")
    live = runs.find_or_create_run(store, {"millrace.live_id": "live-1"}, "linear", {}, 1_700_000_000_000)
    first = next(iter(provenance_state.read_state(["linear"]).candidates[0].live.epochs))
    runs.send_epochs(store, live, [first])
    recorded = record.record_pipeline(store, provenance_state.read_state(["cnn", "linear"]))
    assert live.info.run_id == recorded.candidate_run_ids["linear"]
    history = store.client.get_metric_history(live.info.run_id, "val/loss")
    assert [(1_700_000_002_500, 0.8), (1_700_000_005_000, 0.6), (1_700_000_007_500, 0.5)] == [
        (metric.timestamp, metric.value) for metric in history
    ]
    assert 1_700_000_009_000 == store.client.get_run(live.info.run_id).info.end_time


def test_live_log_of_another_training_is_no_witness(project):
    """A log whose values differ from the model's history (an older training) lends no time stamps."""
    path = write_live_log(project, "linear", "live-1")
    path.write_text(path.read_text().replace("0.8125", "0.7"))
    store = open_store(project, "digits")
    record.record_pipeline(store, provenance_state.read_state(["cnn", "linear"]))
    assert not [run for run in all_runs(store) if "millrace.live_id" in run.data.tags]


def test_a_new_state_gets_a_new_parent(project):
    """Another dvc.lock is another pipeline state, with runs of its own."""
    store = open_store(project, "digits")
    first = record.record_pipeline(store, provenance_state.read_state(["cnn", "linear"]))
    write_lock(project, ("cnn", "linear"), change="x")
    second = record.record_pipeline(store, provenance_state.read_state(["cnn", "linear"]))
    assert first.parent_run_id != second.parent_run_id
    assert 10 == len(all_runs(store))


def test_two_racing_reconcilers_leave_one_parent(project):
    """Two machines that record the same state at once (no common lock) end with one family of runs."""
    store = open_store(project, "digits")
    state = provenance_state.read_state(["cnn", "linear"])
    threads = [threading.Thread(target=record.record_pipeline, args=(store, state)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record.record_pipeline(store, state)
    parents = [run for run in all_runs(store) if run.data.tags.get("millrace.kind") == "pipeline"]
    assert 1 == len(parents)
    assert 5 == len(all_runs(store))


def test_younger_parent_of_another_machine_is_given_up(project):
    """When an older parent of the same state appears, ours and its children go and the older is filled."""
    store = open_store(project, "digits")
    state = provenance_state.read_state(["cnn", "linear"])
    mine = record.record_pipeline(store, state)
    tags = {"millrace.fingerprint": state.fingerprint, "millrace.kind": "pipeline"}
    older = store.client.create_run(store.experiment_id, start_time=1000, tags=tags)
    again = record.record_pipeline(store, state)
    assert older.info.run_id == again.parent_run_id != mine.parent_run_id


def test_orphans_of_a_machine_that_gave_up_half_way_are_removed(project):
    """A younger parent of the same state, left with a child by a machine that died, goes when anybody records."""
    store = open_store(project, "digits")
    state = provenance_state.read_state(["cnn", "linear"])
    record.record_pipeline(store, state)
    tags = {"millrace.fingerprint": state.fingerprint, "millrace.kind": "pipeline"}
    younger = store.client.create_run(store.experiment_id, start_time=4102444800000, tags=tags)
    store.client.create_run(store.experiment_id, tags={"mlflow.parentRunId": younger.info.run_id})
    assert 7 == len(all_runs(store))
    record.record_pipeline(store, state)
    assert 5 == len(all_runs(store))


def test_the_same_batch_twice_makes_no_duplicates(project):
    """Sending epochs again under the same time stamps adds nothing, which is what every replay rests on."""
    store = open_store(project, "digits")
    run = store.client.create_run(store.experiment_id)
    epochs = [Epoch(step, {"val/loss": 1 / step}, 1000 * step) for step in (1, 2, 3)]
    runs.send_epochs(store, run, epochs)
    runs.send_epochs(store, run, epochs)
    assert 3 == len(store.client.get_metric_history(run.info.run_id, "val/loss"))


def test_long_histories_are_sent_in_batches_that_mlflow_takes(project):
    """More than 1000 values go in several calls."""
    store = open_store(project, "digits")
    run = store.client.create_run(store.experiment_id)
    runs.send_epochs(
        store, run, [Epoch(step, {"val/loss": 0.1, "train/loss": 0.2}, step) for step in range(1, 702)]
    )
    assert 701 == len(store.client.get_metric_history(run.info.run_id, "train/loss"))
