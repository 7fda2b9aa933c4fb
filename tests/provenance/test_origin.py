"""Whether one can go back to what made a result."""

import hashlib
import json
import os
import subprocess
from types import SimpleNamespace

import pytest

from pipeline.provenance.origin import (
    commit_that_holds,
    committed_state,
    environment_digest,
    origin_tags,
    read_files,
    read_params,
)
from pipeline.runtime.repository import digest_at, locked_stages
from pipeline.runtime.strict_yaml import yaml_content
from tests.helpers.synthetic_project import make_project, write_lock

NAMES = ["cnn", "linear"]


LOSSES = "pipeline/training/losses.py"


def git(*arguments):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Stand in a project whose state is committed."""
    root = make_project(tmp_path / "larger/project")
    monkeypatch.chdir(tmp_path / "larger")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "all")
    monkeypatch.chdir(root)
    return root


def state():
    return committed_state(locked_stages(NAMES), NAMES)


def test_clean_tree_with_its_lock_is_committed(project):
    """Nothing to complain of, also where the project is a folder of a larger repository."""
    found = state()
    assert ((), "false", "true") == (found.problems, found.dirty, found.lock)
    tags = origin_tags(locked_stages(NAMES), found)
    assert ("false", "true", found.commit) == (
        tags["git.dirty"],
        tags["dvc.lock.committed"],
        tags["git.commit"],
    )


def test_a_folder_has_the_digest_that_dvc_gives_it(project):
    """`git ls-tree` by itself would look for the project's place in the larger repository within the folder."""
    (project / "code").mkdir()
    (project / "code/one.py").write_text("1\n")
    git("add", "code")
    git("commit", "-m", "code")
    listed = [{"md5": hashlib.md5(b"1\n").hexdigest(), "relpath": "one.py"}]
    expected = hashlib.md5(json.dumps(listed).encode()).hexdigest() + ".dir"
    assert expected == digest_at("HEAD", "code")


def test_reports_and_the_register_stage_do_not_count(project):
    """What DVC adds after the stage has asked, and results in reports/, cannot be committed yet."""
    lock = json.loads((project / "dvc.lock").read_text())
    lock["stages"]["register"] = {"outs": [{"path": "reports/register/decision.json", "md5": "0" * 32}]}
    lock["stages"]["train@gone"] = {"outs": []}
    (project / "dvc.lock").write_text(json.dumps(lock, indent=1))
    (project / "reports/evaluate/metrics.json").write_text("{}")
    assert () == state().problems


@pytest.mark.parametrize(
    ("path", "content"), [("params.yaml", "seed: 8\ncandidates: {}\n"), ("notes.txt", "new")]
)
def test_changed_and_new_files_make_the_tree_dirty(project, path, content):
    """The message names the file and says what to do."""
    (project / path).write_text(content)
    found = state()
    assert "true" == found.dirty
    (problem,) = found.problems
    assert path in problem
    assert problem.endswith("commit them")


def test_lock_that_is_not_committed_is_told(project):
    """Another result than the commit's lock holds cannot be gone back to."""
    write_lock(project, ("cnn", "linear"), "x")
    found = state()
    assert "false" == found.lock
    (problem,) = found.problems
    assert problem.startswith("dvc.lock is not committed as it is now (")
    assert "another kind of processor" in problem


def test_lock_that_git_does_not_know_is_not_committed(project):
    """A lock removed from git has never been committed."""
    git("rm", "-q", "--cached", "dvc.lock")
    git("commit", "-qm", "without")
    assert "false" == state().lock


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def trained(project):
    """Stand in a project whose committed dvc.lock names the code that a stage read."""
    code = project / LOSSES
    code.parent.mkdir(parents=True)
    code.write_text("LOSS = 'mse'\n")
    reads(project)
    git("add", "-A")
    git("commit", "-qm", "trained")
    assert () == state().problems
    return project


def test_a_lock_that_was_committed_half_way_through_a_run_is_compared(trained):
    """One stage had read the file as it is, another as it was; no such file exists, so the code is another one."""
    lock = json.loads((trained / "dvc.lock").read_text())
    (now,) = (item for item in lock["stages"]["tune@cnn"]["deps"] if item["path"] == LOSSES)
    lock["stages"]["tune@linear"]["deps"] = [now | {"md5": "0" * 32}]
    (trained / "dvc.lock").write_text(json.dumps(lock, indent=1))
    git("commit", "-qam", "half-way")
    lock["stages"]["tune@linear"]["deps"] = [now]
    (trained / "dvc.lock").write_text(json.dumps(lock, indent=1))
    (problem,) = state().problems
    assert problem == "dvc.lock is not committed as it is now: commit it"


