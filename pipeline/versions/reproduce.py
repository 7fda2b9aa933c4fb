"""A version built again: its commit in a worktree of its own, its packages, the pipeline.

Nothing of the project is touched: the worktree has its own DVC cache, so that every stage runs and none is restored,
its own MLflow store, and its own environment where the packages differ.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx

from pipeline.fetching.download import CONNECT_SECONDS
from pipeline.fetching.snapshot import take_snapshot
from pipeline.fetching.source import Location, Source, read_source, stored_tar
from pipeline.provenance.locked import differing_packages
from pipeline.provenance.origin import read_params
from pipeline.runtime import paths
from pipeline.runtime.addresses import shown, without_secrets
from pipeline.runtime.dvc_place import close_site_cache
from pipeline.runtime.errors import DataRefused, InputMissing, ServiceDown, StorageFailed, UserError
from pipeline.runtime.files import file_digest, read_json, write_bytes, write_json, write_text
from pipeline.runtime.leftovers import remove_worktree
from pipeline.runtime.processes import run
from pipeline.runtime.repository import (
    DVC_CONFIG,
    DVC_CONFIG_LOCAL,
    SITE_CACHE,
    digest_at,
    dvc_cache,
    dvc_config_for,
    file_at,
    git,
)
from pipeline.runtime.stage import KILLED
from pipeline.runtime.strict_yaml import read_yaml, value_at
from pipeline.versions.comparison import ENVIRONMENT, Origin

if TYPE_CHECKING:
    from rich.console import Console


# --- The raw data that a version was made from, found again by its sha256: stored here, at a DVC remote, or read
# anew.

TAR = paths.RAW_TAR.as_posix()
DVC = (sys.executable, "-m", "dvc")
DVC_UNEXPECTED = 255
"""How DVC ends where it has no words for what it met: no permission, no plugin, no connection."""
NO_CONNECTION = "failed to connect to"
"""What it says, ending as for data that is not there, where a cloud refuses it or there are no credentials."""


def restore_data(origin: Origin, tree: Path, max_bytes: int, console: "Console") -> str:
    """Give the worktree the raw data that its data/source.json pins, and return where it came from.

    Args:
        origin: The version.
        tree: Its worktree.
        max_bytes: Limit of a download, should the data have to be fetched again.
        console: For progress.

    Raises:
        DataRefused: The data is no longer what it was.
        ServiceDown: The DVC remote does not answer, and the data is not at its location either.
        UserError: It cannot be had: not in the store, not in DVC's cache, not at its location.
    """
    source = read_source(tree / paths.SOURCE_JSON)
    if source.location == "bundled":
        return "an installed package"
    target = tree / stored_tar(source.sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    for name, place in data_places(origin, source).items():
        if place.is_file() and file_digest(place, "sha256") == source.sha256:
            shutil.copyfile(place, target)
            return name
    try:
        pulled = _pulled(origin, tree, source)
    except ServiceDown as down:
        try:
            return _read_again(origin, source, target, max_bytes, console)
        except UserError as error:
            raise ServiceDown(f"{down} Its location was tried as well: {error}") from error
    if pulled:
        (tree / TAR).replace(target)
        return "the DVC remote"
    return _read_again(origin, source, target, max_bytes, console)


def _read_again(origin: Origin, source: Source, target: Path, max_bytes: int, console: "Console") -> str:
    """Read the data where it once lay."""
    # The bytes are what counts: spellings that once passed are no reason to refuse them now.
    options = source.options | {"join_labels": bool(source.joined)}
    snapshot = take_snapshot(
        source.kind, source.location, max_bytes=max_bytes, options=options, console=console
    )
    if snapshot.source.sha256 != source.sha256:
        location = source.location
        place = shown(location.url or location.path or "") if isinstance(location, Location) else location
        raise DataRefused(
            f"{origin.model} version {origin.version} differs from stage fetch on: the data is no longer what it was. "
            f"Expected sha256={source.sha256} ({source.files:,} files). Received: sha256={snapshot.source.sha256} "
            f"({snapshot.source.files:,} files) at {place}. Restore the files, or `dvc push` the next time."
        )
    shutil.copyfile(stored_tar(source.sha256), target)
    return "its location, read again"


def data_places(origin: Origin, source: Source) -> dict[str, Path]:
    """Return where on this machine the raw data of a version may lie, by name."""
    places = {"this project's store": stored_tar(source.sha256)}
    fetched = origin.stages.get("fetch", {}).get("outs", [])
    md5 = next((str(out["md5"]) for out in fetched if out["path"] == TAR), "")
    if md5:
        with suppress(OSError):
            places["DVC's cache"] = dvc_cache() / "files/md5" / md5[:2] / md5[2:]
    return places


def _pulled(origin: Origin, tree: Path, source: Source) -> bool:
    """Fetch the raw data from the DVC remote, if there is one.

    Raises:
        ServiceDown: The remote does not answer, so nobody knows whether it has the data.
    """
    remote = _dvc_setting(tree, "core.remote")
    if not remote or "fetch" not in origin.stages:
        return False
    # Not the dvc.lock of the commit, which knows the run before.
    lock = tree / paths.DVC_LOCK
    write_json(lock, {"schema": "2.0", "stages": {"fetch": origin.stages["fetch"]}})
    done = run([*DVC, "pull", TAR], folder=tree)
    sys.stderr.write(without_secrets(f"{done.out}{done.err}"))
    lock.unlink(missing_ok=True)
    if (tree / TAR).is_file() and file_digest(tree / TAR, "sha256") == source.sha256:
        return True
    silent = _silence(_dvc_setting(tree, f"remote.{remote}.url"))
    if silent or done.code == DVC_UNEXPECTED or NO_CONNECTION in done.err:
        raise ServiceDown(
            f"The DVC remote {remote} cannot be asked for the data. Expected `dvc pull {TAR}` to work. Received: "
            f"{silent or 'an error of DVC, which stands above'}. Run it again once the remote answers."
        )
    return False


def _silence(url: str) -> str:
    """Return why a remote does not answer, "" if it does; DVC itself takes a dead folder or server for an empty one."""
    if "://" not in url:
        return "" if Path(url).is_dir() else f"there is no folder {url}"
    if not url.startswith(("http://", "https://")):
        return ""
    try:
        status = httpx.head(url, timeout=CONNECT_SECONDS).status_code
    except httpx.HTTPError as error:
        return f"{type(error).__name__}: {without_secrets(str(error), url)}"
    return f"status {status}" if status >= httpx.codes.INTERNAL_SERVER_ERROR else ""


def _dvc_setting(tree: Path, name: str) -> str:
    """Return a setting of DVC, wherever it is configured; "" if it is not."""
    return run([*DVC, "config", name], folder=tree).out.strip()


# --- Whether a version could be rebuilt, by hashes alone: nothing is trained, a few seconds.

OK, DIFFERS, DATA_DIFFERS, MISSING = 0, 3, 65, 66
"""Exit codes of docs/guides/exit-codes.md."""
SHOWN = 3


class QuickFinding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        what: commit, model, code, params, data or environment.
        code: 0, or the exit code that it leads to.
        told: What was found, in words.
    """

    what: str
    code: int
    told: str


