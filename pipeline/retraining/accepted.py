"""The data that somebody vouches for, which every night is compared with beside the last results.

Each night against the night before lets a source rot slowly: 9 % other labels a night pass a bound of 10 % thirty
times. So there is a second reference that no night moves by itself: the data of the followed branch, which people
commit or merge, or the data that `--accept-drift REASON` took since; docs/decisions/0021.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.retraining.children import Children
from pipeline.runtime import paths
from pipeline.runtime.errors import StorageFailed
from pipeline.runtime.files import read_json, write_json
from pipeline.runtime.repository import cached, has_remote
from pipeline.runtime.strict_yaml import read_yaml, yaml_content

DESCRIBED = (paths.SAMPLES_PARQUET, paths.STATISTICS_PARQUET)
"""What `ingest` and `validate` keep of every row."""
FIRST = "the first results"
NO_RESULTS = "no results yet to compare with"
LAST_RESULTS = "the data of the last results"

Digests = dict[Path, str]
"""md5 in DVC's cache of each of `DESCRIBED`, as far as they are known."""


@dataclass(frozen=True)
class Accepted:
    """Data that somebody vouches for.

    Attributes:
        files: Digests of what describes it.
        what: Which data that is and why, as in "the data of main".
    """

    files: Digests
    what: str


def recorded_files(tree: Path) -> Digests:
    """Return what dvc.lock of a working tree records."""
    lock_path = tree / paths.DVC_LOCK
    return _named(read_yaml(lock_path)) if lock_path.is_file() else {}


def accepted_data(children: Children, branch: str, commit: str) -> Accepted | None:
    """Return the data that new rows are compared with beside those of the last results.

    What was accepted counts for as long as the followed branch holds the same data as then: whoever commits or merges
    results there has looked at them, and later.

    Args:
        children: Runs git in the tree.
        branch: The followed branch.
        commit: Its commit.

    Returns:
        None where there were no results yet when nobody asked for this.

    Raises:
        StorageFailed: What was accepted cannot be read.
    """
    followed = _followed_files(children, commit)
    path = children.tree / paths.ACCEPTED_JSON
    if path.is_file():
        try:
            note = read_json(path)
            then, files = _paths(note["followed"]), _paths(note["files"])
            what = f"the data accepted on {note['day']}: {note['reason']}"
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageFailed(
                f"{paths.ACCEPTED_JSON} does not say which data is accepted. Expected what `millrace retrain` wrote. "
                f"Received: {error!r}. Bring it back from an earlier commit of the branch of results, or remove it "
                f"there: the data of {branch} counts then."
            ) from error
        if then == followed:
            return Accepted(files, what)
    return Accepted(followed, f"the data of {branch}") if followed else None


def accept(children: Children, commit: str, reason: str, day: str) -> None:
    """Note in the tree that its present data is accepted.

    Args:
        children: Runs git in the tree.
        commit: Of the followed branch.
        reason: What the person said, or `FIRST`.
        day: When, ISO 8601.
    """
    note = {
        "reason": reason,
        "day": day,
        "files": _texts(recorded_files(children.tree)),
        "followed": _texts(_followed_files(children, commit)),
    }
    write_json(children.tree / paths.ACCEPTED_JSON, note)


def bring(children: Children, files: Mapping[Path, str]) -> dict[Path, Path | None]:
    """Return where in DVC's cache described data lies, None where it is nowhere; its remote is asked if need be."""
    places = {path: cached(children.tree, md5) for path, md5 in files.items()}
    if None in places.values() and has_remote(children.tree):
        _fetch(children, files)
        places = {path: cached(children.tree, md5) for path, md5 in files.items()}
    return places


def _fetch(children: Children, files: Mapping[Path, str]) -> None:
    """Ask the remote. DVC fetches what dvc.lock names, so for a moment that names these."""
    lock_path = children.tree / paths.DVC_LOCK
    before = lock_path.read_bytes()
    lock = read_yaml(lock_path)
    for out in _outs(lock):
        if (path := Path(out["path"])) in files and out["md5"] != files[path]:
            out.update(md5=files[path])
            out.pop("size", None)
    try:
        write_json(lock_path, lock)  # which is YAML too
        # Its exit code is 0 also where the remote is down: what is there afterwards tells.
        children.dvc("fetch", *map(str, files))
    finally:
        lock_path.write_bytes(before)


def _followed_files(children: Children, commit: str) -> Digests:
    lock = children.git("show", f"{commit}:./{paths.DVC_LOCK.as_posix()}", check=False)
    return {} if lock.code else _named(yaml_content(lock.out, f"dvc.lock at {commit[:10]}"))


def _named(lock: Mapping[str, Any]) -> Digests:
    return {path: out["md5"] for out in _outs(lock) if (path := Path(out["path"])) in DESCRIBED}


def _outs(lock: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [out for stage in lock.get("stages", {}).values() for out in stage.get("outs", [])]


def _paths(files: Mapping[str, str]) -> Digests:
    return {Path(name): md5 for name, md5 in files.items()}


def _texts(files: Digests) -> dict[str, str]:
    return {path.as_posix(): md5 for path, md5 in sorted(files.items())}
