"""A stage on a cluster is the stage: the same outs, the same exit code, the same inputs."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from pipeline.engine import files
from pipeline.engine.stage import Given, Said, open_stage, run_there
from pipeline.engine.work import Ended
from pipeline.runtime import paths
from pipeline.runtime.errors import ProgramFailed, ServiceDown, StorageFailed
from pipeline.runtime.files import content_key
from pipeline.runtime.stage import Snapshot, Stage
from tests.conftest import ROOT
from tests.helpers.digits_project import (
    checkpoints,
    environment,
    train,
    trained,
    write_digits,
)
from tests.helpers.fake_engine import FakeEngine
from tests.helpers.ray_cluster import cluster
from tests.helpers.train_project import write_train_project

OUT = Path("models/baseline/cnn")
EPOCHS = 60
"""Of the digits' cnn: some ten seconds, in which its files come back a few times."""


class There(FakeEngine):
    """An engine on which a stage ends as a test wants, after its folder has held these files one after the other."""

    def __init__(self, said, *came):
        self.said, self.came = said, came

    def run(self, jobs):
        (self.job,) = jobs
        self.given = held(self.job.folder)
        for texts in self.came:
            files.lay(
                {str(path): np.frombuffer(text.encode(), np.uint8) for path, text in texts.items()},
                self.job.folder,
            )
            self.job.on_files()
        if isinstance(self.said, Exception):
            raise self.said
        yield 0, Ended(self.said)


def held(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()
    }


WELL = Said(0, "")
MODEL = {f"outs/{OUT}/model.keras": "made there"}
LIVE_LOG = Path(".millrace/live/cnn.jsonl")
HEADER = '{"inputs_key": "key", "live_id": "a", "started": 1}\n'
EPOCH = '{"epoch": 1, "metrics": {"loss": 0.5}, "timestamp": 2}\n'
FOLDER = Path(".millrace/train/cnn/key")
"""Where `train` keeps its checkpoints."""


def stage():
    return Stage("train@cnn", "key", None, (Path("data/features"),))


def test_outs_are_laid_where_dvc_looks_for_them(project_without_code, capsys):
    """With all the stage printed; what goes along is what dvc.yaml names, the code, and both files of settings."""
    there = There(WELL, MODEL | {"said.log": "cnn: best epoch 2\n"})
    run_there(there, "train", "cnn", stage())
    assert "made there" == (OUT / "model.keras").read_text()
    assert "cnn: best epoch 2\n" == capsys.readouterr().out
    assert [Path("data/features"), Path("pipeline"), paths.DVC_YAML, paths.PARAMS_YAML] == there.asked[
        "needs"
    ]
    assert Given("train", "cnn", "key", [OUT]) == there.job.given
    assert 2 == there.asked["cores"], "threads in params.yaml"
    assert not FOLDER.parent.exists()


def test_what_the_stage_prints_is_shown_as_it_comes_each_line_once(project_without_code, capsys):
    """Whole lines; what an earlier call was told is not told again."""
    FOLDER.mkdir(parents=True)
    (FOLDER / "said.log").write_text("of yesterday\n")
    shown = []
    there = There(
        WELL, {"said.log": "one\ntw"}, {"said.log": "one\ntwo\n"}, MODEL | {"said.log": "one\ntwo\nthree\n"}
    )
    run, there.run = there.run, lambda jobs: run([replace(jobs[0], on_files=lambda: look(jobs[0]))])

    def look(job):
        job.on_files()
        shown.append(capsys.readouterr().out)

    run_there(there, "train", "cnn", stage())
    assert ["one\n", "two\n", "three\n"] == shown
    assert "" == capsys.readouterr().out
    assert {} == there.given


def test_a_curve_is_followed_here_from_its_first_epoch(project_without_code, monkeypatch):
    """In the file where a training here would write it, by one follower."""
    began = []

    def start(name):
        began.append((name, LIVE_LOG.read_text()))
        return "the process"

    monkeypatch.setattr("pipeline.engine.stage.start_follower", start)
    curves = [HEADER, HEADER + EPOCH, HEADER + EPOCH + '{"end": "FINISHED", "timestamp": 3}\n']
    run_there(There(WELL, *(MODEL | {"live/cnn.jsonl": curve} for curve in curves)), "train", "cnn", stage())
    assert [("cnn", HEADER + EPOCH)] == began
    assert curves[-1] == LIVE_LOG.read_text()


def test_a_stage_that_was_stopped_goes_on_where_its_files_came_to(project_without_code):
    """On whichever engine: they lie where `train` looks for them, with the curve as far as it was drawn."""
    came = {"training.checkpoint": "epoch 3", "live/cnn.jsonl": HEADER + EPOCH, "said.log": "cnn epoch 3\n"}
    with pytest.raises(ServiceDown):
        run_there(There(ServiceDown("gone"), came), "train", "cnn", stage())
    assert "epoch 3" == (FOLDER / "training.checkpoint").read_text()
    (FOLDER / "training.checkpoint").write_text("epoch 4, trained here")
    LIVE_LOG.write_text(HEADER + EPOCH * 2)
    there = There(WELL, MODEL)
    run_there(there, "train", "cnn", stage())
    assert {
        "training.checkpoint": "epoch 4, trained here",
        "live/cnn.jsonl": HEADER + EPOCH * 2,
    } == there.given


