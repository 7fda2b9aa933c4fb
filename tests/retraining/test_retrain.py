"""A retrain from beginning to end: what it decides, what it leaves behind, and how it goes on after a stop."""

import subprocess

import msgspec
import pytest

from pipeline.retraining import journal
from pipeline.retraining import retrain as retraining_retrain
from pipeline.retraining.retrain import Wishes, plan
from pipeline.runtime.errors import Busy, DataRefused, ServiceDown, Terminated, UserError
from pipeline.runtime.files import read_lines
from pipeline.runtime.paths import HISTORY, JOURNAL, OUTBOX_DIR, TREE
from tests.helpers.fake_project import (
    HERE,
    STEPS,
    FakeChildren,
    examined_by_count,
    failing,
    git,
    make_project,
    settings,
)

RESULTS = "retrain/main"


@pytest.fixture(autouse=True)
def looked(monkeypatch):
    """Stand in for the comparison of rows, which has tests of its own; the row counts are those of the source."""
    monkeypatch.delenv("MILLRACE_HOME", raising=False)
    monkeypatch.setattr("pipeline.retraining.retrain.compare_with_results", examined_by_count)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A committed project; the working directory."""
    folder = make_project(tmp_path / "project")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def children(project):
    """What a retrain runs there."""
    return FakeChildren(project)


def retrain(children, notify=None, publish="push", **wishes):
    """Run one call of `millrace retrain` behind its lock; a command may be notified."""
    known = settings()
    told = msgspec.structs.replace(
        known, notify=msgspec.structs.replace(known.notify, command=notify), publish=publish
    )
    return retraining_retrain.retrain(children, told, Wishes(**wishes))


def entries():
    """Return the history."""
    return read_lines(HISTORY)


def fired(entry):
    """Return the names of the triggers of an entry that fired."""
    return [item["name"] for item in entry["triggers"] if item["fired"]]


def with_remote(project, tmp_path):
    """Give the project an empty remote and push the branch."""
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "remote")], check=True)
    git(project, "remote", "add", "origin", str(tmp_path / "remote"))
    git(project, "push", "-q", "origin", "main")
    return tmp_path / "remote"


def test_a_first_retrain_trains_commits_and_registers(project, children):
    """Results are on a branch of their own; the branch and the files of people are as they were."""
    head = git(project, "rev-parse", "HEAD")
    entry = retrain(children)
    assert entry["outcome"] == "promoted"
    assert fired(entry) == ["never_trained"]
    assert git(project, "rev-parse", "HEAD") == head
    assert git(project, "status", "--porcelain") == ""
    assert "dvc.lock" in git(project, "show", "--stat", RESULTS)
    assert children.calls == ["refresh", "evaluate", "register"]


def test_nothing_new_is_nothing_to_do(children):
    """The second night finds the same data: it refreshes, and that is all."""
    retrain(children)
    children.calls.clear()
    entry = retrain(children)
    assert (entry["outcome"], entry["exit_code"]) == ("nothing_to_do", 0)
    assert children.calls == ["refresh"]


def test_new_rows_train_again(children):
    """With how many there were, and are."""
    retrain(children)
    children.rows = 160
    entry = retrain(children)
    assert fired(entry) == ["new_rows"]
    assert (entry["rows_before"], entry["rows_after"], entry["new_rows"]) == (100, 160, 60)


def test_fewer_new_rows_than_are_worth_it_are_left_for_another_night(children):
    """`validate` has them in the tree's dvc.lock by then; the committed results are judged all the same."""
    retrain(children)
    children.rows = 105
    children.calls.clear()
    entry = retraining_retrain.retrain(
        children, msgspec.structs.replace(settings(), min_new_rows=10), Wishes()
    )
    assert (entry["outcome"], fired(entry)) == ("nothing_to_do", [])
    assert children.calls == ["refresh", "validate"]


