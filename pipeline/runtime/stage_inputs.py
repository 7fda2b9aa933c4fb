"""What a stage reads, as dvc.yaml lists it, and whether it stays the same.

DVC computes hashes of dependencies after the command has ended, so an edit during a run is recorded as
the input of a result it never produced. A stage therefore hashes its inputs itself, first and last.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.runtime import paths
from pipeline.runtime.files import path_digest
from pipeline.runtime.strict_yaml import read_yaml, value_at


@dataclass(frozen=True)
class Snapshot:
    """The inputs of one stage at one moment.

    Attributes:
        name: The stage, `train@cnn`.
        digests: md5 per dependency, as DVC writes it.
        params: Value per parameter key the stage declares.
        stamps: Size, inode and mtime (ns) of every file below each dependency.
    """

    name: str
    digests: dict[str, str]
    params: dict[str, Any]
    stamps: dict[str, list[tuple[str, int, int, int]]]

    @classmethod
    def take(cls, name: str) -> "Snapshot":
        """Return the present inputs of a stage.

        Raises:
            FileNotFoundError: A dependency does not exist.
            KeyError: dvc.yaml knows no such stage, or params.yaml no such key.
        """
        declared = declared_inputs(name)
        # Stamps first: a change between the two reads then shows as a changed stamp, not as a false calm.
        stamps = {dependency: _stamp(Path(dependency)) for dependency in declared.dependencies}
        digests = {dependency: path_digest(Path(dependency)) for dependency in declared.dependencies}
        return cls(name, digests, _values(declared.params), stamps)

    def edited_since(self, moment: float) -> list[str]:
        """Return the code files written after `moment` (seconds since 1970): Python may have read older ones.

        A dependency may be such a file or a folder that holds them.
        """
        now = time.time()
        return [
            file
            for stamp in self.stamps.values()
            for file, *_, changed_ns in stamp
            if file.endswith(".py") and moment < changed_ns / 1e9 <= now
        ]

    def changed(self) -> list[str]:
        """Return the dependencies and parameters that are no longer what they were."""
        moved = [
            dependency
            for dependency, stamp in self.stamps.items()
            if _stamp(Path(dependency)) != stamp and _digest_or_gone(dependency) != self.digests[dependency]
        ]
        now = read_yaml(paths.PARAMS_YAML) if self.params else {}
        return moved + [
            f"params.yaml:{key}" for key, value in self.params.items() if value_at(now, key, None) != value
        ]

    def differing_from_lock(self) -> list[str]:
        """Return the dependencies whose bytes are not those that dvc.lock says their stage wrote."""
        if not paths.DVC_LOCK.is_file():
            return []
        recorded = {
            out["path"]: out["md5"]
            for name, stage in read_yaml(paths.DVC_LOCK).get("stages", {}).items()
            if _exists(name)
            for out in stage.get("outs", [])
        }
        read = {
            out: md5
            for out, md5 in recorded.items()
            for dependency in self.digests
            if out == dependency or out.startswith(f"{dependency}/")
        }
        return [out for out, md5 in read.items() if (self.digests.get(out) or _digest_or_gone(out)) != md5]


@dataclass(frozen=True)
class DeclaredInputs:
    """The `deps` and `params` of a stage in dvc.yaml, templates filled in."""

    dependencies: list[str]
    params: list[str]


def declared_inputs(name: str) -> DeclaredInputs:
    """Return what dvc.yaml declares as inputs of a stage.

    Args:
        name: The stage; `train@cnn` for an item of a `foreach` over `candidates`.

    Raises:
        KeyError: There is no such stage or candidate.
    """
    base, _, candidate = name.partition("@")
    stages = read_yaml(paths.DVC_YAML)["stages"]
    if base not in stages:
        raise KeyError(f"dvc.yaml has no stage {base}. Known: {', '.join(stages)}.")
    stage = stages[base]
    filled = {}
    if "foreach" in stage:
        stage = stage["do"]
        candidates = read_yaml(paths.PARAMS_YAML)["candidates"]
        if candidate not in candidates:
            raise KeyError(f"params.yaml has no candidate {candidate!r}. Known: {', '.join(candidates)}.")
        filled = {"${key}": candidate, "${item.family}": candidates[candidate]["family"]}

    def fill(text: str) -> str:
        for template, value in filled.items():
            text = text.replace(template, value)
        return text

    params = stage.get("params", [])
    return DeclaredInputs(
        # `- params.yaml:` without keys stands for the whole file.
        [fill(dependency) for dependency in stage.get("deps", [])]
        + [file for entry in params if isinstance(entry, dict) for file in entry],
        [fill(key) for key in params if isinstance(key, str)],
    )


def _exists(name: str) -> bool:
    """Tell whether a stage of dvc.lock is still one: DVC keeps the entries of removed candidates for ever."""
    base, _, candidate = name.partition("@")
    candidates = read_yaml(paths.PARAMS_YAML).get("candidates", {})
    return base in read_yaml(paths.DVC_YAML)["stages"] and (not candidate or candidate in candidates)


def _values(keys: list[str]) -> dict[str, Any]:
    content = read_yaml(paths.PARAMS_YAML) if keys else {}
    try:
        return {key: value_at(content, key) for key in keys}
    except KeyError as error:
        raise KeyError(
            f"params.yaml has no key {error.args[0]}, which dvc.yaml declares as an input."
        ) from error


def _stamp(path: Path) -> list[tuple[str, int, int, int]]:
    # Python writes its compiled files beside the code while a stage runs; DVC is told to pass over them, too.
    inside = (file for file in path.rglob("*") if "__pycache__" not in file.parts)
    files = [path] if not path.is_dir() else sorted(file for file in inside if file.is_file())
    stamps = []
    for file in files:
        try:
            status = file.stat()
        except FileNotFoundError:
            continue  # reported by the digest, which names the file
        stamps.append((str(file), status.st_size, status.st_ino, status.st_mtime_ns))
    return stamps


def _digest_or_gone(dependency: str) -> str:
    try:
        return path_digest(Path(dependency))
    except FileNotFoundError:
        return "gone"
