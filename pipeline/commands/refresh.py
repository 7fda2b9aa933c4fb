"""`millrace refresh`: read the data again."""

import argparse
from typing import TYPE_CHECKING

import msgspec

from pipeline.fetching.source import (
    Location,
    Source,
    add_size_limit,
    max_bytes,
    read_source,
    stored_tar,
    write_source,
)
from pipeline.runtime import paths
from pipeline.runtime.files import file_digest
from pipeline.runtime.processes import acquire_lock, terminal

if TYPE_CHECKING:
    from rich.console import Console

HELP = "read the data again; updates data/source.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_size_limit(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    refresh(read_source(), max_bytes=max_bytes(options), console=terminal())


def refresh(source: Source, *, max_bytes: int, console: "Console") -> None:
    """Read the data of data/source.json again, and update the file if the data changed.

    Args:
        source: What data/source.json says now.
        max_bytes: Limit of a download and of an unpacked archive.
        console: Where the result is shown.

    Raises:
        UserError: Nothing was changed then.
    """
    from pipeline.fetching.snapshot import show, take_snapshot

    location = source.location
    pinned = isinstance(location, Location) and location.url is not None and not location.moving
    stored = stored_tar(source.sha256)
    if pinned and stored.is_file() and file_digest(stored, "sha256") == source.sha256:
        console.print(
            "The data behind a URL is pinned by its sha256, and this machine has it. Nothing to do."
        )
        return
    with acquire_lock("source"):
        snapshot = take_snapshot(
            source.kind,
            source.location,
            max_bytes=max_bytes,
            options=source.options,
            joined=source.joined,
            console=console,
        )
        # A moving file that was only packed anew is no new data: its own digest is left out of the comparison.
        # Nor is a file from before facts were kept another data set: writing them would run every stage again.
        facts = snapshot.source.facts if source.facts else None
        before = {"seen": source.seen, "location": location, "facts": facts}
        unchanged = msgspec.structs.replace(snapshot.source, **before) == source
        if not unchanged:
            write_source(snapshot.source)
    show(snapshot, console)
    if unchanged:
        since = f" since {source.seen}" if source.seen else ""
        console.print(f"Nothing changed{since}; {paths.SOURCE_JSON} stays as it is.")
    else:
        console.print(f"The data changed: {source.count:,} samples before, {snapshot.source.count:,} now.")
    console.print("Next: run `make run` (or `dvc repro`).")
