"""Stage `fetch`: put exactly the bytes that data/source.json pins into data/raw.

Reads: data/source.json, and `.millrace/sources/<sha256>.tar` or an installed package.
Writes: data/raw/source.tar, uncompressed, the same bytes on every machine.
Parameters: none.
"""

import shutil
from pathlib import Path

from pipeline.fetching.archives import write_tar
from pipeline.fetching.source import read_source, stored_tar
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused, InputMissing, StorageFailed, UserError
from pipeline.runtime.files import atomic_path, file_digest
from pipeline.runtime.stage import running_stage
from pipeline.sources import digits


def main() -> None:
    """Run the stage from the command line."""
    with running_stage("fetch") as stage:
        source = read_source()
        fetch(source.kind, bundled=source.location == "bundled", sha256=source.sha256, tar_path=paths.RAW_TAR)
        stage.console.print(f"fetch: {source.kind}, {source.bytes:,} bytes, {source.count:,} samples")


def fetch(kind: str, *, bundled: bool, sha256: str, tar_path: Path) -> None:
    """Write the archive with that digest to `tar_path`, or nothing.

    Args:
        kind: Name of a file under pipeline/sources.
        bundled: Whether the data comes with an installed package rather than from the store.
        sha256: Hex digest that the archive must have.
        tar_path: Where it goes.

    Raises:
        InputMissing: The store of this machine does not have it.
        StorageFailed: The stored copy is damaged.
        DataRefused: The installed package holds other data than data/source.json says.
    """
    stored = stored_tar(sha256)
    if not bundled and not stored.is_file():
        raise InputMissing(
            f"This machine has not read the data yet. Expected {stored}. Received: no such file. "
            "Run `millrace refresh`."
        )
    with atomic_path(tar_path) as temporary:
        if bundled:
            write_tar(temporary, digits.bundled_files())
        else:
            # A copy: a hard link would let a later change in one place damage the other.
            shutil.copyfile(stored, temporary)
        received = file_digest(temporary, "sha256")
        if received != sha256:
            raise _wrong_bytes(kind, bundled, stored, sha256, received)


def _wrong_bytes(kind: str, bundled: bool, stored: Path, expected: str, received: str) -> UserError:
    facts = f"Expected sha256={expected}. Received: sha256={received}."
    if bundled:
        return DataRefused(
            f"The installed package holds other {kind} than {paths.SOURCE_JSON} says. {facts} "
            f"Install the locked packages, or accept the new data with `millrace init --kind {kind}`."
        )
    return StorageFailed(
        f"{stored} is damaged. {facts} Remove it and run `millrace refresh`; check the disk."
    )


if __name__ == "__main__":
    main()