def quick_check(origin: Origin) -> list[QuickFinding]:
    """Compare the recorded hashes of a version with its commit, this machine's data and its packages.

    Args:
        origin: The version; that its commit exists and its model has the registered digest was checked on the way.
    """
    found = [
        QuickFinding("commit", OK, f"{origin.commit} is here"),
        QuickFinding("model", OK, f"the stored file has the registered sha256 {origin.model_sha256}"),
    ]
    if not origin.stages:
        told = "no dvc.lock of this version is left, neither beside the model nor in git"
        return [*found, QuickFinding("stages", MISSING, told)]
    with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
        folder = Path(temporary)
        for name in (paths.PARAMS_YAML, paths.SOURCE_JSON):
            write_bytes(folder / name, file_at(origin.commit, name.as_posix()) or b"")
        return [*found, _code(origin), _params(origin, folder), _data(origin, folder), _environment(origin)]


def _code(origin: Origin) -> QuickFinding:
    """Compare each file and folder of code that a stage read with the one in the commit."""
    recorded = {
        dep["path"]: dep["md5"]
        for stage in origin.stages.values()
        for dep in stage.get("deps", [])
        if dep["path"].startswith("pipeline/") or dep["path"] in ENVIRONMENT
    }
    if not recorded:
        return QuickFinding("code", MISSING, "not checked: dvc.lock records no code that a stage read")
    other = [path for path, md5 in sorted(recorded.items()) if digest_at(origin.commit, path) != md5]
    told = f"{len(recorded)} files and folders are those that the stages read"
    return (
        QuickFinding("code", DIFFERS, _told("the commit has another", other))
        if other
        else QuickFinding("code", OK, told)
    )


