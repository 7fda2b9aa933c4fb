"""What of DVC's cache, archives and checkpoints is left over, and what somebody still names."""

import os
from pathlib import Path

import pytest

from pipeline.runtime import leftovers, paths
from pipeline.runtime.errors import StorageFailed
from tests.helpers.dvc_objects import put_object, sha256
from tests.helpers.rebuilt_project import git, write

NOBODY = Path(".millrace/reproduce")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A repository with one commit; the working directory."""
    write(tmp_path, {"dvc.yaml": "stages: {}\n", ".gitignore": "/.dvc/cache\n/.millrace\n"})
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "start")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lock(*md5s):
    """Return a dvc.lock that names objects."""
    outs = [{"path": f"data/{number}", "hash": "md5", "md5": md5} for number, md5 in enumerate(md5s)]
    return f"schema: '2.0'\nstages:\n  a:\n    outs: {outs}\n".replace("'", '"')


def test_another_branch_a_tag_and_a_dvc_file_name_objects_too(project):
    """What somebody can check out stays, whatever is checked out now."""
    first, second, third = (put_object(project, name) for name in (b"first", b"second", b"third"))
    git(project, "checkout", "-qb", "other")
    write(project, {"dvc.lock": lock(first)})
    git(project, "add", "-A")
    git(project, "commit", "-qm", "other")
    git(project, "tag", "-a", "v1", "-m", "v1")
    write(project, {"dvc.lock": lock(second), "sub/raw.dvc": f"outs:\n- md5: {third}\n  path: raw\n"})
    git(project, "add", "-A")
    git(project, "commit", "-qm", "second")
    git(project, "checkout", "-q", "main")
    named = leftovers.named_by_trees(NOBODY).md5
    assert {first, second, third} <= named
    git(project, "branch", "-qD", "other")
    assert {first} == leftovers.named_by_trees(NOBODY).md5 & {first, second, third}


def test_a_lock_with_the_marks_of_a_merge_names_both_sides(project):
    """Nobody resolved it yet: what either side names is needed."""
    ours, theirs = put_object(project, b"ours"), put_object(project, b"theirs")
    write(project, {"dvc.lock": f"<<<<<<< HEAD\n{lock(ours)}=======\n{lock(theirs)}>>>>>>> theirs\n"})
    assert {ours, theirs} <= leftovers.named_by_trees(NOBODY).md5


def test_experiments_that_run_elsewhere_are_asked(project):
    """`dvc exp run --temp` has no ref yet: its copy of the project names what it made."""
    made = put_object(project, b"made elsewhere")
    write(project, {".dvc/tmp/exps/standalone/tmp1/dvc.lock": lock(made)})
    assert made in leftovers.named_by_trees(NOBODY).md5


def test_another_working_tree_names_what_it_has_not_committed(project, tmp_path_factory):
    """A colleague's worktree beside the project; those that will be removed do not count."""
    beside, made = tmp_path_factory.mktemp("beside") / "tree", put_object(project, b"beside")
    git(project, "worktree", "add", "-q", "--detach", str(beside))
    write(beside, {"dvc.lock": lock(made)})
    assert made in leftovers.named_by_trees(NOBODY).md5
    assert made not in leftovers.named_by_trees(beside).md5


def test_what_is_in_a_named_folder_is_named(project):
    """And the notes of the run cache go with what they lead to, before it."""
    member, stranger = put_object(project, b"member"), put_object(project, b"stranger")
    folder = put_object(project, f'[{{"md5": "{member}", "relpath": "x"}}]'.encode(), ".dir")
    cache = project / ".dvc/cache"
    notes = {name: cache / "runs" / name[:2] / name / "1" for name in ("kept", "gone")}
    write(project, {str(notes["kept"].relative_to(project)): lock(folder)})
    write(project, {str(notes["gone"].relative_to(project)): lock(stranger)})
    found = leftovers.unnamed_objects(cache, frozenset({folder}))
    assert [notes["gone"], cache / "files/md5" / stranger[:2] / stranger[2:]] == found


def test_archives_stay_that_a_branch_pins(project):
    """data/source.json of a branch that is not checked out."""
    pinned, other = sha256(b"pinned"), sha256(b"other")
    git(project, "checkout", "-qb", "other")
    write(project, {"data/source.json": f'{{"sha256": "{pinned}"}}'})
    git(project, "add", "-Af")
    git(project, "commit", "-qm", "other")
    git(project, "checkout", "-q", "main")
    folder = project / ".millrace/sources"
    write(folder, {f"{pinned}.tar": "p", f"{other}.tar": "o"})
    named = leftovers.named_by_trees(NOBODY).sources
    assert [folder / f"{other}.tar"] == leftovers.unnamed_sources(folder, named)


def test_accepted_data_stays(project):
    """Later nights are compared with it, and no dvc.lock names it any more."""
    accepted = put_object(project, b"accepted")
    write(project, {paths.ACCEPTED_JSON.as_posix(): f'{{"files": {{"x": "{accepted}"}}}}'})
    assert accepted in leftovers.named_by_trees(NOBODY).md5


def test_the_newest_checkpoint_of_a_candidate_stays(project):
    """An interrupted training goes on from it; those of other inputs, and of candidates that are gone, do not."""
    for when, name in enumerate(
        ("train/cnn/old", "train/cnn/new", "tune/former/key", "reduce/old", "reduce/new")
    ):
        write(project / ".millrace" / name, {"state": "x"})
        os.utime(project / ".millrace" / name, (when, when))
    found = {path.relative_to(".millrace").as_posix() for path in leftovers.stale_checkpoints(["cnn"])}
    assert {"train/cnn/old", "tune/former", "reduce/old"} == found


def test_a_checkpoint_that_was_put_aside_when_a_kill_came_stays(project):
    """A half that is newer makes no whole one stale; what was put aside is the only one until the new one is there."""
    for when, name in enumerate(("cnn/key", "cnn/.key.old", "cnn/.key.new", "rnn/.key.old", "rnn/.key.new")):
        write(project / ".millrace/train" / name, {"state": "x"})
        os.utime(project / ".millrace/train" / name, (when, when))
    found = {
        path.relative_to(".millrace/train").as_posix() for path in leftovers.stale_checkpoints(["cnn", "rnn"])
    }
    assert {"cnn/.key.old", "cnn/.key.new", "rnn/.key.new"} == found


def test_a_log_keeps_its_newest_lines(project):
    """Whole lines only."""
    path = project / paths.RETRAIN_DIR / "cron.log"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"line {number}\n" for number in range(200_000)))
    assert [Path(paths.RETRAIN_DIR / "cron.log")] == leftovers.long_logs()
    leftovers.cut_log(path)
    lines = path.read_text().splitlines()
    assert ("line 199999", True) == (lines[-1], lines[0].startswith("line "))
    assert [] == leftovers.long_logs()


def test_a_repository_that_git_does_not_read_is_not_taken_for_one_that_names_nothing(project, monkeypatch):
    """In a container the folder often belongs to somebody else: what branches need is unknown, and all of it stays."""
    write(project, {"dvc.lock": lock(put_object(project, b"kept"))})
    git(project, "add", "-A")
    git(project, "commit", "-qm", "kept")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(StorageFailed, match="dubious ownership"):
        leftovers.named_by_trees(NOBODY)


def test_without_a_repository_only_the_working_tree_names_anything(tmp_path, monkeypatch):
    """No git is no failure of git."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"dvc.lock": lock("a" * 32)})
    assert leftovers.named_by_trees(NOBODY).md5 == {"a" * 32}