@pytest.mark.parametrize("here", [HEADER, HEADER.replace("key", "other") + EPOCH * 3])
def test_a_curve_that_had_come_and_was_not_shown_yet_is_kept(project_without_code, here):
    """Where this process was killed between the two; nor does the curve of other inputs replace it."""
    files.lay({"live/cnn.jsonl": np.frombuffer((HEADER + EPOCH).encode(), np.uint8)}, FOLDER)
    LIVE_LOG.parent.mkdir(parents=True)
    LIVE_LOG.write_text(here)
    there = There(WELL, MODEL)
    run_there(there, "train", "cnn", stage())
    assert {"live/cnn.jsonl": HEADER + EPOCH} == there.given


def test_a_kill_between_old_files_and_new_ones_costs_nothing(project_without_code):
    """The old ones had been put aside."""
    files.lay({"training.checkpoint": np.frombuffer(b"epoch 3", np.uint8)}, FOLDER)
    FOLDER.rename(FOLDER.with_name(".key.old"))
    there = There(WELL, MODEL)
    run_there(there, "train", "cnn", stage())
    assert {"training.checkpoint": "epoch 3"} == there.given


STAGE = """
import os, shutil, signal, sys
from pathlib import Path

kept = Path(".millrace/train") / sys.argv[1] / "key"
done = int((kept / "checkpoint").read_text()) if (kept / "checkpoint").exists() else 0
Path(".millrace/live").mkdir(parents=True, exist_ok=True)
for epoch in range(done + 1, 6):
    with Path(".millrace/live/cnn.jsonl").open("a") as file:
        file.write(f"{epoch}\\n")
    print("epoch", epoch)
    (kept / "checkpoint").write_text(str(epoch))
    if epoch == 3:
        print("half a li", end="")
        os.kill(os.getpid(), signal.SIGKILL)
Path("models").mkdir(exist_ok=True)
Path("models/model").write_text("made")
shutil.rmtree(kept.parent, ignore_errors=True)
"""


def test_a_stage_there_keeps_its_checkpoints_in_the_folder_of_its_job(folder):
    """So that they come back while it runs; after a kill it goes on from them, and its log with a new line."""
    (folder / "pipeline/stages").mkdir(parents=True)
    (folder / "pipeline/__init__.py").touch()
    (folder / "pipeline/stages/train.py").write_text(STAGE)
    given = Given("train", "cnn", "key", [Path("models/model")])

    def run(job):
        job.mkdir(exist_ok=True)
        return open_stage()(given, job), held(job)

    said, first = run(folder / "job")
    assert 137 == said.code
    assert {
        "checkpoint": "3",
        "live/cnn.jsonl": "1\n2\n3\n",
        "said.log": "epoch 1\nepoch 2\nepoch 3\nhalf a li",
    } == first
    (folder / "job").rename(folder / "elsewhere")
    said, second = run(folder / "elsewhere")
    assert 0 == said.code
    assert {
        "checkpoint": "5",
        "live/cnn.jsonl": "1\n2\n3\n4\n5\n",
        "said.log": "epoch 1\nepoch 2\nepoch 3\nepoch 4\nepoch 5\n",
        "outs/models/model": "made",
    } == second


@pytest.mark.parametrize(("everybody", "own", "cores"), [({}, {"workers": 3}, 6), ({"workers": 2}, {}, 4)])
def test_a_training_by_several_processes_takes_their_cores(project_without_code, everybody, own, cores):
    """Threads of each of `training.workers`, whoever sets it."""
    yaml = YAML()
    params = yaml.load(paths.PARAMS_YAML)
    params["training"].update(everybody)
    params["candidates"]["cnn"]["training"].update(own)
    yaml.dump(params, paths.PARAMS_YAML)
    there = There(WELL, MODEL)
    run_there(there, "train", "cnn", stage())
    assert cores == there.asked["cores"]


def test_its_exit_code_is_the_stages(project_without_code):
    """With its message, and nothing is laid anywhere."""
    with pytest.raises(ProgramFailed, match="Loss is NaN") as error:
        run_there(There(Said(65, "Loss is NaN."), {f"outs/{OUT}/half": ""}), "train", "cnn", stage())
    assert 65 == error.value.exit_code
    assert not OUT.exists()


def test_outs_that_did_not_come_are_no_success(project_without_code):
    """Whatever its exit code says."""
    with pytest.raises(StorageFailed, match="train@cnn did not leave models/baseline/cnn"):
        run_there(There(WELL), "train", "cnn", stage())


