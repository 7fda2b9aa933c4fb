"""A stage on a cluster is the stage: the same outs, the same exit code, the same inputs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.engine.stage import Given, Said, run_there
from pipeline.engine.work import Ended
from pipeline.runtime import paths
from pipeline.runtime.errors import ProgramFailed, StorageFailed
from pipeline.runtime.stage import Stage
from tests.conftest import ROOT
from tests.helpers.fake_engine import FakeEngine
from tests.helpers.ray_cluster import cluster
from tests.helpers.train_project import write_train_project

OUT = Path("models/baseline/cnn")


class There(FakeEngine):
    """An engine on which a stage ends as a test wants, and leaves these files."""

    def __init__(self, said, *left):
        self.said, self.left = said, left

    def run(self, jobs):
        (self.job,) = jobs
        for path in self.left:
            (self.job.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.job.folder / path).write_text("made there")
        yield 0, Ended(self.said)


def stage():
    return Stage("train@cnn", "key", None, (Path("data/features"),))


def test_outs_are_laid_where_dvc_looks_for_them(project_without_code, capsys):
    """With all the stage printed; what goes along is what dvc.yaml names, the code, and both files of settings."""
    there = There(Said("cnn: best epoch 2\n", 0, ""), OUT / "model.keras", ".millrace/live/cnn.jsonl")
    run_there(there, "train", "cnn", stage())
    assert "made there" == (OUT / "model.keras").read_text() == Path(".millrace/live/cnn.jsonl").read_text()
    assert "cnn: best epoch 2\n" == capsys.readouterr().out
    assert [Path("data/features"), Path("pipeline"), paths.DVC_YAML, paths.PARAMS_YAML] == there.asked[
        "needs"
    ]
    assert Given("train", "cnn", [OUT, Path(".millrace/live/cnn.jsonl")]) == there.job.given
    assert 2 == there.asked["cores"], "threads in params.yaml"
    assert not there.job.folder.exists()


@pytest.mark.parametrize(("everybody", "own", "cores"), [({}, {"workers": 3}, 6), ({"workers": 2}, {}, 4)])
def test_a_training_by_several_processes_takes_their_cores(project_without_code, everybody, own, cores):
    """Threads of each of `training.workers`, whoever sets it."""
    yaml = YAML()
    params = yaml.load(paths.PARAMS_YAML)
    params["training"].update(everybody)
    params["candidates"]["cnn"]["training"].update(own)
    yaml.dump(params, paths.PARAMS_YAML)
    there = There(Said("", 0, ""), OUT / "model.keras")
    run_there(there, "train", "cnn", stage())
    assert cores == there.asked["cores"]


def test_its_exit_code_is_the_stages(project_without_code):
    """With its message, and nothing is laid anywhere."""
    with pytest.raises(ProgramFailed, match="Loss is NaN") as error:
        run_there(There(Said("", 65, "Loss is NaN."), OUT / "half"), "train", "cnn", stage())
    assert 65 == error.value.exit_code
    assert not OUT.exists()


def test_outs_that_did_not_come_are_no_success(project_without_code):
    """Whatever its exit code says."""
    with pytest.raises(StorageFailed, match="train@cnn did not leave models/baseline/cnn"):
        run_there(There(Said("", 0, "")), "train", "cnn", stage())


@pytest.mark.ray
@pytest.mark.slow
def test_a_training_on_a_cluster_leaves_the_files_of_one_here(project):
    """Byte for byte, by the command of dvc.yaml; a second time what is wrong there is said here, with its exit code."""
    yaml = YAML()
    params = yaml.load(paths.PARAMS_YAML)
    params["threads"] = 1
    params["training"].update({"epochs": 3, "batch_size": 16})
    params["candidates"]["cnn"]["model"].update({"filters": [4], "units": 8})
    yaml.dump(params, paths.PARAMS_YAML)
    write_train_project(project)
    left_out = ("DVC_ROOT", "DVC_STAGE", "MILLRACE_ENGINE")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment |= {"VIRTUAL_ENV": sys.prefix, "PYTHONPATH": str(ROOT)}

    def trained(**more):
        command = ["pipeline/run", "train", "cnn"]
        done = subprocess.run(command, env=environment | more, capture_output=True, text=True, check=False)
        return done, {path.name: path.read_bytes() for path in OUT.glob("*")}

    here, expected = trained()
    assert 0 == here.returncode, here.stderr
    for path in OUT.glob("*"):
        path.unlink()
    with cluster(nodes=1) as found:
        there, files = trained(MILLRACE_ON=found.address, RAY_AUTH_TOKEN=os.environ["RAY_AUTH_TOKEN"])
        assert 0 == there.returncode, there.stderr
        assert expected == files
        assert here.stdout.splitlines()[-1] == there.stdout.splitlines()[-1]
        params["training"].update({"optimizer": "sgd", "learning_rate": 1e30, "schedule": "constant"})
        yaml.dump(params, paths.PARAMS_YAML)
        there, _ = trained(MILLRACE_ON=found.address, RAY_AUTH_TOKEN=os.environ["RAY_AUTH_TOKEN"])
    assert 65 == there.returncode, there.stderr
    assert "millrace: train@cnn stopped with exit code 65" in there.stderr
