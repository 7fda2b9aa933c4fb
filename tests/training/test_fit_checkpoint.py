"""`pipeline.training.fit`: whole, verified, or not at all."""

import os
import resource
import subprocess
import sys

import numpy as np
import pytest

from pipeline.training import fit
from pipeline.training.fit import DamagedCheckpoint

GROUPS = {"model": [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(7, np.int64)], "best": []}
STATE = {"epoch": 3, "history": [{"loss": 0.1}]}


class Variable:
    """The part of a Keras variable that checkpoints use."""

    def __init__(self, value):
        self.value = np.asarray(value)
        self.shape, self.dtype = self.value.shape, self.value.dtype

    def assign(self, value):
        self.value = value


def test_round_trip(tmp_path):
    """What was saved comes back: values, shapes, types, groups without arrays, and state."""
    fit.save_checkpoint(tmp_path / "c", GROUPS, STATE)
    groups, state = fit.load(tmp_path / "c")
    assert (state, sorted(groups, reverse=True)) == (STATE, ["model", "best"])
    for expected, received in zip(GROUPS["model"], groups["model"], strict=True):
        np.testing.assert_array_equal(expected, received)
        assert (expected.dtype, expected.shape) == (received.dtype, received.shape)
    assert groups["best"] == []


def test_any_flipped_bit_is_noticed(tmp_path):
    """One flipped bit anywhere in the file refuses it; Keras' own weight files load other numbers instead."""
    path = tmp_path / "c"
    fit.save_checkpoint(path, GROUPS, STATE)
    content = path.read_bytes()
    for position in range(0, len(content), max(1, len(content) // 200)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(DamagedCheckpoint):
            fit.load(path)


@pytest.mark.parametrize("length", [0, 10, 60, -1])
def test_cut_file_is_noticed(tmp_path, length):
    """A file that ends too early is refused."""
    path = tmp_path / "c"
    fit.save_checkpoint(path, GROUPS, STATE)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedCheckpoint):
        fit.load(path)


@pytest.mark.long
def test_full_disk_keeps_the_old_checkpoint(tmp_path):
    """Where a new one does not fit, saving fails, the good old file stays, and nothing is left beside it."""
    path = tmp_path / "c"
    fit.save_checkpoint(path, GROUPS, STATE)
    before = path.read_bytes()
    child = f"""
import numpy as np, pathlib
from pipeline.training import fit
fit.save_checkpoint(pathlib.Path({str(path)!r}), {{"model": [np.zeros(100_000)]}}, {{}})
"""
    limit = len(before) + 4096
    done = subprocess.run(
        [sys.executable, "-c", child],
        capture_output=True,
        text=True,
        # Without byte code: Python itself leaves cut .pyc files behind on a full disk.
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1
    assert "OSError" in done.stderr
    assert before == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_nan_in_the_state_is_never_written(tmp_path):
    """A state that is not finite raises before anything is replaced."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        fit.save_checkpoint(tmp_path / "c", GROUPS, {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arrays",
    [[np.zeros(2, np.float32)], [np.zeros(2, np.float32), np.zeros(3)], [np.zeros(2, np.float32), np.zeros((1, 3), np.float32)]],
    ids=["too few", "another type", "another shape"],
)  # fmt: skip
def test_arrays_of_another_model_are_refused_whole(arrays):
    """If one array does not fit, no variable is changed."""
    variables = [Variable(np.ones(2, np.float32)), Variable(np.ones(3, np.float32))]
    with pytest.raises(DamagedCheckpoint, match="belong to another model"):
        fit.assign(variables, arrays, "weights")
    assert all((variable.value == 1).all() for variable in variables)
