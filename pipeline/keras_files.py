"""`.keras` files whose bytes follow from the model alone, and that are trusted only after inspection.

Keras itself writes the time of day and memory addresses into the file, destroys the old one when the disk
is full, and loads weights with a flipped bit in silence.
"""

import io
import json
import tempfile
import zipfile
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.artifacts import canonical_zip
from pipeline.runtime import NotPermitted, StorageFailed

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MEMBERS = {CONFIG, METADATA, WEIGHTS}
TRUSTED_MODULES = ("builtins", "keras")
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
        NotPermitted: The model has layers that are not Keras' own, which safe mode could not load.
        OSError: The disk is full or not writable; the old file is still there, whole.
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
        keras.saving.save_model(model, unpacked, zipped=False)
        config = json.loads((unpacked / CONFIG).read_text(encoding="utf-8"))
        _check_modules(config, path)
        draft = Path(folder) / "draft.zip"
        with zipfile.ZipFile(draft, "w") as archive:
            for name in MEMBERS:
                archive.write(unpacked / name, name)
        metadata = {"keras_version": keras.__version__}
        canonical_zip(draft, path, {CONFIG: _json(_without_ids(config)), METADATA: _json(metadata)})


def load_model(path: Path, sha256: str | None = None) -> keras.Model:
    """Return the uncompiled model of a `.keras` file, after checking that it is what it should be.

    Args:
        path: The file.
        sha256: Expected digest (hex) of the whole file, if known.

    Raises:
        FileNotFoundError: There is no such file.
        StorageFailed: The file is damaged: not the digest, not a zip, or with weights that are not finite.
        NotPermitted: The file carries members or classes that a model of ours never has.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. Expected a model. Run `dvc repro` or `dvc pull`.")
    content = path.read_bytes()
    _check_digest(content, path, sha256)
    _check_archive(content, path)
    with tempfile.TemporaryDirectory(prefix="millrace-") as folder:
        # What was checked is what gets loaded, even if somebody replaces `path` meanwhile.
        checked = Path(folder) / "model.keras"
        checked.write_bytes(content)
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


def _check_archive(content: bytes, path: Path) -> None:
    """Look through the file before Keras opens it."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_members(archive.namelist(), path)
            damaged = archive.testzip()
            config = {} if damaged else json.loads(archive.read(CONFIG))
    except (zipfile.BadZipFile, ValueError) as error:
        raise StorageFailed(
            f"{path} is damaged or not a Keras model. Expected a zip of {', '.join(sorted(MEMBERS))}. "
            f"Received: {error}. Remove the file and fetch or make it again."
        ) from error
    if damaged:
        raise StorageFailed(
            f"{path} is damaged. Expected {damaged} to fit its checksum. Received: other content. "
            "Remove the file and fetch or make it again."
        )
    _check_modules(config, path)


def _check_members(names: list[str], path: Path) -> None:
    if sorted(names) != sorted(MEMBERS):
        raise NotPermitted(
            f"{path} is not a model that Millrace wrote. Expected exactly the members "
            f"{', '.join(sorted(MEMBERS))}. Received: {', '.join(sorted(names))}. Do not load it."
        )


def _check_modules(config: Any, path: Path) -> None:
    """Refuse classes and functions from anywhere but Keras: loading them would run their code."""
    for node in _nodes(config):
        module = node.get("module")
        if isinstance(module, str) and module.split(".")[0] not in TRUSTED_MODULES:
            raise NotPermitted(
                f"{path} needs code that is not Keras' own. Expected built-in layers only. "
                f"Received: {module}.{node.get('class_name')}. Build the model from `keras.layers`."
            )
        if node.get("class_name") == "Lambda":
            raise NotPermitted(
                f"{path} carries Python code in a Lambda layer. Expected built-in layers without code. "
                "Received: class_name=Lambda. Replace it by a built-in layer."
            )


def _nodes(config: Any) -> list[dict[str, Any]]:
    """Return every dict inside a nested structure."""
    children = config.values() if isinstance(config, dict) else config if isinstance(config, list) else ()
    inner = [node for child in children for node in _nodes(child)]
    return [config, *inner] if isinstance(config, dict) else inner


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