def test_code_and_parameters_that_were_committed_train_again(project, children):
    """A commit to the branch of people is merged into that of results."""
    retrain(children)
    (project / "pipeline/code.py").write_text("changed = True\n")
    git(project, "commit", "-qam", "change")
    assert fired(retrain(children)) == ["code"]
    assert git(project, "show", f"{RESULTS}:pipeline/code.py") == "changed = True"
    assert git(project, "merge-base", "--is-ancestor", "main", RESULTS) == ""


def clashing(project, clone):
    """Delete a file on the branch of results and change it on the followed one, both at the remote."""
    git(project, "clone", "-q", "-b", RESULTS, str(project / "../remote"), str(clone))
    git(clone, "rm", "-q", "pipeline/code.py")
    git(clone, "commit", "-qm", "delete")
    git(clone, "push", "-q", "origin", RESULTS)
    git(clone, "fetch", "-q")
    (project / "pipeline/code.py").write_text("changed = True\n")
    git(project, "commit", "-qam", "change")
    git(project, "push", "-q", "origin", "main")


@pytest.mark.long
def test_branches_that_cannot_be_merged_are_mended_by_the_commands_that_are_told(project, children, tmp_path):
    """Run literally: the next retrain begins with a new branch of results, and so does another clone."""
    with_remote(project, tmp_path)
    retrain(children)
    clashing(project, tmp_path / "clone")
    with pytest.raises(Busy, match=r"cannot be merged.*pipeline/code\.py") as refused:
        retrain(children)
    told = [line for line in str(refused.value).splitlines() if line.startswith("git ")]
    assert 4 == len(told)
    guide = (HERE / "docs/guides/retraining.md").read_text()
    assert all(command.replace("main", "BRANCH") in guide for command in told)
    for command in told[:3]:
        subprocess.run(command.split(), cwd=project, check=True)
    subprocess.run(told[3].split(), cwd=tmp_path / "clone", check=True)
    assert f"origin/{RESULTS}" not in git(tmp_path / "clone", "branch", "--remotes")
    assert retrain(children)["outcome"] == "promoted"
    assert git(project, "show", f"origin/{RESULTS}:pipeline/code.py") == "changed = True"


@pytest.mark.long
def test_branches_that_cannot_be_merged_without_a_remote(project, children):
    """The commands leave out what there is not: a branch at a remote, other clones."""
    retrain(children)
    git(children.tree, "rm", "-q", "pipeline/code.py")
    git(children.tree, "commit", "-qm", "delete")
    (project / "pipeline/code.py").write_text("changed = True\n")
    git(project, "commit", "-qam", "change")
    with pytest.raises(Busy) as refused:
        retrain(children)
    told = str(refused.value).splitlines()[1:]
    for command in told:
        subprocess.run(command.split(), cwd=project, check=True)
    assert ["git worktree remove --force .millrace/retrain/tree", f"git branch -D {RESULTS}"] == told
    assert retrain(children)["outcome"] == "promoted"


def test_a_refusal_of_the_gate_is_exit_code_3(children):
    """And an entry with the reason."""
    children.verdict = "refused"
    entry = retrain(children)
    assert (entry["outcome"], entry["exit_code"], entry["reasons"]) == ("refused", 3, ["because."])


def test_uncommitted_edits_are_refused_and_told(project, children):
    """Nothing starts; with --ignore-edits the committed state is retrained and the edits are named."""
    (project / "params.yaml").write_text("seed: 8\n")
    with pytest.raises(Busy, match=r"params\.yaml"):
        retrain(children)
    assert children.calls == []
    entry = retrain(children, ignore_edits=True)
    assert entry["ignored_edits"] == ["params.yaml"]
    assert git(project, "show", f"{RESULTS}:params.yaml") == "seed: 7"
    assert (project / "params.yaml").read_text() == "seed: 8\n"


