"""Where DVC keeps things, for a second working tree of a project: the cache and the remotes of the project."""

from configparser import ConfigParser
from pathlib import Path

from pipeline.artifacts import file_digest

SHARED, LOCAL = Path(".dvc/config"), Path(".dvc/config.local")
REMOTE_PLACES = ("url", "keyfile", "credentialpath", "configpath", "cert_path", "key_path")
"""Options of a remote that DVC reads as paths, from the folder of the config that has them."""


def settings_for(project: Path, tree: Path, *, own_cache: bool = False) -> str:
    """Return `.dvc/config.local` of the tree: the cache and the remotes of the project, at absolute places.

    Args:
        project: Absolute folder of the project.
        tree: Absolute folder of the other working tree.
        own_cache: Give the tree a cache below it instead of the project's.
    """
    shared, local = _read(project / SHARED), _read(project / LOCAL)
    made = ConfigParser(interpolation=None)
    made.optionxform = str  # type: ignore[assignment,method-assign]
    made.read_dict({name: dict(local[name]) for name in local.sections()})
    cache = local.get("cache", "dir", fallback=shared.get("cache", "dir", fallback="cache"))
    for name in {*shared.sections(), *local.sections()}:
        if "remote" in name:
            given = {
                key: local.get(name, key, fallback=shared.get(name, key, fallback=""))
                for key in REMOTE_PLACES
            }
            places = {key: value for key, value in given.items() if value and "://" not in value}
            if places:
                made.read_dict({name: {key: _absolute(project, place) for key, place in places.items()}})
    made.read_dict({"cache": {"dir": _absolute(tree, "cache") if own_cache else _absolute(project, cache)}})
    made.read_dict({"core": {"site_cache_dir": str(tree / ".dvc" / "tmp" / "site")}})
    lines = []
    for name in made.sections():
        lines += [f"[{name}]", *(f"    {key} = {value}" for key, value in made[name].items())]
    return "\n".join(lines) + "\n"


def cached(tree: Path, md5: str) -> Path | None:
    """Return the object of DVC's cache with that digest, None if it is not there or damaged."""
    path = Path(_read(tree / LOCAL)["cache"]["dir"]) / "files" / "md5" / md5[:2] / md5[2:]
    return path if path.is_file() and file_digest(path) == md5 else None


def has_remote(tree: Path) -> bool:
    """Return whether `dvc push` has somewhere to push to."""
    return any(_read(tree / config).get("core", "remote", fallback="") for config in (SHARED, LOCAL))


def _absolute(root: Path, place: str) -> str:
    """Return a path of a DVC config as DVC means it: from the folder of the config, or from the user's home."""
    return str((root / ".dvc" / Path(place).expanduser()).resolve())


def _read(path: Path) -> ConfigParser:
    config = ConfigParser(interpolation=None, strict=False)
    config.optionxform = str  # type: ignore[assignment,method-assign]
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        config.read_string("\n".join(line.strip() for line in lines))
    return config
