"""Arrays beside a model are read as they were written and nothing else is; what tries a model limits itself."""

import io
import pickle
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.evaluation import golden
from pipeline.evaluation.golden import read_npz, write_npz
from pipeline.runtime.errors import NotPermitted, StorageFailed


def planted(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inputs.npy", content)
    return path


def header(shape, dtype="<f4"):
    """Return the start of an .npy file that declares an array."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


def test_arrays_come_back_as_numpy_reads_them(tmp_path):
    """Same names, types, shapes and values, also for NumPy; equal arrays give equal bytes."""
    arrays = {
        "inputs": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "side": np.float32([0.5]),
        "b": np.array([True]),
    }
    write_npz(tmp_path / "a.npz", arrays)
    write_npz(tmp_path / "b.npz", arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    read = read_npz(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as expected:
        assert sorted(expected) == sorted(read)
        for name in expected:
            np.testing.assert_array_equal(expected[name], read[name], strict=True)
    read["inputs"][0, 0] = 9


def test_a_pickle_in_an_array_is_not_run(tmp_path):
    """An array of objects is a pickle, which would run when it is read."""
    canary = tmp_path / "canary"

    class Canary:
        def __reduce__(self):
            return (open, (str(canary), "w"))

    content = header((1,), "|O") + pickle.dumps([Canary()])
    with pytest.raises(NotPermitted, match=r"no plain numbers.*object"):
        read_npz(planted(tmp_path / "x.npz", content))
    assert not canary.exists()


@pytest.mark.parametrize("shape", [(10**13,), (3, 5), (2,), (-1,)])
def test_an_array_is_as_large_as_it_says(tmp_path, shape):
    """Ten terabytes declared, too much, too little, or less than nothing: no memory is taken for it."""
    with pytest.raises((NotPermitted, StorageFailed), match=r"does not hold|damaged"):
        read_npz(planted(tmp_path / "x.npz", header(shape) + bytes(12)))


def test_a_compressed_array_is_refused(tmp_path):
    """A bomb of zeros."""
    np.savez_compressed(tmp_path / "x.npz", inputs=np.zeros(10**6))
    with pytest.raises(NotPermitted, match="compressed member"):
        read_npz(tmp_path / "x.npz")


@pytest.mark.parametrize("name", ["../inputs.npy", "/inputs.npy", "a/inputs.npy", "a\\b.npy", ".npy"])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    """Only plain file names are names of arrays."""
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr(name, header((1,)) + bytes(4))
    with pytest.raises(NotPermitted, match="unsafe names"):
        read_npz(tmp_path / "x.npz")


def test_what_is_no_array_is_damage(tmp_path):
    """Bytes without NumPy's header."""
    with pytest.raises(StorageFailed, match="arrays as NumPy writes them"):
        read_npz(planted(tmp_path / "x.npz", b"nonsense"))


TARGETS = np.linspace(0.5, 9, 16, dtype=np.float32)[:, None]


@pytest.mark.parametrize(
    ("expected", "received", "passes"),
    [
        (TARGETS * 1e-7, TARGETS * 0, False),
        (TARGETS * 1e-7, TARGETS * np.float32(1e-7) * np.float32(1 + 5e-7), True),
        (TARGETS * np.float32([1e3, 1e-4]), TARGETS * np.float32([1e3, 0]), False),
        (TARGETS + 1e5, np.full_like(TARGETS, 1e5 + 4.75), False),
        (TARGETS + 1e5, np.nextafter(TARGETS + np.float32(1e5), np.float32(np.inf)), True),
        (TARGETS, TARGETS * np.nan, False),
        (TARGETS * np.nan, TARGETS * np.nan, False),
    ],
    ids=[
        "small",
        "small, rounded",
        "one of two",
        "far from zero",
        "far, rounded",
        "not a number",
        "both not",
    ],
)
def test_golden_answers_are_compared_by_their_spread(tmp_path, monkeypatch, expected, received, passes):
    """Targets in nanometres do not pass for being small, nor one of two for the other's size."""
    details = tmp_path / "millrace"
    details.mkdir()
    (details / "settings.json").write_text('{"threads": 2, "seed": 7}')
    (details / "state.json").write_text('{"task": "regression"}')
    write_npz(
        details / "golden.npz", {"inputs": np.zeros((16, 3), np.float32), golden.GOLDEN_ANSWERS: expected}
    )
    monkeypatch.setattr(golden.backend, "prepare_tensorflow", lambda *_arguments: None)
    monkeypatch.setattr(golden, "golden_answers", lambda *_arguments: received)
    if passes:
        golden.golden_check(tmp_path)
        return
    with pytest.raises(StorageFailed, match="Predictions differ"):
        golden.golden_check(tmp_path)


def limited(code, *, max_bytes=1 << 30, max_cpu_seconds=20):
    """Run code in a process that limited itself first; Keras is not imported."""
    first = f"from pipeline.evaluation.golden import limit_this_process as limit; limit({max_bytes}, {max_cpu_seconds})\n"
    return subprocess.run(
        [sys.executable, "-c", first + code], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="an NVIDIA driver maps all memory of the machine")
def test_memory_above_the_limit_is_not_given():
    """Two gibibytes are refused where one is allowed; a little is given."""
    assert "MemoryError" in limited("bytearray(2 << 30)").stderr
    assert limited("bytearray(1 << 20)").returncode == 0


def test_endless_work_is_ended():
    """A process that computes for ever is ended by the kernel after its seconds of processor time."""
    assert -signal.SIGXCPU == limited("while True: pass", max_cpu_seconds=1).returncode
