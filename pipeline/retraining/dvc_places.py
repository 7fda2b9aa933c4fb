"""Where DVC keeps things, for a second working tree of a project: the cache and the remotes of the project."""

from configparser import ConfigParser
from pathlib import Path

from pipeline.artifacts import file_digest

SHARED, LOCAL = Path(".dvc/config"), Path(".dvc/config.local")


def settings_for(project: Path, tree: Path) -> str:
    """Return `.dvc/config.local` of the tree: the cache and the remotes of the project, at absolute places."""
    shared, local = _read(project / SHARED), _read(project / LOCAL)
    made = ConfigParser(interpolation=None)
    made.optionxform = str  # type: ignore[assignment,method-assign]
    made.read_dict({name: dict(local[name]) for name in local.sections()})
    cache = local.get("cache", "dir", fallback=shared.get("cache", "dir", fallback="cache"))
    for config in (shared, local):
        for name in config.sections():
            url = config.get(name, "url", fallback="")
            if "remote" in name and url and "://" not in url:
                made.read_dict({name: {"url": str((project / ".dvc" / url).resolve())}})
    made.read_dict({"cache": {"dir": str((project / ".dvc" / cache).resolve())}})
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


def _read(path: Path) -> ConfigParser:
    config = ConfigParser(interpolation=None, strict=False)
    config.optionxform = str  # type: ignore[assignment,method-assign]
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        config.read_string("\n".join(line.strip() for line in lines))
    return config
