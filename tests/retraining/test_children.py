"""Programs that a retrain starts end with it: by its time limit, its SIGTERM, and its death."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from pipeline.retraining.children import Children
from pipeline.runtime.errors import Busy
from tests.helpers.fake_project import git

ROOT = Path(__file__).resolve().parents[2]
# A program with a child of its own, as dvc has; both tell their number in a file.
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
with open("family.new", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.rename("family.new", "family")
time.sleep(300)
"""


def alive(folder):
    """Return which of the family still run."""
    numbers = [int(number) for number in (folder / "family").read_text().split()]
    running = [psutil.Process(number) for number in numbers if psutil.pid_exists(number)]
    return [process.pid for process in running if process.status() != psutil.STATUS_ZOMBIE]


def gone(folder, seconds=15):
    """Wait until none of the family runs; return whether that happened."""
    deadline = time.monotonic() + seconds
    while alive(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(folder)


@pytest.mark.long
def test_the_time_limit_ends_the_whole_family(tmp_path):
    """Exit code 75, and nothing runs on."""
    children = Children(tmp_path, tmp_path, deadline=time.monotonic() + 4)
    with pytest.raises(Busy, match="time limit"):
        children._run([sys.executable, "-c", FAMILY], tmp_path)
    assert gone(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_child_outlives_a_retrain(tmp_path, number):
    """Not even after kill -9, which runs no code of ours; whoever the child has started ends with it as stages do."""
    script = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        from pipeline.retraining.children import Children
        from pipeline.runtime.stage import exit_codes
        with exit_codes("retrain", recorded=False):
            Children(Path.cwd(), Path.cwd())._run([sys.executable, "-c", {FAMILY!r}], Path.cwd())
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "family").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    process.wait(30)
    parent, child = (int(text) for text in (tmp_path / "family").read_text().split())
    if number == signal.SIGTERM:
        assert process.returncode == 143
        assert gone(tmp_path)
    else:
        # The kernel takes the program itself; a stage watches its own parent (runtime.die_with_parent).
        deadline = time.monotonic() + 15
        while parent in alive(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert parent not in alive(tmp_path)
        os.kill(child, signal.SIGKILL)


def test_the_environment_names_the_project_and_this_interpreter(tmp_path, monkeypatch):
    """Stages find the record, the downloads and the packages of the project; what an outer dvc said is dropped."""
    monkeypatch.setenv("DVC_ROOT", "/elsewhere")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    environment = Children(tmp_path / "project", tmp_path / "tree").environment()
    assert environment["MILLRACE_HOME"] == str(tmp_path / "project")
    assert environment["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path}/project/mlflow.db"
    assert environment["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert "DVC_ROOT" not in environment


def test_a_machine_without_a_git_identity_can_commit(tmp_path, monkeypatch):
    """A server that nobody has set up for git commits as millrace."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    git(tmp_path, "init", "-q")
    children = Children(tmp_path, tmp_path)
    children.git("commit", "--quiet", "--allow-empty", "--message", "x")
    assert git(tmp_path, "log", "-1", "--format=%an") == "millrace retrain"
