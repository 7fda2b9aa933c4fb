"""Files that nobody has said anything about: what they could be read as, each way tried by its own reader.

Nothing is kept and nothing is written. Small data is read completely, so that what is shown is what `millrace init`
will do; of large data the beginning of some files is, which the answer says.
"""

import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from pipeline.fetching.archives import write_tar
from pipeline.fetching.facts import measured
from pipeline.fetching.other_forms import conversions
from pipeline.fetching.plain_files import recoded_files
from pipeline.fetching.snapshot import (
    INCOMING_DIR,
    Found,
    Given,
    downloaded,
    empty_folder,
    given_files,
    read_all,
    settled,
)
from pipeline.fetching.source import Location
from pipeline.formats.problems import as_typed, typed_in
from pipeline.formats.tables import TEXT_SUFFIXES, TableOptions, Writing
from pipeline.raw.answers import Answered
from pipeline.raw.label_sets import with_label_sets
from pipeline.raw.left_out import by_folder_and_suffix, not_ignored
from pipeline.raw.sample import RawSample
from pipeline.raw.spellings import Spellings
from pipeline.runtime.errors import DataRefused, UserError
from pipeline.sources.kinds import (
    COMMON,
    CommonOptions,
    common_options,
    fields_of,
    option_names,
    options_of,
    source_of,
    stated_options,
)
from pipeline.sources.proposal import Proposal, proposals, unread_in_words
from pipeline.sources.table_head import HEAD_BYTES, Look, seen, whole_lines

if TYPE_CHECKING:
    from rich.console import Console

MOST_BYTES = 1 << 26
"""Data up to this size is read completely: 64 MiB take a second or two."""
MOST_PER_FOLDER = 3
MOST_FILES = 200
MOST_ADVICE = 3
MOST_TURNS = 2
"""Ways out of a refusal that are tried, and how often one after the other."""
SAMPLES = 3
SHOWN_CHARACTERS = 100
SHOWN_STEPS = 3
SHOWN_CHANNELS = 6
ASKED = ("label", "label_columns", "target", "step_label")
"""Options that say what is to be learnt."""
WRITTEN = ("decimal", "thousands", "negative", "units", "missing")
"""And how numbers are written."""


@dataclass(frozen=True)
class Trial:
    """A proposal that its reader has tried.

    Attributes:
        proposal: What was tried.
        files: How many files it would read.
        left_out: Files it would not read, by folder and suffix.
        described: How the files are read, in words.
        samples: The first ones, in words.
        refused: Why the reader refused; "" where it did not.
        partly: Whether only a part was read.
    """

    proposal: Proposal
    files: int = 0
    left_out: Mapping[str, int] | None = None
    described: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
    refused: str = ""
    partly: bool = False


def look_at(
    location: Location,
    kinds: Sequence[str],
    *,
    stated: Mapping[str, Any],
    max_bytes: int,
    console: "Console | None" = None,
) -> tuple[list[Trial], list[str]]:
    """Return every way in which the files could be read, those that the readers took first; for none, what lies there.

    Args:
        location: Where they are.
        kinds: Which kinds there are.
        stated: Options as `any_options` returns them; only kinds that have all of them are tried.
        max_bytes: Limit of a download and of an unpacked archive.
        console: Where a progress bar of a download goes.

    Raises:
        UserError: There is nothing, or it cannot be unpacked.
    """
    with empty_folder(INCOMING_DIR) as incoming:
        if location.url is not None:
            location = downloaded(location, incoming, max_bytes, console)
        ignore = common_options({name: stated[name] for name in stated if name in COMMON}).ignore
        given = given_files(location, incoming, max_bytes=max_bytes, kind="", ignore=ignore)
        files = given.files
        if not files:
            raise DataRefused(
                f"There is no file. Expected data. Received: path={location.path}, where hidden files and what "
                "--set ignore= covers is no data. Point --path at the right place."
            )
        files = recoded_files(files, stated.get("encoding", ""), incoming / "recoded")
        given = replace(given, files=files)
        look = Look(files, _writing(stated))
        trials = [
            trial
            for proposal in _with_stated(proposals(look, kinds), stated, kinds)
            for trial in _tried_with_advice(proposal, given, incoming)
        ]
        fits = any(not trial.refused for trial in trials)
        there = [] if fits else conversions(files) or seen(look)
        trials = [trial for n, trial in enumerate(trials) if not any(_same(trial, one) for one in trials[:n])]
        return sorted(trials, key=_doubts), there


def _doubts(trial: Trial) -> tuple[bool, bool, int]:
    """Return a key that puts first what is sure, and then what needs the least advice to be read."""
    guesses = sum(line.startswith("whether ") for line in trial.proposal.open)
    return bool(trial.refused), not trial.proposal.sure, guesses


