"""The one door to onnxruntime: an exported model that is asked as one of Keras is, on one thread, without TensorFlow.

onnxruntime's own threads wait by spinning, which costs a single record four times its time; processes use cores better.
On one thread the bits do not depend on the size of the batch but for few layers.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from pipeline.export.onnx_file import strange_parts
from pipeline.runtime.errors import NotPermitted, StorageFailed

NUMBERS_PER_SAMPLE = "millrace.numbers_per_sample"
"""Key in the file's metadata: what all layers give for one sample, see `OnnxModel.numbers_per_sample`."""
DTYPES = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8}
EXTERNAL = "session.model_external_initializers_file_folder_path"
"""Where a model may say that its weights lie in other files. Ours never do; of any other folder it would read them."""
ERRORS_ONLY = 3
"""Level of onnxruntime's own log."""


class OnnxModel:
    """An exported model; `inference.prediction` asks it as it asks one of Keras.

    Attributes:
        name: Of the file, for messages.
        inputs: Name to dtype.
        numbers_per_sample: What all layers give for one sample: what a batch takes of memory.
    """

    def __init__(self, path: Path, content: bytes | None = None) -> None:
        """Open a model.

        Args:
            path: The file.
            content: Its bytes, if they were read already.

        Raises:
            FileNotFoundError: There is no such file.
            StorageFailed: It is damaged, or no model of ours.
            NotPermitted: It holds what no model of ours does: a loop, a branch, an operator that is not written here.
        """
        self.name = path.name
        if content is None:
            content = path.read_bytes()
        _require_own(content, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry(EXTERNAL, os.devnull)
        # Not onnxruntime's own format, whose bytes nobody has looked through.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        options.log_severity_level = ERRORS_ONLY
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            self.inputs = {entry.name: DTYPES[entry.type] for entry in self._session.get_inputs()}
            self.numbers_per_sample = int(
                self._session.get_modelmeta().custom_metadata_map[NUMBERS_PER_SAMPLE]
            )
        except Exception as error:  # whatever it finds wrong, it has many kinds
            raise StorageFailed(
                f"{path} is damaged or no model of this project. Expected an ONNX file as `evaluate` writes it. "
                f"Received: {_said(error)}. Fetch or make it again (`dvc repro --force evaluate`)."
            ) from error

    def predict_on_batch(self, batch: Any) -> np.ndarray:
        """Return the predictions for a batch.

        Args:
            batch: The array of the only input, or arrays by name; what the model does not read is passed over.

        Raises:
            StorageFailed: The model cannot compute them.
        """
        given = batch if isinstance(batch, dict) else dict.fromkeys(self.inputs, batch)
        if missing := self.inputs.keys() - given.keys():
            raise StorageFailed(
                f"{self.name} cannot answer. Expected the inputs {', '.join(sorted(self.inputs))}. Received: no "
                f"{', no '.join(sorted(missing))}: it is the model of other data. Fetch or make it again."
            )
        fed = {
            name: np.ascontiguousarray(given[name]).astype(dtype, copy=False)
            for name, dtype in self.inputs.items()
        }
        try:
            answers: np.ndarray = self._session.run(None, fed)[0]
        except Exception as error:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in fed.items())
            raise StorageFailed(
                f"{self.name} cannot answer. Expected inputs of the shapes it was made for. Received: {shapes}: "
                f"{_said(error)}."
            ) from error
        return answers

    def get_weights(self) -> list[np.ndarray]:
        """Return nothing: that all weights are finite was seen when the file was written."""
        return []


def _require_own(content: bytes, path: Path) -> None:
    """Refuse a file that could do more than a model of ours, before onnxruntime reads it."""
    try:
        found = strange_parts(content)
    except ValueError as error:
        raise StorageFailed(
            f"{path} is damaged or no model of this project. Expected an ONNX file as `evaluate` writes it. Received: "
            f"{error}. Fetch or make it again (`dvc repro --force evaluate`)."
        ) from error
    if found:
        raise NotPermitted(
            f"{path} is no model that Millrace wrote. Expected the operators of its layers alone. Received: "
            f"{', '.join(found[:5])}. Do not load it, and find out who wrote it."
        )


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