def test_a_source_that_is_down_is_told_with_the_age_of_everything(children):
    """Exit code 69, nothing trained, and the next night asks again."""
    retrain(children)
    children.calls.clear()
    children.fail = {"refresh": failing(69)}
    with pytest.raises(ServiceDown, match=r"newest data is of 2026-02-28, the champion is 0\.0 days old"):
        retrain(children)
    assert children.calls == ["refresh"]
    assert entries()[-1]["outcome"] == "source_down"
    children.fail = {}
    assert retrain(children)["outcome"] == "nothing_to_do"


@pytest.mark.long
@pytest.mark.parametrize(
    ("step", "error"),
    [(step, Terminated("SIGTERM")) for step in STEPS]
    + [("train", Busy("time limit")), ("commit", KeyboardInterrupt())],
)
def test_a_stop_at_any_step_is_a_pause(children, monkeypatch, step, error):
    """The next call ends as an undisturbed one, and runs again only the step that was stopped."""
    retrain(children)
    children.rows, children.calls = 160, []
    original = journal.Run.once

    def stopped(run, name, action):
        if name == step and name not in run.facts:
            run.step = name
            raise error
        return original(run, name, action)

    monkeypatch.setattr(journal.Run, "once", stopped)
    with pytest.raises(type(error)):
        retrain(children)
    monkeypatch.setattr(journal.Run, "once", original)
    entry = retrain(children)
    assert (entry["outcome"], entry["new_rows"]) == ("promoted", 60)
    assert children.calls == ["refresh", "validate", "evaluate", "register"]
    if step != "edits":
        assert [item["outcome"] for item in entries()] == ["promoted", "paused", "promoted"]
    assert journal.unfinished(JOURNAL) is None


@pytest.mark.long
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_right_after_any_step_is_a_pause(children, monkeypatch, step):
    """kill -9 runs no code of ours: the journal ends behind the step, and the next call goes on from there."""
    retrain(children)
    children.rows, children.calls = 160, []
    original = journal.Run.once

    class Killed(BaseException):
        """Stands for kill -9."""

    def killed(run, name, action):
        facts = original(run, name, action)
        if name == step:
            raise Killed
        return facts

    with monkeypatch.context() as dying:
        dying.setattr(journal.Run, "once", killed)
        dying.setattr(retraining_retrain, "_close", lambda *_: {})
        dying.setattr(journal.Run, "stop", lambda *_: None)
        dying.setattr(journal.Run, "end", lambda *_: None)
        with pytest.raises(Killed):
            retrain(children)
    assert retrain(children)["outcome"] == "promoted"
    assert children.calls.count("evaluate") == 1
    assert [entry["outcome"] for entry in entries()] == ["promoted", "promoted"]


def test_a_dead_record_keeps_the_model_and_waits(children):
    """MLflow is down at the very end: exit code 69, and the next night registers without training again."""
    children.fail = {"register": failing(69)}
    with pytest.raises(UserError) as caught:
        retrain(children)
    assert caught.value.exit_code == 69
    children.fail, children.calls = {}, []
    assert retrain(children)["outcome"] == "promoted"
    assert children.calls == ["register"]


def test_refused_data_leaves_the_results_as_they_were(project, children):
    """`validate` says no: exit code 65, no commit, and the next night reads the source anew."""
    retrain(children)
    before = git(project, "rev-parse", RESULTS)
    children.rows, children.fail = 160, {"validate": failing(65, "labels are gone")}
    with pytest.raises(UserError, match="labels are gone"):
        retrain(children)
    assert entries()[-1]["outcome"] == "data_refused"
    assert git(project, "rev-parse", RESULTS) == before
    children.fail = {}
    assert retrain(children)["outcome"] == "promoted"


def test_drift_beyond_the_bound_is_refused_unless_accepted_with_a_reason(children):
    """The reason stands in the history."""
    retrain(children)
    children.rows, children.verdict_of_drift = 160, "refuse"
    with pytest.raises(DataRefused, match="--accept-drift"):
        retrain(children)
    assert entries()[-1]["drift"]["verdict"] == "refuse"
    entry = retrain(children, accept_drift="the new cameras")
    assert (entry["outcome"], entry["accepted_drift"]) == ("promoted", "the new cameras")


