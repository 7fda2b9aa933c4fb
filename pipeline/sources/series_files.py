"""One file per series, and folders or tables that say what is known about each: class or target, group, side features.

A folder per class, with `train/ val/ test/` above them where the split is given, needs no table. Series and tables are
joined by an id (`pipeline/sources/series_facts.py`): the tables have it in a column, the file in its name. Of a pattern
such as `dataset/RSS_*.csv` that is the part `*` stands for; else it is the name without suffix.
"""

import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

import numpy as np

from pipeline.formats import tables as formats_tables
from pipeline.formats.cells import Cell, NameCodes, number_cells, without_blank_end
from pipeline.formats.delimited import Dialect, is_nameless, read_delimited
from pipeline.formats.problems import Problems, shown
from pipeline.formats.tables import TextTableOptions, Writing
from pipeline.formats.text_file import encoding_of, open_member
from pipeline.formats.written_numbers import NumberWriting
from pipeline.raw.answer_columns import AnswerColumns, answer_problems, as_split
from pipeline.raw.sample import (
    SPLITS,
    GivenSplit,
    RawSample,
    StepLabels,
    check_splits,
    choose_files,
    stem_of,
)
from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.sources.path_labels import Labels, check_labels, give_splits, is_rule
from pipeline.sources.series_facts import facts, join_tables, side_kinds

LAYOUT = (
    "one CSV or TSV per series, one row per step, --set files=GLOB, in a folder per class, or with a table that has an "
    "id and a class or target for each, --set targets=FILE (more tables: --set tables=A,B)"
)
SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
SERIES_DIR = "series/"
TABLES_DIR = "tables/"
"""Where in the archive they are."""
STEP_FIX = "Correct the file; a missing value is an empty cell."
COLUMNS_FIX = (
    "Choose columns that all files have: --set columns=A,B; without a first row of names: --set header=false; with "
    "lines above it: --set skip=NUMBER."
)


