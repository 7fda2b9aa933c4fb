"""`pipeline.training.workers`: processes that train one model together, killed and told apart."""

import contextlib
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.inputs.train_data import load_train_data
from pipeline.params.load import load_params
from pipeline.runtime.errors import Busy, ProgramFailed
from pipeline.training.candidate import train_candidate
from pipeline.training.workers import Workers, training_with
from tests.helpers.together import children, start, wait_for
from tests.helpers.train_project import MODELS, TRAINING, write_train_project

BUSY = 75
EPOCHS = {"cnn": 6, "autoencoder": 9}


def ended(folder, family="cnn"):
    """Train to the end in processes of their own, and return the digest of the weights."""
    process = start(folder, family)
    errors = process.communicate(timeout=400)[1]
    assert 0 == process.returncode, errors
    return (folder / "digest").read_text()


def epochs(folder):
    """Return how many epochs have been told of."""
    return (folder / "epochs").read_text().count("\n") if (folder / "epochs").exists() else 0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Folders of trainings that nothing disturbed, by family."""
    made = {}

    def of(family):
        if family not in made:
            made[family] = tmp_path_factory.mktemp(family)
            write_train_project(made[family])
            ended(made[family], family)
        return made[family]

    return of


SHARED = {
    "an uneven last batch": {},
    "epochs of 75 steps, which Keras itself runs": {"batch_size": 4, "min_steps": 300},
    "an early end": {"epochs": 30, "learning_rate": 0.5, "clip_norm": 0.0, "ema_momentum": 0.0, "early_stopping_patience": 1},
    "an uneven last batch, again": {},
}  # fmt: skip
"""Trainings that the same processes share one after the other."""


@pytest.mark.long
def test_two_processes_learn_what_one_learns_from_the_same_batches(tmp_path, monkeypatch):
    """Without dropout and statistics of a batch the weights differ by rounding alone, and so do the losses."""
    write_train_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    model = MODELS["dense"] | {"dropout": 0.0, "batch_normalization": False, "l2": 1e-3}
    plain = TRAINING | {"epochs": 4, "batch_size": 13, "ema_momentum": 0.5, "clip_norm": 1.0}
    data, weights = load_train_data("dense"), {}
    with training_with(train_candidate, plain | {"workers": 2}, 2) as train_together:
        for name, changes in SHARED.items():
            trained = []
            for train, workers in ((train_candidate, 1), (train_together, 2)):
                training = plain | changes | {"workers": workers}
                folder = tmp_path / name / str(workers)
                trained.append(train("dense", data, model, training, seed=4, checkpoint_dir=folder))
            one, two = (each.model.get_weights() for each in trained)
            for expected, received in zip(one, two, strict=True):
                np.testing.assert_allclose(received, expected, atol=1e-5, err_msg=name)
            losses = [[logs["loss"] for logs in each.result.history] for each in trained]
            assert losses[1] == pytest.approx(losses[0], rel=1e-4), name
            assert (len(losses[0]) < 30) == trained[0].result.finished, "or it did not end early"
            weights[name] = two
    for expected, received in zip(weights["an uneven last batch"], two, strict=True):
        np.testing.assert_array_equal(received, expected)


@pytest.mark.parametrize(
    ("code", "kind", "answer", "said"),
    [(-9, Busy, 75, "killed by SIGKILL"), (74, ProgramFailed, 74, "ended with exit code 74"), (75, Busy, 75, "exit code 75")],
)  # fmt: skip
def test_how_a_rank_was_lost_decides_whether_to_try_again(code, kind, answer, said):
    """One that was killed may be tried again; one that failed has said why, and would fail again with that code."""
    workers = Workers(train_candidate, 2, 1)
    workers._processes = [SimpleNamespace(wait=lambda _seconds: code)]
    error = workers._cause_of_loss(SimpleNamespace(lost=1, size=2))
    assert (kind, answer) == (type(error), error.exit_code)
    assert said in str(error)


def test_one_worker_is_this_process():
    """Nothing is started and nothing else is called, said or left out; nor for a family that has no epochs."""
    for training in ({"epochs": 3}, {"epochs": 3, "workers": 1}, {"epochs": 0, "workers": 4}):
        with training_with(train_candidate, training, 1) as train:
            assert train is train_candidate


def test_a_file_says_nothing_of_workers_that_nobody_asked_for():
    """settings.json keeps its bytes where the key is left out."""
    import msgspec

    root = Path(__file__).resolve().parents[2]
    assert "workers" not in msgspec.to_builtins(load_params(root / "params.yaml").training)


@pytest.mark.long
def test_the_ranks_have_the_same_weights_after_each_epoch(undisturbed):
    """With dropout, shifted images, normalisation, averaged weights, clipping and an uneven last batch."""
    said = [line.split() for line in (undisturbed("cnn") / "said").read_text().splitlines()]
    assert EPOCHS["cnn"] == len(said) == len({digest for line in said for digest in line})
    assert all(len(line) == 2 and line[0] == line[1] for line in said)


@pytest.mark.long
@pytest.mark.parametrize(
    ("family", "epoch", "rank"), [("cnn", 2, 1), ("cnn", 4, 0), ("autoencoder", 2, 1), ("autoencoder", 5, 0)]
)
def test_a_killed_rank_ends_all_and_the_same_command_ends_in_the_same_bytes(
    undisturbed, tmp_path, family, epoch, rank
):
    """Killed after an epoch; of an autoencoder in the reconstruction before, and in what is learned on its codes."""
    write_train_project(tmp_path)
    process = start(tmp_path, family)
    wait_for(lambda: epochs(tmp_path) >= epoch or process.poll() is not None)
    (other,) = children(process.pid)
    os.kill(other if rank else process.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    errors = process.communicate(timeout=60)[1]
    assert time.monotonic() - killed_at < 30
    assert process.returncode == (BUSY if rank else -signal.SIGKILL), errors
    if rank:
        assert "Rank 1 of 2 that train together was killed by SIGKILL" in errors
        assert "run the same command again" in errors
    wait_for(lambda: not Path(f"/proc/{other}").exists(), seconds=10)
    assert epochs(tmp_path) < EPOCHS[family], "or the test shows nothing"
    assert (undisturbed(family) / "digest").read_text() == ended(tmp_path, family)
    assert epochs(tmp_path) <= EPOCHS[family] + 1, "or it began anew"


@pytest.mark.long
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_the_stage_ends_all_ranks(tmp_path, number, expected):
    """The others ignore what reaches the whole group, and end with rank 0."""
    write_train_project(tmp_path)
    process = start(tmp_path, "cnn")
    wait_for(lambda: epochs(tmp_path) >= 1 or process.poll() is not None)
    (other,) = children(process.pid)
    os.kill(other, number)
    os.kill(process.pid, number)
    errors = process.communicate(timeout=60)[1]
    assert expected == process.returncode, errors
    wait_for(lambda: not Path(f"/proc/{other}").exists(), seconds=10)


@pytest.mark.slow
def test_random_kills_end_in_the_same_bytes(undisturbed, tmp_path):
    """Ten kills of either rank at any moment: while it starts, within a step, while the checkpoint is written."""
    rng = np.random.default_rng(0)
    expected = (undisturbed("cnn") / "digest").read_text()
    for attempt in range(10):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        write_train_project(folder)
        process = start(folder, "cnn")
        (other,) = wait_for(lambda process=process: children(process.pid))
        time.sleep(rng.uniform(0, 12))
        with contextlib.suppress(ProcessLookupError):  # it was done
            os.kill(rng.choice([other, process.pid]), signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode in (0, BUSY, -signal.SIGKILL)
        wait_for(lambda other=other: not Path(f"/proc/{other}").exists(), seconds=10)
        assert expected == ended(folder)
