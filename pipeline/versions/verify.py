"""Everything that has a digest, hashed again: what does not fit, and what could not be looked at.

Nothing here trusts a time stamp or an earlier answer: DVC hands out a cache object whose bytes changed under an old
modification time, and MLflow calls a version without files READY.
"""

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.fetching.source import read_source
from pipeline.provenance.installed import installed_problems, strange_places
from pipeline.provenance.locked import differing_packages
from pipeline.provenance.origin import NOTHING, REQUIREMENTS_LOCK
from pipeline.runtime import paths
from pipeline.runtime.errors import InputMissing, StorageFailed
from pipeline.runtime.files import file_digest, path_digest
from pipeline.runtime.repository import commit_exists, dvc_cache, locked_stages
from pipeline.runtime.strict_yaml import read_yaml
from pipeline.tracking import ALLOWED_OUTSIDE
from pipeline.tracking.champions import CHAMPION, aliases, champions
from pipeline.tracking.registry import FILES, Version, fetch_model, versions
from pipeline.tracking.revocations import revocation
from pipeline.tracking.store import Store

UNCHECKED = "could not check"


def outs_of_lock(candidates: list[str]) -> dict[str, dict[str, Any]]:
    """Return path to entry of every out in dvc.lock of a stage that still exists, `register` too."""
    stages = locked_stages(candidates)
    register = read_yaml(paths.DVC_LOCK).get("stages", {}).get("register")
    if register is not None:
        stages["register"] = register
    outs = {out["path"]: dict(out) for stage in stages.values() for out in stage.get("outs", [])}
    # A link while a model is held, which agrees with nothing: pipeline/gate/decision.py.
    if paths.REGISTER_SETTLED.is_symlink():
        outs.pop(paths.REGISTER_SETTLED.as_posix(), None)
    return outs


