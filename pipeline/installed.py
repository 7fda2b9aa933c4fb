"""Whether the packages of this interpreter are those of a requirements.lock."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version


def differing_packages(lock: str) -> list[str]:
    """Return a line for each locked package that is not installed in the locked version.

    Args:
        lock: Content of a requirements.lock, as pip reads it.
    """
    found = []
    for name, locked in _pinned(lock):
        try:
            installed = version(name)
        except PackageNotFoundError:
            installed = "none"
        if installed != locked:
            found.append(f"{name}: {locked} locked, {installed} installed")
    return found


def _pinned(lock: str) -> Iterator[tuple[str, str]]:
    """Yield name and version of each package that belongs on this interpreter and system."""
    from packaging.requirements import Requirement

    for line in lock.splitlines():
        if not line or line[0] in " #-":
            continue
        requirement = Requirement(line.removesuffix("\\").strip())
        if requirement.marker is None or requirement.marker.evaluate():
            yield requirement.name, str(requirement.specifier).removeprefix("==")
