"""`.keras` files whose bytes follow from the model alone, and that are trusted only after inspection.

Keras itself writes the time of day and memory addresses into the file, destroys the old one when the disk
is full, and loads weights with a flipped bit in silence.
"""

import json
import math
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state

from pipeline.inference.file_checks import (
    Shapes,
    arrays_missing,
    check_weights,
    read_bounded,
    read_plain_zip,
    refused,
)
from pipeline.inference.keras_config import check_config, check_metadata, parse_config
from pipeline.runtime.errors import StorageFailed
from pipeline.runtime.files import canonical_zip

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MEMBERS = {CONFIG, METADATA, WEIGHTS}
MAX_LAYER_NUMBERS = 1 << 28
"""What a layer may give for one sample: 1 GiB of float32."""
STATELESS_MODULES = ("keras", "keras.constraints", "keras.initializers", "keras.regularizers")
"""Of dtype policies, constraints, initialisers, penalties."""


def save_model(model: keras.Model, path: Path) -> None:
    """Write a model to `path`, all or nothing; equal models give equal bytes, wherever and however made.

    Args:
        model: Built from built-in layers only, all of them with names of their own.
        path: The `.keras` file.

    Raises:
        ValueError: A weight is NaN or infinite, or layers share a part with state; nothing broken is ever
            written.
        NotPermitted: The model has layers that are not on the list of those that `load_model` builds.
        OSError, StorageFailed: The disk is full or not writable; the old file is still there, whole.
    """
    broken = _broken_weights(model)
    if broken:
        raise ValueError(
            f"{path.name}: weights are not finite, so the model was not saved. Expected finite numbers. "
            f"Received: {broken[0]} with NaN or infinity. Lower the learning rate, or look at the data."
        )
    with tempfile.TemporaryDirectory(prefix="millrace-") as folder:
        # A folder, not `model.save(path)`: that chooses by free memory how it writes the weights, and
        # truncates `path` before it knows whether the new content fits.
        unpacked = Path(folder) / "model"
        with _failed_writes(path):
            keras.saving.save_model(model, unpacked, zipped=False)
            _check_written(model, unpacked / WEIGHTS, path)
        config = json.loads((unpacked / CONFIG).read_text(encoding="utf-8"))
        plain = _without_ids(config)
        check_config(plain, path)
        draft = Path(folder) / "draft.zip"
        with zipfile.ZipFile(draft, "w") as archive:
            for name in MEMBERS:
                archive.write(unpacked / name, name)
        metadata = {"keras_version": keras.__version__}
        canonical_zip(draft, path, {CONFIG: _json(plain), METADATA: _json(metadata)})