def output_problems(outs: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield what in the working tree is not what dvc.lock says."""
    for name, out in outs.items():
        expected = str(out["md5"])
        try:
            received = path_digest(Path(name))
        except OSError as error:
            yield f"{name}: {UNCHECKED}: {error}. Run `dvc checkout` or `dvc repro`."
            continue
        if received != expected:
            yield f"{name}: expected md5 {expected} (dvc.lock). Received: {received}. Run `dvc repro`."


def uncached_outs() -> set[str]:
    """Return the outs that dvc.yaml keeps out of the cache; paths are those of dvc.lock."""
    found = set()
    for stage in read_yaml(paths.DVC_YAML)["stages"].values():
        body = stage.get("do", stage)
        for kind in ("outs", "metrics", "plots"):
            for out in body.get(kind, []):
                if isinstance(out, dict):
                    found |= {
                        path for path, options in out.items() if options and options.get("cache") is False
                    }
    return found


def cache_problems(outs: Mapping[str, Mapping[str, Any]], uncached: set[str], cache: Path) -> Iterator[str]:
    """Yield which objects of DVC's cache are missing, or no longer what their name says.

    Args:
        outs: See `outs_of_lock`.
        uncached: Outs that are not in the cache.
        cache: DVC's cache folder.
    """
    checked: dict[str, str | None] = {}
    for name, out in outs.items():
        if name in uncached:
            continue
        for where, md5 in _objects(name, str(out["md5"]), cache):
            if md5 not in checked:
                checked[md5] = _object_problem(cache, md5)
            if checked[md5] is not None:
                yield f"{where}: {checked[md5]}"


def _objects(name: str, md5: str, cache: Path) -> Iterator[tuple[str, str]]:
    """Yield what an out consists of: path and md5."""
    yield name, md5
    if not md5.endswith(".dir"):
        return
    try:
        entries = json.loads(_object_path(cache, md5).read_bytes())
        yield from [(f"{name}/{entry['relpath']}", str(entry["md5"])) for entry in entries]
    except (OSError, ValueError, TypeError, KeyError):
        return  # the object itself is reported


def _object_problem(cache: Path, md5: str) -> str | None:
    path = _object_path(cache, md5)
    try:
        received = file_digest(path)
    except OSError as error:
        return f"{UNCHECKED} in DVC's cache: {error}. Run `dvc pull`, or `dvc repro`."
    if received == md5.removesuffix(".dir"):
        return None
    return (
        f"damaged in DVC's cache. Expected md5 {md5}. Received: {received} in {path}. Remove that file, then "
        "`dvc pull` or `dvc repro`."
    )


def _object_path(cache: Path, md5: str) -> Path:
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def environment_problems(
    lock: Path = REQUIREMENTS_LOCK, folders: Sequence[Path] | None = None
) -> Iterator[str]:
    """Yield which packages are not those that requirements.lock pins, by their version and file by file.

    Args:
        lock: The file.
        folders: Where packages lie; None: those of this interpreter.
    """
    try:
        text = lock.read_text(encoding="utf-8")
        differing = differing_packages(text)
    except (OSError, InputMissing) as error:
        yield f"{lock}: {UNCHECKED}: {error}"
        return
    yield from (f"{line}. Expected what {lock} pins. Run `make setup`." for line in differing)
    yield from installed_problems(text, folders)
    yield from strange_places(sys.path, [Path.cwd(), Path(__file__).parents[2]])
    for name in ALLOWED_OUTSIDE:
        yield (
            f"{name} is on in the environment. Millrace does not heed it, but any other program of MLflow that is "
            f"started here runs what somebody put beside a model. Expected false. Unset it."
        )


def source_problems() -> Iterator[str]:
    """Yield whether data/raw holds what data/source.json pins."""
    try:
        expected = read_source().sha256
        received = file_digest(paths.RAW_TAR, "sha256")
    except (OSError, ValueError) as error:
        yield f"{paths.RAW_TAR}: {UNCHECKED}: {error}. Run `dvc repro fetch`."
        return
    if received != expected:
        yield (
            f"{paths.RAW_TAR}: expected sha256 {expected} ({paths.SOURCE_JSON}). Received: {received}. "
            "Run `dvc repro fetch`."
        )


def cache_and_output_problems(candidates: list[str]) -> Iterator[str]:
    """Yield what is wrong with the files that dvc.lock names."""
    outs = outs_of_lock(candidates)
    if not outs:
        yield f"{paths.DVC_LOCK}: {UNCHECKED}: it names no outs. Run `dvc repro`."
    yield from output_problems(outs)
    try:
        cache = dvc_cache()
    except OSError as error:
        yield f"DVC's cache: {UNCHECKED}: {error}. Run `dvc doctor`."
        return
    yield from cache_problems(outs, uncached_outs(), cache)


# --- Whether every registered version still has the files it was registered with, and one list says who is
# champion.


def registry_problems(store: Store, name: str) -> Iterator[str]:
    """Yield what is wrong with a registered model and its versions.

    Raises:
        ServiceDown: The server failed, which says nothing about the models (by `service_errors` around this).
    """
    found = versions(store, name)
    if not found:
        yield f"{name}: {UNCHECKED}: the registry has no version of it. Run `dvc repro register`."
    lost = _lost_commits(found)
    for version in found:
        where = f"{name} version {version.number}"
        if (commit := version.tags.get("git.commit")) in lost:
            yield (
                f"{where}: its commit is gone, so nobody can rebuild it. Expected {commit} in this repository or at "
                f"its remote. Received: no such commit. `git fetch` it from a clone that has it."
            )
        if not version.model_sha256:
            yield f"{where}: {UNCHECKED}: it has no tag model_sha256. Millrace did not make it; delete it."
            continue
        if FILES not in version.tags:
            yield f"{where}: {UNCHECKED} more than its model: it has no tag {FILES}. Register it anew."
        with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
            try:
                fetch_model(store, version, Path(temporary))
            except StorageFailed as error:
                yield f"{where}: {error}"
    yield from _champion_problems(store, name)


def _lost_commits(found: Sequence[Version]) -> set[str]:
    """Return the commits of versions that neither this repository nor its remote has."""
    commits = {version.tags.get("git.commit", NOTHING) for version in found} - {NOTHING}
    return {commit for commit in commits if not commit_exists(commit)}


def _champion_problems(store: Store, name: str) -> Iterator[str]:
    try:
        listed = champions(store, name)
    except StorageFailed as error:
        yield f"{name}: {error}"
        return
    last = listed[-1].version if listed else 0
    shown = aliases(store, name).get(CHAMPION, 0)
    if shown != last:
        yield (
            f"{name}: the alias `{CHAMPION}` is not what the list of champions says. Expected version "
            f"{last or 'none'}. Received: {shown or 'none'}. Run `dvc repro --force --single-item register`."
        )
    revoked = revocation(store, name, listed[-1].model_sha256) if last else None
    if revoked is not None:
        yield (
            f"{name}: the champion is revoked ({revoked['reason']}). Expected another one. Received: version {last}. "
            "Run the `millrace rollback` again that was interrupted."
        )
