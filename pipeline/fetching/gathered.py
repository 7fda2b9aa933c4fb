"""What `millrace init` and `millrace refresh` have read, as the user sees it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.fetching.snapshot import Gathered
from pipeline.fetching.source import KINDS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MAX_CLASSES_SHOWN = 40


def show(gathered: Gathered, console: "Console") -> None:
    """Say what was read and how: samples per class and given split, detected dialects, files left out.

    Args:
        gathered: What `gather` returned.
        console: Where it goes.
    """
    source = gathered.source
    classes = sorted({label for _, label in gathered.counts})
    of_classes = "" if classes == [""] else f" of {len(classes)} classes"
    console.print(f"{source.kind}: {source.count:,} samples ({KINDS[source.kind]}){of_classes}")
    for line in _grouped(gathered.described):
        console.print(line, markup=False, highlight=False)
    if len(gathered.counts) > 1:
        console.print(_counts(gathered, classes))
    if gathered.ignored:
        console.print(f"{gathered.ignored:,} other files were left out; they are no part of the data set.")
    console.print(f"{source.files:,} files, {source.bytes:,} bytes, sha256 {source.sha256}", soft_wrap=True)


def _counts(gathered: Gathered, classes: Sequence[str]) -> "Table":
    """Return samples per class and given split."""
    from rich.markup import escape
    from rich.table import Table

    splits = sorted({split for split, _ in gathered.counts}, key=["train", "val", "test", ""].index)
    table = Table("class", *(split or "samples" for split in splits))
    for label in classes[:MAX_CLASSES_SHOWN]:
        table.add_row(
            escape(label) or "(no classes)",
            *(f"{gathered.counts.get((split, label), 0):,}" for split in splits),
        )
    if len(classes) > MAX_CLASSES_SHOWN:
        table.add_row(f"... and {len(classes) - MAX_CLASSES_SHOWN} more", *("" for _ in splits))
    return table


def _grouped(described: Sequence[str]) -> list[str]:
    """Return `file: how it is read` with all files that are read alike in one line."""
    files: dict[str, list[str]] = {}
    for line in described:
        name, _, how = line.rpartition(": ") if line.count(": ") == 1 else ("", "", line)
        files.setdefault(how, []).append(name)
    return [
        f"{names[0]}{f' and {len(names) - 1:,} more' if len(names) > 1 else ''}: {how}" if names[0] else how
        for how, names in files.items()
    ]
