"""Golden predictions: what a model answers to a few inputs that travel with it, and the check that it still does.

`python -m pipeline.evaluation.golden DIR` loads a packed model as a stranger would and compares its answers.
A process of its own, so that nothing the training process knew (custom objects, cached graphs, a warm backend) can
make a model work that works nowhere else. It reads `DIR/data/model.keras` and, in `DIR/millrace`, `golden.npz` (arrays
by the names of the model's inputs, and `predictions`), `settings.json`, `state.json` and the exported `model.onnx`.

`python -m pipeline.evaluation.golden --exported DIR` compares the answers of `DIR/model.onnx` alone, beside which the
others lie, without TensorFlow.
"""

import io
import math
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipeline.inference import backend
from pipeline.inference.file_checks import read_bounded, read_plain_zip, refused
from pipeline.inference.prediction import Model, answers
from pipeline.inputs.specs import output_spec
from pipeline.runtime.errors import StorageFailed
from pipeline.runtime.files import canonical_zip, read_json
from pipeline.runtime.paths import MODEL_ONNX
from pipeline.runtime.processes import die_with_parent

if TYPE_CHECKING:
    from pipeline.export.onnx_session import OnnxModel

GOLDEN_ANSWERS = "predictions"
"""Name in golden.npz of what the model answers; all others are names of its inputs."""
TOLERANCE = 1e-6
"""Largest difference, as a share of the spread of the answers: another batch size may change the last bits."""
EXPORTED_TOLERANCE = 1e-5
"""The same for the exported model, which another program runs: sums of every layer in another order."""
RESOLUTION = 2 * float(np.finfo(np.float32).eps)
"""Of a float32, as a share of its size: answers that lie far from zero (1e6 to 1e6 + 1) cannot be told closer."""
MAX_MEMORY_BYTES = 16 << 30
"""Of address space, beside a multiple of the model file: TensorFlow with a small model takes 1.8 GiB."""
MODEL_COPIES = 8
MAX_CPU_SECONDS = 600
MAX_NPZ_BYTES = 256 << 20
KINDS = "biuf"
"""Booleans, whole numbers, floats: no objects, which are pickles, and no records or texts."""