def _params(origin: Origin, folder: Path) -> QuickFinding:
    now = read_yaml(folder / paths.PARAMS_YAML)
    recorded = read_params(origin.stages)
    if not recorded:
        return QuickFinding("params", MISSING, "not checked: dvc.lock records no parameter that a stage read")
    other = [key for key, value in sorted(recorded.items()) if value_at(now, key, None) != value]
    told = f"{len(recorded)} recorded values are those of the commit"
    if other:
        return QuickFinding("params", DIFFERS, _told("the commit has another value of", other))
    return QuickFinding("params", OK, told)


def _data(origin: Origin, folder: Path) -> QuickFinding:
    """Look for the raw data by hash; files that would have to be read again are not, which is no pass."""
    source = read_source(folder / paths.SOURCE_JSON)
    if source.location == "bundled":
        return QuickFinding(
            "data", OK, "comes with an installed package; its digest is checked when it is unpacked"
        )
    damaged = []
    for name, place in data_places(origin, source).items():
        if place.is_file():
            if file_digest(place, "sha256") == source.sha256:
                return QuickFinding("data", OK, f"in {name}, sha256 {source.sha256}")
            damaged.append(name)
    if damaged:
        return QuickFinding(
            "data", DATA_DIFFERS, f"what lies in {' and in '.join(damaged)} has another sha256"
        )
    given = source.location.path if isinstance(source.location, Location) else None
    if given is not None and not Path(given).exists():
        return QuickFinding("data", MISSING, f"neither on this machine nor at {given}")
    told = "not checked: it is not stored on this machine; a rebuild would fetch it and compare its sha256"
    return QuickFinding("data", MISSING, told)


def _environment(origin: Origin) -> QuickFinding:
    lock = file_at(origin.commit, "requirements.lock")
    if lock is None:
        return QuickFinding("environment", MISSING, "the commit has no requirements.lock to compare with")
    try:
        differing = differing_packages(lock.decode())
    except InputMissing as error:
        return QuickFinding("environment", MISSING, f"not checked: {error}")
    if differing:
        told = f"{_told('other packages are installed', differing)}; a rebuild would install the locked ones"
        return QuickFinding("environment", DIFFERS, told)
    return QuickFinding("environment", OK, "the locked packages are installed")


