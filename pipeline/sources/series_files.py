"""One file per series, and tables that say what is known about each: class or target, group, side features.

Series and tables are joined by an id (`pipeline/sources/series_facts.py`): the tables have it in a column, the
file in its name. Of a pattern such as `dataset/RSS_*.csv` that is the part `*` stands for; else it is the name
without suffix.
"""

import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
from msgspec import Struct

from pipeline.formats import tables as formats_tables
from pipeline.formats.cells import Cell, Unlabelled, number_cells
from pipeline.formats.delimited import DelimiterOption, Dialect, dialect_of, read_delimited
from pipeline.formats.problems import Problems, shown
from pipeline.formats.tables import Writing
from pipeline.formats.text_file import EncodingOption, open_member
from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.sources.sample import SPLITS, GivenSplit, RawSample, choose_files, stem_of
from pipeline.sources.series_facts import facts, join_tables, side_kinds

LAYOUT = (
    "one CSV or TSV per series, one row per step, --set files=GLOB, and a table with an id and a class or target "
    "for each, --set targets=FILE (more tables: --set tables=A,B)"
)
SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
SERIES_DIR = "series/"
TABLES_DIR = "tables/"
"""Where in the archive they are."""
STEP_FIX = "Correct the file; a missing value is an empty cell."
COLUMNS_FIX = (
    "Choose columns that all files have: --set columns=A,B; without a first row of names: --set header=false."
)
SPLIT_FIX = "Write train, val or test."


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
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
    """Column with the class."""
    target: str = ""
    """Column with the number that regression predicts."""
    unlabelled: Unlabelled = "fail"
    """Series without label or target: fail, or leave them out, which is counted."""
    group: str = ""
    """Column with the person, machine or place that a split must not tear apart."""
    split: str = ""
    """Column that says train, val or test."""
    side: tuple[str, ...] = ()
    """Columns that become side features."""
    categorical: tuple[str, ...] = ()
    """Those of `side` that are categories although they look like numbers."""
    columns: tuple[str, ...] = ()
    """Columns of the series; (): all."""
    drop: tuple[str, ...] = ()
    """Columns of the series that are left out."""
    header: bool = True
    """Whether the series have a first row of names; if not, their columns are called 1, 2, 3."""
    delimiter: DelimiterOption = "auto"
    """Of all files: auto, comma, tab, semicolon or pipe."""
    encoding: EncodingOption = "auto"
    """Of all files: auto, utf-8, cp1252 or latin-1."""


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
    return chosen | {SERIES_DIR + name: given for name, given in series.items()}


def describe(archive: tarfile.TarFile, options: Options) -> list[str]:
    """Return how the tables and the first series are read, in words; detected parts are marked as such.

    Raises:
        DataRefused: An encoding cannot be told.
    """
    names = sorted(archive.getnames())
    tables = [name for name in names if name.startswith(TABLES_DIR)]
    found = []
    for name in [*tables, *_series(names)[:1]]:
        with open_member(archive, name) as file:
            found.append(formats_tables.describe_table(file, name, _writing(options)))
    return found


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
    cells = _facts_of(archive, ids, options, problems)
    kinds = side_kinds(cells.values(), options.side, options.categorical)
    problems.check()
    files = _SeriesFiles(archive, options, problems)
    for member, name in ids.items():
        said = facts(
            cells[name],
            label=options.label,
            target=options.target,
            group=options.group,
            kinds=kinds,
            problems=problems,
            unlabelled=options.unlabelled,
        )
        split = _split(cells[name][options.split], problems) if options.split else None
        series = files.read(member)
        # Nothing is passed on once something is wrong: the files are refused as a whole then.
        if not problems.count:
            sample_id = stem_of(member.removeprefix(SERIES_DIR))
            yield RawSample(sample_id, split=split, series=series, channels=files.channels, **said)
    problems.check()


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
    for member, name in ids.items():
        if members.setdefault(name, member) != member:
            problems.add(
                member, "an id of its own", f"{name}, as {members[name]}", "Rename one of the files."
            )
    wanted = [options.label, options.target, options.group, options.split, *options.side]
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


def _split(cell: Cell, problems: Problems) -> GivenSplit | None:
    split = SPLITS.get(str(cell.value).strip().casefold())
    if split is None:
        problems.add(cell.place, "train, val or test", shown(cell.value), SPLIT_FIX)
    return split


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

    def read(self, member: str) -> np.ndarray:
        """Return a series, float32, shape (steps, channels), NaN where a value is missing."""
        with open_member(self._archive, member) as file:
            if self._dialect is None:
                found = dialect_of(
                    file,
                    member,
                    delimiter=self._options.delimiter,
                    quoting="minimal",
                    encoding=self._options.encoding,
                )
                self._dialect = replace(found, header=self._options.header)
            table = read_delimited(file, member, self._dialect, self._problems, plain_names=True)
            columns = self._there(table.columns or (), member)
            if not columns:
                return np.empty((0, 0), np.float32)
            batches = table.batches(columns)
            parts = [number_cells(batch, columns, self._problems).astype(np.float32) for batch in batches]
        if not parts:
            self._problems.add(member, "at least one step", "none", STEP_FIX)
            return np.empty((0, len(columns)), np.float32)
        return np.concatenate(parts)

    def _there(self, names: Sequence[str], member: str) -> list[str]:
        """Return the channels that a file has."""
        rest = tuple(name for name in names if name not in self._options.drop)
        self.channels = self.channels or self._options.columns or rest
        missing = [name for name in (*self.channels, *self._options.drop) if name not in names]
        more = [] if self._options.columns else [name for name in rest if name not in self.channels]
        if missing or more or not self.channels:
            expected = f"the columns {', '.join((*self.channels, *self._options.drop))}"
            self._problems.add(f"{member}, line 1", expected, shown(", ".join(names)), COLUMNS_FIX)
        return [name for name in self.channels if name in names]


def _check_options(options: Options) -> None:
    """Refuse options that contradict each other, naming all contradictions."""
    problems = []
    columns = [*filter(None, [options.label, options.target, options.group, options.split]), *options.side]
    if columns and not _tables(options):
        problems.append(f"no table is named that has {', '.join(columns)}. Expected --set targets=FILE")
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
    """Return how tables are read; a `.tsv` is no special case, and nothing else is in these folders."""
    return Writing("csv", options.delimiter, encoding=options.encoding, plain_names=True)
