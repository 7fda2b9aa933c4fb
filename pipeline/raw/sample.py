"""What every source yields: the agreement between `pipeline/sources/<kind>.py` and the ingest stage.

A source is a file with five names:

- `LAYOUT`: one sentence that says which files it understands, for messages.
- `Options`: a frozen struct of what `millrace init --set name=value` may say about the files.
- `select(names, options)`: which of the given files belong to the data, as `{name in the archive: given name}`.
- `describe(archive, options)`: how the files will be read, in words, where that was found out and not said.
- `read(archive, options)`: the samples of `data/raw/source.tar`, ordered by `sample_id`, streaming.

It is found by its name; what its samples are (`image`, `text` or `series`) says its row in `fetching.source.KINDS`.

Names of files say which belong to the data, and which split they give: `train.csv`, `val/pos.txt`,
`reviews_test.jsonl`, `test-00000-of-00002.parquet`.
"""

import re
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Literal

import numpy as np
from msgspec import Struct

from pipeline.formats.problems import to_set
from pipeline.formats.steps import Timeline
from pipeline.runtime.errors import DataRefused

GivenSplit = Literal["train", "val", "test"]
SPLITS: dict[str, GivenSplit] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}
WORD = re.compile(rf"(?:.*[-_.])?({'|'.join(SPLITS)})(?:-\d+-of-\d+)?")


class NoOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The options of a kind that takes none."""


NO_OPTIONS = NoOptions()


@dataclass(frozen=True)
class StepLabels:
    """The class of every step of a recording.

    Attributes:
        codes: Index into `names`, int32, shape (steps,); -1 where a step has none.
        names: Classes, as the source writes them.
    """

    codes: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True)
class RawSample:
    """One sample as the source has it; exactly one of `image`, `text` and `series` is there.

    Attributes:
        sample_id: Unique, the same for the same sample whenever and wherever it is read.
        label: Name of its class; "" where there is none, or where `labels` says it.
        split: What the source says it is for; None where the source says nothing.
        image: Pixels, uint8, shape (height, width, channels) with 1 or 3 channels; or the bytes of an
            encoded file (JPEG, PNG, ...) that nobody has decoded yet.
        text: As it stands in the file.
        series: float32, shape (steps, channels); NaN where a value is missing.
        channels: Names of the columns of `series`.
        target: What regression predicts.
        group: Person, machine or document it belongs to; "" for none.
        time: ISO 8601; of the first step of a series with time stamps. "" for none.
        step_seconds: Time from one step to the next, where there are time stamps; else 0.
        timeline: How the time stamps lay, where there are any.
        anomalies: bool, shape (steps,); which steps are labelled as not normal.
        side: Side features by name; a string is a category, None is missing.
        step_labels: Classes of the steps of a recording, which `ingest` cuts into windows (data.labelled_windows).
        labels: Names of all its classes where it may have several, sorted, () for none of them; None where it has one
            at most, in `label`.
    """

    sample_id: str
    label: str = ""
    split: GivenSplit | None = None
    image: np.ndarray | bytes | None = None
    text: str | None = None
    series: np.ndarray | None = None
    channels: tuple[str, ...] = ()
    target: float | None = None
    group: str = ""
    time: str = ""
    step_seconds: float = 0.0
    timeline: Timeline | None = None
    anomalies: np.ndarray | None = None
    side: Mapping[str, str | float | None] = field(default_factory=dict)
    step_labels: StepLabels | None = None
    labels: tuple[str, ...] | None = None


def choose_files(
    names: Sequence[str], suffixes: Collection[str], pattern: str, layout: str
) -> dict[str, str]:
    """Return the files of a data set, named from the folder that holds them all, as {that name: given name}.

    A single file is taken whatever its suffix, since somebody pointed at it.

    Args:
        names: All given files, with `/`.
        suffixes: In lower case, with the dot.
        pattern: A glob for the whole name or its last part, instead of the suffixes; "" for none.
        layout: What was expected, for the message.

    Raises:
        DataRefused: None is left.
    """
    chosen = [name for name in names if _fits(name, pattern, suffixes, alone=len(names) == 1)]
    if not chosen:
        wanted = to_set("files", pattern) if pattern else f"the suffixes {' '.join(sorted(suffixes))}"
        raise DataRefused(
            f"No file of this kind found. Expected {layout}. Received: {len(names)} files, none for {wanted}"
            f"{_some(names)}. Point --path at the right place, or name the files: --set files=."
        )
    depth = common_folders(chosen)
    return {"/".join(name.split("/")[depth:]): name for name in chosen}


def common_folders(names: Sequence[str]) -> int:
    """Return how many folders lie around all names and give no split: those are taken off."""
    depth = 0
    while _in_one_folder(names, depth):
        depth += 1
    return depth


def members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members of an uncompressed archive from its first one on, however often; none is remembered."""
    file = archive.fileobj
    if file is None:
        raise ValueError("The archive is closed. Expected an open one.")
    file.seek(0)
    again = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115  # the file is the caller's
    while (member := again.next()) is not None:
        # tarfile remembers every member it has seen; a list of all files would grow with the data.
        again.members.clear()  # type: ignore[attr-defined]  # missing in the stubs
        yield member


def stem_of(name: str) -> str:
    """Return a name without its suffix, folders included: `parts/train` for `parts/train.csv`."""
    return str(PurePosixPath(name).with_suffix(""))


def split_in(word: str) -> GivenSplit | None:
    """Return the split that a file's stem or a folder's name gives: `train`, `20news-bydate-test`."""
    match = WORD.fullmatch(word.casefold())
    return SPLITS[match[1]] if match else None


def splits_of(names: Iterable[str]) -> dict[str, GivenSplit | None]:
    """Return the given split of each file: that of its stem, or else of the folder it is in.

    A single file that is not for training gives none: `stress-test.csv` is a name, not a split.

    Raises:
        DataRefused: Some names give a split and others do not, or none is for training.
    """
    splits: dict[str, GivenSplit | None] = {}
    for name in names:
        path = PurePosixPath(stem_of(name))
        splits[name] = split_in(path.name) or split_in(path.parent.name)
    if len(splits) == 1 and "train" not in splits.values():
        return dict.fromkeys(splits)
    check_splits(splits)
    return splits


def check_splits(splits: Mapping[str, GivenSplit | None]) -> None:
    """Refuse names of which some give a split and others do not, or of which none is for training.

    Args:
        splits: The given split by file or folder.

    Raises:
        DataRefused: Naming them.
    """
    given = set(splits.values())
    if given != {None} and (None in given or "train" not in given):
        raise DataRefused(
            "The names say only in part what is for training. Expected train, and val or test, in each name or in "
            f"none. Received: {', '.join(sorted(splits)[:20])}. Rename them, or choose some: --set files=."
        )


def _fits(name: str, pattern: str, suffixes: Collection[str], *, alone: bool) -> bool:
    if pattern:
        return fnmatchcase(name, pattern) or fnmatchcase(PurePosixPath(name).name, pattern)
    return alone or PurePosixPath(name).suffix.lower() in suffixes


def _in_one_folder(names: Iterable[str], depth: int) -> bool:
    """Say whether all names share their folder at this depth, and it gives no split."""
    folders = {"/".join(parts[depth : depth + 1]) for parts in (name.split("/")[:-1] for name in names)}
    folder = folders.pop()
    return not folders and folder != "" and folder.casefold() not in SPLITS


def _some(names: Sequence[str]) -> str:
    return f": {', '.join(sorted(names)[:10])}{', ...' if len(names) > 10 else ''}" if names else ""
