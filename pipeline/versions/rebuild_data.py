"""The raw data that a version was made from, found again by its sha256: stored here, at a DVC remote, or read anew."""

import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from pipeline.fetching.snapshot import gather
from pipeline.fetching.source import Source, read_source, stored_tar
from pipeline.runtime import paths
from pipeline.runtime.files import file_digest, write_json
from pipeline.runtime.processes import run
from pipeline.runtime.repository import dvc_cache
from pipeline.runtime.stage import DataRefused, ServiceDown, UserError
from pipeline.versions.version_origin import Origin

if TYPE_CHECKING:
    from rich.console import Console

TAR = paths.RAW_TAR.as_posix()
DVC = (sys.executable, "-m", "dvc")
DVC_UNEXPECTED = 255
"""How DVC ends where it has no words for what it met: no permission, no plugin, no connection."""
CONNECT_SECONDS = 15.0


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
    gathered = gather(
        source.kind, source.location, max_bytes=max_bytes, options=source.options, console=console
    )
    if gathered.source.sha256 != source.sha256:
        raise DataRefused(
            f"{origin.model} version {origin.version} differs from stage fetch on: the data is no longer what it was. "
            f"Expected sha256={source.sha256} ({source.files:,} files). Received: sha256={gathered.source.sha256} "
            f"({gathered.source.files:,} files) at {source.location}. Restore the files, or `dvc push` the next time."
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
    done = run([*DVC, "pull", TAR], folder=tree, out=sys.stderr)
    lock.unlink(missing_ok=True)
    if (tree / TAR).is_file() and file_digest(tree / TAR, "sha256") == source.sha256:
        return True
    silent = _silence(_dvc_setting(tree, f"remote.{remote}.url"))
    if silent or done.code == DVC_UNEXPECTED:
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
        return f"{type(error).__name__}: {error}"
    return f"status {status}" if status >= httpx.codes.INTERNAL_SERVER_ERROR else ""


def _dvc_setting(tree: Path, name: str) -> str:
    """Return a setting of DVC, wherever it is configured; "" if it is not."""
    return run([*DVC, "config", name], folder=tree).out.strip()
