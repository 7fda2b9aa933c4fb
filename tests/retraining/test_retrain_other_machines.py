"""Several machines retrain one repository: what the others pushed, judged or never heard of."""

import os
import subprocess
import time

import pytest
from msgspec.structs import replace

from pipeline.retraining import retrain as retraining_retrain
from pipeline.retraining.retrain import Wishes
from pipeline.runtime.errors import Busy, ServiceDown
from tests.helpers.fake_project import FakeChildren, examined_by_count, failing, git, make_project, settings

RESULTS = "retrain/main"


@pytest.fixture
def remote(tmp_path):
    """A bare repository with a project in it."""
    made = make_project(tmp_path / "made")
    subprocess.run(["git", "clone", "-q", "--bare", str(made), str(tmp_path / "remote")], check=True)
    return tmp_path / "remote"


@pytest.fixture
def machine(remote, tmp_path, monkeypatch):
    """Return what makes a machine: a clone, whose name is given, and what a retrain runs there."""
    monkeypatch.delenv("MILLRACE_HOME", raising=False)
    monkeypatch.setattr("pipeline.retraining.retrain.compare_with_results", examined_by_count)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'registry.db'}")

    def make(name, *options):
        folder = tmp_path / name
        subprocess.run(["git", "clone", "-q", *options, remote.as_uri(), str(folder)], check=True)
        return FakeChildren(folder)

    return make


@pytest.fixture
def retrain(monkeypatch):
    """Return what runs one call of `millrace retrain` on a machine."""

    def run(children, attempts=3):
        monkeypatch.chdir(children.project)
        children.calls = []
        return retraining_retrain.retrain(children, replace(settings(), push_attempts=attempts), Wishes())

    return run


def push_something(folder, name):
    """Push a commit to the branch of results from another clone, on top of what is there."""
    git(folder, "fetch", "-q")
    there = git(folder, "ls-remote", "origin", RESULTS)
    git(folder, "checkout", "-q", "-B", "other", f"origin/{RESULTS}" if there else "origin/main")
    (folder / f"{name}.txt").write_text("")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", name)
    git(folder, "push", "-q", "origin", f"other:{RESULTS}")


@pytest.mark.slow
@pytest.mark.parametrize("attempts", [1, 2])
def test_who_lost_every_race_of_a_night_begins_anew_the_next_night(machine, retrain, attempts):
    """Exit code 75, and the next call stands on what the others pushed instead of pushing the same again."""
    loser, other = machine("loser"), machine("other")
    numbers = iter(range(10))
    loser.meanwhile = lambda: push_something(other.project, f"night{next(numbers)}")
    with pytest.raises(Busy, match="each time"):
        retrain(loser, attempts)
    loser.meanwhile = lambda: None
    assert retrain(loser, attempts)["outcome"] == "promoted"
    assert "evaluate" in loser.calls


@pytest.mark.slow
def test_results_that_others_went_past_are_not_judged_any_more(machine, retrain):
    """`register` waits for the registry of one machine while another one pushes newer results and judges them."""
    slow, fast = machine("slow"), machine("fast")
    slow.fail = {"register": failing(69, "the registry is down")}
    with pytest.raises(Exception, match="the registry is down"):
        retrain(slow)
    fast.rows = 160
    assert retrain(fast)["outcome"] == "promoted"
    slow.fail, slow.rows = {}, 160
    assert retrain(slow)["outcome"] == "nothing_to_do"
    assert "register" not in slow.calls


def test_results_that_another_machine_judged_are_not_judged_again(machine, retrain):
    """The registry is asked, not a note of this machine: a new one trains nothing and registers nothing."""
    first = machine("first")
    assert retrain(first)["outcome"] == "promoted"
    second = machine("second")
    assert retrain(second)["outcome"] == "nothing_to_do"
    assert second.calls == ["refresh"]


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--depth", "1"), ("--single-branch",)])
def test_a_clone_of_one_branch_learns_what_others_pushed(machine, retrain, options):
    """git fetches only what such a clone was made for, unless it is told what else is wanted."""
    first = machine("first")
    retrain(first)
    small = machine("small", *options)
    small.rows = 160
    entry = retrain(small)
    assert (entry["outcome"], entry["rounds"]) == ("promoted", 0)
    first.rows = 190
    assert retrain(first)["rows_before"] == 160


def lock_of(children, name):
    """Return where git keeps the lock of a reference."""
    return git(children.project, "rev-parse", "--path-format=absolute", "--git-path", f"{name}.lock")


@pytest.mark.slow
def test_a_lock_that_a_killed_fetch_left_is_removed_and_a_fresh_one_respected(machine, retrain, tmp_path):
    """A minute is far longer than git holds one; a younger lock is somebody else's."""
    first, other = machine("first"), machine("other")
    retrain(first)
    push_something(other.project, "moves")
    lock = lock_of(first, f"refs/remotes/origin/{RESULTS}")
    open(lock, "w").close()
    with pytest.raises(ServiceDown, match=r"cannot lock ref|\.lock"):
        retrain(first)
    long_ago = time.time() - 600
    os.utime(lock, (long_ago, long_ago))
    assert retrain(first)["outcome"] == "nothing_to_do"