def test_a_source_that_lost_too_many_rows_is_refused(children):
    """A complete file may still be half of the data: 11 of 100 rows are gone; 10 may be, and are forgotten."""
    retrain(children)
    children.rows = 89
    with pytest.raises(DataRefused, match="lost 11 known rows"):
        retrain(children)
    children.rows = 90
    entry = retrain(children)
    assert (entry["outcome"], fired(entry)) == ("promoted", ["new_rows"])
    assert "0 new rows, 10 gone, 1 are enough" in [item["figures"] for item in entry["triggers"]]


def test_too_many_rows_with_other_labels_are_refused(children, monkeypatch):
    """A column that moved gives half of the data other labels: 8 of 100 are gone and 3 changed, 10 together may."""
    retrain(children)
    found = {"new_rows": 0, "lost_rows": 8, "lost_share": 0.08, "changed_rows": 3, "changed_share": 0.03}
    monkeypatch.setattr(
        "pipeline.retraining.retrain.compare_with_results",
        lambda *_: {**found, "verdict": "none", "skipped": []},
    )
    children.rows = 99
    with pytest.raises(
        DataRefused,
        match=r"lost 8 known rows and says other things of 3, against the data of the last results\..*Received: 0\.110",
    ):
        retrain(children)
    assert 3 == entries()[-1]["changed_rows"]


def test_results_are_pushed(project, children, tmp_path):
    """To a branch of the same name at the remote."""
    remote = with_remote(project, tmp_path)
    entry = retrain(children)
    assert entry["pushed"] == f"origin/{RESULTS}"
    assert git(remote, "rev-parse", RESULTS) == entry["commit"]


def test_without_a_wish_no_remote_is_read_or_written(project, children, tmp_path):
    """`publish: none`, as retrain.yaml comes: the refs of the remote and ours of it are those of before."""
    remote = with_remote(project, tmp_path)
    git(project, "push", "-q", "origin", "HEAD:refs/heads/elsewhere")
    before = git(remote, "for-each-ref"), git(project, "for-each-ref", "refs/remotes")
    entry = retrain(children, publish="none")
    assert (git(remote, "for-each-ref"), git(project, "for-each-ref", "refs/remotes")) == before
    assert ("not published", "not published") == (entry["pushed"], entry["data_pushed"])
    assert entry["commit"] == git(project, "rev-parse", RESULTS)


def test_results_that_were_not_pushed_stay_when_others_take_the_branch(project, children, tmp_path):
    """Versions name their commits: after `publish: push` and a branch of somebody else they can still be built again."""
    entry = retrain(children, publish="none")
    remote = with_remote(project, tmp_path)
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(remote), str(other), "-b", "main")
    (other / "reports").mkdir(exist_ok=True)
    (other / "reports/theirs.txt").write_text("x")
    git(other, "add", "-A")
    git(other, "commit", "-qm", "theirs")
    git(other, "push", "-q", "origin", f"HEAD:refs/heads/{RESULTS}")
    children.rows = 160
    retrain(children)
    git(project, "reflog", "expire", "--expire=now", "--all")
    git(project, "gc", "-q", "--prune=now")
    assert "commit" == git(project, "cat-file", "-t", entry["commit"])
    assert entry["commit"] not in git(project, "rev-list", RESULTS).split()


def test_the_plan_says_where_results_would_go(project, children, tmp_path):
    """Without an address's password; and that nothing would be pushed where nobody wants it."""
    said = " ".join(plan(children, msgspec.structs.replace(settings(), publish="none")))
    assert f"commit to {RESULTS}. It would fetch and push nothing (publish: none" in said
    with_remote(project, tmp_path)
    git(project, "remote", "set-url", "--push", "origin", "https://me:S3CRET@host/team.git")
    said = " ".join(plan(children, settings()))
    assert f"push {RESULTS} to https://host/team.git (publish: push" in said
    assert "no data: there is no DVC remote" in said


