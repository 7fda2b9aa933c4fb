"""`millrace retrain` and `millrace history` as typed."""

import json
import subprocess
import sys
import threading
import time

import pytest

from pipeline import cli
from pipeline.retraining import journal
from pipeline.retraining.triggers import write_publish
from pipeline.runtime.processes import acquire_lock
from tests.helpers import load
from tests.helpers.fake_project import HERE, make_project
from tests.retraining.test_journal_history import ENTRY


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A committed project; the working directory."""
    folder = make_project(tmp_path / "project")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return folder


def millrace(*arguments):
    """Run a command and return its exit code."""
    try:
        cli.main(arguments)
    except SystemExit as error:
        return error.code
    return 0


def test_a_second_retrain_is_sent_away_at_once(project, capsys):
    """Exit code 75, and nothing is written to the history: this one never began."""
    lock = acquire_lock("retrain")
    started = time.monotonic()
    assert millrace("retrain") == 75
    assert time.monotonic() - started < load.seconds(2)
    assert "already running" in capsys.readouterr().err
    assert not (project / ".millrace/retrain/history.jsonl").exists()
    lock.close()


def test_a_second_retrain_may_wait(project, monkeypatch):
    """It goes on as soon as the first one ends."""
    lock = acquire_lock("retrain")
    threading.Timer(1.0, lock.close).start()
    entry = ENTRY | {"outcome": "nothing_to_do", "reasons": ["no."]}
    monkeypatch.setattr("pipeline.retraining.retrain.retrain", lambda *_: entry)
    assert millrace("retrain", "--wait", "30") == 0


def test_a_refusal_of_the_gate_is_exit_code_3(project, monkeypatch, capsys):
    """With the version and the reasons."""
    monkeypatch.setattr("pipeline.retraining.retrain.retrain", lambda *_: ENTRY | {"outcome": "refused"})
    assert millrace("retrain") == 3
    assert "pictures version 4 is not the champion" in capsys.readouterr().err


def test_a_dry_run_says_where_it_would_push_and_does_nothing(project, monkeypatch, capsys):
    """`publish: none` in the retrain.yaml that comes with the project; no tree is made, no retrain begins."""
    monkeypatch.setattr("pipeline.retraining.retrain.retrain", lambda *_: pytest.fail("it began"))
    write_publish("none")
    assert millrace("retrain", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "It would follow main" in said
    assert "fetch and push nothing (publish: none in retrain.yaml)" in said
    assert not (project / ".millrace/retrain/tree").exists()


def test_the_last_lines_say_what_was_published(project, monkeypatch, capsys):
    """Also that nothing was."""
    told = {"pushed": "origin/retrain/main", "data_pushed": "no DVC remote", "commit": "c" * 40}
    monkeypatch.setattr(
        "pipeline.retraining.retrain.retrain", lambda *_: ENTRY | told | {"outcome": "promoted"}
    )
    assert millrace("retrain") == 0
    assert f"Results: {'c' * 10}; git: origin/retrain/main; data: no DVC remote." in capsys.readouterr().out


def test_settings_that_cannot_be_used_are_exit_code_78(project):
    """Before anything else."""
    (project / "retrain.yaml").write_text("branch: 7\n")
    assert millrace("retrain") == 78


def test_the_history_as_a_table_and_as_lines(project, capsys):
    """The last ones, all facts as JSON; an unfinished retrain is pointed out."""
    for number in range(3):
        journal.add(ENTRY | {"run": str(number)})
    (project / ".millrace/retrain/journal.jsonl").write_text('{"run": "3", "event": "begin", "at": "x"}\n')
    assert millrace("history") == 0
    shown = capsys.readouterr().out
    assert shown.count("became champion") == 3
    assert "retrain of 3 is not finished" in shown
    assert millrace("history", "--json", "--limit", "2") == 0
    assert [json.loads(line)["run"] for line in capsys.readouterr().out.splitlines()] == ["1", "2"]
    assert millrace("history", "--limit", "-1") == 64


def test_a_refresh_that_finds_nothing_new_needs_no_pandas():
    """What counts rows is imported for every kind of source; pyarrow would bring pandas for its first array."""
    code = "import sys; import pipeline.commands.refresh, pipeline.fetching.facts; print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "False" == done.stdout.strip()


def test_a_quiet_night_needs_none_of_the_heavy_libraries():
    """Importing all of a retrain but the comparison of rows, which other data alone asks for."""
    code = "import sys, pipeline.commands.retrain, pipeline.retraining.retrain; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, check=True)
    heavy = {"tensorflow", "keras", "mlflow", "great_expectations", "pandas", "scipy"}
    assert not heavy & set(done.stdout.split())
