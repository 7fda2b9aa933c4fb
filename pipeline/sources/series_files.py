"""One file per series, and tables that say what is known about each: class or target, group, side features.

Series and tables are joined by an id (`pipeline/sources/joined_tables.py`): the tables have it in a column, the
file in its name. Of a pattern such as `dataset/RSS_*.csv` that is the part `*` stands for; else it is the name
without suffix.
"""

import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from pipeline.runtime import DataRefused
from pipeline.sources import file_names
from pipeline.sources.cells import numbers
from pipeline.sources.delimited import Dialect, in_words, read_table
from pipeline.sources.dialects import dialect_of
from pipeline.sources.joined_tables import TABLES_DIR, join_tables, opened, plain_names
from pipeline.sources.problems import Problems, shown
from pipeline.sources.raw_sample import GivenSplit, RawSample
from pipeline.sources.series_facts import facts, side_kinds
from pipeline.sources.series_files_options import Options, check_options, tables_of
from pipeline.sources.table_values import Cell

__all__ = ["LAYOUT", "Options", "describe", "read", "select"]

LAYOUT = (
    "one CSV or TSV per series, one row per step, --set files=GLOB, and a table with an id and a class or target "
    "for each, --set targets=FILE (more tables: --set tables=A,B)"
)
SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
SERIES_DIR = "series/"
CELL_FIX = "Correct the file; a missing value is an empty cell."
COLUMNS_FIX = (
    "Choose columns that all files have: --set columns=A,B; without a first row of names: --set header=false."
)
SPLIT_FIX = "Write train, val or test."


def select(names: Sequence[str], options: Options) -> dict[str, str]:
    """Return the series and the tables, in folders `series/` and `tables/` of the archive.

    Raises:
        DataRefused: No series, or a table that is not there, or there twice.
        WronglyCalled: The options contradict each other.
    """
    check_options(options)
    chosen: dict[str, str] = {}
    for wanted in tables_of(options):
        found = [name for name in names if f"/{name}".endswith(f"/{wanted}")]
        member = TABLES_DIR + PurePosixPath(wanted).name
        if len(found) != 1 or member in chosen:
            raise DataRefused(
                f"The table {wanted} is not clear. Expected one file of that name, and no other table with the "
                f"same last part. Received: {', '.join(found) or 'none'}. Name it with its folder."
            )
        chosen[member] = found[0]
    tables = set(chosen.values())
    series = file_names.choose(
        [name for name in names if name not in tables], SUFFIXES, options.files, LAYOUT
    )
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
        with opened(archive, name) as file:
            dialect = dialect_of(file, name, delimiter=options.delimiter, encoding=options.encoding)
            found.append(f"{name}: {in_words(dialect)}")
    return found


def read(archive: tarfile.TarFile, options: Options) -> Iterator[RawSample]:
    """Yield the series in order of their names.

    Raises:
        DataRefused: Cells that are no numbers, files with other columns, ids without a partner; up to 20
            problems together.
        WronglyCalled: The options contradict each other.
    """
    check_options(options)
    problems = Problems()
    members = sorted(_series(archive.getnames()), key=file_names.stem_of)
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
        )
        split = _split(cells[name][options.split], problems) if options.split else None
        series = files.read(member)
        # Nothing is passed on once something is wrong: the files are refused as a whole then.
        if not problems.count:
            sample_id = file_names.stem_of(member.removeprefix(SERIES_DIR))
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
    tables = [TABLES_DIR + PurePosixPath(table).name for table in tables_of(options)]
    return join_tables(
        archive,
        tables,
        list(members),
        id_column=options.id,
        columns=list(dict.fromkeys(filter(None, wanted))),
        delimiter=options.delimiter,
        encoding=options.encoding,
        problems=problems,
    )


def _split(cell: Cell, problems: Problems) -> GivenSplit | None:
    split = file_names.SPLITS.get(str(cell.value).strip().casefold())
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
        with opened(self._archive, member) as file:
            if self._dialect is None:
                found = dialect_of(
                    file,
                    member,
                    delimiter=self._options.delimiter,
                    quoting="minimal",
                    encoding=self._options.encoding,
                )
                self._dialect = replace(found, header=self._options.header)
            table = read_table(file, member, self._dialect, self._problems)
            places = self._places(table.columns, member)
            rows = list(table.rows)
        cells = [row.fields[place] for row in rows for place in places]
        values, wrong = numbers(cells)
        for index in wrong:
            row, place = divmod(index, len(places))
            where = f"{member}, line {rows[row].line}, column {self.channels[place]!r}"
            self._problems.add(where, "a number below 3.4e38, or nothing", shown(cells[index]), CELL_FIX)
        if not rows:
            self._problems.add(member, "at least one step", "none", CELL_FIX)
        return values.reshape(len(rows), len(places))

    def _places(self, columns: Sequence[str], member: str) -> list[int]:
        """Return where in a row the channels stand."""
        names = plain_names(columns)
        rest = tuple(name for name in names if name not in self._options.drop)
        self.channels = self.channels or self._options.columns or rest
        missing = [name for name in (*self.channels, *self._options.drop) if name not in names]
        more = [] if self._options.columns else [name for name in rest if name not in self.channels]
        if missing or more or len(set(names)) != len(names) or not self.channels:
            expected = f"the columns {', '.join((*self.channels, *self._options.drop))}"
            self._problems.add(f"{member}, line 1", expected, shown(", ".join(names)), COLUMNS_FIX)
        return [names.index(name) for name in self.channels if name in names]
