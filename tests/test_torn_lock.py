"""What a kill of DVC cut off: seen, mended, and nothing whole touched."""

import json
import subprocess
import sys

import pytest

from pipeline import paths, torn_lock
from pipeline.retraining.children import Children

PIPELINE = "stages:\n  one: {cmd: echo 1 > one.txt, outs: [one.txt]}\n  two: {cmd: echo 2 > two.txt, deps: [one.txt], outs: [two.txt]}\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A git project of two stages that ran, with its dvc.lock committed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{sys.exec_prefix}/bin:/usr/bin:/bin")
    for command in (
        ["git", "init", "-q"],
        ["dvc", "init", "-q"],
        ["dvc", "config", "core.analytics", "false"],
    ):
        subprocess.run(command, check=True)
    paths.DVC_YAML.write_text(PIPELINE)
    subprocess.run(["dvc", "repro", "-q"], check=True)
    subprocess.run(["git", "add", "-A"], check=True)
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@e", "commit", "-qm", "ran"], check=True)
    return tmp_path


def test_a_whole_lock_is_left_alone(folder):
    """Exit code 1: there was nothing to mend."""
    before = paths.DVC_LOCK.read_bytes()
    assert not torn_lock.mend()
    assert before == paths.DVC_LOCK.read_bytes()
    done = subprocess.run([sys.executable, "-m", "pipeline.torn_lock"], check=False)
    assert done.returncode == 1


def test_wherever_it_was_cut_dvc_takes_it_or_it_is_mended(folder):
    """At every byte; the torn one is kept."""
    whole = paths.DVC_LOCK.read_bytes()
    mended = 0
    for size in range(len(whole)):
        paths.DVC_LOCK.write_bytes(whole[:size])
        if torn_lock.mend():
            mended += 1
            assert whole == paths.DVC_LOCK.read_bytes()
            assert whole[:size] == torn_lock.KEPT.read_bytes()
    assert mended > len(whole) / 4


def test_without_a_committed_one_it_begins_without(folder):
    """A first run that was killed: DVC's run cache knows what was finished."""
    subprocess.run(["git", "rm", "-q", "--cached", "dvc.lock"], check=True)
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@e", "commit", "-qm", "none"], check=True)
    paths.DVC_LOCK.write_bytes(b"")
    assert torn_lock.mend()
    assert not paths.DVC_LOCK.exists()
    said = subprocess.run(["dvc", "repro"], capture_output=True, text=True, check=True).stdout
    assert "is cached - skipping run" in said


def test_a_retrain_goes_on_over_a_torn_lock(folder):
    """DVC says no; the lock is mended and the same stage asked for again."""
    (folder / ".millrace").mkdir(exist_ok=True)
    paths.DVC_LOCK.write_bytes(b"")
    Children(folder, folder).repro("two")
    assert "two" in paths.DVC_LOCK.read_text()


@pytest.mark.parametrize("size", [0, 1, 20])
def test_a_torn_list_of_who_is_at_work_stops_dvc_until_it_is_mended(folder, size):
    """DVC reads it before every stage, and ends with 255 for ever; a retrain mends it by itself."""
    whole = json.dumps({"write": {}, "read": {str(folder / "one.txt"): [{"pid": 1, "cmd": "dvc repro"}]}})
    torn_lock.AT_WORK.write_text(whole[:size])
    (folder / "one.txt").unlink()
    stopped = subprocess.run(["dvc", "repro"], capture_output=True, text=True, check=False)
    assert "JSON structure is corrupted" in stopped.stderr
    Children(folder, folder).repro("two")
    assert (folder / "one.txt").read_text() == "1\n"


def test_a_whole_list_of_who_is_at_work_is_left_alone(folder):
    """Other runs of DVC may stand in it."""
    whole = json.dumps({"write": {}, "read": {str(folder / "one.txt"): [{"pid": 1, "cmd": "dvc repro"}]}})
    torn_lock.AT_WORK.write_text(whole)
    assert torn_lock.mend() == []
    assert torn_lock.AT_WORK.read_text() == whole