@pytest.mark.long
@pytest.mark.parametrize("moment", ["before our push", "while we push"])
def test_somebody_else_was_first_and_all_is_judged_anew(project, children, tmp_path, moment):
    """Their results come in, ours are made on top of them, and the model is registered once."""
    remote = with_remote(project, tmp_path)
    retrain(children)
    children.rows, children.calls = 160, []

    def others():
        children.meanwhile = lambda: None
        clone = tmp_path / "clone"
        subprocess.run(["git", "clone", "-q", "-b", RESULTS, str(remote), str(clone)], check=True)
        (clone / "reports").mkdir(exist_ok=True)
        (clone / "reports/other.json").write_text("{}")
        git(clone, "add", "-A")
        git(clone, "commit", "-qm", "theirs")
        if moment == "before our push":
            git(clone, "push", "-q")
            return
        # Git has asked the remote where the branch is when the remote runs this hook.
        hook = remote / "hooks/pre-receive"
        git_variables = "$(env | sed -n 's/^\\(GIT_[A-Z_]*\\)=.*/-u \\1/p')"
        hook.write_text(
            f'#!/bin/sh\nrm "$0"\nexec </dev/null\ncd {clone} && env {git_variables} git push -q\n'
        )
        hook.chmod(0o755)

    children.meanwhile = others
    entry = retrain(children)
    assert (entry["outcome"], entry["rounds"]) == ("promoted", 1)
    assert git(remote, "rev-parse", RESULTS) == entry["commit"]
    assert git(remote, "show", f"{RESULTS}:reports/other.json") == "{}"
    assert children.calls.count("register") == 1


def test_a_remote_that_declines_is_a_pause_before_the_gate(project, children, tmp_path):
    """Exit code 75: no champion that was never pushed. Once the remote takes it, only the rest is done."""
    remote = with_remote(project, tmp_path)
    hook = remote / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho closed for tonight\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(Busy, match="closed for tonight"):
        retrain(children)
    assert "register" not in children.calls
    hook.unlink()
    children.calls.clear()
    assert retrain(children)["outcome"] == "promoted"
    assert children.calls == ["register"]


@pytest.mark.long
def test_a_tree_that_a_kill_left_behind_is_mended(project, children):
    """Half a tree, a lock file of a killed git, a file that does not belong there: none of them stops a night."""
    retrain(children)
    tree = project / TREE
    lock = git(tree, "rev-parse", "--path-format=absolute", "--git-path", "index.lock")
    with open(lock, "w"):
        pass
    (tree / "stray.py").write_text("")
    children.rows = 130
    assert retrain(children)["outcome"] == "promoted"
    assert not (tree / "stray.py").exists()
    (tree / ".git").unlink()
    children.rows = 140
    assert retrain(children)["new_rows"] == 10


def test_age_is_counted_from_the_last_results_and_known_to_git(project, children, monkeypatch):
    """Also on a machine whose history was lost: eight days later, fewer new rows than usual are enough."""
    monkeypatch.setenv("MILLRACE_NOW", "2026-03-01T02:30:00")
    retrain(children)
    (project / HISTORY).unlink()
    monkeypatch.setenv("MILLRACE_NOW", "2026-03-09T02:30:00")
    children.rows = 105
    assert fired(retrain(children)) == ["new_rows", "age"]


@pytest.mark.long
def test_a_person_merges_the_results(project, children):
    """Afterwards both branches are one, and the next night goes on from there."""
    retrain(children)
    git(project, "merge", "-q", RESULTS)
    assert retrain(children)["outcome"] == "nothing_to_do"
    children.rows = 160
    assert fired(retrain(children)) == ["new_rows"]


def test_a_project_outside_git_is_told_so(children, tmp_path, monkeypatch):
    """With the command that mends it."""
    folder = tmp_path / "plain"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match="git init"):
        retrain(FakeChildren(folder))