def golden_answers(model_path: Path, details_dir: Path, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return what a model answers to some inputs, in the units of the data.

    Args:
        model_path: The `.keras` file.
        details_dir: Where its settings.json and state.json lie.
        inputs: Arrays by the names of the model's inputs.
    """
    # Keras: not before the check has limited its process, and not for reading a file.
    from pipeline.inference.keras_files import load_model

    return answers_of(load_model(model_path), details_dir, inputs)


def answers_of(model: Model, details_dir: Path, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return what an opened model answers to some inputs, in the units of the data; see `golden_answers`."""
    settings, state = read_json(details_dir / "settings.json"), read_json(details_dir / "state.json")
    only = next(iter(inputs.values()))
    given = only if len(inputs) == 1 else dict(inputs)
    return answers(model, given, np.arange(len(only)), settings["training"], output_spec(state))


def golden_check(folder: Path) -> None:
    """Check that the model in a packed folder gives the golden predictions.

    Raises:
        StorageFailed: It does not, or the file is damaged.
        NotPermitted: The file carries what a model of ours never has.
    """
    details = folder / "millrace"
    settings = read_json(details / "settings.json")
    backend.prepare_tensorflow(settings["threads"], settings["seed"])
    arrays = read_npz(details / "golden.npz")
    expected = arrays.pop(GOLDEN_ANSWERS)
    received = golden_answers(folder / "data/model.keras", details, arrays)
    _require_golden(received, expected, details, TOLERANCE)
    if (details / MODEL_ONNX).is_file():  # versions of earlier releases have none
        exported_check(details)


def exported_check(folder: Path) -> "OnnxModel":
    """Return the exported model of a folder, which gives the golden predictions that lie beside it.

    Raises:
        StorageFailed: It does not, or a file is damaged.
    """
    # onnxruntime: not for reading a file, and not beside Keras.
    from pipeline.export.onnx_session import OnnxModel

    arrays = read_npz(folder / "golden.npz")
    expected = arrays.pop(GOLDEN_ANSWERS)
    model = OnnxModel(folder / MODEL_ONNX)
    _require_golden(answers_of(model, folder, arrays), expected, folder, EXPORTED_TOLERANCE)
    return model


class Difference(NamedTuple):
    """How far two arrays of answers lie apart.

    Attributes:
        largest: In the unit of the answers.
        share: Of their spread, the largest over classes or targets; of their size where all are equal.
        within: Whether it is at most the tolerance, or what float32 cannot tell.
    """

    largest: float
    share: float
    within: bool


def difference(
    received: np.ndarray, expected: np.ndarray, state: Mapping[str, Any], tolerance: float
) -> Difference:
    """Return how far answers lie apart, measured by their spread.

    Args:
        received: As `inference.prediction.answers` gives them.
        expected: The same, of the same shape.
        state: Content of the model's state.json. Probabilities of all classes have one unit; each target has its own,
            and none is 1.
        tolerance: Share of the spread that counts as equal.
    """
    classes = state.get("task", "classification") in ("classification", "multilabel")
    wanted, said = (columns(answers, together=classes) for answers in (expected, received))
    apart, wide = np.abs(said - wanted), spread(wanted)
    # Written so that NaN fails.
    within = (apart <= tolerance * wide + RESOLUTION * np.abs(wanted).max(axis=0)).all()
    unit = np.where(wide > 0, wide, np.maximum(np.abs(wanted).max(axis=0), np.finfo(np.float32).tiny))
    return Difference(float(apart.max()), float((apart.max(axis=0) / unit).max()), bool(within))


def _require_golden(received: np.ndarray, expected: np.ndarray, details: Path, tolerance: float) -> None:
    """Compare answers with the golden ones.

    Raises:
        StorageFailed: They differ, by more than a share of their spread.
    """
    if received.shape != expected.shape or not len(expected):
        raise StorageFailed(
            f"Predictions have another shape. Expected {expected.shape}. Received: {received.shape}."
        )
    found = difference(received, expected, read_json(details / "state.json"), tolerance)
    if not found.within:
        raise StorageFailed(
            f"Predictions differ. Expected the golden ones up to {tolerance} of their spread. "
            f"Received: largest difference {found.largest}."
        )


def columns(answers: np.ndarray, *, together: bool = False) -> np.ndarray:
    """Return answers as a float64 table with a column per class or target, or one column for all `together`."""
    width = 1 if together or answers.ndim == 1 else answers.shape[-1]
    return answers.reshape(-1, width).astype(np.float64)


def spread(table: np.ndarray) -> np.ndarray:
    """Return how far the values of each column lie apart, shape (num_columns,), in their own unit.

    What differences are measured by: a floor of 1 would let a model pass that answers 0 to targets of 1e-4.
    """
    return np.asarray(np.ptp(table, axis=0))


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


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name to `path`, all or nothing."""
    named: dict[str, Any] = dict(arrays)
    # In memory: a folder of temporary files would outlive a kill.
    with io.BytesIO() as as_numpy_writes:
        np.savez(as_numpy_writes, **named)
        # Python 3.11.2 and 3.11.7 write other bytes for the same arrays; rewritten, they are equal.
        canonical_zip(as_numpy_writes, path)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file by name.

    Args:
        path: As `write_npz` writes it.

    Raises:
        FileNotFoundError: There is no such file.
        StorageFailed: It is damaged.
        NotPermitted: It holds more than plain arrays, or is too large.
    """
    members = read_plain_zip(read_bounded(path, MAX_NPZ_BYTES), path)
    return {name.removesuffix(".npy"): _array(name, content, path) for name, content in members.items()}


def _array(name: str, content: bytes, path: Path) -> np.ndarray:
    """Return the array of one member, once its header fits the bytes that follow."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise refused(path, "has arrays in an unknown format", "version (1, 0)", f"{name}: {version}")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    except ValueError as error:
        raise StorageFailed(
            f"{path} is damaged. Expected arrays as NumPy writes them. Received: {name}: {str(error)[:200]}. "
            "Fetch or make it again."
        ) from error
    held, declared = len(content) - file.tell(), math.prod(shape) * dtype.itemsize
    if dtype.kind not in KINDS or dtype.hasobject or fortran:
        raise refused(path, "has arrays that are no plain numbers", "numbers in C order", f"{name}: {dtype}")
    if held != declared:
        raise refused(
            path, "declares arrays that it does not hold", f"{held:,} bytes", f"{name}: {declared:,}"
        )
    return np.frombuffer(content, dtype, offset=file.tell()).reshape(shape).copy()


def main() -> None:
    """Check the folder that the command line names last; what is wrong goes to standard error.

    Not by `stage.exit_codes`: the status file belongs to the stage that asks.
    """
    try:
        die_with_parent()
        folder, exported = Path(sys.argv[-1]), "--exported" in sys.argv[1:-1]
        model_bytes = (folder / (MODEL_ONNX if exported else "data/model.keras")).stat().st_size
        limit_this_process(MAX_MEMORY_BYTES + MODEL_COPIES * model_bytes)
        (exported_check if exported else golden_check)(folder)
    except Exception as error:  # whatever it is, the stage that asks reports it
        raise SystemExit(f"{type(error).__name__}: {error}") from error


if __name__ == "__main__":
    main()
    # TensorFlow takes a second of processor time to put itself away, and nothing of it is kept.
    os._exit(0)
