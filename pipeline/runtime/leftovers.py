"""What a year of runs leaves on this disk: objects of DVC's cache that nothing names, archives, checkpoints, logs.

Finding and removing are apart, so that a person can look first. `removed_bytes` of a thing that is gone already is 0:
whoever was killed in the middle does the same again.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.runtime import paths
from pipeline.runtime.errors import StorageFailed
from pipeline.runtime.files import folder_bytes, write_bytes
from pipeline.runtime.progress import live_trace
from pipeline.runtime.repository import git, git_refuses

MD5, SHA256 = re.compile(r"\b[0-9a-f]{32}\b(?:\.dir\b)?"), re.compile(r"\b[0-9a-f]{64}\b")
RUNNING_ELSEWHERE = Path(".dvc/tmp/exps")
"""Where `dvc exp run --temp` and DVC's queue work."""
KEPT_LOG_BYTES = 1 << 20
CHECKPOINTS = ("train", "tune", "folds", "refit")


@dataclass(frozen=True)
class Named:
    """What somebody still names.

    Attributes:
        md5: Of objects in DVC's cache, a folder's with `.dir`.
        sources: sha256 of stored archives.
    """

    md5: frozenset[str]
    sources: frozenset[str]

    def __or__(self, other: "Named") -> "Named":
        """Return both together."""
        return Named(self.md5 | other.md5, self.sources | other.sources)


def named_by_trees(leaving: Path) -> Named:
    """Return what every branch, tag, experiment and working tree of this repository names.

    Digests are found by their look, also in a dvc.lock that a kill or a merge left half written: one that means
    something else keeps an object too many, never one too few.

    Args:
        leaving: Folder of working trees that will be removed.

    Raises:
        StorageFailed: git does not say what is named; nothing may be taken for nothing.
    """
    trees = {path.resolve() for path in (Path(), paths.TREE, *_worktrees(), *RUNNING_ELSEWHERE.glob("*/*"))}
    trees = {path for path in trees if not path.is_relative_to(leaving.resolve())}
    named = [
        _digests(file.read_text(encoding="utf-8", errors="replace"))
        for tree in trees
        for file in _hash_files(tree)
    ]
    blobs = {blob for commit in _commits() for blob in _blobs(commit)}
    named += [_digests(_said("cat-file", "blob", blob).decode(errors="replace")) for blob in blobs]
    return Named(frozenset().union(*(md5 for md5, _ in named)), frozenset().union(*(sha for _, sha in named)))


def unnamed_objects(cache: Path, named: frozenset[str]) -> list[Path]:
    """Return the objects of DVC's cache that nothing names, after the notes of its run cache that lead to them.

    Args:
        cache: DVC's cache.
        named: See `Named.md5`; what is in a named folder is named too.
    """
    wanted = set(named)
    for md5 in named:
        folder = cache / "files" / "md5" / md5[:2] / md5[2:]
        if md5.endswith(".dir") and folder.is_file():
            wanted |= _digests(folder.read_text(encoding="utf-8"))[0]
    objects = [path for path in _files(cache / "files" / "md5") if path.parent.name + path.name not in wanted]
    gone = {path.parent.name + path.name for path in objects}
    notes = [path for path in _files(cache / "runs") if _digests(path.read_text(encoding="utf-8"))[0] & gone]
    # A note that outlived its objects would be nobody's business any more.
    return notes + objects


def unnamed_sources(folder: Path, named: frozenset[str]) -> list[Path]:
    """Return the stored archives that nothing names.

    Args:
        folder: Where archives lie, each under its sha256.
        named: See `Named.sources`.
    """
    return [path for path in sorted(folder.glob("*.tar")) if path.stem not in named]


def stale_checkpoints(candidates: Iterable[str]) -> list[Path]:
    """Return checkpoints that no training goes on from: of candidates that are gone, and all but the newest of others.

    Args:
        candidates: Names in params.yaml.
    """
    known = set(candidates)
    found: list[Path] = []
    for state in (paths.STATE_DIR, paths.TREE / paths.STATE_DIR):
        for kind in CHECKPOINTS:
            for folder in sorted((state / kind).glob("*")):
                if folder.name not in known:
                    found.append(folder)
                    continue
                inside = sorted(folder.glob("*"), key=lambda path: path.stat().st_mtime_ns)
                aside = [path for path in inside if path.name.startswith(".")]
                found += [path for path in inside if path not in aside][:-1]
                # Of a kill while files came back from a cluster: half of the new ones, or the old ones, put aside.
                found += [
                    path
                    for path in aside
                    if path.suffix == ".new" or path.with_name(path.stem.removeprefix(".")).exists()
                ]
        found += sorted((state / "reduce").glob("*"), key=lambda path: path.stat().st_mtime_ns)[:-1]
    return found


