"""Stage `train`: files, resume after a kill, and the live log, with real processes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from ruamel.yaml import YAML

from pipeline.runtime import paths
from pipeline.runtime.files import path_digest
from tests.conftest import ROOT
from tests.helpers.train_project import write_train_project

CHILD = """
import sys
from pipeline.runtime import progress
progress.start_follower = lambda candidate: None  # the follower has tests of its own
from pipeline.stages import train
sys.argv = ["train", sys.argv[1]]
train.main()
"""


@pytest.fixture
def tiny(project):
    """A copy of the project with tiny data, where the cnn trains 6 epochs with everything random switched on."""
    yaml = YAML()
    params = yaml.load(paths.PARAMS_YAML)
    params["threads"] = 1
    params["training"].update({"epochs": 6, "batch_size": 16, "ema_momentum": 0.9})
    params["training"]["augment"].update({"flip": True, "shift_px": 1, "cutout_px": 2})
    params["candidates"]["cnn"]["model"].update({"filters": [4], "units": 8, "dropout": 0.3})
    yaml.dump(params, paths.PARAMS_YAML)
    write_train_project(project)
    return project


def start(candidate):
    """Start the stage in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name not in ("DVC_ROOT", "DVC_STAGE")}
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, candidate],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def finish(process):
    """Return the lines it printed, after it ended well."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out.splitlines()


def live_lines():
    """Return the lines of the live log."""
    path = paths.STATE_DIR / "live/cnn.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.long
def test_train_killed_and_repeated_gives_the_same_bytes(tiny):
    """Killed with -9 in mid-training, the same command continues: same bytes, no epoch twice in the live log."""
    lines = finish(start("cnn"))
    assert [line[:13] for line in (lines[0], lines[5])] == ["cnn epoch 1/6", "cnn epoch 6/6"], (
        "one line per epoch"
    )
    expected = path_digest(paths.baseline_dir("cnn"))
    assert not (paths.STATE_DIR / "train/cnn").exists(), "checkpoints go when the result is there"
    finished = live_lines()
    assert finished[-1]["end"] == "FINISHED"

    (paths.STATE_DIR / "live/cnn.jsonl").unlink()  # the same inputs would go on writing it
    process = start("cnn")
    while len(live_lines()) < 4:
        time.sleep(0.002)
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGKILL)
    process.wait()
    printed = finish(start("cnn"))
    assert printed[0][:11] != "cnn epoch 1", "it continued"
    assert expected == path_digest(paths.baseline_dir("cnn"))
    after = live_lines()
    assert [line["epoch"] for line in after if "epoch" in line] == [1, 2, 3, 4, 5, 6]
    assert [line["metrics"] for line in finished[1:-1]] == [line["metrics"] for line in after[1:-1]]


def test_train_says_which_stage_is_missing(tiny):
    """Without features the exit code is 66 and the message names the stage to run."""
    paths.FEATURES_STATE.unlink()
    process = start("cnn")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 66
    assert "features" in err


@pytest.mark.long
def test_divergence_is_the_users_to_mend(tiny):
    """A learning rate of 1e30 ends with exit code 65, what to change, and FAILED in the live log."""
    yaml = YAML()
    params = yaml.load(paths.PARAMS_YAML)
    params["training"].update({"learning_rate": 1e30, "optimizer": "sgd", "schedule": "constant"})
    yaml.dump(params, paths.PARAMS_YAML)
    process = start("cnn")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 65, err
    assert "Lower training.learning_rate" in err
    assert live_lines()[-1]["end"] == "FAILED"
    assert not paths.baseline_dir("cnn").exists()
