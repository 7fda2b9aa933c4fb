"""Every durable writer, failed or killed at its Nth system call: never torn, nothing left behind, the next run fine."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.faults.injection import strace_problem
from tests.faults.writers import WRITERS

PROBLEM = strace_problem()
SEED = 7
KEPT = {
    # Folders in the system's temporary folder that nobody cleared away.
    "write_npz": ["close:11:KILL", "write:15:KILL"],
    # A link that was never renamed, and never removed.
    "settled": ["rename:9:KILL"],
    # A half-made database and its journal stayed beside mlflow.db.
    "new store": ["pwrite64:3470:KILL"],
    # A failing disk under the look for a half-made store was called a bug of Millrace.
    "champions": ["ftruncate:1:ENOSPC"],
    # HDF5 raises RuntimeError where the disk is full, and Keras UnboundLocalError: both were called bugs of Millrace.
    # The 11th write is of weights: HDF5 forgot that it had failed, and a model of zeros was saved as if all were well.
    "keras": ["pwrite64:16:ENOSPC", "mkdir:4:EIO", "pwrite64:11:ENOSPC", "pwrite64:11:EIO"],
}
"""Points that once showed a fault, tried for ever."""

pytestmark = pytest.mark.skipif(bool(PROBLEM), reason=PROBLEM)


def sweep(writer, *options):
    """Run a sweep in a process without threads, and return its output; fail with what it found."""
    kept = [*(["--points", *KEPT[writer]] if writer in KEPT else [])]
    command = [sys.executable, "-m", "tests.faults.sweep", writer, "--seed", str(SEED), *options, *kept]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    return done.stdout


DEAR = ("champions", "keras", "model version", "new store")
"""Each run of these takes seconds: `make test-slow`."""
LONG = ("checkpoint", "audit")
"""Some seconds each: `make test-long`."""


@pytest.mark.parametrize(
    "writer",
    [
        pytest.param(
            name, marks=pytest.mark.slow if name in DEAR else pytest.mark.long if name in LONG else ()
        )
        for name in WRITERS
    ],
)
def test_sample_of_faults_tears_nothing_and_leaves_nothing(writer):
    """Points drawn with a printed seed, and those that once failed: old or new, whole, and the next run is fine."""
    assert "0 problems" in sweep(writer, "--sample", "3" if WRITERS[writer].dear else "20")


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("writer", WRITERS)
def test_every_fault_tears_nothing_and_leaves_nothing(writer):
    """All points, 300 at least."""
    tried = int(sweep(writer, "--all").split(" of ")[0].split()[-1])
    assert tried >= 300
