"""git and DVC as a project keeps them: what commits hold, what a dvc.lock says, where DVC's objects are.

`python -m pipeline.runtime.repository` mends what DVC left half written when it was killed. DVC writes two files
anew, in place, around every stage, and a power cut or kill -9 in that moment leaves their beginning: dvc.lock
("validation failed") and .dvc/tmp/rwlock ("JSON structure is corrupted"). Every further `dvc repro` stops there.
Nothing else is lost: the second only says who is at work, and DVC's run cache knows what each finished stage made,
so that the next `dvc repro` brings it back without running it.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from configobj import ConfigObj

from pipeline.runtime import paths
from pipeline.runtime.errors import Busy
from pipeline.runtime.files import file_digest, folder_digest
from pipeline.runtime.processes import run
from pipeline.runtime.strict_yaml import read_yaml

GIT_SECONDS = 120
Stages = dict[str, Any]
"""`stages` of a dvc.lock."""
DVC_CONFIG, DVC_CONFIG_LOCAL = Path(".dvc/config"), Path(".dvc/config.local")
SITE_CACHE = Path(".dvc/tmp/site")
"""Our place for what DVC keeps in /var/tmp/dvc otherwise: `pipeline.runtime.dvc_place`."""
REMOTE_PLACES = ("url", "keyfile", "credentialpath", "configpath", "cert_path", "key_path")
"""Options of a remote that DVC reads as paths, from the folder of the config that has them."""
TORN_LOCK = paths.STATE_DIR / "dvc.lock.torn"
AT_WORK = Path(".dvc/tmp/rwlock")
"""Which process reads and writes which path; DVC itself forgets those that are gone."""


def git(*arguments: str) -> bytes | None:
    """Return what git says, or None where there is no git, no repository, no commit, or no such thing in it.

    Hooks are for what people do: one that runs `dvc checkout` has no business in a worktree of ours.
    """
    try:
        command = ["git", "-c", f"core.hooksPath={os.devnull}", *arguments]
        return subprocess.run(command, capture_output=True, check=True, timeout=GIT_SECONDS).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def git_refuses() -> str:
    """Return why git does not read the repository that is here, with the fix; "" where it does, or there is none."""
    try:
        answer = run(["git", "rev-parse", "--git-dir"], environment=os.environ | {"LC_ALL": "C"})
    except OSError:
        return "git is not installed. Install it"
    if not answer.code or "dubious ownership" not in answer.err:
        return ""
    return (
        f'git does not read the repository in {Path.cwd()}, because it belongs to another user ("dubious ownership"). '
        "Run `" + trusting_command(answer.err) + "` if you trust its owner"
    )


def trusting_command(said: str) -> str:
    """Return the command that git itself names, which has the folder as git sees it."""
    lines = (line.strip() for line in said.splitlines())
    return next(
        (line for line in lines if line.startswith("git config")), "git config --global safe.directory"
    )


def commit_exists(commit: str) -> bool:
    """Return whether this repository has a commit; a remote is asked for it first."""
    present = ["cat-file", "-e", f"{commit}^{{commit}}"]
    if git(*present) is None and git("remote"):
        git("fetch", "--quiet", "origin", commit)
    return git(*present) is not None


def file_at(commit: str, path: str | Path) -> bytes | None:
    """Return the content of a file as a commit has it, or None."""
    # `./`: the project may lie in a folder of a larger repository.
    return git("cat-file", "blob", f"{commit}:./{path}")


def digest_at(commit: str, path: str) -> str:
    """Return the md5 of a file as a commit has it, of a folder as DVC computes it; "" where there is neither."""
    below = git("ls-tree", "--full-tree", "-r", "-z", "--name-only", f"{commit}:./{path}")
    if below is None:
        content = file_at(commit, path)
        return "" if content is None else _md5(content)
    names = [os.fsdecode(name) for name in below.split(b"\0") if name]
    return folder_digest({name: _md5(file_at(commit, f"{path}/{name}") or b"") for name in names})


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def locked_stages(candidates: Container[str]) -> Stages:
    """Return the stages of dvc.lock that make this state.

    Raises:
        FileNotFoundError: There is no dvc.lock.
    """
    if not paths.DVC_LOCK.is_file():
        raise FileNotFoundError("dvc.lock does not exist. Run `dvc repro`, which writes it.")
    return relevant_stages(read_yaml(paths.DVC_LOCK), candidates)


def relevant_stages(lock: Mapping[str, Any], candidates: Container[str]) -> Stages:
    """Return the stages of a dvc.lock that make the present state: DVC keeps candidates that params.yaml lost."""
    return {
        name: stage
        for name, stage in without_register(lock).items()
        if "@" not in name or name.partition("@")[2] in candidates
    }


def without_register(lock: Mapping[str, Any]) -> Stages:
    """Return the stages of a dvc.lock that lead to the model: `register` only follows from them."""
    return {name: stage for name, stage in lock.get("stages", {}).items() if name != "register"}


def output_md5(stages: Mapping[str, Any], path: Path) -> str:
    """Return the md5 that dvc.lock records for an output.

    Raises:
        FileNotFoundError: No stage has written it yet.
    """
    for stage in stages.values():
        for output in stage.get("outs", []):
            if output["path"] == path.as_posix():
                return str(output["md5"])
    raise FileNotFoundError(f"dvc.lock knows no output {path}. Run `dvc repro`.")


def dvc_config_for(project: Path, tree: Path, *, own_cache: bool = False) -> str:
    """Return `.dvc/config.local` of a second working tree: cache and remotes of the project, at absolute places.

    Args:
        project: Absolute folder of the project.
        tree: Absolute folder of the other working tree.
        own_cache: Give the tree a cache below it instead of the project's.
    """
    shared, local = dvc_config(project / DVC_CONFIG), dvc_config(project / DVC_CONFIG_LOCAL)
    cache = _option("cache", "dir", local, shared) or "cache"
    for name in {*shared.sections, *local.sections}:
        if "remote" in name:
            given = {key: _option(name, key, local, shared) for key in REMOTE_PLACES}
            places = {key: value for key, value in given.items() if value and "://" not in value}
            if places:
                local.setdefault(name, {}).update(
                    {key: _absolute(project, place) for key, place in places.items()}
                )
    local["cache"] = {"dir": _absolute(tree, "cache") if own_cache else _absolute(project, cache)}
    local["core"] = dict(local.get("core", {})) | {"site_cache_dir": str(tree / SITE_CACHE)}
    return config_text(local)


def cached(tree: Path, md5: str) -> Path | None:
    """Return the object of DVC's cache with that digest, None if it is not there or damaged."""
    path = Path(dvc_config(tree / DVC_CONFIG_LOCAL)["cache"]["dir"]) / "files" / "md5" / md5[:2] / md5[2:]
    return path if path.is_file() and file_digest(path) == md5 else None


