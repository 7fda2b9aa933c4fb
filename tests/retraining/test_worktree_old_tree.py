"""A retrain that cannot go on is not gone on with for ever: people move on, steps fail twice, somebody says so."""

import subprocess

import pytest

from pipeline.retraining import journal
from pipeline.retraining import retrain as retraining_retrain
from pipeline.retraining.retrain import Wishes
from pipeline.runtime.errors import Terminated, UserError
from pipeline.runtime.files import read_lines
from pipeline.runtime.paths import HISTORY, JOURNAL
from tests.helpers.fake_project import FakeChildren, failing, git, make_project, settings


@pytest.fixture
def children(tmp_path, monkeypatch):
    """What a retrain of a committed project runs."""
    folder = make_project(tmp_path / "project")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MILLRACE_HOME", raising=False)
    return FakeChildren(folder)


def retrain(children, **wishes):
    """Run one call of `millrace retrain`; `children.calls` tells what it ran."""
    children.calls = []
    return retraining_retrain.retrain(children, settings(), Wishes(**wishes))


def stopped_at(children, step, error):
    """Run a call that ends in an error at that step."""
    children.fail = {step: error}
    with pytest.raises(type(error)):
        retrain(children)
    children.fail = {}


def outcomes():
    """Return how each call ended, with its exit code."""
    return [(entry["outcome"], entry["exit_code"]) for entry in read_lines(HISTORY)]


@pytest.mark.slow
@pytest.mark.parametrize("error", [failing(74), failing(75), Terminated("SIGTERM")])
def test_a_paused_retrain_begins_anew_once_the_followed_branch_has_moved(children, error):
    """The code that could not train was mended and committed: the mended code trains, not the old tree."""
    stopped_at(children, "evaluate", error)
    (children.project / "pipeline/code.py").write_text("mended = True\n")
    git(children.project, "commit", "-qam", "mend")
    entry = retrain(children)
    assert entry["outcome"] == "promoted"
    assert children.calls == ["refresh", "evaluate", "register"]
    assert git(children.project, "show", "retrain/main:pipeline/code.py") == "mended = True"


@pytest.mark.slow
def test_a_mend_that_was_pushed_counts_as_well(children, tmp_path):
    """Nobody commits on the machine that retrains: the remote's branch has moved."""
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "remote")], check=True)
    git(children.project, "remote", "add", "origin", str(tmp_path / "remote"))
    git(children.project, "push", "-q", "origin", "main")
    stopped_at(children, "evaluate", failing(74))
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "-b", "main", str(tmp_path / "remote"), str(clone))
    (clone / "pipeline/code.py").write_text("mended = True\n")
    git(clone, "commit", "-qam", "mend")
    git(clone, "push", "-q")
    assert retrain(children)["outcome"] == "promoted"
    assert git(children.project, "show", "retrain/main:pipeline/code.py") == "mended = True"


def test_a_remote_that_is_down_does_not_keep_a_paused_retrain_from_going_on(children, tmp_path):
    """Whether people moved on is asked again later; what is left to do here may not need the remote."""
    stopped_at(children, "register", failing(74))
    git(children.project, "remote", "add", "origin", str(tmp_path / "gone"))
    assert retrain(children)["outcome"] == "promoted"
    assert children.calls == ["register"]


def test_results_that_were_committed_before_the_branch_moved_are_judged(children):
    """Beginning anew at the last step loses no model: what only register is missing for is registered."""
    stopped_at(children, "register", failing(74))
    (children.project / "README.md").write_text("about\n")
    git(children.project, "add", "-A")
    git(children.project, "commit", "-qm", "about")
    entry = retrain(children)
    assert entry["outcome"] == "promoted"
    assert [item["name"] for item in entry["triggers"] if item["fired"]] == ["not_judged"]


def test_the_same_step_that_fails_twice_with_the_same_code_ends_the_retrain(children):
    """The first time is a pause, the second the end of it, with its code; the next call begins anew."""
    stopped_at(children, "evaluate", failing(74))
    assert journal.unfinished(JOURNAL) is not None
    stopped_at(children, "evaluate", failing(74))
    assert journal.unfinished(JOURNAL) is None
    assert outcomes() == [("paused", 74), ("failed", 74)]
    assert retrain(children)["outcome"] == "promoted"
    assert children.calls[0] == "refresh"


@pytest.mark.slow
def test_failures_of_another_kind_in_between_do_not_end_it(children):
    """Twice in a row is meant."""
    for step, code in (("evaluate", 74), ("evaluate", 143), ("evaluate", 74), ("register", 74)):
        stopped_at(children, step, failing(code))
    assert [outcome for outcome, _ in outcomes()] == ["paused"] * 4


@pytest.mark.slow
@pytest.mark.parametrize("code", [69, 75])
def test_a_service_that_stays_down_is_waited_for(children, code):
    """However many nights: nothing of the model is lost meanwhile."""
    for _ in range(3):
        stopped_at(children, "register", failing(code))
    assert retrain(children)["outcome"] == "promoted"
    assert children.calls == ["register"]


def test_restart_drops_what_an_unfinished_retrain_has_done(children):
    """The source is read and everything judged anew."""
    stopped_at(children, "evaluate", Terminated("SIGTERM"))
    before = journal.unfinished(JOURNAL).run_id
    entry = retrain(children, restart=True)
    assert entry["run"] != before
    assert children.calls == ["refresh", "evaluate", "register"]


def test_restart_judges_results_that_were_committed(children):
    """Also those: a restart loses no model."""
    with pytest.raises(UserError):
        children.fail = {"register": failing(75)}
        retrain(children)
    children.fail = {}
    assert retrain(children, restart=True)["outcome"] == "promoted"
