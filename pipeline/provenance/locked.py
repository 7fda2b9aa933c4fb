"""The packages that requirements.lock pins, and whether this interpreter has them."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from pipeline.runtime.errors import InputMissing

if TYPE_CHECKING:
    from packaging.requirements import Requirement

SHOWN = 3


def pinned(lock: str, environment: Mapping[str, str] | None = None) -> "Iterator[Requirement]":
    """Yield what a lock pins.

    Args:
        lock: Content of a requirements.lock, as pip reads it; a line may end in a condition.
        environment: What the conditions are about, as `packaging.markers` names it; None: this interpreter.
    """
    from packaging.requirements import Requirement

    for line in lock.splitlines():
        if not line or line[0] in " #-":
            continue
        requirement = Requirement(line.removesuffix("\\").strip())
        if requirement.marker is None or requirement.marker.evaluate(dict(environment or {})):
            yield requirement


def differing_packages(lock: str) -> list[str]:
    """Return a line for each locked package that is not installed in the locked version.

    Args:
        lock: As in `pinned`.

    Raises:
        InputMissing: It pins nothing, so that nothing can be compared.
    """
    found, count = [], 0
    for requirement in pinned(lock):
        count += 1
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            installed = ""
        if not installed or not requirement.specifier.contains(installed, prereleases=True):
            locked = str(requirement.specifier).removeprefix("==")
            found.append(f"{requirement.name}: {locked} locked, {installed or 'none'} installed")
    if not count:
        raise InputMissing(
            "requirements.lock pins no package. Expected lines of name==version. Received: none. Run `make lock`."
        )
    return found


def in_words(differing: Sequence[str]) -> str:
    """Return the first lines of `differing_packages`, and how many more there are."""
    more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
    return "; ".join(differing[:SHOWN]) + more
