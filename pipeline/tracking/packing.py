"""A model as MLflow keeps it, with our own files beside it and nothing that runs on load.

Two flavours: keras gives the Keras model, `python_function` answers raw records (`pipeline.serving.mlflow_flavour`).
Apart from the registry, because it imports Keras, which nobody needs who only asks for versions.
"""

import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.provenance.locked import pinned
from pipeline.runtime.errors import InputMissing, NotPermitted
from pipeline.runtime.paths import MODEL_ONNX
from pipeline.tracking.registry import EXTRA_DIR, MODEL_FILE

with warnings.catch_warnings():
    # MLflow warns of its own type hints while `mlflow.pyfunc` is imported, which saving would do.
    warnings.simplefilter("ignore")
    import mlflow.keras
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import AnyType
LOADER = "pipeline.serving.mlflow_flavour"
"""By name: what answers stands above this room."""
KINDS = {
    "image": DataType.binary,
    "text": DataType.string,
    "flag": DataType.boolean,
    # Whatever kind pandas or JSON made of them (34 is no double to MLflow): the scorer says what is wrong.
    "series": AnyType(),
    "name": AnyType(),
    "category": AnyType(),
    "number": AnyType(),
}
PINNED = ("h5py", "keras", "msgspec", "numpy", "onnxruntime", "pillow", "pyarrow", "tensorflow")
"""What either flavour needs; Millrace itself, which no package index has, is where it is asked."""


def pack_model(
    model: Any,
    best_dir: Path,
    folder: Path,
    requirements: Sequence[str],
    origins: Sequence[Path] = (),
    *,
    columns: Mapping[str, tuple[str, bool]],
) -> None:
    """Write a model as a folder that MLflow can serve.

    Args:
        model: The loaded model.
        best_dir: Where its files lie: `model.keras`, `model.onnx` and what belongs to them.
        folder: Where the packed model goes; must not exist.
        requirements: What to install for it. Given, because MLflow otherwise finds out by starting a
            TensorFlow process of its own, which takes a quarter of a minute.
        origins: Files that say what the model came from, kept beside it under their own names.
        columns: Of a table of records: name to kind, and whether it is needed, see `record_columns.flat_columns`.

    Raises:
        InputMissing: The model was not exported, so nobody could serve it.
        NotPermitted: MLflow added a pickle, which would run when the model is loaded.
    """
    if not (best_dir / MODEL_ONNX).is_file():
        raise InputMissing(
            f"{best_dir} holds no exported model. Expected model.onnx, which `evaluate` writes beside model.keras. "
            "Received: none. Run `dvc repro evaluate`."
        )
    # The keras flavour takes tensors alone.
    signature = ModelSignature(Schema(_tensors(model.inputs)), Schema(_tensors(model.outputs)))
    mlflow.keras.save_model(model, str(folder), signature=signature, pip_requirements=list(requirements))
    _answer_records(folder / "MLmodel", columns)
    # The canonical bytes, not a second save with another date inside: one digest names the model everywhere.
    shutil.copyfile(best_dir / "model.keras", folder / MODEL_FILE)
    (folder / EXTRA_DIR).mkdir()
    for path in sorted(best_dir.iterdir()):
        if path.is_file() and path.suffix in (".json", ".npz", ".onnx", ".parquet"):
            shutil.copyfile(path, folder / EXTRA_DIR / path.name)
    for path in origins:
        shutil.copyfile(path, folder / EXTRA_DIR / path.name)
    pickles = [path for path in folder.rglob("*") if "pickle" in path.name or path.suffix == ".pkl"]
    if pickles:
        raise NotPermitted(
            f"MLflow wrote a pickle beside the model. Expected none. Received: {pickles}. Build the model from "
            "Keras' own layers, and remove `register_keras_serializable`."
        )


def _tensors(tensors: Sequence[Any]) -> list[TensorSpec]:
    """Return types and shapes; several inputs carry their names, as the model takes them."""
    named = len(tensors) > 1
    return [
        TensorSpec(np.dtype(tensor.dtype), (-1, *tensor.shape[1:]), tensor.name if named else None)
        for tensor in tensors
    ]


def _answer_records(path: Path, columns: Mapping[str, tuple[str, bool]]) -> None:
    """Let the `python_function` flavour of a saved model answer raw records, and its signature tell their columns."""
    packed = mlflow.models.Model.load(path)
    env = packed.flavors.pop("python_function")["env"]
    mlflow.pyfunc.add_to_model(
        packed, loader_module=LOADER, data=EXTRA_DIR, conda_env=env["conda"], python_env=env["virtualenv"]
    )
    packed.signature = record_signature(columns)
    packed.save(path)


def record_signature(columns: Mapping[str, tuple[str, bool]]) -> ModelSignature:
    """Return MLflow's signature of a table of records, see `pack_model`."""
    return ModelSignature(
        Schema([ColSpec(KINDS[kind], name, required=needed) for name, (kind, needed) in columns.items()])
    )


def pinned_requirements(lock: Path, python_version: tuple[int, int]) -> list[str]:
    """Return `name==version` of the packages a model needs, from the lock file.

    Args:
        lock: requirements.lock; a line may end in a condition on the Python version.
        python_version: Which of the conditions holds.

    Raises:
        FileNotFoundError: There is no lock file.
        ValueError: It lacks one of them.
    """
    version = ".".join(map(str, python_version))
    environment = {"python_full_version": f"{version}.0", "python_version": version}
    found = {
        requirement.name: f"{requirement.name}{requirement.specifier}"
        for requirement in pinned(lock.read_text(encoding="utf-8"), environment)
        if requirement.name in PINNED
    }
    missing = sorted(set(PINNED) - found.keys())
    if missing:
        raise ValueError(
            f"{lock} lacks pinned packages. Expected {PINNED}. Missing: {missing}. Run `make lock`."
        )
    return [found[name] for name in sorted(found)]