def has_remote(tree: Path) -> bool:
    """Return whether `dvc push` has somewhere to push to."""
    configs = (DVC_CONFIG, DVC_CONFIG_LOCAL)
    return any(_option("core", "remote", dvc_config(tree / config)) for config in configs)


def dvc_cache() -> Path:
    """Return the folder of DVC's cache.

    Raises:
        OSError: DVC does not say.
    """
    try:
        answer = run([sys.executable, "-m", "dvc", "cache", "dir"], seconds=GIT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"`dvc cache dir` failed: {error}") from error
    if answer.code:
        raise OSError(f"`dvc cache dir` failed: exit code {answer.code}")
    return Path(answer.out.strip().splitlines()[-1])


@contextmanager
def dvc_waits() -> Iterator[None]:
    """Keep every dvc command of this project waiting for the time of the body, but for stages that it runs.

    Raises:
        Busy: One is at work.
    """
    # Importing DVC takes a second.
    from dvc.lock import LockError, make_lock

    folder = AT_WORK.parent
    folder.mkdir(parents=True, exist_ok=True)
    lock = make_lock(str(folder / "lock"), tmp_dir=str(folder))
    try:
        lock.lock()
    except LockError:
        raise Busy("A dvc command is at work in this project. Run it again once that has ended.") from None
    try:
        yield
    finally:
        lock.unlock()


