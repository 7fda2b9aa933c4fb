"""From the original files to a verified archive: read once, completely, then kept by its digest.

Only `millrace init` and `millrace refresh` come here; the pipeline itself never asks the network or the
original files for anything. The file is long because everything that may stop a reading stands in it in the order in
which it is asked, for `pipeline/fetching/look.py` to ask the same.
"""

import os
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

import numpy as np
from msgspec import Struct, structs

from pipeline.fetching.archives import is_archive, list_files, list_folders, unpack, write_tar
from pipeline.fetching.download import Limits, download
from pipeline.fetching.facts import FactsSeen
from pipeline.fetching.other_forms import conversions
from pipeline.fetching.plain_files import (
    plain_files,
    plain_name,
    recoded_files,
    refuse_spreadsheet,
)
from pipeline.fetching.source import KINDS, Kind, Location, Source, stored_tar
from pipeline.formats.steps import Timeline, in_words
from pipeline.formats.tables import FORMATS
from pipeline.raw.answers import Answered, rare_classes, refuse_single
from pipeline.raw.label_sets import labels_of, refuse_lists, with_label_sets
from pipeline.raw.left_out import by_folder_and_suffix, not_ignored, refuse_empty_classes
from pipeline.raw.sample import RawSample
from pipeline.raw.spellings import Joined, Spellings
from pipeline.runtime import paths, processes
from pipeline.runtime.errors import DataRefused, InputMissing
from pipeline.runtime.files import file_digest, fsync_dir
from pipeline.sources import digits, image_table
from pipeline.sources.kinds import CommonOptions, common_options, options_of, plain_options, source_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


INCOMING_DIR = paths.STATE_DIR / "incoming"


@dataclass(frozen=True)
class SourceSnapshot:
    """What `take_snapshot` read.

    Attributes:
        source: What data/source.json should say now.
        counts: Samples per (given split or "", class).
        left_out: An example of each row of `source.left_out`.
        described: How the files were read, in words.
        groups: Samples (or steps) of each group by class, {} where there are none or very many. Groups are often
            persons: nothing that is written holds them.
    """

    source: Source
    counts: Mapping[tuple[str, str], int]
    left_out: Mapping[str, str]
    described: tuple[str, ...] = ()
    groups: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


# --- From the original files to a verified archive.


def take_snapshot(
    kind: Kind,
    location: Literal["bundled"] | Location,
    *,
    max_bytes: int,
    options: Mapping[str, Any] | None = None,
    joined: Joined | None = None,
    console: "Console | None" = None,
    keep: bool = True,
) -> SourceSnapshot:
    """Read the data where it lies, completely, and keep it in the store.

    Args:
        kind: Name of a file under pipeline/sources.
        location: As in data/source.json; relative paths start at the working directory.
        max_bytes: Limit of a download and of an unpacked archive.
        options: How the files are read, as in data/source.json.
        joined: Which names were read as one before, as in data/source.json.
        console: Where a progress bar of a download goes.
        keep: Whether the archive goes to the store; without it nothing is changed.

    Raises:
        UserError: The files are missing, refused or not reachable; nothing was changed then.
    """
    with empty_folder(INCOMING_DIR) as incoming:
        stated = options_of(kind, options or {})
        if location != "bundled" and location.url is not None:
            location = downloaded(location, incoming, max_bytes, console)
        common = common_options(options or {})
        found = _found(kind, location, incoming, max_bytes=max_bytes, options=stated, ignore=common.ignore)
        left_out = by_folder_and_suffix(found.beside)
        tar_path = incoming / "source.tar"
        write_tar(tar_path, found.files)
        answered = Answered(options or {}, kind)
        read = read_all(kind, tar_path, stated, answered, common.labels_separator)
        named, counts, rare = settled(kind, read, found, common, joined or {})
        labels, groups = named.get("label", {}), named.get("group", {})
        source = Source(
            kind=kind,
            location=location,
            sha256=file_digest(tar_path, "sha256"),
            bytes=tar_path.stat().st_size,
            files=len(found.files),
            count=read.samples - (0 if read.labels_per_sample else sum(rare.values())),
            options=plain_options(kind, options or {}),
            left_out={pattern: len(names) for pattern, names in left_out.items()},
            joined=named,
            unlabelled=read.unlabelled,
            rare=rare,
            image_size=read.image_size,
            facts=None if location == "bundled" else read.facts.found(labels, rare, groups),
            seen=None if location == "bundled" else processes.now().date().isoformat(),
        )
        if keep:
            _keep(tar_path, stored_tar(source.sha256))
    described = [
        *found.said,
        *read.described,
        *_several_in_words(read.labels_per_sample),
        *_joined_in_words(named),
    ]
    examples = {pattern: names[0] for pattern, names in left_out.items()}
    members = read.facts.members(labels, rare, groups)
    return SourceSnapshot(source, counts, examples, tuple(described), members)


