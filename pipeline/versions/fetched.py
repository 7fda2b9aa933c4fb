"""A registered version as a folder that can answer: fetched once, kept by the digest of its model."""

import json
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pipeline.runtime import paths
from pipeline.runtime.errors import InputMissing
from pipeline.runtime.files import file_digest, write_text
from pipeline.runtime.paths import MODEL_ONNX
from pipeline.runtime.processes import acquire_lock
from pipeline.tracking.record import download_pictures
from pipeline.tracking.registry import EXTRA_DIR, FILES, MODEL_FILE, Version, fetch_model
from pipeline.tracking.store import Store, open_existing_store, service_errors
from pipeline.versions.lineage import named_version
from pipeline.versions.whole import Whole

FETCHED_DIR = paths.STATE_DIR / "fetched"
EXPORTED_HERE = "model.onnx.sha256"
"""Digest of an exported model that no version knows, because it was made here."""
WAIT_SECONDS = 600.0
"""For another that fetches: a version of an earlier release is exported meanwhile."""


def fetched_version(store: Store, version: Version) -> Path:
    """Return a folder like models/best with the papers of a version, and its model for onnxruntime.

    Files that were fetched before are hashed again, and fetched anew where they are not those that were registered.
    Of a version of an earlier release, which has no model.onnx, one is made from its model.keras, and proven.

    Args:
        store: An opened store.
        version: The version.

    Raises:
        InputMissing: An earlier release registered it without what answers need.
        StorageFailed: Its files are gone or damaged in the store.
        NotPermitted, AnswersDiffer: See `pipeline.evaluation.exported`.
        Busy: Another process fetches for longer than `WAIT_SECONDS`.
    """
    folder = FETCHED_DIR / version.model_sha256
    if _is_whole(folder, version):
        return folder
    FETCHED_DIR.mkdir(parents=True, exist_ok=True)
    # Two that fetch at once: the second waits, and finds what the first has left.
    with acquire_lock("fetched", wait_seconds=WAIT_SECONDS):
        if not _is_whole(folder, version):
            _fetch(store, version, folder)
    return folder


def fetched_model(root: Path, named: str, default_name: str) -> tuple[str, Path]:
    """Return what a registered model is called, `digits version 3`, and its folder, see `fetched_version`.

    Args:
        root: The project, which is the working directory.
        named: As for `pipeline.versions.lineage.named_version`.
        default_name: The model of this project.

    Raises:
        ServiceDown: The store does not answer.
    """
    store = open_existing_store(root)
    with service_errors(store.uri):
        name, version = named_version(store, named, default_name)
        return f"{name} version {version.number}", fetched_version(store, version)


@contextmanager
def whole_model(
    root: Path, named: str | Path, default_name: str, *, pictures: bool = False
) -> Iterator[Whole]:
    """Yield a model that was named by its folder, or as for `fetched_model`, with its model.keras.

    Args:
        root: As for `fetched_model`.
        named: The folder, or as for `fetched_model`.
        default_name: As for `fetched_model`.
        pictures: Fetch what was drawn of it, too.

    Raises:
        InputMissing: The folder holds no whole model.
        ServiceDown: The store does not answer.
    """
    if isinstance(named, Path) and named.suffix == ".zip":
        raise InputMissing(
            f"{named} is a bundle, which holds no registered model. Expected a model by name, or a folder like "
            "models/best. Name the model that it was made of, or unpack it."
        )
    if isinstance(named, Path):
        missing = [name for name in ("model.keras", MODEL_ONNX, "golden.npz") if not (named / name).is_file()]
        if missing:
            raise InputMissing(
                f"{named} is no whole model. Expected a folder like models/best. Received: no {', no '.join(missing)}. "
                "`dvc repro evaluate` makes it."
            )
        given = named.relative_to(root) if named.is_relative_to(root) else named
        whole = Whole(named.resolve().name, "", named, named / "model.keras", given=str(given))
        has_some = whole.is_best and paths.EVALUATE_PICTURES_DIR.is_dir()
        yield replace(whole, pictures_dir=paths.EVALUATE_PICTURES_DIR if has_some else None)
        return
    store = open_existing_store(root)
    with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
        with service_errors(store.uri):
            name, version = named_version(store, named, default_name)
            folder = fetched_version(store, version)
            arrived = fetch_model(store, version, Path(temporary) / "arrived")
            drawn = download_pictures(store, name, version, Path(temporary)) if pictures else None
        yield Whole(name, str(version.number), folder, arrived / MODEL_FILE, version.tags, pictures_dir=drawn)


def held_but_for(digests: Collection[str]) -> list[Path]:
    """Return what lies here of other models than these, and what a killed process has left."""
    return [path for path in sorted(FETCHED_DIR.glob("*")) if path.name not in digests]


def _fetch(store: Store, version: Version, folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=FETCHED_DIR) as temporary:
        arrived = fetch_model(store, version, Path(temporary) / "arrived")
        made = Path(temporary) / "made"
        shutil.copytree(arrived / EXTRA_DIR, made)
        if not (made / "golden.npz").is_file() or not (made / "state.json").is_file():
            raise InputMissing(
                f"Model version {version.number} has no golden answers or no state, because an earlier release "
                "registered it. Expected both among its files. Register the model anew: `dvc repro --force register`."
            )
        if not (made / MODEL_ONNX).is_file():
            _export(arrived / MODEL_FILE, made)
            write_text(made / EXPORTED_HERE, file_digest(made / MODEL_ONNX, "sha256"))
        shutil.rmtree(folder, ignore_errors=True)
        made.replace(folder)


def _is_whole(folder: Path, version: Version) -> bool:
    """Return whether a folder holds the papers of a version as they were registered."""
    listed = json.loads(version.tags.get(FILES, "{}"))
    papers = {
        name.removeprefix(f"{EXTRA_DIR}/"): digest
        for name, digest in listed.items()
        if name.startswith(f"{EXTRA_DIR}/")
    }
    if not papers or not (folder / MODEL_ONNX).is_file():
        return False
    if MODEL_ONNX not in papers:
        note = folder / EXPORTED_HERE
        papers[MODEL_ONNX] = note.read_text(encoding="utf-8") if note.is_file() else ""
    return all(
        (folder / name).is_file() and file_digest(folder / name, "sha256") == digest
        for name, digest in papers.items()
    )


def _export(model: Path, folder: Path) -> None:
    from pipeline.evaluation.exported import write_exported
    from pipeline.inference import backend
    from pipeline.runtime.files import read_json

    settings = read_json(folder / "settings.json")
    backend.prepare_tensorflow(settings["threads"], settings["seed"])
    copied = folder / "model.keras"
    shutil.copyfile(model, copied)
    write_exported(folder)
    copied.unlink()
