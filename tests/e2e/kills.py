"""`dvc repro` in a clone, killed at random moments, also inside the stages that come late."""

import re
import signal
import subprocess
import sys
import time

from tests.e2e.clones import environment, processes_of

AIMED_AT = ("tune", "folds", "refit", "evaluate", "register")
"""Stages that a kill after so many seconds would rarely meet, since every repetition starts before them."""
AIMED_SECONDS = 15.0
"""Longer than `register` of the quick example takes."""
TEMPORARY = re.compile(r"^\..+\.\d+\.")
"""How the files of an unfinished write are called: `.name.<process>.xyz`."""


def kill_once(folder, moments, longest_seconds):
    """Start the pipeline in a clone and kill dvc; return what was killed, in words, or "" if it ended before.

    Args:
        folder: The clone.
        moments: A `random.Random`.
        longest_seconds: Of the kills that are not aimed at a stage.
    """
    stage = moments.choice((None, *AIMED_AT))
    process = start(folder, "repro")
    if stage is None:
        seconds = moments.uniform(1, longest_seconds)
        return _killed(process, seconds, f"after {seconds:.1f} s")
    while process.poll() is None and not _runs(folder, stage):
        time.sleep(0.05)
    if process.poll() is not None:
        # It is done already: do it once more.
        process = start(folder, "repro", "--force", "--single-item", stage)
        while process.poll() is None and not _runs(folder, stage):
            time.sleep(0.05)
    seconds = moments.uniform(0, AIMED_SECONDS)
    return _killed(process, seconds, f"{seconds:.1f} s into {stage}")


def start(folder, *arguments):
    """Start dvc in a clone."""
    mend(folder)
    return subprocess.Popen(
        ["dvc", "--wait-for-lock", *arguments],
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def mend(folder):
    """Do what `make run` does where a kill tore dvc.lock."""
    subprocess.run(
        [sys.executable, "-m", "pipeline.runtime.repository"], cwd=folder, env=environment(), check=False
    )


def orphans(folder):
    """Return the processes that are still in a clone some seconds after everything was killed."""
    deadline = time.monotonic() + 10
    while processes_of(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    return processes_of(folder)


def half_files(folder):
    """Return the files of a clone that an unfinished write left."""
    left_out = (".dvc", ".git", ".venv")
    files = (path.relative_to(folder) for path in folder.rglob(".*"))
    return sorted(str(path) for path in files if TEMPORARY.match(path.name) and path.parts[0] not in left_out)


def _runs(folder, stage):
    module = f"pipeline.stages.{stage}"
    return any(module in (command or []) for command in processes_of(folder))


def _killed(process, seconds, words):
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return words
    return ""