def downloaded(location: Location, incoming: Path, max_bytes: int, console: "Console | None") -> Location:
    """Fetch the file behind a URL into `incoming`; return the location with its digest."""
    url = location.url or ""
    path = incoming / "download" / _file_name(url)
    path.parent.mkdir()
    wanted = None if location.moving else location.sha256 or ""
    sha256 = download(url, path, sha256=wanted, limits=Limits(max_bytes=max_bytes), console=console)
    return structs.replace(location, sha256=sha256)


@dataclass(frozen=True)
class Found:
    """What lies where the data is.

    Attributes:
        files: Those of the data set, by their names in the archive.
        chosen: Their given names.
        beside: Given names of all other files.
        folders: All folders, also empty ones.
        said: What was done to some of the files, in words.
    """

    files: Mapping[str, Path | bytes]
    chosen: Sequence[str] = ()
    beside: Sequence[str] = ()
    folders: Sequence[str] = ()
    said: Sequence[str] = ()


def _found(
    kind: str,
    location: Literal["bundled"] | Location,
    incoming: Path,
    *,
    max_bytes: int,
    options: Struct,
    ignore: Sequence[str],
) -> Found:
    if location == "bundled":
        return Found(digits.bundled_files())
    given = given_files(location, incoming, max_bytes=max_bytes, kind=kind, ignore=ignore)
    names = list(given.files)
    try:
        chosen = source_of(kind).select(names, options)
    except DataRefused as refused:
        reads = tuple(getattr(source_of(kind), "SUFFIXES", FORMATS))
        others = {name: path for name, path in given.files.items() if not name.lower().endswith(reads)}
        if converted := conversions(others):
            raise DataRefused("\n".join([str(refused), *converted])) from refused
        raise
    beside = sorted(set(names) - set(chosen.values()))
    wanted = {name: given.files[name] for name in chosen.values()}
    recoded = recoded_files(wanted, getattr(options, "encoding", ""), incoming / "recoded")
    files = {name: recoded[place] for name, place in chosen.items()}
    return Found(files, list(chosen.values()), beside, given.folders, given.said)


@dataclass(frozen=True)
class Given:
    """What lies where the data is, as readers take it.

    Attributes:
        files: Where each file lies now, by its name.
        folders: All folders, also empty ones.
        said: What was done to some of the files, in words.
    """

    files: Mapping[str, Path]
    folders: Sequence[str]
    said: Sequence[str]


def given_files(
    location: Location, incoming: Path, *, max_bytes: int, kind: str, ignore: Sequence[str]
) -> Given:
    """Return the files by name, and all folders; archives and compressed files are unpacked, UTF-16 is UTF-8.

    Args:
        location: A path, or a URL whose file `downloaded` has put into `incoming`.
        incoming: A folder of our own.
        max_bytes: Limit of an unpacked archive.
        kind: Of the source, "" where nobody knows it yet; kinds of images do not take a single file.
        ignore: Globs of files and folders that are passed over.

    Raises:
        InputMissing: There is nothing.
        DataRefused: A spreadsheet, or an archive that is damaged or too large.
        NotPermitted: An archive that nobody should unpack.
    """
    folder, names, folders = _place(location, incoming, max_bytes=max_bytes, kind=kind)
    names = not_ignored(names, ignore)
    files, said = {name: folder / name for name in names}, list[str]()
    if kind != "idx":  # which reads its own .gz
        files, said = plain_files(folder, names, incoming / "plain", max_bytes=max_bytes)
    return Given(files, not_ignored(folders, ignore), said)


def _place(
    location: Location, incoming: Path, *, max_bytes: int, kind: str
) -> tuple[Path, list[str], list[str]]:
    """Return the folder of the files, their names in it, and all folders."""
    folder = paths.home_dir() / (location.path or "")
    if location.url is not None:
        folder = incoming / "download" / _file_name(location.url)
    elif not folder.exists():
        raise InputMissing(
            f"There is nothing at the given path. Expected {source_of(kind).LAYOUT if kind else 'files'}. "
            f"Received: path={location.path}. Correct --path, or run `millrace init` again."
        )
    of_images = KINDS.get(kind) == "image"
    if folder.is_file():
        refuse_spreadsheet(folder)
    is_table = image_table.is_table(plain_name(folder.name))
    if folder.is_file() and not is_archive(folder) and of_images and is_table:
        # Somebody pointed at the table; the images lie around it, and perhaps other tables.
        names = list_files(folder.parent)
        names = [name for name in names if name == folder.name or not image_table.is_table(plain_name(name))]
        return folder.parent, names, list_folders(folder.parent)
    if folder.is_file() and not is_archive(folder) and not of_images:
        return folder.parent, [folder.name], []
    if folder.is_file():
        unpack(folder, incoming / "unpacked", max_bytes=max_bytes)
        folder = incoming / "unpacked"
    return folder, list_files(folder), list_folders(folder)


