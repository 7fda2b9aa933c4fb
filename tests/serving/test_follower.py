"""Which version answers is what the registry says, once its files check; what goes wrong is told."""

import json
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from pipeline.serving.app import Endpoints
from pipeline.serving.follower import Announcements, Follower
from pipeline.serving.guard import Limits
from pipeline.serving.model_folder import Named
from pipeline.serving.served import Followed, Served
from tests.helpers.served_models import DIGITS, write_model


@pytest.fixture
def heard(tmp_path):
    """Return endpoints served by version 1, a function that announces something to them, and the line of version 2."""
    first, second = (
        write_model(tmp_path / name, DIGITS, seed=seed) for seed, name in enumerate(["one", "two"])
    )
    served = Served(Named("digits", "1", first, "a"), {})
    endpoints = Endpoints(served, Limits(), Followed("digits@champion"))
    line = {"name": "digits", "version": "2", "folder": str(second), "sha256": "b"}
    return SimpleNamespace(endpoints=endpoints, hear=Follower(endpoints).hear, line=line, folder=second)


def test_another_version_takes_the_place(heard):
    """Once announced, with its own digest; announced again nothing is loaded."""
    heard.hear(heard.line)
    served = heard.endpoints.served
    assert "2" == served.named.version
    heard.hear(heard.line)
    assert served is heard.endpoints.served


def test_its_end_waits_for_a_version_that_is_being_loaded(heard, monkeypatch):
    """Python aborts the process (SIGABRT) where it ends while a thread loads a model."""
    follower, begun, loaded = Follower(heard.endpoints), threading.Event(), threading.Event()

    def load(_line):
        begun.set()
        time.sleep(0.3)
        loaded.set()

    monkeypatch.setattr(follower, "hear", load)
    told = "import time; print('{}', flush=True); time.sleep(60)"
    end = follower.start(Announcements([sys.executable, "-c", told]))
    assert begun.wait(20)
    end()
    assert loaded.is_set()


def test_a_version_that_does_not_check_is_refused_and_told(heard, capsys):
    """The one before stays; the reply to a client names no file, the log does."""
    (heard.folder / "model.onnx").write_bytes(b"nonsense")
    heard.hear(heard.line)
    assert "1" == heard.endpoints.served.named.version
    refused = heard.endpoints.followed.refused
    assert "2" == refused["version"]
    assert str(heard.folder) not in json.dumps(refused)
    assert "version 2 is refused, version 1 stays" in capsys.readouterr().err
    heard.hear({"name": "digits", "version": "1", "folder": "", "sha256": "a"})
    assert {} == heard.endpoints.followed.refused


def test_a_version_that_cannot_be_fetched_is_told(heard, capsys):
    """The registry answers, the files do not arrive; when they do it is forgotten."""
    heard.hear({"problem": "differ or are gone", "version": "2"})
    heard.hear({"problem": "differ or are gone", "version": "2"})
    assert ("2", "") == (heard.endpoints.followed.refused["version"], heard.endpoints.followed.problem)
    assert 1 == capsys.readouterr().err.count("differ or are gone")
    heard.hear(heard.line)
    assert {} == heard.endpoints.followed.refused


def test_a_registry_that_is_away_changes_nothing(heard):
    """It is told until it answers again."""
    heard.hear({"problem": "no route to 10.0.0.1"})
    assert "cannot be asked" in heard.endpoints.followed.problem
    assert "10.0.0.1" not in heard.endpoints.followed.problem
    heard.hear({"heard": True})
    assert ("", "1") == (heard.endpoints.followed.problem, heard.endpoints.served.named.version)


def test_a_child_that_has_no_version_ends_the_start_with_its_code():
    """It has said why."""
    with pytest.raises(SystemExit) as ended:
        Announcements([sys.executable, "-c", "raise SystemExit(66)"]).first()
    assert 66 == ended.value.code


def test_a_child_that_dies_is_started_again(monkeypatch):
    """Nothing is lost but the time between."""
    monkeypatch.setattr("pipeline.serving.follower.RESTART_SECONDS", 0.01)
    lines = []
    announcements = Announcements([sys.executable, "-c", "print('{\"heard\": true}')"])

    def hear(line):
        lines.append(line)
        if len(lines) == 4:
            announcements.close()

    announcements.listen(hear)
    assert [{"heard": True}, "ended with 0", {"heard": True}, "ended with 0"] == [
        "ended with 0" if "ended with 0" in line.get("problem", "") else line for line in lines
    ]


def test_a_child_that_was_to_answer_once_is_not_started_again(monkeypatch, tmp_path):
    """A version by its number: said, ended, and put away; one that died before it could say so is started again."""
    monkeypatch.setattr("pipeline.serving.follower.RESTART_SECONDS", 0.01)
    code = (
        "import os, pathlib, signal, sys; seen = pathlib.Path(sys.argv[1]);"
        "seen.exists() or (seen.touch(), os.kill(os.getpid(), signal.SIGKILL)); print('{\"heard\": true}')"
    )
    lines = []
    announcements = Announcements([sys.executable, "-c", code, str(tmp_path / "seen")])
    announcements.listen(lines.append, lasting=False)
    assert ["problem", "heard"] == [name for line in lines for name in line]
    lines = []
    announcements = Announcements([sys.executable, "-c", "print('{\"heard\": true}')"])
    announcements.listen(lines.append, lasting=False)
    assert [{"heard": True}] == lines
    assert 0 == announcements._child.returncode
