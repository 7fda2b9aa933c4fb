"""`millrace retrain` on a real project with real dvc, git, HTTP and MLflow: one night after another."""

import json
import os
import signal
import sqlite3
import subprocess
import time

import pytest

from pipeline.fetching.source import read_source
from tests.e2e.clones import environment, processes_of
from tests.e2e.growing_source import GrowingSource, command, following, git, history, millrace, pictures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
QUICK_SECONDS = 60.0
"""What a night without work may take on a busy machine; a few seconds on a quiet one."""


@pytest.fixture(scope="module")
def source():
    """A growing source with 240 pictures."""
    made = GrowingSource()
    made.files = pictures(0, 240)
    yield made
    made.close()


@pytest.fixture(scope="module")
def project(tmp_path_factory, source):
    """A project that follows it, with a bare git repository as remote; the first night is over."""
    base = tmp_path_factory.mktemp("nights")
    folder = following(base / "project", source)
    subprocess.run(["git", "init", "-q", "--bare", str(base / "remote")], check=True)
    settings = folder / "retrain.yaml"
    settings.write_text(settings.read_text().replace("publish: none", "publish: push"))
    git(folder, "commit", "-qam", "publish")
    git(folder, "remote", "add", "origin", str(base / "remote"))
    git(folder, "push", "-q", "origin", "HEAD")
    done = millrace(folder, "retrain")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def last(folder):
    """Return the newest entry of the history."""
    return history(folder)[-1]


def champion(folder):
    """Return the version that is the champion."""
    with sqlite3.connect(folder / "mlflow.db") as store:
        return dict(store.execute("select alias, version from registered_model_aliases").fetchall())[
            "champion"
        ]


def start(folder, *arguments, **extra):
    """Start a retrain and do not wait for it; the journal of the last one, which has ended, must not be taken for its."""
    (folder / ".millrace/retrain/journal.jsonl").unlink(missing_ok=True)
    log = (folder / ".millrace/night.log").open("ab")
    return subprocess.Popen(
        command("retrain", *arguments),
        cwd=folder,
        env=environment(PYTHONPATH=str(folder), **extra),
        stdout=log,
        stderr=log,
    )


def until_step(folder, step, seconds=600):
    """Wait until the journal says that a step is finished."""
    journal = folder / ".millrace/retrain/journal.jsonl"
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        lines = journal.read_text().splitlines() if journal.exists() else []
        if any(json.loads(line).get("step") == step for line in lines if line.endswith("}")):
            return
        time.sleep(0.1)
    raise AssertionError(f"{step} was not reached")


def test_the_first_night_makes_a_champion_and_touches_no_file_of_people(project):
    """The record is the project's; the results are committed and pushed to a branch of their own."""
    assert last(project)["outcome"] == "promoted"
    assert champion(project) == 1
    assert git(project, "status", "--porcelain") == ""
    branch = git(project, "branch", "--show-current")
    assert git(project, "rev-parse", f"origin/retrain/{branch}") == last(project)["commit"]
    assert not (project / ".millrace/retrain/tree/mlflow.db").exists()