def _file_name(url: str) -> str:
    """Return what the file behind a URL is called, so far as that can be a name here."""
    # Names may have 255 bytes, of which one character takes up to 4.
    name = PurePosixPath(unquote(urlsplit(url).path)).name[-60:]
    return name if name.strip(".") and name.isprintable() else "download"


@dataclass(frozen=True)
class Read:
    """What a complete reading found.

    Attributes:
        samples: How many there are.
        counts: Samples per given split and class; one of several classes counts for each.
        as_given: Labels as the source has them, before they are taken apart.
        labels_per_sample: Number of labels to samples with so many, where there may be several.
        spellings: Of all names.
        image_size: Where all have the same.
        described: How the files were read.
    """

    samples: int
    counts: Counter[tuple[str, str]]
    as_given: Counter[str]
    labels_per_sample: Counter[int]
    spellings: Spellings
    facts: FactsSeen
    unlabelled: int
    image_size: tuple[int, int] | None
    described: list[str]


def read_all(
    kind: str,
    tar_path: Path,
    options: Struct,
    answered: Answered,
    separator: str | None,
    *,
    noted: Callable[[RawSample], object] = lambda _: None,
) -> Read:
    """Read everything once.

    Args:
        kind: Of the source.
        tar_path: Its archive.
        options: How it is read.
        answered: What becomes of samples without an answer.
        separator: What stands between several labels.
        noted: Gets each sample.

    Raises:
        DataRefused: The source does not fit, or its labels look like lists and nobody said what they are.
    """
    counts: Counter[tuple[str, str]] = Counter()
    as_given: Counter[str] = Counter()
    several: Counter[int] = Counter()
    num_samples = 0

    def counted(samples: Iterator[RawSample]) -> Iterator[RawSample]:
        for sample in samples:
            as_given[sample.label] += sample.labels is None
            yield sample

    spellings, facts = Spellings(), FactsSeen()
    sizes: set[tuple[int, int] | None] = set()
    found: list[tuple[str, Timeline]] = []
    steps: Counter[str] = Counter()
    ends: tuple[str, str] | None = None
    with tarfile.open(tar_path, "r:") as archive:
        described = source_of(kind).describe(archive, options)
    with tarfile.open(tar_path, "r:") as archive:
        given = counted(answered.among(source_of(kind).read(archive, options)))
        for sample in spellings.watched(with_label_sets(given, separator)):
            num_samples += 1
            noted(sample)
            for label in labels_of(sample) or ("",):
                counts[sample.split or "", label] += 1
            if sample.labels is not None:
                several[len(sample.labels)] += 1
            facts.see(sample)
            if sample.timeline is not None:
                found.append((sample.sample_id, sample.timeline))
            elif sample.time:
                first, last = ends or (sample.time, sample.time)
                ends = (min(first, sample.time), max(last, sample.time))
            if sample.step_labels is not None:
                codes, numbers = np.unique(sample.step_labels.codes, return_counts=True)
                named = (*sample.step_labels.names, "(no class)")
                steps.update({named[code]: int(number) for code, number in zip(codes, numbers, strict=True)})
            image = sample.image
            sizes.add((image.shape[0], image.shape[1]) if isinstance(image, np.ndarray) else None)
    if separator is None:
        refuse_lists({label: count for label, count in as_given.items() if label and count})
    described = [*described, *in_words(found), *([f"times: {ends[0]} to {ends[1]}"] if ends else [])]
    if steps:
        words = ", ".join(f"{name} {number:,}" for name, number in sorted(steps.items()))
        described = [*described, f"steps by class, for data.labelled_windows in params.yaml: {words}"]
    return Read(
        samples=num_samples,
        counts=counts,
        as_given=as_given,
        labels_per_sample=several,
        spellings=spellings,
        facts=facts,
        unlabelled=answered.unlabelled,
        image_size=sizes.pop() if len(sizes) == 1 else None,
        described=described,
    )


def settled(
    kind: str, read: Read, found: Found, common: CommonOptions, joined: Joined
) -> tuple[dict[str, dict[str, str]], Counter[tuple[str, str]], dict[str, int]]:
    """Return which names are read as another one, samples per split and class, and classes that are left out.

    Raises:
        DataRefused: A class gives nothing, is spelt in two ways, or there are too few of them.
    """
    refuse_empty_classes(found.chosen, found.beside, found.folders, read.as_given)
    named = _named_once(read.spellings, common.join_labels, joined)
    labels = named.get("label", {})
    counts = _renamed(read.counts, labels)
    rare = rare_classes(counts, common.least_per_class)
    read.facts.check_pictures(labels, rare)
    counts = Counter({key: count for key, count in counts.items() if key[1] not in rare})
    _check_classes(kind, counts)
    return named, counts, rare


