"""A model that was trained is judged, whatever came in between; one that was judged is left alone."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from pipeline.provenance.origin import JUDGED
from pipeline.retraining import retrain as retraining_retrain
from pipeline.retraining.retrain import Wishes
from pipeline.retraining.triggers import _is_registered, awaits_decision
from pipeline.runtime.errors import ProgramFailed, ServiceDown, UserError
from pipeline.runtime.paths import RETRAIN_DIR, sqlite_uri, tracking_uri
from tests.helpers.empty_store import put_store
from tests.helpers.fake_project import FakeChildren, failing, git, make_project, settings
from tests.helpers.registered import store_in

BRINGS_BACK = ["refresh", "dvc checkout", "evaluate", "register"]


@pytest.fixture
def children(tmp_path, monkeypatch):
    """A committed project with the results of a first night."""
    folder = make_project(tmp_path / "project")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MILLRACE_HOME", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return FakeChildren(folder)


def retrain(children):
    """Run one call of `millrace retrain`; return its entry and what it ran."""
    children.calls = []
    return retraining_retrain.retrain(children, settings(), Wishes())


def fired(entry):
    """Return the names of the triggers that fired."""
    return [item["name"] for item in entry["triggers"] if item["fired"]]


def test_a_model_that_was_never_judged_is_judged_the_next_night(children):
    """`register` fails with a code that ends the retrain: the next night goes to it, with the same results."""
    children.fail = {"register": failing(70, "a bug")}
    with pytest.raises(UserError, match="a bug"):
        retrain(children)
    results = git(children.project, "rev-parse", "retrain/main")
    children.fail = {}
    entry = retrain(children)
    assert (entry["outcome"], fired(entry)) == ("promoted", ["not_judged"])
    assert children.calls == BRINGS_BACK
    assert git(children.project, "rev-parse", "retrain/main") == results
    assert retrain(children)["outcome"] == "nothing_to_do"


def test_the_results_are_judged_and_not_a_few_rows_that_came_later(children, monkeypatch):
    """Too few new rows to train on came with the night: the committed results are judged as they are."""
    children.fail = {"register": failing(70, "a bug")}
    with pytest.raises(UserError):
        retrain(children)
    few = {"new_rows": 0, "lost_rows": 0, "lost_share": 0.0, "verdict": "none", "skipped": ["few"]}
    monkeypatch.setattr("pipeline.retraining.retrain.compare_with_results", lambda *_: few)
    children.fail, children.rows = {}, 101
    results = git(children.project, "rev-parse", "retrain/main")
    entry = retrain(children)
    assert fired(entry) == ["not_judged"]
    assert (entry["rows_before"], entry["rows_after"]) == (100, 100)
    assert git(children.project, "rev-parse", "retrain/main") == results


@pytest.mark.slow
def test_a_fresh_clone_makes_its_champion_of_the_committed_results(children, tmp_path, monkeypatch):
    """It has results and no registry: they are registered once, and then there is nothing to do."""
    retrain(children)
    git(children.project, "merge", "-q", "retrain/main")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(children.project), str(clone))
    monkeypatch.chdir(clone)
    fresh = FakeChildren(clone)
    assert fired(retrain(fresh)) == ["not_judged"]
    assert fresh.calls == BRINGS_BACK
    assert retrain(fresh)["outcome"] == "nothing_to_do"


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["deleted", "emptied", "another"])
def test_a_lost_registry_gets_its_champion_back(children, monkeypatch, lost):
    """Whoever deletes or empties it, or names another one, finds the committed results in it the next morning."""
    retrain(children)
    database = children.project / "mlflow.db"
    if lost == "deleted":
        database.unlink()
    elif lost == "emptied":
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("delete from model_version_tags")
            connection.commit()
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
        assert tracking_uri(children.project).endswith("other.db")
    assert fired(retrain(children)) == ["not_judged"]
    assert retrain(children)["outcome"] == "nothing_to_do"


def test_a_lost_folder_of_retrains_loses_no_judgement(children):
    """The registry says what was judged, not a note beside the history."""
    retrain(children)
    git(children.project, "worktree", "remove", "--force", str(children.tree))
    shutil.rmtree(children.project / RETRAIN_DIR, ignore_errors=True)
    assert retrain(children)["outcome"] == "nothing_to_do"


def test_a_committed_lock_that_git_cannot_read_is_not_taken_for_none(children):
    """Its object is gone from the repository: nobody can say what was judged."""
    retrain(children)
    digest = git(children.tree, "rev-parse", "HEAD:dvc.lock")
    (children.project / ".git/objects" / digest[:2] / digest[2:]).unlink()
    with pytest.raises(ProgramFailed, match=r"git show HEAD:\./dvc\.lock"):
        awaits_decision(children)


def test_a_registry_that_does_not_answer_is_asked_again_tomorrow(children, monkeypatch, capsys):
    """Without new rows there is nothing to do tonight: that nobody could be asked is said, and stops nothing."""
    retrain(children)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    entry = retrain(children)
    assert entry["outcome"] == "nothing_to_do"
    (said,) = [item["figures"] for item in entry["triggers"] if item["name"] == "not_judged"]
    assert "is not known: The MLflow store does not answer" in said
    assert said in capsys.readouterr().out


@pytest.mark.timeout(240)
def test_the_registry_of_mlflow_is_read_as_it_is(tmp_path):
    """The table that is read without MLflow is the one that MLflow writes."""
    put_store(tmp_path)
    store = store_in(tmp_path)
    store.client.create_registered_model("digits")
    store.client.create_model_version("digits", str(tmp_path), tags={JUDGED: "abc"})
    assert _is_registered(store.uri, "digits", "abc")
    assert not _is_registered(store.uri, "digits", "xyz")
    assert not _is_registered(store.uri, "digit", "abc")


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%20b"])
def test_a_folder_with_any_name_is_read(tmp_path, name):
    """Such characters mean something in a URI."""
    (tmp_path / name).mkdir()
    path = tmp_path / name / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table model_version_tags (name text, version int, key text, value text)")
        connection.execute("insert into model_version_tags values ('m', 1, ?, 'abc')", (JUDGED,))
        connection.commit()
    assert _is_registered(sqlite_uri(path), "m", "abc")


def test_a_database_that_cannot_be_read_is_a_registry_that_does_not_answer(tmp_path):
    """Nobody concludes from it that nothing was judged; an empty one says so."""
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"no database, though of the right length" * 200)
    with pytest.raises(ServiceDown, match="cannot be read"):
        _is_registered(f"sqlite:///{path}", "m", "abc")
    path.write_bytes(b"")
    assert not _is_registered(f"sqlite:///{path}", "m", "abc")
