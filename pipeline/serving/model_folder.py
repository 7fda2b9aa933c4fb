"""What `predict` and `serve` are given: a model by name, a folder like models/best, or a bundle of such a folder.

A bundle is a zip that `millrace export` writes: the papers of a model as they lie in its folder, other formats of the
model beside them, and `manifest.json` with the sha256 of every file. Unpacked by anybody it is a folder that answers.
"""

import hashlib
import json
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.export.places import PLACES
from pipeline.runtime import paths
from pipeline.runtime.errors import InputMissing, StorageFailed, UserError, WronglyCalled
from pipeline.runtime.files import atomic_path, file_digest, json_text, read_json, write_zip

SUFFIX = ".zip"
MANIFEST = "manifest.json"
FORMAT = 1
NAME = re.compile(r"[^\x00-\x1f\x7f/\\]{1,250}")
VERSION = re.compile(r"[0-9]{0,18}")
SHA256 = re.compile(r"[0-9a-f]{64}")
LONGEST_NAME = 200
MOST_MANIFEST_BYTES = 1 << 20
KERAS = PLACES["keras"]
NOT_ASKED = (PLACES["litert"], f"{PLACES['saved_model']}/")
"""Formats of a bundle that nobody needs here; model.keras only who asks both models of a comparison."""


def absolute_path(text: str) -> Path:
    """Return a path as whoever typed it meant it: called where the working directory is still theirs."""
    return Path(text).absolute()


def named_model(text: str) -> str | Path:
    """Return the folder or bundle of a model, absolute, or the name of a registered one; "" for the champion."""
    is_path = text and (Path(text).is_dir() or text.endswith(SUFFIX))
    return absolute_path(text) if is_path else text


def source_of(folder: Path) -> dict[str, Any]:
    """Return what is known of a model's data, {} for nothing: a version carries it, models/best is of this project."""
    best = folder.resolve() == paths.BEST_DIR.resolve()
    path = paths.SOURCE_JSON if best else folder / "source.json"
    return dict(read_json(path)) if path.is_file() else {}


@dataclass(frozen=True)
class Named:
    """Which model it is.

    Attributes:
        name: Of the registered model, or of the folder.
        version: Its number; "" for a folder.
        folder: Where its files lie.
        sha256: Of its `.keras` file, as the registry has it; "" for a folder.
    """

    name: str
    version: str
    folder: Path
    sha256: str = ""

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> "Named":
        """Return what is announced, see `pipeline.versions.announced`."""
        return cls(line["name"], line["version"], Path(line["folder"]), line["sha256"])

    @property
    def called(self) -> str:
        """Return what people call it."""
        return f"{self.name} version {self.version}" if self.version else self.name


@contextmanager
def opened(path: Path, *, with_keras: bool = False) -> Iterator[Named]:
    """Yield a model that was named by its folder or bundle; what a bundle holds lies in a temporary folder meanwhile.

    Args:
        path: The folder or bundle.
        with_keras: Unpack its model.keras too, if it has one.

    Raises:
        InputMissing: There is no such bundle.
        StorageFailed, NotPermitted: See `read_bundle`.
    """
    if path.is_dir():
        yield Named(path.name, "", path)
        return
    with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
        yield _unpacked(path, Path(temporary), with_keras=with_keras)


def _unpacked(path: Path, folder: Path, *, with_keras: bool) -> Named:
    """Write the papers of a bundle into a folder; a function of its own, so that nothing of it stays in memory."""
    manifest, files = read_bundle(path)
    for name, content in files.items():
        if not name.startswith(NOT_ASKED) and (with_keras or name != KERAS):
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    model = manifest["model"]
    return Named(model["name"], model["version"] or "", folder, model["keras_sha256"])