def load_model(path: Path, sha256: str | None = None) -> keras.Model:
    """Return the uncompiled model of a `.keras` file, after checking that it is what it should be.

    The only way to a model in this project. The digest is compared first; then the zip, the configuration and the
    weights are looked through; then the parts are put together without weights, to compare how many they need with
    how many the file holds. Only then does Keras get a file, written anew from what was checked.

    Args:
        path: The file.
        sha256: Expected digest (hex) of the whole file, if known.

    Raises:
        FileNotFoundError: There is no such file.
        StorageFailed: The file is damaged: not the digest, not a zip, or with weights that are not finite.
        NotPermitted: The file carries what a model of ours never has; nothing in it was run or opened.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. Expected a model. Run `dvc repro` or `dvc pull`.")
    content = read_bounded(path)
    _check_digest(content, path, sha256)
    members = read_plain_zip(content, path, MEMBERS)
    check_metadata(members[METADATA], path)
    config = parse_config(members[CONFIG], path)
    _check_sizes(config, check_weights(members[WEIGHTS], path), path)
    with tempfile.TemporaryDirectory(prefix="millrace-") as folder:
        # What was checked is what gets loaded, even if somebody replaces `path` meanwhile.
        checked = Path(folder) / "model.keras"
        with zipfile.ZipFile(checked, "w") as archive:
            for name, member in members.items():
                archive.writestr(name, member)
        with _told_by_keras(path):
            model = keras.saving.load_model(checked, compile=False, safe_mode=True)
    broken = _broken_weights(model)
    if broken:
        raise StorageFailed(
            f"{path}: weights are not finite. Expected finite numbers. Received: {broken[0]} with NaN or "
            "infinity. Remove the file and run `dvc repro` again."
        )
    return model


def _check_digest(content: bytes, path: Path, expected: str | None) -> None:
    received = sha256_of(content).hexdigest()
    if expected is not None and received != expected.lower():
        raise StorageFailed(
            f"{path} is not the file that was recorded. Expected sha256={expected}. Received: "
            f"sha256={received}. Remove the file and fetch it again (`dvc checkout`, or `dvc repro`)."
        )


def _check_sizes(config: dict[str, Any], held: Shapes, path: Path) -> None:
    """Check that a model needs the weights that its file holds, before it gets memory for them.

    Inside a stateless scope variables have shapes and no values, so that a layer of 10^12 units costs nothing.
    """
    with _told_by_keras(path), keras.StatelessScope(initialize_variables=False):
        try:
            model = keras.saving.deserialize_keras_object(config, safe_mode=True)
        finally:
            # Otherwise the next scope that ends would give them memory after all.
            global_state.set_global_attribute("uninitialized_variables", [])
    needed = Shapes(tuple(variable.shape) for variable in model.weights)
    if needed != held:
        different = next(iter((needed - held) or (held - needed)))
        raise refused(
            path,
            "holds other weights than its configuration needs",
            f"{needed[different]} of shape {different}",
            held[different],
        )
    for layer in model._flatten_layers():  # noqa: SLF001  # no other way to what parts inside parts give
        for node in layer._inbound_nodes:  # noqa: SLF001
            for tensor in keras.tree.flatten(node.output_tensors):
                if math.prod(tensor.shape[1:]) > MAX_LAYER_NUMBERS:
                    shape = f"{layer.name}: {tensor.shape}"
                    raise refused(path, "has a layer of absurd size", f"{MAX_LAYER_NUMBERS:,} numbers", shape)


def _check_written(model: keras.Model, weights_path: Path, path: Path) -> None:
    """Compare the weights with the file of them: HDF5 loses some failed writes and leaves zeros in their place."""
    weights = [np.asarray(weight) for weight in model.weights]
    missing = arrays_missing(weights_path.read_bytes(), weights, path)
    if missing:
        raise OSError(f"{missing} of {len(weights)} weight arrays did not arrive in {weights_path}")


@contextmanager
def _failed_writes(path: Path) -> Iterator[None]:
    """Turn what becomes of a failed write in HDF5 and Keras, errors of other kinds included, into one message."""
    try:
        yield
    except (OSError, RuntimeError, UnboundLocalError) as error:
        # HDF5 raises RuntimeError on closing; Keras closes what it never opened.
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        if isinstance(cause, PermissionError):
            raise cause from None
        if not isinstance(cause, OSError) and "errno = " not in str(cause):
            raise
        raise StorageFailed(
            f"{path.name} was not saved. Expected room and a working disk for temporary files. Received: "
            f"{' '.join(str(cause).split())[:300]}. Free space in {tempfile.gettempdir()}, or set TMPDIR; an earlier "
            "file is still there."
        ) from error


@contextmanager
def _told_by_keras(path: Path) -> Iterator[None]:
    """Turn whatever Keras finds wrong with a checked file into one message."""
    try:
        yield
    except Exception as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0][:300].rstrip(".")
        raise StorageFailed(
            f"{path} is damaged or not a Keras model. Expected parts that fit together. Received: {first_line}. "
            "Remove the file and fetch or make it again."
        ) from error


def _without_ids(config: Any) -> Any:
    """Return a copy without `shared_object_id`, which is a memory address.

    Numbering them anew would not do: a model just built shares one dtype policy among its layers, the
    same model loaded from a file has one for each. What has no state may as well be two of a kind.
    """
    if isinstance(config, list):
        return [_without_ids(item) for item in config]
    if not isinstance(config, dict):
        return config
    if "shared_object_id" in config and config.get("module") not in STATELESS_MODULES:
        raise ValueError(
            "Two layers share a part with state, and a saved model would hold two. Expected parts of "
            f"their own. Received: {config.get('module')}.{config.get('class_name')}. Build it once per layer."
        )
    return {key: _without_ids(value) for key, value in config.items() if key != "shared_object_id"}


def _json(content: Any) -> bytes:
    return json.dumps(content, allow_nan=False).encode()


def _broken_weights(model: keras.Model) -> list[str]:
    """Return the paths of the variables that hold NaN or infinity."""
    return [weight.path for weight in model.weights if not np.isfinite(np.asarray(weight)).all()]