def stale_logs(candidates: Iterable[str]) -> list[Path]:
    """Return live logs of candidates that are gone."""
    known = set(candidates)
    folders = [state / "live" for state in (paths.STATE_DIR, paths.TREE / paths.STATE_DIR)]
    return [
        path
        for folder in folders
        for path in sorted(folder.glob("*"))
        if path.name.partition(".")[0] not in known
    ]


def live_ids() -> set[str]:
    """Return the names of the trainings whose live logs are here."""
    folders = [state / "live" for state in (paths.STATE_DIR, paths.TREE / paths.STATE_DIR)]
    traces = [live_trace(path) for folder in folders for path in sorted(folder.glob("*.jsonl"))]
    return {trace.live_id for trace in traces if trace is not None}


def growing() -> list[tuple[Path, str]]:
    """Return the records that are never shortened, each with its size in words."""
    kept = (paths.HISTORY, paths.HISTORY_HTML, paths.TEST_LEDGER, paths.AUDIT_LOG)
    return [(path, f"{path.stat().st_size / 1e6:.2f} MB") for path in kept if path.is_file()]


def long_logs() -> list[Path]:
    """Return what the scheduler's runs printed, where it is longer than `KEPT_LOG_BYTES`."""
    return [path for path in sorted(paths.RETRAIN_DIR.glob("*.log")) if path.stat().st_size > KEPT_LOG_BYTES]


def cut_log(path: Path) -> int:
    """Keep the newest lines of a log and return how many bytes that freed."""
    content = path.read_bytes()
    newest = content[-KEPT_LOG_BYTES:].partition(b"\n")[2]
    write_bytes(path, newest)
    return len(content) - len(newest)


def removed_bytes(path: Path) -> int:
    """Remove a file or folder and return how many bytes that freed."""
    size = folder_bytes(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return size


def remove_worktree(folder: Path) -> int:
    """Remove a working tree, also one that a kill left half-made, and what git knows of it; return the bytes freed."""
    size = folder_bytes(folder)
    git("worktree", "remove", "--force", "--force", str(folder))
    shutil.rmtree(folder, ignore_errors=True)
    git("worktree", "prune")
    return size


def _said(*arguments: str) -> bytes:
    """Return what git says of the repository; nothing where there is none.

    Raises:
        StorageFailed: There is one, and git does not read it.
    """
    answer = git(*arguments)
    if answer is None and any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents)):
        raise StorageFailed(
            f"What branches need is not known. Expected `git {' '.join(arguments)}` to answer. Received: an error. "
            f"{git_refuses() or 'Run it and mend what it says'}. Nothing was removed."
        )
    return answer or b""


def _commits() -> set[str]:
    """Return the commit of every ref, and of HEAD."""
    refs = _said("for-each-ref", "--format=%(objectname) %(*objectname)")
    found = {line.split()[-1] for line in refs.decode().splitlines()}
    return found | set((git("rev-parse", "--verify", "--quiet", "HEAD") or b"").decode().split())


def _blobs(commit: str) -> set[str]:
    """Return the ids of the files of a commit in which DVC or Millrace names data."""
    listed = _said("ls-tree", "-r", "-z", commit)
    entries = [os.fsdecode(line).partition("\t") for line in listed.split(b"\0") if line]
    return {kind.split()[2] for kind, _, name in entries if _names_data(name)}


def _worktrees() -> Iterator[Path]:
    for line in _said("worktree", "list", "--porcelain").splitlines():
        if line.startswith(b"worktree "):
            yield Path(os.fsdecode(line.removeprefix(b"worktree ")))


def _hash_files(tree: Path) -> Iterator[Path]:
    """Yield the files of a working tree in which data is named; not those of environments and caches."""
    for folder, folders, files in os.walk(tree):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "mlartifacts"]
        yield from (path for path in (Path(folder, name) for name in files) if _names_data(path.as_posix()))


def _names_data(name: str) -> bool:
    return name.endswith(("dvc.lock", ".dvc", paths.SOURCE_JSON.as_posix(), paths.ACCEPTED_JSON.as_posix()))


def _digests(text: str) -> tuple[set[str], set[str]]:
    """Return what looks like an md5 of DVC, and what like a sha256."""
    return set(MD5.findall(text)), set(SHA256.findall(text))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