def _told(what: str, names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{what}: {', '.join(names[:SHOWN])}{more}"


# --- A version built again.

REPRODUCE_DIR = paths.STATE_DIR / "reproduce"
NOT_INHERITED = (
    "DVC_ROOT",
    "DVC_STAGE",
    "MLFLOW_TRACKING_URI",
    "MILLRACE_PARENT",
    "MILLRACE_STARTED",
    "PYTHONPATH",
)


@contextmanager
def worktree(origin: Origin, *, keep: bool) -> Iterator[Path]:
    """Check out the commit of a version beside everybody's work, for the time of the body.

    Args:
        origin: The version.
        keep: Leave it there afterwards.

    Yields:
        The absolute folder of the project in it, without a dvc.lock: what was recorded must not stop stages whose
        result differs.

    Raises:
        StorageFailed: git could not do it.
    """
    folder = (REPRODUCE_DIR / str(origin.version)).absolute()
    remove_worktree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        if git("worktree", "add", "--detach", str(folder), origin.commit) is None:
            raise StorageFailed(
                f"git could not check out a commit. Expected {origin.commit} at {folder}. Received: an error of "
                f"`git worktree add`. Try it by hand; is the disk full?"
            )
        # The project may lie in a folder of a larger repository.
        prefix = git("rev-parse", "--show-prefix") or b""
        tree = folder / os.fsdecode(prefix.rstrip(b"\n"))
        (tree / paths.DVC_LOCK).unlink(missing_ok=True)
        _configure_dvc(tree)
        yield tree
    finally:
        if not keep:
            remove_worktree(folder)


def _configure_dvc(folder: Path) -> None:
    """Give a worktree the remotes that the project has today, with the keys to them, but caches of its own."""
    shutil.copyfile(DVC_CONFIG, folder / DVC_CONFIG)
    # It may hold credentials of a remote.
    write_text(folder / DVC_CONFIG_LOCAL, dvc_config_for(Path.cwd(), folder, own_cache=True), 0o600)
    close_site_cache(folder / SITE_CACHE)


def environment(tree: Path, console: "Console") -> dict[str, str]:
    """Return the environment in which the stages of a worktree run, made first if the packages differ.

    Raises:
        ServiceDown: The packages could not be installed.
    """
    differing = differing_packages((tree / "requirements.lock").read_text(encoding="utf-8"))
    prefix = Path(sys.prefix)
    if differing:
        console.print(f"Installing the locked packages: {len(differing)} differ, such as {differing[0]}.")
        prefix = tree / ".venv"
        install = [_script("uv"), "pip", "install", "--quiet", "--python", str(prefix / "bin/python")]
        steps = (
            [sys.executable, "-m", "venv", str(prefix)],
            [*install, "--no-deps", "--require-hashes", "-r", str(tree / "requirements.lock")],
        )
        for step in steps:
            done = run(step)
            if done.code:
                raise ServiceDown(
                    f"The packages of that version could not be installed. Expected requirements.lock of its commit. "
                    f"Received: {differing[0]}; {(done.err.strip() or 'no message')[-300:]}. Run it again with a "
                    "package index in reach, or in an environment made from that lock."
                )
    inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    path = f"{prefix / 'bin'}{os.pathsep}{inherited.get('PATH', '')}"
    store = paths.sqlite_uri(tree / "mlflow.db")
    return inherited | {"VIRTUAL_ENV": str(prefix), "PATH": path, "MLFLOW_TRACKING_URI": store}


def run_pipeline(tree: Path, environment: dict[str, str]) -> None:
    """Run every stage up to `evaluate`; what they print goes to standard error.

    Raises:
        UserError: A stage stopped; with its exit code.
    """
    dvc = Path(environment["VIRTUAL_ENV"], "bin/dvc")
    command = [str(dvc), "--wait-for-lock", "repro", "--no-run-cache", "evaluate"]
    done = run(command, folder=tree, environment=environment, out=sys.stderr)
    if done.code == 0:
        return
    status = tree / paths.STATE_DIR / "status.json"
    told = read_json(status) if status.is_file() else {}
    if not told.get("exit_code"):
        raise StorageFailed(
            f"DVC could not run the pipeline of that commit. Expected exit code 0. Received: {done.code}. "
            "What it said stands above."
        )
    stopped = UserError(
        f"The rebuild stopped at stage {told['stage']}, so the version differs from there on. Expected it to run as it "
        f"did. Received: {told['message']} Run it again with --keep and look into the worktree."
    )
    code = int(told["exit_code"])
    stopped.exit_code = StorageFailed.exit_code if code == KILLED else code
    stopped.meaning = f"stage {told['stage']}"
    raise stopped


def _script(name: str) -> str:
    """Return the program of that name beside this interpreter, or from PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.is_file() else name