def write_bundle(path: Path, manifest: Mapping[str, Any], files: Mapping[str, Path | bytes]) -> str:
    """Write a bundle, and return its sha256 (hex).

    Args:
        path: The zip, all or nothing; the same content gives the same bytes.
        manifest: Its content but for `format` and `files`, which are added.
        files: Name in the bundle to a file or its content.

    Raises:
        WronglyCalled: Something else has that name.
        StorageFailed, NotPermitted: What was written cannot be read back; nothing is left of it.
    """
    require_replaceable(path)
    # Read once: a file that changes meanwhile would be another one than its digest says.
    contents = {name: _content(files[name]) for name in sorted(files)}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    listed = {**manifest, "format": FORMAT, "files": digests}
    members = {**contents, MANIFEST: json_text(listed).encode()}
    with atomic_path(path) as draft:
        write_zip(draft, members, members.__getitem__)
        read_bundle(draft)
        return file_digest(draft, "sha256")


def require_replaceable(path: Path) -> None:
    """Refuse a place that holds anything but a bundle, which alone is written anew.

    Raises:
        WronglyCalled: It does.
    """
    if path.is_symlink() or (path.exists() and not _is_bundle(path)):
        raise WronglyCalled(
            f"{path} is there and is no bundle. Expected a new name, or a bundle, which is written anew. Received: "
            "something else, which is kept. Give another name by --out."
        )


def _is_bundle(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(MANIFEST).file_size > MOST_MANIFEST_BYTES:
                return False
            _manifest(archive.read(MANIFEST), path)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, UserError):
        return False
    return True


def _content(file: Path | bytes) -> bytes:
    return file if isinstance(file, bytes) else file.read_bytes()


def read_bundle(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the manifest of a bundle and its files by name, all as they were written.

    Raises:
        InputMissing: There is no such file.
        StorageFailed: It is damaged: a file is not the one of the manifest.
        NotPermitted: It is no file that Millrace wrote, or one of a later release.
    """
    # NumPy and h5py: not for reading the command line.
    from pipeline.inference.file_checks import SAFE_PATH, read_bounded, read_plain_zip, refused

    if not path.is_file():
        raise InputMissing(
            f"There is no {path}. Expected a bundle. Received: nothing there. `millrace export` writes one."
        )
    files = read_plain_zip(read_bounded(path), path, names=SAFE_PATH)
    manifest = _manifest(files.pop(MANIFEST, b""), path)
    folders = {parent.as_posix() for name in files for parent in PurePosixPath(name).parents}
    if odd := [name for name in files if name in folders or len(name) > LONGEST_NAME]:
        raise refused(path, "has a member that is a folder too, or a long name", "plain files", odd[0][:80])
    received = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    if received != manifest["files"]:
        names = sorted(received.keys() | manifest["files"].keys())
        different = [name for name in names if received.get(name) != manifest["files"].get(name)]
        raise StorageFailed(
            f"{path} is damaged. Expected every file of its manifest with its sha256, and no other. Received: "
            f"{', '.join(different[:5])} differ. Export the model again."
        )
    told = manifest["model"]["keras_sha256"]
    if received.get(KERAS, told) != told:
        raise StorageFailed(
            f"{path} is damaged. Expected {KERAS} to have the sha256 that the manifest tells of the model. "
            "Received: another one. Export the model again."
        )
    return manifest, files


def _manifest(content: bytes, path: Path) -> dict[str, Any]:
    from pipeline.inference.file_checks import refused

    try:
        manifest = json.loads(content)
        known = manifest["format"] == FORMAT
        model = manifest["model"]
        well = (
            NAME.fullmatch(model["name"])
            and VERSION.fullmatch(model["version"] or "")
            and SHA256.fullmatch(model["keras_sha256"])
            and isinstance(manifest["files"], dict)
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise refused(path, "is no bundle", f"{MANIFEST} as `millrace export` writes it", "none") from error
    if not known or not well:
        raise refused(
            path, "is no bundle of this release", f"{MANIFEST} of format {FORMAT}", manifest["format"]
        )
    return dict(manifest)
