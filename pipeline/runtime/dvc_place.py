"""How DVC is set up on this machine: a private place for its pickles, and whether there is git.

DVC keeps small databases of pickles in `/var/tmp/dvc`, which it makes writable for everybody: whoever plants one there
runs code as the user of the next `dvc` command. `python -m pipeline.runtime.dvc_place` (`make setup`) gives a project
a place of its own, and no stage runs where DVC was started with one that others can write to.
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path

from pipeline.runtime import paths
from pipeline.runtime.errors import NotPermitted, UserError
from pipeline.runtime.files import write_text
from pipeline.runtime.processes import run
from pipeline.runtime.repository import (
    DVC_CONFIG,
    DVC_CONFIG_LOCAL,
    SITE_CACHE,
    config_text,
    dvc_config,
    git_refuses,
)

DVC_SITE_CACHE_DIR = "DVC_SITE_CACHE_DIR"
"""Variable by which a user names another place; it counts more than any config."""
OPEN_TO_OTHERS = 0o077


def configure_dvc(root: Path) -> None:
    """Write into `.dvc/config.local` where DVC keeps its pickles, and that there is no git where there is none.

    Args:
        root: Absolute folder of the project, the working directory.

    Raises:
        NotPermitted: There is a repository that git does not read for this user.
    """
    refusal = git_refuses()
    if "dubious" in refusal:
        raise NotPermitted(f"{refusal}. Expected a repository of this user. Then run `make setup` again.")
    _set_up(root, no_scm=not in_git())
    close_site_cache(our_place(root))


def our_place(root: Path) -> Path:
    """Return where a project has DVC keep its pickles: below it, or in the user's cache where its path has an umlaut.

    What `dvc remote add --local` cannot write in ASCII costs the whole config: it fails, and leaves an empty file.
    """
    place = root / SITE_CACHE
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "millrace"
    if str(place).isascii() or not str(cache).isascii():
        return place
    return cache / hashlib.sha256(os.fsencode(place)).hexdigest()[:16]


def in_git() -> bool:
    """Return whether the project is in git: its top, a folder of a larger repository, a worktree or a submodule.

    A project that a repository around it ignores is not, such as one unpacked in somebody's home that is in git.
    """
    try:
        inside = run(["git", "rev-parse", "--is-inside-work-tree"]).out.strip() == "true"
        return inside and run(["git", "check-ignore", "--quiet", str(paths.DVC_YAML)]).code != 0
    except OSError:
        return False


def close_site_cache(place: Path) -> None:
    """Make a folder for DVC's pickles that nobody else can enter; one that others could enter is emptied first."""
    if place.is_symlink() or (place.exists() and not is_private(place)):
        _remove(place)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.chmod(0o700)


def require_private_place(root: Path) -> None:
    """Refuse to go on where DVC was started with a place that others can write to; from the next start it is private.

    Args:
        root: Absolute folder of the project.

    Raises:
        NotPermitted: It was; says what to do.
    """
    place, by_variable = site_cache(root)
    if is_private(place):
        return
    what = (
        f"DVC keeps pickles in {place}, where other users of this machine can put theirs, which then run as you. "
        "Expected a folder that only you can enter. "
    )
    if by_variable:
        raise NotPermitted(
            f"{what}Received: {DVC_SITE_CACHE_DIR}={place}. Unset it, or run `chmod 700 {place}` once it is emptied."
        )
    _set_up(root)
    close_site_cache(our_place(root))
    raise NotPermitted(f"{what}It is {our_place(root)} from now on: run the same command again.")


def site_cache(root: Path) -> tuple[Path, bool]:
    """Return where a DVC that starts in a project keeps its pickles, and whether the variable says so."""
    named = os.environ.get(DVC_SITE_CACHE_DIR, "")
    if named:
        return root / named, True
    # The nearer one counts more.
    for config in (root / DVC_CONFIG_LOCAL, root / DVC_CONFIG):
        if place := dvc_config(config).get("core", {}).get("site_cache_dir"):
            return root / str(place), False
    # Takes a tenth of a second, and only clones that `make` did not make need it.
    from dvc import dirs

    for folder in (dirs.global_config_dir(), dirs.system_config_dir()):
        if place := dvc_config(Path(folder) / "config").get("core", {}).get("site_cache_dir"):
            return root / str(place), False
    return Path(dirs.site_cache_dir()), False


def is_private(place: Path) -> bool:
    """Return whether only this user can reach a folder: DVC makes what lies in it writable for everybody."""
    for folder in (place.absolute(), *place.absolute().parents):
        try:
            found = folder.stat()
        except FileNotFoundError:
            continue
        if found.st_uid == os.getuid() and not found.st_mode & OPEN_TO_OTHERS:
            return True
    return False


def _set_up(root: Path, *, no_scm: bool | None = None) -> None:
    """Write our place, and whether there is git where that is known, into the local config; the rest of it stays."""
    local = dvc_config(root / DVC_CONFIG_LOCAL)
    before = config_text(local)
    core = local.setdefault("core", {})
    core["site_cache_dir"] = str(our_place(root))
    if no_scm:
        core["no_scm"] = "true"
    elif no_scm is not None:
        core.pop("no_scm", None)
    if config_text(local) != before:
        # It may hold credentials of a remote.
        write_text(root / DVC_CONFIG_LOCAL, config_text(local), 0o600)


def _remove(place: Path) -> None:
    if place.is_symlink() or not place.is_dir():
        place.unlink()
    else:
        shutil.rmtree(place)


def main() -> None:
    """Set DVC up in the working directory."""
    try:
        configure_dvc(Path.cwd())
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
