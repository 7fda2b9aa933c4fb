"""Installed packages against what their installers wrote down: every file hashed again, and none beside them.

A wheel brings a list of its files with a digest of each, RECORD (PEP 427), which is installed with it; what wheel it
was, requirements.lock pins by its digest. Compiled files (`__pycache__`) have no digest anywhere and are not looked at.
"""

import base64
import csv
import hashlib
import importlib.metadata
import re
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import all_suffixes
from pathlib import Path

from pipeline.provenance.locked import pinned

SHOWN = 3
RUN_BY_PYTHON = (*all_suffixes(), ".pth")
"""Ends of names of what an import, or the start of Python, may run."""
COMPILED = re.compile(r"(.+)\.(?:cpython|pypy)[\w.-]*\.pyc")
WITHIN_PACKAGES = ("_vendor", "thirdparty_files")
"""Folders of packages that setuptools and Ray bring within them; `installed_problems` hashes what is in them, too."""
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
    seen: set[str] = set()
    for package in importlib.metadata.distributions(path=[str(place) for place in places]):
        name = str(package.metadata["Name"])
        seen.add(canonicalize_name(name))
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
    for name in sorted(locked - seen):
        yield f"{name}: not installed in {places[0]}. Run `make setup`."
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


def strange_places(folders: Iterable[str], ours: Iterable[Path]) -> Iterator[str]:
    """Yield which folders that modules are imported from are neither Python's, nor its packages', nor the project.

    Args:
        folders: As in `sys.path`.
        ours: The project, and where the code that runs lies.
    """
    python = {Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "platstdlib")}
    packages = {Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib")}
    known = python | {folder / "lib-dynload" for folder in python} | {folder.resolve() for folder in ours}
    for folder in dict.fromkeys(Path(folder or ".").resolve() for folder in folders):
        of_packages = folder in packages or (
            folder.name in WITHIN_PACKAGES and not packages.isdisjoint(folder.parents)
        )
        # What is no folder is the archive that a frozen standard library would lie in.
        if folder.is_dir() and folder not in known and not of_packages:
            yield (
                f"{folder}: modules there are imported as well, and may come before those installed. Expected none "
                "beside Python, its packages and the project. Unset PYTHONPATH, or remove the .pth file that names it."
            )


def _run_by_python(place: Path) -> Iterator[Path]:
    """Yield what Python may run below a folder, compiled files of modules that are there left out."""
    for path in sorted(place.rglob("*")):
        runs = path.name.endswith(RUN_BY_PYTHON) and path.name not in OF_VIRTUALENV and not _is_compiled(path)
        # What a link leads to is importable, and nobody looks into it here.
        if runs or (path.is_symlink() and path.is_dir()):
            yield path


def _is_compiled(path: Path) -> bool:
    """Return whether a file is what Python, or an installer, made of a module that lies where it should."""
    if path.parent.name != "__pycache__":
        return False
    # Not `source_from_cache`: it knows no dots in names (Optuna's v0.9.0.a), and not what pytest appends.
    module = COMPILED.fullmatch(path.name)
    return module is not None and (path.parent.parent / f"{module[1]}.py").is_file()


def _few(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more} {'is' if len(names) == 1 else 'are'}"
