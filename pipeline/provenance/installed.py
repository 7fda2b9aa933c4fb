"""Installed packages against what their installers wrote down: every file hashed again, and none beside them.

A wheel brings a list of its files with a digest of each, RECORD (PEP 427), which is installed with it; what wheel it
was, requirements.lock pins by its digest. Compiled files (`__pycache__`) have no digest anywhere and are not looked at.
"""

import base64
import csv
import hashlib
import importlib.metadata
import sysconfig
from collections.abc import Iterator, Sequence
from importlib.machinery import all_suffixes
from importlib.util import source_from_cache
from pathlib import Path

from pipeline.provenance.origin import pinned

SHOWN = 3
RUN_BY_PYTHON = (*all_suffixes(), ".pth")
"""Ends of names of what an import, or the start of Python, may run."""
OF_VIRTUALENV = ("_virtualenv.py", "_virtualenv.pth")
"""Put there by virtualenv and uv, which list them nowhere."""


def installed_problems(lock: str, folders: Sequence[Path] | None = None) -> Iterator[str]:
    """Yield which installed packages are not what was installed, one line each, and which files belong to none.

    Args:
        lock: Content of a requirements.lock: what it pins must have a RECORD.
        folders: Where packages lie; None: those of this interpreter.
    """
    from packaging.utils import canonicalize_name

    places = folders or sorted({Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")})
    locked = {canonicalize_name(requirement.name) for requirement in pinned(lock)}
    owned: set[Path] = set()
    for package in importlib.metadata.distributions(path=[str(place) for place in places]):
        name = str(package.metadata["Name"])
        record = package.read_text("RECORD")
        if record is None:
            if canonicalize_name(name) in locked:
                yield f"{name}: could not check: it has no RECORD. Run `make setup`."
            continue
        entries = [
            (Path(str(package.locate_file(row[0]))), row[1]) for row in csv.reader(record.splitlines())
        ]
        owned |= {path for path, _ in entries}
        if other := [
            path.as_posix() for path, expected in entries if expected and _digest(path, expected) != expected
        ]:
            yield (
                f"{name} {package.version}: {_few(other)} not as installed. Expected the digests in its RECORD. "
                f"Remove {places[0].parents[2]} and run `make setup`."
            )
    for place in places:
        if added := [path.as_posix() for path in _run_by_python(place) if path not in owned]:
            yield f"{_few(added)} of no package. Expected only what a RECORD lists. Remove what nobody knows."


def _digest(path: Path, expected: str) -> str:
    """Return the digest of a file as RECORD writes it, by the same algorithm; in words why there is none."""
    algorithm = expected.partition("=")[0]
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, algorithm).digest()
    except (OSError, ValueError) as error:
        return str(error)
    return f"{algorithm}={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def _run_by_python(place: Path) -> Iterator[Path]:
    """Yield what Python may run below a folder, compiled files of modules that are there left out."""
    for path in sorted(place.rglob("*")):
        if path.name.endswith(RUN_BY_PYTHON) and path.name not in OF_VIRTUALENV and not _is_compiled(path):
            yield path


def _is_compiled(path: Path) -> bool:
    """Return whether a file is what Python, or an installer, made of a module that lies where it should."""
    if path.parent.name != "__pycache__":
        return False
    try:
        return Path(source_from_cache(path)).is_file()
    except ValueError:
        return False


def _few(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more} {'is' if len(names) == 1 else 'are'}"
