"""Whether a version could be rebuilt, by hashes alone: nothing is trained, a few seconds."""

import hashlib
import tempfile
from pathlib import Path
from typing import NamedTuple

from pipeline.fetching.source import Location, read_source
from pipeline.provenance.installed import differing_packages
from pipeline.runtime import paths
from pipeline.runtime.files import file_digest, write_bytes
from pipeline.runtime.repository import file_at
from pipeline.runtime.stage import InputMissing
from pipeline.runtime.strict_yaml import read_yaml, value_at
from pipeline.versions.rebuild_data import data_places
from pipeline.versions.version_origin import Origin

OK, DIFFERS, DATA_DIFFERS, MISSING = 0, 3, 65, 66
"""Exit codes of docs/guides/exit-codes.md."""
SHOWN = 3


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        what: commit, model, code, params, data or environment.
        code: 0, or the exit code that it leads to.
        told: What was found, in words.
    """

    what: str
    code: int
    told: str


def quick_check(origin: Origin) -> list[Finding]:
    """Compare the recorded hashes of a version with its commit, this machine's data and its packages.

    Args:
        origin: The version; that its commit exists and its model has the registered digest was checked on the way.
    """
    found = [
        Finding("commit", OK, f"{origin.commit} is here"),
        Finding("model", OK, f"the stored file has the registered sha256 {origin.model_sha256}"),
    ]
    if not origin.stages:
        told = "no dvc.lock of this version is left, neither beside the model nor in git"
        return [*found, Finding("stages", MISSING, told)]
    with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
        folder = Path(temporary)
        for name in (paths.PARAMS_YAML, paths.SOURCE_JSON):
            write_bytes(folder / name, file_at(origin.commit, name.as_posix()) or b"")
        return [*found, _code(origin), _params(origin, folder), _data(origin, folder), _environment(origin)]


def _code(origin: Origin) -> Finding:
    """Compare each file of code that a stage read with the one in the commit."""
    recorded = {
        dep["path"]: dep["md5"]
        for stage in origin.stages.values()
        for dep in stage.get("deps", [])
        if dep["path"].startswith("pipeline/") or dep["path"] == "requirements.lock"
    }
    if not recorded:
        return Finding("code", MISSING, "not checked: dvc.lock records no code that a stage read")
    other = [path for path, md5 in sorted(recorded.items()) if _md5_at(origin.commit, path) != md5]
    told = f"{len(recorded)} files are those that the stages read"
    return (
        Finding("code", DIFFERS, _told("the commit has another", other))
        if other
        else Finding("code", OK, told)
    )


def _params(origin: Origin, folder: Path) -> Finding:
    now = read_yaml(folder / paths.PARAMS_YAML)
    recorded = {
        key: value
        for stage in origin.stages.values()
        for key, value in stage.get("params", {}).get(paths.PARAMS_YAML.name, {}).items()
    }
    if not recorded:
        return Finding("params", MISSING, "not checked: dvc.lock records no parameter that a stage read")
    other = [key for key, value in sorted(recorded.items()) if value_at(now, key, None) != value]
    told = f"{len(recorded)} recorded values are those of the commit"
    if other:
        return Finding("params", DIFFERS, _told("the commit has another value of", other))
    return Finding("params", OK, told)


def _data(origin: Origin, folder: Path) -> Finding:
    """Look for the raw data by hash; files that would have to be read again are not, which is no pass."""
    source = read_source(folder / paths.SOURCE_JSON)
    if source.location == "bundled":
        return Finding(
            "data", OK, "comes with an installed package; its digest is checked when it is unpacked"
        )
    damaged = []
    for name, place in data_places(origin, source).items():
        if place.is_file():
            if file_digest(place, "sha256") == source.sha256:
                return Finding("data", OK, f"in {name}, sha256 {source.sha256}")
            damaged.append(name)
    if damaged:
        return Finding("data", DATA_DIFFERS, f"what lies in {' and in '.join(damaged)} has another sha256")
    given = source.location.path if isinstance(source.location, Location) else None
    if given is not None and not Path(given).exists():
        return Finding("data", MISSING, f"neither on this machine nor at {given}")
    told = "not checked: it is not stored on this machine; a rebuild would fetch it and compare its sha256"
    return Finding("data", MISSING, told)


def _environment(origin: Origin) -> Finding:
    lock = file_at(origin.commit, "requirements.lock")
    if lock is None:
        return Finding("environment", MISSING, "the commit has no requirements.lock to compare with")
    try:
        differing = differing_packages(lock.decode())
    except InputMissing as error:
        return Finding("environment", MISSING, f"not checked: {error}")
    if differing:
        told = f"{_told('other packages are installed', differing)}; a rebuild would install the locked ones"
        return Finding("environment", DIFFERS, told)
    return Finding("environment", OK, "the locked packages are installed")


def _md5_at(commit: str, path: str) -> str:
    content = file_at(commit, path)
    return "" if content is None else hashlib.md5(content, usedforsecurity=False).hexdigest()


def _told(what: str, names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{what}: {', '.join(names[:SHOWN])}{more}"