@contextmanager
def dvc_at_rest() -> Iterator[None]:
    """Keep every dvc command of this project waiting for the time of the body.

    Raises:
        Busy: One is at work, or a stage that it runs.
    """
    with dvc_waits():
        # While a stage runs DVC lets go of its lock, and notes here who reads and writes.
        text = AT_WORK.read_text(encoding="utf-8") if AT_WORK.is_file() else ""
        running = {int(pid) for pid in re.findall(r'"pid": (\d+)', text) if Path("/proc", pid).exists()}
        if running:
            raise Busy(f"dvc is at work in this project (process {min(running)}). Wait for it, or stop it.")
        yield


def mend() -> list[str]:
    """Replace a torn dvc.lock by the committed one, or by none, and remove a torn list of who is at work.

    Returns:
        What was mended, in words.

    Raises:
        Busy: dvc.lock is being written.
    """
    told = []
    if _mend_lock():
        told.append(
            f"dvc.lock was half written, by a run that was killed. It is {TORN_LOCK} now, and the last whole one is "
            "back; what stages finished since comes out of DVC's run cache."
        )
    if _forget_who_was_at_work():
        told.append(f"{AT_WORK} was half written, by a run that was killed. It is gone; DVC makes it anew.")
    return told


def _mend_lock() -> bool:
    """Replace a dvc.lock that DVC itself does not take; it is kept beside. Return whether it was torn."""
    if not _torn():
        return False
    # DVC writes it in place: what looks torn may be half written now.
    with dvc_waits():
        if not _torn():
            return False
        TORN_LOCK.parent.mkdir(exist_ok=True)
        paths.DVC_LOCK.replace(TORN_LOCK)
        # Without git, or without a committed one, there is none to take.
        git("checkout", "--quiet", "HEAD", "--", f"./{paths.DVC_LOCK}")
        return True


def _torn() -> bool:
    """Return whether there is a dvc.lock that DVC itself does not take."""
    # Importing DVC takes a second, and only a kill asks for it.
    from dvc.exceptions import DvcException
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.strictyaml import load

    if not paths.DVC_LOCK.is_file():
        return False
    try:
        load(str(paths.DVC_LOCK), COMPILED_LOCKFILE_SCHEMA)
    except DvcException:
        return True
    return False


def _forget_who_was_at_work() -> bool:
    """Remove the list if it is torn; return whether it was. Behind DVC's own guard, so that no writer is met midway."""
    from dvc.lock import make_lock
    from dvc.rwlock import RWLOCK_LOCK

    if not AT_WORK.is_file():
        return False
    with make_lock(str(AT_WORK.with_name(RWLOCK_LOCK)), tmp_dir=str(AT_WORK.parent), wait=True):
        try:
            json.loads(AT_WORK.read_text(encoding="utf-8"))
        except ValueError:
            AT_WORK.unlink()
            return True
    return False


def _absolute(root: Path, place: str) -> str:
    """Return a path of a DVC config as DVC means it: from the folder of the config, or from the user's home."""
    return str((root / ".dvc" / Path(place).expanduser()).resolve())


def _option(section: str, name: str, *configs: ConfigObj) -> str:
    """Return an option from the first config that has it, or ""."""
    found = (config.get(section, {}).get(name) for config in configs)
    return next((str(value) for value in found if value), "")


def dvc_config(path: Path) -> ConfigObj:
    """Return a config of DVC, read as DVC reads it; empty where there is none."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return ConfigObj(lines, interpolation=False)


def config_text(config: ConfigObj) -> str:
    """Return a config as DVC writes it, in quotes where a value needs them; in UTF-8, where DVC knows ASCII only."""
    return "".join(f"{line}\n" for line in config.write())


def main() -> None:
    """Mend what is torn in the working directory; exit code 1 if nothing is."""
    told = mend()
    if not told:
        sys.exit(1)
    print("\n".join(told))


if __name__ == "__main__":
    main()