@pytest.mark.long
@pytest.mark.parametrize("name", ["train", pytest.param("folds", marks=pytest.mark.slow)])
def test_the_folder_of_a_job_is_where_its_stage_looks_for_checkpoints(project, name):
    """Killed at its first, it goes on in another process with the files of that folder, and to the same bytes."""
    yaml = YAML()
    params = yaml.load(paths.PARAMS_YAML)
    params["threads"] = 1
    params["training"].update({"epochs": 20, "batch_size": 16})
    params["select"]["min_val_units"] = 1000
    params["candidates"]["cnn"].update(
        {"tune": {}, "model": {**params["candidates"]["cnn"]["model"], "filters": [4], "units": 8}}
    )
    yaml.dump(params, paths.PARAMS_YAML)
    write_train_project(project)
    table = pq.read_table(paths.SAMPLES_PARQUET)
    ids = pa.array([f"{row:03d}" for row in range(len(table))])
    pq.write_table(table.append_column("sample_id", ids), paths.SAMPLES_PARQUET)
    paths.DUPLICATES_PARQUET.parent.mkdir(parents=True)
    pq.write_table(pa.table({"sample_id": ids, "cluster": ids}), paths.DUPLICATES_PARQUET)
    out = {"train": OUT, "folds": Path("models/folds/cnn")}[name]
    for one in [["train"], ["train", "tune", "folds"]][name == "folds"]:
        subprocess.run(["pipeline/run", one, "cnn"], env=environment(), check=True, capture_output=True)
    expected = {path.name: path.read_bytes() for path in out.iterdir()}
    shutil.rmtree(out)
    shutil.rmtree(paths.STATE_DIR)  # a worker begins without
    snapshot = Snapshot.take(f"{name}@cnn")
    given = Given(name, "cnn", content_key([snapshot.digests, snapshot.params]), [out])
    first, second = project / "first", project / "second"
    first.mkdir()
    before = set(psutil.Process().children())  # of earlier tests in this process

    def kill():
        while not any(fnmatch(one, "[!.]*.checkpoint") for *_, names in os.walk(first) for one in names):
            time.sleep(0.01)  # unlike rglob, walk bears folders that vanish while it looks
        (stage,) = set(psutil.Process().children()) - before
        stage.kill()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    assert 137 == open_stage()(given, first).code
    killer.join()
    begun = {path.relative_to(first): path.read_bytes() for path in first.rglob("[!.]*.checkpoint")}
    first.rename(second)
    assert 0 == open_stage()(given, second).code
    assert expected == {path.name: path.read_bytes() for path in (second / "outs" / out).iterdir()}
    assert begun
    assert "cnn epoch 1/" not in (second / "said.log").read_text().partition("cnn epoch 1/")[2]


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


def epochs_told(text):
    return [int(number) for number in re.findall(r"cnn epoch (\d+)/", text)]


def is_ours(process):
    command = " ".join(process.cmdline())
    return "pipeline.stages.train" in command or "_Mail" in command


def wait_until(process, condition):
    while not condition():
        assert process.poll() is None, "it ended before"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The digits' project, and the files of its cnn trained here, undisturbed."""
    folder = write_digits(tmp_path_factory.mktemp("digits"), epochs=EPOCHS)
    log = folder / "here.log"
    assert 0 == train(folder, log).wait(), log.read_text()
    assert list(range(1, EPOCHS + 1)) == epochs_told(log.read_text())
    return folder, trained(folder)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("killed", ["machine", "head", "we"])
def test_a_training_goes_on_from_the_files_that_came(digits, killed):
    """With kill -9 of its machine, of the head (69), of ourselves: behind epoch 0, and to the bytes of one undisturbed."""
    folder, expected = digits
    log = folder / f"{killed}.log"
    token = {"RAY_AUTH_TOKEN": os.environ["RAY_AUTH_TOKEN"]}
    with cluster(head_cores=0) as found:
        process = train(folder, log, MILLRACE_ON=found.address, **token)
        wait_until(process, lambda: checkpoints(folder) and len(epochs_told(log.read_text())) > 4)
        if killed == "machine":
            found.lose_machine()
            assert 0 == process.wait(), log.read_text()
            before, _, after = log.read_text().partition("was lost there")
        elif killed == "head":
            found.lose_head()
            assert 69 == process.wait(), log.read_text()
            before = log.read_text()
            assert "does not answer" in before
        else:
            there = [
                one for one in psutil.Process(found.started.pid).children(recursive=True) if is_ours(one)
            ]
            assert len(there) > 1, "the stage, and what passes its files on"
            process.kill()
            process.wait()
            before = log.read_text()
            _, alive = psutil.wait_procs(there, timeout=300)
            assert [] == alive
            assert 0 == train(folder, log, MILLRACE_ON=found.address, **token).wait(), log.read_text()
    if killed == "head":
        assert 0 == train(folder, log).wait(), log.read_text()
    after = after if killed == "machine" else log.read_text().removeprefix(before)
    assert expected == trained(folder)
    assert epochs_told(after)[0] > 4, "it began at epoch 0"
    # A line may come before the checkpoint that goes with it, and be said twice.
    told = epochs_told(before) + epochs_told(after)
    assert list(range(1, EPOCHS + 1)) == sorted(set(told))
    assert len(told) <= EPOCHS + 1