def test_a_retrain_is_ended_before_anybody_is_told(children, tmp_path):
    """Whatever a receiver does then, the next night begins a retrain of its own and repeats nothing."""
    seen = tmp_path / "seen"
    retrain(children, notify=f"cp {JOURNAL} {seen}")
    assert "end" == read_lines(seen)[-1]["event"]
    children.fail = {"refresh": failing(65)}
    with pytest.raises(UserError):
        retrain(children, notify=f"cp {JOURNAL} {seen}")
    assert "end" == read_lines(seen)[-1]["event"]


@pytest.mark.parametrize("outcome", ["good", "bad"])
def test_a_kill_while_somebody_is_told_repeats_nothing(children, monkeypatch, outcome):
    """The night after it asks the source anew, and what was not delivered is."""

    class Killed(BaseException):
        """Stands for kill -9."""

    def killed(*_):
        raise Killed

    children.fail = {"refresh": failing(65)} if outcome == "bad" else {}
    with monkeypatch.context() as dying:
        dying.setattr("pipeline.retraining.notifications.deliver", killed)
        with pytest.raises(Killed):
            retrain(children, notify="true")
    assert journal.unfinished(JOURNAL) is None
    children.fail, children.calls = {}, []
    assert len(list(OUTBOX_DIR.iterdir())) == 1
    retrain(children, notify="true")
    assert children.calls[0] == "refresh"
    assert [] == list(OUTBOX_DIR.iterdir())


HOOKS = (
    "pre-commit",
    "commit-msg",
    "prepare-commit-msg",
    "pre-merge-commit",
    "post-checkout",
    "post-commit",
    "pre-push",
)


@pytest.fixture
def strict(project, tmp_path):
    """A project whose people have hooks that refuse everything, and must sign with a key that is not here."""
    remote = with_remote(project, tmp_path)
    for name in HOOKS:
        hook = project / ".git/hooks" / name
        hook.write_text(f"#!/bin/sh\necho {name} >> {tmp_path}/hooked\nexit 1\n")
        hook.chmod(0o755)
    for key, value in {"commit.gpgSign": "true", "gpg.program": "false", "push.gpgSign": "if-asked"}.items():
        git(project, "config", key, value)
    return remote


def test_hooks_and_signatures_of_people_are_not_asked_of_a_machine(project, children, strict, tmp_path):
    """Commits, merges and pushes of two nights, in a tree that only a machine writes."""
    retrain(children)
    (project / "pipeline/code.py").write_text("changed = True\n")
    git(project, "-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false", "commit", "-qam", "change")
    entry = retrain(children)
    assert fired(entry) == ["code"]
    assert git(strict, "rev-parse", RESULTS) == entry["commit"]
    assert not (tmp_path / "hooked").exists()


@pytest.mark.parametrize("what", ["hooks", "sign"])
def test_hooks_and_signatures_may_be_asked_for(project, children, strict, tmp_path, what):
    """Where the remote takes signed commits only, say; then what fails is told."""
    git(project, "config", f"millrace.{what}", "true")
    with pytest.raises(UserError, match=r"(?s)git .* failed"):
        retrain(children)
    assert (what == "hooks") == (tmp_path / "hooked").exists()


def test_a_champion_that_reigned_already_became_nothing(children):
    """`--force` makes the same bytes again, and the decision by which they once became champion holds."""
    assert retrain(children)["outcome"] == "promoted"
    children.reigned = True
    entry = retrain(children, force=True)
    assert (entry["outcome"], entry["exit_code"]) == ("unchanged", 0)
    assert journal.entry_texts(entry)["outcome"] == "still champion"


def test_a_champion_that_a_stopped_call_made_is_told_as_new(children, monkeypatch):
    """The stop came after the promotion and before the journal knew of it."""
    register = FakeChildren._register

    def stopped(self):
        register(self)
        raise Terminated("SIGTERM")

    with monkeypatch.context() as stopping:
        stopping.setattr(FakeChildren, "_register", stopped)
        with pytest.raises(Terminated):
            retrain(children)
    children.reigned = True
    assert retrain(children)["outcome"] == "promoted"