def _same(one: Trial, other: Trial) -> bool:
    """Tell whether two ways are one, which advice may reach in any order."""
    return (one.proposal.kind, one.proposal.options) == (other.proposal.kind, other.proposal.options)


def _writing(stated: Mapping[str, Any]) -> Writing:
    """Return what options say about the writing of tables."""
    known = {field.name for field in fields_of(TableOptions)}
    own = {name: value for name, value in stated.items() if name in known}
    return Writing.of(msgspec.convert(own, TableOptions, strict=False))


def _with_stated(
    found: Iterable[Proposal], stated: Mapping[str, Any], kinds: Sequence[str]
) -> Iterator[Proposal]:
    """Yield proposals with what was stated in place of what they guessed, those of kinds that have such options.

    Where none is likely, each such kind is tried with what was stated alone: its reader says what is missing.
    """
    typed = {
        name: as_typed(value) if isinstance(value, list) else str(value) for name, value in stated.items()
    }
    having = [kind for kind in kinds if stated.keys() <= set(option_names(kind))]
    likely, seen_before = False, []
    for proposal in found:
        merged = _merged(proposal, typed)
        key = (merged.kind, merged.options)
        if proposal.kind in having and key not in seen_before:
            seen_before.append(key)
            likely = likely or merged.likely
            yield replace(merged, open=(*merged.open, *unread_in_words(merged)))
    # What every kind can be told says nothing of how files are read.
    if not likely and stated.keys() - COMMON.keys():
        yield from (Proposal(kind, "as stated", typed) for kind in having if (kind, typed) not in seen_before)


def _merged(proposal: Proposal, typed: Mapping[str, str]) -> Proposal:
    """Return a proposal with what was stated; its reason and its open questions spoke of what was guessed.

    Who names an answer has named all of them: a class that was guessed beside a stated number would change the task.
    """
    guessed = proposal.options
    if any(name in typed for name in ASKED) and any(
        guessed.get(name, "") != typed.get(name, "") for name in ASKED
    ):
        gone = (*ASKED, *WRITTEN) if "target" in guessed else ASKED  # how that column writes its numbers
        guessed = {name: value for name, value in guessed.items() if name not in gone}
    options = {**guessed, **typed}
    if all(proposal.options.get(name) == value for name, value in options.items()):
        return proposal
    changed = any(proposal.options.get(name) != options.get(name) for name in proposal.options)
    told = ", ".join(f"{name}={value}" for name, value in typed.items())
    reason = f"as stated: {told}" if changed else proposal.reason
    return replace(proposal, options=options, reason=reason)


def _tried_with_advice(
    proposal: Proposal, given: Given, incoming: Path, turns: int = MOST_TURNS
) -> Iterator[Trial]:
    """Yield how a proposal did; where its reader refused it, what becomes of each way out that it names, too."""
    trial = _tried(proposal, given, incoming)
    yield trial
    if not trial.refused or not proposal.likely or not turns:
        return
    for advice in advised(trial.refused, proposal)[:MOST_ADVICE]:
        # Which way is right only the owner can say.
        words = ", ".join(f"{name}={value}" for name, value in advice.items())
        way = replace(
            proposal,
            reason=proposal.reason or f"if {words} is right",
            options={**proposal.options, **advice},
            sure=False,
            open=(*proposal.open, f"whether {words} is right: {_first_sentence(trial.refused)}"),
        )
        followed = list(_tried_with_advice(way, given, incoming, turns - 1))
        yield from (found for found in followed if not found.refused)


def advised(message: str, proposal: Proposal) -> list[dict[str, str]]:
    """Return the options that a refusal names with values, without those that were given; the most together first.

    Args:
        message: Of a reader; `--set NAME=VALUE`, where quotes stand around values that a shell would change. What
            stands side by side belongs together.
        proposal: What was refused.
    """
    known = option_names(proposal.kind)
    found = []
    for pairs in typed_in(message):
        # Words in capitals stand for what the reader cannot know.
        usable = all(name in known and value and not value.isupper() for name, value in pairs)
        fresh = {name: value for name, value in pairs if proposal.options.get(name) != value}
        if usable and fresh and fresh not in found:
            found.append(fresh)
    return sorted(
        found, key=len, reverse=True
    )  # what reads several columns at once before what reads one of them


def _first_sentence(message: str) -> str:
    """Return what is wrong in one sentence; the headline over a list of problems says nothing yet."""
    lines = message.splitlines()
    wrong = lines[1] if len(lines) > 1 and lines[1].startswith("  ") else message
    return " ".join(wrong.split()).split(". ", 1)[0].rstrip(".") + "."