def test_nothing_new_takes_seconds_and_no_tensorflow(project):
    """Exit code 0, and none of the heavy libraries is imported on the way."""
    started = time.monotonic()
    done = millrace(project, "retrain", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < QUICK_SECONDS
    assert last(project)["outcome"] == "nothing_to_do"
    imported = {
        line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "import time:" in line
    }
    assert "pipeline.retraining.retrain" in imported
    assert not {"tensorflow", "keras", "mlflow", "great_expectations", "pandas"} & imported


@pytest.mark.parametrize("mode", ["down", "truncated"])
def test_a_source_that_is_down_is_exit_code_69(project, source, mode):
    """The champion stays, and how old everything is stands in the message and in the history."""
    before = champion(project)
    source.mode = mode
    try:
        done = millrace(project, "retrain")
    finally:
        source.mode = "good"
    assert done.returncode == 69, done.stderr
    assert "the newest data is of" in done.stderr
    assert last(project)["outcome"] == "source_down"
    assert champion(project) == before


def test_a_login_page_is_exit_code_65(project, source):
    """A web page is no data, whatever its status says."""
    source.mode = "login"
    try:
        done = millrace(project, "retrain")
    finally:
        source.mode = "good"
    assert done.returncode == 65, done.stderr


def test_drifted_pictures_are_refused(project, source):
    """60 grey levels brighter: exit code 65, each figure named, nothing trained; and gone again the next night."""
    before = dict(source.files)
    source.files |= pictures(5000, 60, brightness=60.0)
    done = millrace(project, "retrain")
    source.files = before
    assert done.returncode == 65, done.stdout + done.stderr
    assert "mean" in done.stderr
    assert last(project)["drift"]["verdict"] == "refuse"
    assert millrace(project, "retrain").returncode == 0
    assert last(project)["outcome"] == "nothing_to_do"


def test_new_rows_killed_resumed_and_decided_once(project, source):
    """kill -9 in the middle of the training: no child survives, the next call trains on and decides once."""
    source.files |= pictures(240, 60)
    first = start(project)
    until_step(project, "look")
    time.sleep(20)
    second = millrace(project, "retrain")
    assert second.returncode == 75, second.stderr
    first.send_signal(signal.SIGKILL)
    first.wait()
    time.sleep(1)
    assert processes_of(project) == []
    done = millrace(project, "retrain")
    assert done.returncode in (0, 3), done.stdout + done.stderr
    assert "Going on with the retrain" in done.stdout
    entry = last(project)
    assert (entry["rows_before"], entry["rows_after"], entry["new_rows"]) == (240, 300, 60)
    assert entry["outcome"] in ("promoted", "refused")
    assert read_source(project / ".millrace/retrain/tree/data/source.json").count == 300
    assert read_source(project / "data/source.json").count == 240


def test_sigterm_stops_everything_and_the_next_call_goes_on(project, source):
    """Exit code 143, no child left, an entry that says paused."""
    source.files |= pictures(300, 60)
    first = start(project)
    until_step(project, "look")
    time.sleep(5)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 143
    assert processes_of(project) == []
    assert last(project)["outcome"] == "paused"
    done = millrace(project, "retrain", "--time-limit", "0.1")
    assert done.returncode == 75, done.stderr
    done = millrace(project, "retrain")
    assert done.returncode in (0, 3), done.stdout + done.stderr
    assert last(project)["rows_after"] == 360


def test_the_history_can_be_read(project):
    """As a table, as JSON lines, and as a page."""
    shown = millrace(project, "history", COLUMNS="200").stdout
    assert "became champion" in shown
    lines = millrace(project, "history", "--json", "--limit", "2").stdout.splitlines()
    assert [json.loads(line)["run"] for line in lines] == [entry["run"] for entry in history(project)[-2:]]
    assert os.path.getsize(project / ".millrace/retrain/history.html") > 2000


def test_the_remote_of_a_clone_hears_what_retrain_yaml_says_and_no_more(tmp_path):
    """As it comes, the refs of the bare remote stay what they were; with `publish: push` one branch is added."""
    source = GrowingSource()
    source.files = pictures(0, 240)
    remote, folder = tmp_path / "remote", tmp_path / "clone"
    subprocess.run(["git", "init", "-q", "--bare", str(remote)], check=True)
    people = following(tmp_path / "people", source)
    git(people, "push", "-q", str(remote), "HEAD:main", "HEAD:somebody/else")
    subprocess.run(["git", "clone", "-q", "-b", "main", str(remote), str(folder)], check=True)
    before, known = git(remote, "for-each-ref"), git(folder, "for-each-ref", "refs/remotes")
    done = millrace(folder, "retrain")
    assert done.returncode == 0, done.stdout + done.stderr
    assert last(folder)["outcome"] == "promoted"
    assert (before, known) == (git(remote, "for-each-ref"), git(folder, "for-each-ref", "refs/remotes"))
    # Not committed anywhere but here, and new rows, so that there is something to tell.
    settings = folder / "retrain.yaml"
    settings.write_text(settings.read_text().replace("publish: none", "publish: push"))
    git(folder, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qam", "publish")
    source.files |= pictures(240, 60)
    done = millrace(folder, "retrain")
    source.close()
    assert done.returncode in (0, 3), done.stdout + done.stderr
    after = git(remote, "for-each-ref")
    assert f"{last(folder)['commit']} commit\trefs/heads/retrain/main" in after.splitlines()
    assert before.splitlines() == [line for line in after.splitlines() if "retrain/main" not in line]
    assert "origin/retrain/main" in done.stdout
