"""Load a packed model as a stranger would and compare its answers: `python -m pipeline.golden_check DIR`.

A process of its own, so that nothing the training process knew (custom objects, cached graphs, a warm
backend) can make a model work that works nowhere else.

Reads `DIR/data/model.keras`, `DIR/millrace/golden.npz` (arrays by the names of the model's inputs, and
`predictions`), `DIR/millrace/settings.json` and `DIR/millrace/state.json`.
"""

import os
import resource
import sys
from pathlib import Path

import numpy as np

from pipeline import backend, runtime
from pipeline.artifacts import read_json

TOLERANCE = 1e-6
"""Largest difference, as a share of the largest answer where that is above 1: another batch size may change the
last bits of a float32."""
MAX_MEMORY_BYTES = 16 << 30
"""Of address space, beside a multiple of the model file: TensorFlow with a small model takes 1.8 GiB."""
MODEL_COPIES = 8
MAX_CPU_SECONDS = 600


def golden_check(folder: Path) -> None:
    """Check that the model in a packed folder gives the golden predictions.

    Raises:
        StorageFailed: It does not, or the file is damaged.
        NotPermitted: The file carries what a model of ours never has.
    """
    details = folder / "millrace"
    settings = read_json(details / "settings.json")
    backend.prepare_tensorflow(settings["threads"], settings["seed"])
    from pipeline.golden import GOLDEN_ANSWERS, golden_answers
    from pipeline.npz_files import read_npz

    arrays = read_npz(details / "golden.npz")
    expected = arrays.pop(GOLDEN_ANSWERS)
    received = golden_answers(folder / "data/model.keras", details, arrays)
    if received.shape != expected.shape or not len(expected):
        raise runtime.StorageFailed(
            f"Predictions have another shape. Expected {expected.shape}. Received: {received.shape}."
        )
    difference = float(np.abs(received - expected).max()) / max(1.0, float(np.abs(expected).max()))
    # Written so that NaN fails.
    if not difference <= TOLERANCE:
        raise runtime.StorageFailed(
            f"Predictions differ. Expected the golden ones up to {TOLERANCE}. "
            f"Received: largest difference {difference}."
        )


def limit_this_process(max_bytes: int, max_cpu_seconds: int = MAX_CPU_SECONDS) -> None:
    """Let the kernel end this process when a model takes too much memory or processor time.

    Args:
        max_bytes: Of address space; not limited where there is an NVIDIA driver, which maps all memory of the machine.
        max_cpu_seconds: Of all threads together.
    """
    limits = {resource.RLIMIT_CPU: max_cpu_seconds}
    if not Path("/dev/nvidiactl").exists():
        limits[resource.RLIMIT_AS] = max_bytes
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        lowest = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (lowest, hard))


def main() -> None:
    """Check the folder named on the command line; what is wrong goes to standard error.

    Not by `runtime.exit_codes`: the status file belongs to the stage that asks.
    """
    try:
        runtime.die_with_parent()
        folder = Path(sys.argv[1])
        model_bytes = (folder / "data/model.keras").stat().st_size
        limit_this_process(MAX_MEMORY_BYTES + MODEL_COPIES * model_bytes)
        golden_check(folder)
    except Exception as error:  # whatever it is, the stage that asks reports it
        raise SystemExit(f"{type(error).__name__}: {error}") from error


if __name__ == "__main__":
    main()
    # TensorFlow takes a second of processor time to put itself away, and nothing of it is kept.
    os._exit(0)
