"""A model that was trained is judged, whatever came in between; one that was judged is left alone."""

import shutil

import pytest

from pipeline.paths import tracking_uri
from pipeline.retraining import story
from pipeline.retraining.places import RETRAIN_DIR
from pipeline.retraining.work import Wishes
from pipeline.runtime import UserError
from tests.retraining.fake_project import FakeChildren, failing, git, make_project, settings

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
    return story.retrain(children, settings(), Wishes())


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
    monkeypatch.setattr("pipeline.retraining.work.examined", lambda *_: few)
    children.fail, children.rows = {}, 101
    results = git(children.project, "rev-parse", "retrain/main")
    assert fired(retrain(children)) == ["not_judged"]
    assert git(children.project, "rev-parse", "retrain/main") == results


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


@pytest.mark.parametrize("lost", ["the registry", "the folder of retrains", "the registry moved"])
def test_a_lost_registry_gets_its_champion_back(children, monkeypatch, lost):
    """Whoever deletes it, or names another one, finds the committed results in it the next morning."""
    retrain(children)
    if lost == "the registry":
        (children.project / "mlflow.db").unlink()
    elif lost == "the folder of retrains":
        shutil.rmtree(children.project / RETRAIN_DIR)
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
        assert tracking_uri(children.project).endswith("other.db")
    assert fired(retrain(children)) == ["not_judged"]
    assert retrain(children)["outcome"] == "nothing_to_do"