def _tried(proposal: Proposal, given: Given, incoming: Path) -> Trial:
    kind, files = proposal.kind, given.files
    try:
        stated = stated_options(kind, [f"{name}={value}" for name, value in proposal.options.items()])
        options, common = options_of(kind, stated), common_options(stated)
        kept = {name: files[name] for name in not_ignored(list(files), common.ignore)}
        chosen = {name: kept[given] for name, given in source_of(kind).select(list(kept), options).items()}
        taken = set(chosen.values())
        beside = [name for name, path in kept.items() if path not in taken]
        partly = sum(path.stat().st_size for path in chosen.values()) > MOST_BYTES
        part = _part(chosen) if partly else dict[str, Path | bytes](chosen)
        tar_path = incoming / "trial.tar"
        write_tar(tar_path, part)
        if partly:
            described, samples = _read_part(kind, tar_path, options, common)
        else:
            first: list[RawSample] = []
            read = read_all(
                kind,
                tar_path,
                options,
                Answered(stated, kind),
                common.labels_separator,
                noted=lambda sample: first.append(sample) if len(first) < SAMPLES else None,
            )
            names = [name for name, path in kept.items() if path in taken]
            found = Found(chosen, names, beside, not_ignored(list(given.folders), common.ignore))
            settled(kind, read, found, common, {})
            described, samples = read.described, [in_words(sample) for sample in first]
    except UserError as error:
        return Trial(proposal, refused=str(error))
    counts = {pattern: len(names) for pattern, names in by_folder_and_suffix(beside).items()}
    return Trial(proposal, len(chosen), counts, tuple(described), tuple(samples), partly=partly)


def _read_part(kind: str, tar_path: Path, options: Any, common: CommonOptions) -> tuple[list[str], list[str]]:
    """Return how files are read and their first samples, where all of them would take too long."""
    with tarfile.open(tar_path, "r:") as archive:
        described = source_of(kind).describe(archive, options)
    spellings = Spellings()
    with tarfile.open(tar_path, "r:") as archive:
        read = with_label_sets(source_of(kind).read(archive, options), common.labels_separator)
        samples = [in_words(sample) for sample in islice(spellings.watched(read), SAMPLES)]
    if common.join_labels is None:
        spellings.check()
    return described, samples


def _part(chosen: Mapping[str, Path]) -> dict[str, Path | bytes]:
    """Return some of the files of each folder, and of text files their beginning."""
    in_folder: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(chosen):
        in_folder[str(PurePosixPath(name).parent)].append(name)
    some = [name for found in in_folder.values() for name in found[:MOST_PER_FOLDER]][:MOST_FILES]
    part: dict[str, Path | bytes] = {}
    for name in some:
        path = chosen[name]
        part[name] = path
        if PurePosixPath(name).suffix.lower() in TEXT_SUFFIXES:
            with path.open("rb") as file:
                part[name] = whole_lines(file.read(HEAD_BYTES))
    return part


def in_words(sample: RawSample) -> str:
    """Return a sample in one line, as it was read."""
    parts = [sample.sample_id]
    if sample.split:
        parts.append(sample.split)
    if sample.label:
        parts.append(f"label {sample.label!r}")
    if sample.labels is not None:
        parts.append(f"labels {', '.join(map(repr, sample.labels)) or 'none'}")
    if sample.target is not None:
        parts.append(f"target {sample.target:g}")
    if sample.group:
        parts.append(f"group {sample.group!r}")
    if sample.time:
        step = f", a step every {sample.step_seconds:g} s" if sample.step_seconds else ""
        parts.append(f"from {sample.time}{step}")
    parts += [f"{name}={value!r}" for name, value in sample.side.items()]
    if sample.text is not None:
        text = repr(sample.text)
        parts.append(text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}...")
    if sample.timeline is not None and sample.timeline.note:
        parts.append(sample.timeline.note)
    if sample.series is not None:
        parts.append(_series(sample.series, sample.channels))
    if sample.image is not None:
        parts.append(_image(sample.image))
    return ", ".join(parts)


def _series(series: np.ndarray, channels: Iterable[str]) -> str:
    names = list(channels)
    shown = ", ".join(names[:SHOWN_CHANNELS]) + (", ..." if len(names) > SHOWN_CHANNELS else "")
    first = "; ".join(
        " ".join(f"{value:g}" for value in step[:SHOWN_CHANNELS]) for step in series[:SHOWN_STEPS]
    )
    return f"{len(series):,} steps of {shown}: {first}{'; ...' if len(series) > SHOWN_STEPS else ''}"


def _image(image: np.ndarray | bytes) -> str:
    shape = image.shape if isinstance(image, np.ndarray) else measured(image)
    if shape is None:
        return "an image that cannot be decoded"
    return f"{shape[1]} x {shape[0]} pixels, {'grey' if shape[2] == 1 else 'colour'}"