class Options(TextTableOptions, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Which files and columns there are, and how they are written."""

    files: str = ""
    """Glob of the series, `*` where the id stands; "" for all tables that are not named below."""
    targets: str = ""
    """Table with one row per series; its name, with folders where needed."""
    tables: tuple[str, ...] = ()
    """Further tables with one row per series."""
    id: str = ""
    """Column of the tables that the series are found by; "": their first."""
    label: str = ""
    """Column with the class; without a table where in the path of a series it stands: `first` or `parent` of several
    folders, or a pattern, `{label}_p{group}_#.csv` for walk_p03_1.csv, where `#` is a number, `*` anything and
    `{group}` a person, or `{group}/{label}/*.csv`."""
    target: str = ""
    """Column with the number that regression predicts."""
    group: str = ""
    """Column with the person, machine or place that a split must not tear apart."""
    split: str = ""
    """Column that says train, val or test."""
    side: tuple[str, ...] = ()
    """Columns that become side features."""
    categorical: tuple[str, ...] = ()
    """Those of `side` that are categories although they look like numbers."""
    folders: Literal["auto", "class", "group", "nothing"] = "auto"
    """What the folder of a series says: its class, its group, or nothing; auto: its class where there is no table, no
    `step_label`, and all lie in class/ or train/class/."""
    step_label: str = ""
    """Column of the series with the class of every step, for data.labelled_windows."""
    columns: tuple[str, ...] = ()
    """Columns of the series; (): all."""
    drop: tuple[str, ...] = ()
    """Columns of the series that are left out."""


def select(names: Sequence[str], options: Options) -> dict[str, str]:
    """Return the series and the tables, in folders `series/` and `tables/` of the archive.

    Raises:
        DataRefused: No series, or a table that is not there, or there twice.
        WronglyCalled: The options contradict each other.
    """
    _check_options(options)
    chosen: dict[str, str] = {}
    for wanted in _tables(options):
        found = [name for name in names if f"/{name}".endswith(f"/{wanted}")]
        member = TABLES_DIR + PurePosixPath(wanted).name
        if len(found) != 1 or member in chosen:
            raise DataRefused(
                f"The table {wanted} is not clear. Expected one file of that name, and no other table with the "
                f"same last part. Received: {', '.join(found) or 'none'}. Name it with its folder."
            )
        chosen[member] = found[0]
    tables = set(chosen.values())
    series = choose_files([name for name in names if name not in tables], SUFFIXES, options.files, LAYOUT)
    _places(list(series), options)
    return chosen | {SERIES_DIR + name: given for name, given in series.items()}


def describe(archive: tarfile.TarFile, options: Options) -> list[str]:
    """Return how the tables and the first series are read, in words; detected parts are marked as such.

    Raises:
        DataRefused: An encoding cannot be told.
    """
    names = sorted(archive.getnames())
    tables = [(name, _writing(options)) for name in names if name.startswith(TABLES_DIR)]
    series = [(name, Writing.of_text(options)) for name in _series(names)[:1]]
    found = []
    for name, writing in [*tables, *series]:
        with open_member(archive, name) as file:
            found.append(formats_tables.describe_table(file, name, writing))
    if rule := _label_by_path(options):
        return [*found, f"the path of a series says its class by label={rule}"]
    said = _folders_say([name.removeprefix(SERIES_DIR) for name in _series(names)], options)
    detected = " (detected)" if options.folders == "auto" else ""
    return [*found, *([f"the folder of a series is its {said}{detected}"] if said != "nothing" else [])]


def read(archive: tarfile.TarFile, options: Options) -> Iterator[RawSample]:
    """Yield the series in order of their names.

    Raises:
        DataRefused: Cells that are no numbers, files with other columns, ids without a partner; up to 20
            problems together.
        WronglyCalled: The options contradict each other.
    """
    _check_options(options)
    problems = Problems()
    members = sorted(_series(archive.getnames()), key=stem_of)
    ids = {member: _id_of(member, options.files) for member in members}
    places = _places([member.removeprefix(SERIES_DIR) for member in members], options)
    _check_names(members, problems)
    cells = _facts_of(archive, ids, options, problems)
    written = NumberWriting.of(options)
    label = "" if _label_by_path(options) else options.label
    answers = AnswerColumns(label, options.target, options.label_columns, options.unlabelled, written)
    kinds = side_kinds(
        cells.values(), options.side, options.categorical, target=options.target, writing=written
    )
    problems.check()
    files = _SeriesFiles(archive, options, problems)
    for member, name in ids.items():
        said = facts(
            cells[name],
            answers=answers,
            group=options.group,
            kinds=kinds,
            problems=problems,
        )
        place = places[member.removeprefix(SERIES_DIR)]
        split = as_split(cells[name][options.split], problems) if options.split else place.split
        series, step_labels = files.read(member)
        # Nothing is passed on once something is wrong: the files are refused as a whole then.
        if not problems.count:
            sample = RawSample(
                stem_of(member.removeprefix(SERIES_DIR)),
                split=split,
                series=series,
                channels=files.channels,
                step_labels=step_labels,
                **said,
            )
            yield replace(sample, label=place.label or sample.label, group=place.group or sample.group)
    problems.check()


class _Place(NamedTuple):
    """What the folder of a series says; "" and None for nothing."""

    label: str = ""
    group: str = ""
    split: GivenSplit | None = None


def _label_by_path(options: Options) -> str:
    """Return the rule by which paths give classes, "" where they do not."""
    return options.label if is_rule(options.label) and not _tables(options) else ""


def _folders_say(names: Sequence[str], options: Options) -> Literal["class", "group", "nothing"]:
    if options.folders != "auto":
        return options.folders
    free = not (_tables(options) or options.step_label)
    return "class" if free and len({label for _, label in _class_folders(names)} - {""}) > 1 else "nothing"


def _class_folders(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return split and class of series in `class/` or all in `train/class/`; of others ("", "")."""
    parts = [name.split("/")[:-1] for name in names]
    if (
        all(len(folders) == 1 for folders in parts)
        and not {folders[0].casefold() for folders in parts} <= SPLITS.keys()
    ):
        check_splits({folder: SPLITS.get(folder.casefold()) for (folder,) in parts})
        return [("", folders[0]) for folders in parts]
    if all(len(folders) == 2 and folders[0].casefold() in SPLITS for folders in parts):
        return [(folders[0], folders[1]) for folders in parts]
    return [("", "")] * len(parts)


def _places(names: Sequence[str], options: Options) -> dict[str, _Place]:
    """Return what the folders of series say, by the names of these.

    Raises:
        DataRefused: They should say something, and do not; or some give a split and others none.
    """
    if rule := _label_by_path(options):
        check_labels(rule, names)
        labels = Labels(rule, give_splits(names))
        found_places = [(name, labels.place(name)) for name in names]
        return {name: _Place(place.label, place.group, place.split) for name, place in found_places if place}
    said = _folders_say(names, options)
    if said == "group":
        missing = [name for name in names if "/" not in name]
        if missing:
            raise DataRefused(
                "A series lies in no folder that could be its group (option folders). Expected GROUP/FILE. Received: "
                f"{', '.join(missing[:5])}. Leave --set folders=group out, or choose the files: --set files=GLOB."
            )
        return {name: _Place(group=name.split("/")[-2]) for name in names}
    if said == "nothing":
        return {name: _Place() for name in names}
    found = _class_folders(names)
    if not any(label for _, label in found):
        raise DataRefused(
            "Series do not lie in class folders (option folders). Expected CLASS/FILE, or train/CLASS/FILE for all. "
            f"Received: {', '.join(sorted(names)[:5])}. Move them, or choose some: --set files=GLOB."
        )
    check_splits({split: SPLITS.get(split.casefold()) for split, _ in found})
    return {
        name: _Place(label, split=SPLITS.get(split.casefold()))
        for name, (split, label) in zip(names, found, strict=True)
    }


def _check_names(members: Sequence[str], problems: Problems) -> None:
    """Note files that are called alike but for their suffix: their series would have one name."""
    first: dict[str, str] = {}
    for member in members:
        if first.setdefault(stem_of(member), member) != member:
            received = f"the name of {first[stem_of(member)]} with another suffix"
            problems.add(member, "a name of its own", received, "Rename one of the files.")


def _series(names: Sequence[str]) -> list[str]:
    return [name for name in names if name.startswith(SERIES_DIR)]


def _id_of(member: str, pattern: str) -> str:
    """Return what stands for `*` in the file's name, or the name without suffix."""
    last = PurePosixPath(pattern).name
    if last.count("*") == 1 and not set(last) & set("?["):
        before, after = last.split("*")
        match = re.fullmatch(f"{re.escape(before)}(.*){re.escape(after)}", PurePosixPath(member).name)
        if match and last != f"*{PurePosixPath(last).suffix}":
            return match[1]
    return PurePosixPath(member).stem


def _facts_of(
    archive: tarfile.TarFile, ids: Mapping[str, str], options: Options, problems: Problems
) -> dict[str, dict[str, Cell]]:
    """Return the cells of every series by its id."""
    members: dict[str, str] = {}
    if not _tables(options):
        return {name: {} for name in ids.values()}
    for member, name in ids.items():
        if members.setdefault(name, member) != member:
            problems.add(
                member, "an id of its own", f"{name}, as {members[name]}", "Rename one of the files."
            )
    answers = (options.label, *options.label_columns, options.target)  # with a table, so of columns
    wanted = [*answers, options.group, options.split, *options.side]
    tables = [TABLES_DIR + PurePosixPath(table).name for table in _tables(options)]
    return join_tables(
        archive,
        tables,
        list(members),
        id_column=options.id,
        columns=list(dict.fromkeys(filter(None, wanted))),
        writing=_writing(options),
        problems=problems,
    )


class _SeriesFiles:
    """Reads series that are all written alike: what the first file says holds for the others.

    Attributes:
        channels: Names of the columns that are read; () before the first file.
    """

    def __init__(self, archive: tarfile.TarFile, options: Options, problems: Problems) -> None:
        self.channels: tuple[str, ...] = ()
        self._archive = archive
        self._options = options
        self._problems = problems
        self._dialect: Dialect | None = None
        self._writing = NumberWriting.of(options)
        self._steps = NameCodes()

    def read(self, member: str) -> tuple[np.ndarray, StepLabels | None]:
        """Return a series, float32, shape (steps, channels), NaN where a value is missing; and its steps' classes."""
        step_label = self._options.step_label
        codes = [np.empty(0, np.int32)]
        with open_member(self._archive, member) as file:
            if self._dialect is None:
                self._dialect = formats_tables.dialect_as_stated(file, member, Writing.of_text(self._options))
            # Of one layout, but not always of one program: the encoding is each file's own.
            encoding, bom = encoding_of(file, member, self._options.encoding)
            dialect = replace(self._dialect, encoding=encoding, bom=bom)
            table = read_delimited(file, member, dialect, self._problems, plain_names=True)
            columns = self._there(table.columns or (), member)
            if not columns or (step_label and step_label not in (table.columns or ())):
                return np.empty((0, 0), np.float32), None
            parts = [np.empty((0, len(columns)), np.float32)]
            wanted = [*columns, *filter(None, [step_label])]
            for batch in without_blank_end(table.batches(wanted)):
                values = number_cells(batch, columns, self._problems, self._writing)
                parts.append(values.astype(np.float32))
                if step_label:
                    codes.append(self._steps.read(batch, step_label, self._problems))
        series = np.concatenate(parts)
        if not len(series):
            self._problems.add(member, "at least one step", "none", STEP_FIX)
        labels = StepLabels(np.concatenate(codes), tuple(self._steps.names)) if step_label else None
        return series, labels

    def _there(self, names: Sequence[str], member: str) -> list[str]:
        """Return the channels that a file has."""
        others = (*self._options.drop, *filter(None, [self._options.step_label]))
        rest = tuple(name for name in names if name not in others and not is_nameless(name))
        self.channels = self.channels or self._options.columns or rest
        missing = [name for name in (*self.channels, *others) if name not in names]
        more = [] if self._options.columns else [name for name in rest if name not in self.channels]
        if missing or more or not self.channels:
            expected = f"the columns {', '.join((*self.channels, *others))}"
            self._problems.add(f"{member}, line 1", expected, shown(", ".join(names)), COLUMNS_FIX)
        return [name for name in self.channels if name in names]


def _check_options(options: Options) -> None:
    """Refuse options that contradict each other, naming all contradictions."""
    problems = []
    label = "" if _label_by_path(options) else options.label
    learnt = [*filter(None, [label, *options.label_columns, options.target])]
    columns = [*learnt, *filter(None, [options.group, options.split]), *options.side]
    if columns and not _tables(options):
        problems.append(
            f"no table is named that has {', '.join(columns)}. Expected --set targets=FILE; or none of these, where "
            "the folder of a series is its class; or, where its path says the class, label=first, parent or a pattern "
            "with {label} in it"
        )
    if options.folders == "class" and learnt:
        problems.append("folders=class, and a table has the class or target. Expected one of them")
    problems += [
        *answer_problems(options, label, [options.target]),
        *NumberWriting.of(options).problems,
    ]
    if options.folders == "group" and options.group:
        problems.append(f"folders=group and group={options.group}. Expected one of them")
    if _label_by_path(options) and options.folders != "auto":
        problems.append(f"label={options.label} and folders={options.folders}. Expected one of them")
    if options.step_label and (learnt or _label_by_path(options) or options.folders == "class"):
        problems.append("step_label, and a class or target of whole series. Expected one of them")
    if options.step_label and options.step_label in (*options.columns, *options.drop):
        problems.append(
            f"{options.step_label} is step_label and a column of numbers, or left out. Expected one of them"
        )
    strangers = [column for column in options.categorical if column not in options.side]
    if strangers:
        problems.append(f"categorical names {', '.join(strangers)}. Expected columns that side names too")
    if problems:
        raise WronglyCalled(
            f"The options of kind series_files do not fit together: {'; '.join(problems)}. "
            "Give them to `millrace init` again."
        )


def _tables(options: Options) -> list[str]:
    """Return the tables by the names the user gave; that of the targets comes first."""
    return [*filter(None, [options.targets]), *options.tables]


def _writing(options: Options) -> Writing:
    """Return how tables are read, which have a header in their first line; a `.tsv` is no special case."""
    series = Writing.of_text(options)
    return replace(series, quoting="auto", header=True, skip=0, units_row=False)
