"""The fresh process that tries a model limits itself, so that a file cannot take the machine with it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest


def limited(code, *, max_bytes=1 << 30, max_cpu_seconds=20):
    """Run code in a process that limited itself first; Keras is not imported."""
    first = f"from pipeline.golden_check import limit_this_process as limit; limit({max_bytes}, {max_cpu_seconds})\n"
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