def test_what_stages_of_two_runs_read_is_told_apart():
    """Digests stand side by side and values in a tuple, whichever stage comes last; what a stage makes is no source."""
    old, new = ({"path": LOSSES, "md5": digit * 32} for digit in "12")
    stages = {
        "tune@cnn": {"deps": [old], "params": {"params.yaml": {"seed": 7, "threads": 2}}},
        "tune@linear": {
            "deps": [new, {"path": "models/x", "md5": "3"}],
            "params": {"params.yaml": {"seed": 8, "threads": 2}},
            "outs": [{"path": "models/x"}],
        },
    }
    for order in (stages, dict(reversed(stages.items()))):
        assert {LOSSES: f"{'1' * 32}, {'2' * 32}"} == read_files(order)
        assert {"threads": 2} == {key: value for key, value in read_params(order).items() if key != "seed"}
        assert (7, 8) == tuple(sorted(read_params(order)["seed"]))


def head():
    return subprocess.run(
        ["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()


def reads(project, seed=7):
    """Write into dvc.lock what a stage reads now, as `dvc repro` does."""
    lock = json.loads((project / "dvc.lock").read_text())
    lock["stages"]["tune@cnn"]["deps"] = [
        {"path": LOSSES, "hash": "md5", "md5": md5(project / LOSSES)},
        {"path": "models/baseline/cnn", "hash": "md5", "md5": "1" * 32 + ".dir"},
    ]
    lock["stages"]["tune@cnn"]["params"] = {"params.yaml": {"seed": seed}}
    lock["stages"]["train@cnn"] = {"outs": [{"path": "models/baseline/cnn", "md5": "1" * 32 + ".dir"}]}
    (project / "dvc.lock").write_text(json.dumps(lock))


def test_another_lock_of_other_inputs_is_not_put_down_to_the_processor(trained):
    """The code that was run is another one: no word of last bits."""
    (trained / LOSSES).write_text("LOSS = 'mae'\n")
    reads(trained)
    git("commit", "-qm", "another loss", LOSSES)
    (problem,) = state().problems
    assert problem == "dvc.lock is not committed as it is now: commit it"


def test_the_commit_that_holds_a_result_is_found_whatever_came_after_it(trained):
    """By dvc.lock, code and parameters together; later commits of other results do not hide it."""
    tags = origin_tags(locked_stages(NAMES), state())
    held = head()
    assert held == tags["git.commit"] == commit_that_holds(tags)
    write_lock(trained, NAMES, "of another night")
    git("commit", "-qam", "another night")
    assert held == commit_that_holds(tags) == commit_that_holds(tags | {"git.commit": "none"})
    # What was registered later cannot have been held before.
    assert "" == commit_that_holds(tags | {"git.commit": head()})
    assert "" == commit_that_holds(tags | {"dvc.stages.sha256": "0" * 64})


def test_a_commit_of_other_code_or_parameters_does_not_hold_a_result(trained):
    """Its dvc.lock alone is not enough; the commit that brings the rest is."""
    (trained / LOSSES).write_text("LOSS = 'huber'\n")
    (trained / "params.yaml").write_text((trained / "params.yaml").read_text().replace("seed: 7", "seed: 8"))
    reads(trained, seed=8)
    tags = origin_tags(locked_stages(NAMES), state())
    for path in ("dvc.lock", "params.yaml", LOSSES):
        assert "" == commit_that_holds(tags)
        git("commit", "-qm", path, path)
    assert head() == commit_that_holds(tags)


@pytest.mark.parametrize("flag", ["--skip-worktree", "--assume-unchanged"])
@pytest.mark.parametrize("path", [LOSSES, "params.yaml"])
@pytest.mark.parametrize("trained_since", [True, False])
def test_an_edit_that_git_was_told_to_pass_over_is_not_committed(trained, flag, path, trained_since):
    """`git status` says nothing of it; neither does it where a dvc.lock made with it was committed."""
    git("update-index", flag, path)
    with (trained / path).open("a") as file:
        file.write("# nobody committed this\n")
    if trained_since:
        reads(trained)
        git("commit", "-q", "--allow-empty", "-am", "results of tonight")
    found = state()
    assert "true" == found.dirty
    assert path in found.problems[0]
    assert "git ls-files -v" in found.problems[0]


@pytest.mark.parametrize("how", ["global", "exclude", "own"])
def test_new_code_that_a_person_ignores_is_not_committed(trained, tmp_path, how):
    """Of a global gitignore, .git/info/exclude, or a .gitignore that hides itself: the commit has no such file."""
    (trained / "pipeline/models").mkdir()
    (trained / "pipeline/models/mine.py").write_text("X = 1\n")
    assert 1 == len(untracked())
    if how == "global":
        (tmp_path / "ignored").write_text("models/\n")
        git("config", "core.excludesFile", str(tmp_path / "ignored"))
    elif how == "exclude":
        (tmp_path / "larger/.git/info/exclude").write_text("mine.py\n")
    else:
        (trained / "pipeline/models/.gitignore").write_text("*\n")
    assert [] == untracked()
    found = state()
    assert "true" == found.dirty
    assert "pipeline/models/mine.py" in found.problems[0]


def untracked():
    found = subprocess.run(["git", "status", "--porcelain"], check=True, capture_output=True, text=True)
    return found.stdout.splitlines()


def test_code_that_another_commit_held_is_not_committed(trained):
    """dvc.lock names a file as it was when the stage ran; the commit has another, and the tree is clean."""
    (trained / LOSSES).write_text("LOSS = 'mae'\n")
    git("commit", "-qam", "another loss, not trained with")
    found = state()
    assert "true" == found.dirty
    assert LOSSES in found.problems[0]


def test_compiled_code_and_files_that_sparse_checkout_leaves_out_do_not_count(trained):
    """Python checks the first against its source, and nobody reads the others."""
    (trained / "pipeline/training/__pycache__").mkdir()
    (trained / "pipeline/training/__pycache__/losses.cpython-311.pyc").write_bytes(b"\0")
    (trained / ".gitignore").write_text("__pycache__/\n")
    (trained / "notes.txt").write_text("far away\n")
    git("add", "-A")
    git("commit", "-qm", "notes")
    git("update-index", "--skip-worktree", "notes.txt")
    (trained / "notes.txt").unlink()
    assert ("false", ()) == (state().dirty, state().problems)


def test_without_git_there_is_nothing_to_go_back_to(tmp_path, monkeypatch):
    """A downloaded ZIP has no commit."""
    monkeypatch.chdir(make_project(tmp_path))
    found = state()
    assert ("none", "none", "none") == (found.commit, found.dirty, found.lock)
    assert "git init" in found.problems[0]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
def test_a_repository_of_somebody_else_is_no_missing_one(project):
    """Root in a container that mounts a user's project: `git init` would be the wrong advice."""
    os.chown(project.parent / ".git", 12345, 12345)
    os.chown(project.parent, 12345, 12345)
    (problem,) = state().problems
    assert "dubious ownership" in problem
    assert "git config --global --add safe.directory" in problem
    assert "git init" not in problem


def with_seed(project, recorded):
    """Write into dvc.lock which seed a stage read, commit it, and return the problems."""
    lock = json.loads((project / "dvc.lock").read_text())
    lock["stages"]["split"] = {"params": {"params.yaml": {"seed": recorded}}, "outs": []}
    (project / "dvc.lock").write_text(json.dumps(lock))
    git("add", "-A")
    git("commit", "-qm", "lock")
    return state().problems


def test_parameters_that_the_commit_has_others_of_are_not_committed(project):
    """A filter of this machine lets git see the old value while stages read the new one."""
    seed = yaml_content((project / "params.yaml").read_text(), "params.yaml")["seed"]
    assert () == with_seed(project, seed)
    (problem,) = with_seed(project, seed + 1)
    assert "params.yaml: seed" in problem


def test_the_stage_that_no_result_rests_on_may_be_of_an_earlier_run(project):
    """`reduce` is not run again for a judgement."""
    lock = json.loads((project / "dvc.lock").read_text())
    lock["stages"]["reduce"] = {"params": {"params.yaml": {"seed": -1}}, "outs": []}
    (project / "dvc.lock").write_text(json.dumps(lock))
    git("add", "-A")
    git("commit", "-qm", "lock")
    assert () == state().problems


def test_a_file_whose_name_is_no_utf8_is_named_as_any_other(project):
    """It is a change, not the end of the program."""
    (project / os.fsdecode(b"\xe9.txt")).write_text("x")
    assert "true" == state().dirty


def test_the_environment_is_the_name_and_version_of_every_package(monkeypatch):
    """In whatever order they lie there; what has no name is no package."""
    found = [{"Name": "B", "Version": "2"}, {"Name": None, "Version": "3"}, {"Name": "a", "Version": "1"}]
    monkeypatch.setattr(
        "importlib.metadata.distributions", lambda: (SimpleNamespace(metadata=one) for one in found)
    )
    assert hashlib.sha256(b'["a==1", "b==2"]').hexdigest() == environment_digest.__wrapped__()
