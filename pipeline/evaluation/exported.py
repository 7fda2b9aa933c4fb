"""The exported model beside the chosen one: written, and proven in a process that knows no Keras and no TensorFlow."""

import sys
from pathlib import Path
from subprocess import TimeoutExpired

from pipeline.runtime.errors import AnswersDiffer, NotPermitted, StorageFailed
from pipeline.runtime.files import write_bytes
from pipeline.runtime.paths import MODEL_ONNX
from pipeline.runtime.processes import naming_us, run

CHECK_TIMEOUT_SECONDS = 300


def write_exported(folder: Path) -> None:
    """Write `model.onnx` from the `model.keras` in a folder, and let onnxruntime give the golden answers with it.

    Args:
        folder: Holds model.keras, settings.json, state.json and golden.npz.

    Raises:
        NotPermitted: A layer of the model has no counterpart; the message names it.
        AnswersDiffer: onnxruntime answers otherwise than Keras: what was judged would not be what is served.
        StorageFailed: The check took too much time or memory.
    """
    from pipeline.export.onnx_model import onnx_bytes
    from pipeline.inference.keras_files import load_model

    try:
        content = onnx_bytes(load_model(folder / "model.keras"))
    except (NotImplementedError, OverflowError) as error:
        raise NotPermitted(
            f"The chosen model cannot be exported, so nobody could serve it, and it is not registered. {error}"
        ) from error
    write_bytes(folder / MODEL_ONNX, content)
    _check_in_fresh_process(folder)


def _check_in_fresh_process(folder: Path) -> None:
    command = [sys.executable, "-m", "pipeline.evaluation.golden", "--exported", str(folder)]
    try:
        answer = run(command, environment=naming_us(), seconds=CHECK_TIMEOUT_SECONDS)
    except TimeoutExpired as error:
        raise StorageFailed(
            f"The exported model did not answer. Expected the golden predictions within {CHECK_TIMEOUT_SECONDS} s. "
            "Received: nothing. Run `dvc repro evaluate` again on a machine that is less busy."
        ) from error
    if answer.code < 0:
        raise StorageFailed(
            f"The exported model did not answer. Expected the golden predictions. Received: signal {-answer.code}, "
            "perhaps at the limits of memory or processor time. Free memory, and run `dvc repro evaluate` again."
        )
    if answer.code:
        raise AnswersDiffer(
            f"onnxruntime does not answer as Keras does, so the model is neither served nor registered: "
            f"{answer.err.strip()[-500:]} That is a bug, in {MODEL_ONNX} as pipeline/export writes it or in "
            "onnxruntime: report it with the family and its settings, and choose another candidate meanwhile."
        )
