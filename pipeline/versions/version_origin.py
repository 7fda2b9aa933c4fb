"""What a registered version was made from: the commit, and what its dvc.lock said."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.runtime import paths
from pipeline.runtime.files import content_key, write_bytes
from pipeline.runtime.repository import Stages, commit_exists, file_at, git, without_register
from pipeline.runtime.stage import InputMissing
from pipeline.runtime.strict_yaml import read_yaml
from pipeline.tracking.registry import EXTRA_DIR, Version, fetch_model
from pipeline.tracking.store import Store

MAX_COMMITS = 100
"""How many later commits are searched for the dvc.lock of a version that carries none itself."""


@dataclass(frozen=True)
class Origin:
    """A version and where it came from.

    Attributes:
        model: Name in the registry.
        version: Its number.
        model_sha256: Digest (hex) of its `.keras` file.
        commit: The git commit (hex) of its code and parameters.
        stages: What its dvc.lock recorded; empty where none is left.
        folder: Its downloaded files.
    """

    model: str
    version: int
    model_sha256: str
    commit: str
    stages: Stages
    folder: Path


def read_origin(store: Store, name: str, version: Version, folder: Path) -> Origin:
    """Download a version, check its digest, and find its commit and dvc.lock.

    Args:
        store: Where it is registered.
        name: Of the model.
        version: The version.
        folder: Empty; gets its files.

    Raises:
        InputMissing: It was made from files that no commit holds, or the commit is not here.
        StorageFailed: Its files are gone or damaged.
    """
    commit, dirty = version.tags.get("git.commit", "none"), version.tags.get("git.dirty", "none")
    if commit == "none" or dirty != "false":
        raise InputMissing(
            f"{name} version {version.number} was made from files that no commit holds, so nobody can rebuild it "
            f"exactly. Expected git.dirty=false. Received: git.commit={commit}, git.dirty={dirty}. Choose another "
            "version; commit before `dvc repro`, and the next one can be rebuilt."
        )
    if not commit_exists(commit):
        raise InputMissing(
            f"The commit of {name} version {version.number} is not in this repository. Expected {commit}. Received: "
            "no such commit, also after `git fetch`. Clone the repository that the model was made in."
        )
    arrived = fetch_model(store, version, folder)
    return Origin(
        name,
        version.number,
        version.model_sha256,
        commit,
        _recorded_stages(arrived, version, commit),
        arrived,
    )


def _recorded_stages(arrived: Path, version: Version, commit: str) -> Stages:
    """Return the stages of the dvc.lock that made a version: its own copy, or the one in git that fits its tag.

    Nobody commits dvc.lock before the run that writes it, so it often stands in a later commit than the code.
    """
    own = arrived / EXTRA_DIR / paths.DVC_LOCK.name
    if own.is_file():
        return without_register(read_yaml(own))
    expected = version.tags.get("dvc.stages.sha256")
    for content in _locks_in_git(commit):
        found = arrived / "dvc.lock"
        write_bytes(found, content)
        stages = without_register(read_yaml(found))
        if content_key(stages) == expected:
            return stages
    return {}


def _locks_in_git(commit: str) -> Iterator[bytes]:
    """Yield dvc.lock at a commit, then at the later ones that changed it, oldest first."""
    later = git("rev-list", "--reverse", "--ancestry-path", f"{commit}..", "--", paths.DVC_LOCK.name) or b""
    for item in [commit, *later.decode().split()[:MAX_COMMITS]]:
        content = file_at(item, paths.DVC_LOCK.name)
        if content is not None:
            yield content
