"""Every stage on a disk that is full, read-only or somebody else's, and under a clock that jumps."""

import os
import shutil
import subprocess
import sys
import time

import pytest

from tests.conftest import copy_project
from tests.e2e.clones import clone, dvc, environment, lock_of
from tests.e2e.kills import half_files
from tests.faults.disks import (
    broken_outs,
    copied,
    fill,
    missing_outs,
    mount_problem,
    mounted,
    remount,
    run_stage,
)

STAGES = (
    "check", "fetch", "ingest", "validate", "split", "leaks", "features", "train@cnn", "tune@cnn", "folds@cnn", "select", "refit", "reduce", "evaluate", "register",
)  # fmt: skip
IO_ERROR, NOT_PERMITTED, SERVICE_DOWN, BUSY = 74, 77, 69, 75
DAY_SECONDS = 86_400


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A clone in which the quick digits example ran through."""
    folder = clone(tmp_path_factory.mktemp("finished") / "clone", "quick/digits")
    dvc(folder, "repro")
    return folder


@pytest.fixture
def disk(tmp_path):
    """A small disk."""
    problem = mount_problem(tmp_path)
    if problem:
        pytest.skip(problem)
    with mounted(tmp_path / "disk") as folder:
        yield folder


def expected_codes(stage):
    """Return the exit codes of a failing disk: a database on it is a service that does not answer."""
    return {IO_ERROR, SERVICE_DOWN} if stage == "register" else {IO_ERROR}


def last_line(done):
    return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ""


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("name", STAGES)
def test_full_disk_ends_a_stage_with_its_code_and_nothing_torn(finished, disk, name, share):
    """With room for none, a little or most of what it writes: 74, whole files only, and with room again the same bytes."""
    stage = lock_of(finished)["stages"][name]
    project = disk / "project"
    copied(finished, project, stage)
    size = sum(out["size"] for out in stage["outs"])
    filler = fill(disk, int(size * share))
    done = run_stage(project, stage["cmd"])
    assert done.returncode in expected_codes(name), done.stderr[-3000:]
    assert f"exit code {done.returncode} " in last_line(done)
    assert [] == broken_outs(project, finished, stage)
    filler.unlink()
    again = run_stage(project, stage["cmd"])
    assert 0 == again.returncode, again.stderr[-3000:]
    assert ([], []) == (missing_outs(project, stage), broken_outs(project, finished, stage))
    assert [] == half_files(project)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", STAGES)
def test_read_only_disk_ends_a_stage_with_its_code(finished, disk, name):
    """Mounted read-only, as Linux does after errors: 74, and once it is writable the same bytes."""
    stage = lock_of(finished)["stages"][name]
    project = disk / "project"
    copied(finished, project, stage)
    remount(disk, "ro")
    done = run_stage(project, stage["cmd"])
    assert done.returncode in expected_codes(name), done.stderr[-3000:]
    remount(disk, "rw")
    again = run_stage(project, stage["cmd"])
    assert 0 == again.returncode, again.stderr[-3000:]
    assert [] == broken_outs(project, finished, stage)


@pytest.mark.long
@pytest.mark.parametrize("left_kib", [30, 90])
def test_full_disk_leaves_no_byte_code_that_every_later_start_stumbles_over(disk, left_kib):
    """Python writes what fits of a compiled file and takes it for whole; so a stage writes none where room is scarce."""
    project = copy_project(disk / "project")
    (disk / "tmp").mkdir()
    filler = fill(disk, left_kib * 1024)
    run_stage(project, "pipeline/run check")
    filler.unlink()
    again = run_stage(project, "pipeline/run check")
    assert 0 == again.returncode, again.stderr[-500:]


@pytest.fixture
def fresh(tmp_path):
    """The project's files alone: enough for `check` and `fetch`."""
    (tmp_path / "tmp").mkdir()
    return copy_project(tmp_path / "project")


@pytest.mark.skipif(
    shutil.which("setpriv") is None and not os.getuid(), reason="root obeys modes by setpriv only"
)
@pytest.mark.parametrize(("stage", "folder"), [("check", "reports/check"), ("fetch", "data/raw")])
def test_folder_that_may_not_be_written_ends_a_stage_with_77(fresh, stage, folder):
    """Told so, nothing made; once the folder is writable the same command works."""
    if stage != "check":
        assert 0 == run_stage(fresh, "pipeline/run check").returncode
    (fresh / folder).mkdir(parents=True, exist_ok=True)
    (fresh / folder).chmod(0o555)
    done = run_stage(fresh, f"pipeline/run {stage}", obeying_modes=True)
    assert NOT_PERMITTED == done.returncode, done.stderr
    assert "not permitted" in last_line(done)
    assert [] == list((fresh / folder).iterdir())
    (fresh / folder).chmod(0o755)
    again = run_stage(fresh, f"pipeline/run {stage}", obeying_modes=True)
    assert 0 == again.returncode, again.stderr


@pytest.mark.skipif(
    shutil.which("setpriv") is None and not os.getuid(), reason="root obeys modes by setpriv only"
)
def test_input_that_may_not_be_read_ends_a_stage_with_77(fresh):
    """Not to be confused with an input that is missing."""
    (fresh / "params.yaml").chmod(0)
    done = run_stage(fresh, "pipeline/run check", obeying_modes=True)
    assert NOT_PERMITTED == done.returncode, done.stderr
    assert "params.yaml" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("started", "code"),
    [
        ("tomorrow", 0),  # the clock was set back after the start
        ("yesterday", BUSY),  # it was set forward: code may be newer than what Python read, nobody can tell
        ("1795774541.N", 0),  # a `date` that knows no nanoseconds
        ("", 0),
    ],
)
def test_clock_that_jumps_while_a_stage_starts_never_passes_off_old_code(fresh, started, code):
    """In doubt the stage is refused with 75, and the same command works afterwards."""
    now = time.time()
    for path in fresh.rglob("*.py"):
        os.utime(path, (now, now))
    value = {"tomorrow": str(now + DAY_SECONDS), "yesterday": str(now - DAY_SECONDS)}.get(started, started)
    # Not by `pipeline/run`, which notes the time itself.
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.stages.check"],
        cwd=fresh,
        env=environment(MILLRACE_STARTED=value),
        capture_output=True,
        text=True,
        check=False,
    )
    assert code == done.returncode, done.stderr
    assert 0 == run_stage(fresh, "pipeline/run check").returncode


def test_file_from_the_future_does_not_stop_a_stage(fresh):
    """Unpacked from a machine whose clock is ahead: its time is no sign of an edit while the stage starts."""
    later = time.time() + DAY_SECONDS
    os.utime(fresh / "pipeline/params/load.py", (later, later))
    done = run_stage(fresh, "pipeline/run check")
    assert 0 == done.returncode, done.stderr