def _named_once(spellings: Spellings, join: bool | None, before: Joined) -> dict[str, dict[str, str]]:
    """Return which names are read as another one.

    Raises:
        DataRefused: Some are one to every reader, and nobody said what becomes of them.
    """
    if join is None:
        spellings.check()
    return spellings.joined(before) if join else {}


def _renamed(counts: Counter[tuple[str, str]], names: Mapping[str, str]) -> Counter[tuple[str, str]]:
    renamed: Counter[tuple[str, str]] = Counter()
    for (split, label), count in counts.items():
        renamed[split, names.get(label, label)] += count
    return renamed


def _several_in_words(labels_per_sample: Mapping[int, int]) -> list[str]:
    if not labels_per_sample:
        return []
    counts = ", ".join(f"{number} ({count:,} samples)" for number, count in sorted(labels_per_sample.items()))
    return [f"labels per sample: {counts}"]


def _joined_in_words(joined: Joined) -> list[str]:
    return [
        f"{role} {name!a} is read as {chosen!a}"
        for role, names in sorted(joined.items())
        for name, chosen in sorted(names.items())
    ]


def _check_classes(kind: str, counts: Counter[tuple[str, str]]) -> None:
    classes = sorted({label for _, label in counts})
    # Which task the data is for stands in params.yaml, which `ingest` knows: a series may be of the one class
    # "normal", and samples of tables may have a target instead of a class.
    needs_classes = KINDS[kind] != "series" and classes != [""]
    if not counts or (len(classes) < 2 and needs_classes):
        raise DataRefused(
            f"A classifier needs at least 2 classes. Expected {source_of(kind).LAYOUT}. "
            f"Received: {sum(counts.values())} samples of classes {classes}. Check the data."
        )
    per_class = Counter[str]()
    for (_, label), count in counts.items():
        per_class[label] += count
    refuse_single(kind, per_class)


def _keep(tar_path: Path, stored: Path) -> None:
    stored.parent.mkdir(parents=True, exist_ok=True)
    with tar_path.open("rb") as file:
        os.fsync(file.fileno())
    tar_path.replace(stored)
    fsync_dir(stored.parent)


@contextmanager
def empty_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder, and clear away what a killed predecessor left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- What `millrace init` and `millrace refresh` have read, as the user sees it.

MAX_CLASSES_SHOWN = 40


def show(snapshot: SourceSnapshot, console: "Console") -> None:
    """Say what was read and how: samples per class and given split, detected dialects, files left out.

    Args:
        snapshot: What `take_snapshot` returned.
        console: Where it goes.
    """
    source = snapshot.source
    classes = sorted({label for _, label in snapshot.counts})
    of_classes = "" if classes == [""] else f" of {len(classes)} classes"
    console.print(f"{source.kind}: {source.count:,} samples ({KINDS[source.kind]}){of_classes}")
    for line in _grouped(snapshot.described):
        console.print(line, markup=False, highlight=False)
    if len(snapshot.counts) > 1:
        console.print(_counts(snapshot, classes))
    several = source.several_labels  # of a sample with other labels only the rare one goes
    there = source.count + source.unlabelled + (0 if several else sum(source.rare.values()))
    if source.unlabelled:
        policy = source.options["unlabelled"]
        what = "Rejected by stage ingest" if policy == "reject" else "Left out"
        _said(console, f"{what}: {_share(source.unlabelled, there)} without an answer (unlabelled={policy})")
    for label, count in source.rare.items():
        _said(console, f"Left out: {_share(count, there)} of class {label!r} (least_per_class)")
    for pattern, count in source.left_out.items():
        example = f", such as {snapshot.left_out[pattern]}" if pattern in snapshot.left_out else ""
        console.print(f"Left out: {count:,} x {pattern}{example}", markup=False, highlight=False)
    console.print(f"{source.files:,} files, {source.bytes:,} bytes, sha256 {source.sha256}", soft_wrap=True)


def _said(console: "Console", text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _share(count: int, there: int) -> str:
    return f"{count:,} of {there:,} samples ({100 * count / there:.1f} %)"


def _counts(snapshot: SourceSnapshot, classes: Sequence[str]) -> "Table":
    """Return samples per class and given split."""
    from rich.markup import escape
    from rich.table import Table

    splits = sorted({split for split, _ in snapshot.counts}, key=["train", "val", "test", ""].index)
    table = Table("class", *(split or "samples" for split in splits))
    for label in classes[:MAX_CLASSES_SHOWN]:
        table.add_row(
            escape(label) or "(no classes)",
            *(f"{snapshot.counts.get((split, label), 0):,}" for split in splits),
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
