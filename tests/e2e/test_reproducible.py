"""Two clones give the same bytes, and a crash is a pause."""

import os
import random
import signal
import subprocess
import time

import pytest

from tests.e2e.clones import clone, dvc, environment, lock_of, model_files, processes_of

KILLS = int(os.environ.get("MILLRACE_KILLS", "10"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A clone in which the quick digits example ran through, and how long it took in seconds."""
    folder = clone(tmp_path_factory.mktemp("first"), "quick/digits")
    start = time.monotonic()
    dvc(folder, "repro")
    return folder, time.monotonic() - start


@pytest.mark.slow
def test_two_clones_at_different_paths_give_the_same_bytes(undisturbed, tmp_path):
    """Parsed dvc.lock files are equal, and every model file."""
    folder, _ = undisturbed
    other = clone(tmp_path / "another" / "place", "quick/digits")
    dvc(other, "repro")
    assert lock_of(folder) == lock_of(other)
    assert model_files(folder) == model_files(other)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_killed_at_random_moments_and_repeated_gives_the_same_bytes(undisturbed, tmp_path):
    """After each kill -9 of dvc no stage lives on; in the end the files are those of the quiet run."""
    folder, seconds = undisturbed
    other = clone(tmp_path / "killed", "quick/digits")
    seed = int(os.environ.get("MILLRACE_SEED", time.time_ns() % 10**6))
    print(f"MILLRACE_SEED={seed}")
    moments = random.Random(seed)
    for _ in range(KILLS):
        process = subprocess.Popen(
            ["dvc", "--wait-for-lock", "repro"],
            cwd=other,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(timeout=moments.uniform(1, max(3.0, seconds * 2.5 / KILLS)))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        deadline = time.monotonic() + 10
        while processes_of(other) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert processes_of(other) == []
    dvc(other, "repro")
    assert lock_of(folder) == lock_of(other)
    assert model_files(folder) == model_files(other)
    halves = [file for file in other.rglob(".*.keras") if ".dvc" not in file.parts]
    assert halves == []
