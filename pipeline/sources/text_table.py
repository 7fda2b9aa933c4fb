"""Tables with a column of texts: CSV, TSV, JSON lines and Parquet, one row per sample.

Files called train, val and test (or in folders of these names) give the split. Which column is what, and how
a file is written, are options; what nobody stated about the writing is detected and shown by `describe`.
"""

import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from pipeline.runtime import DataRefused
from pipeline.sources import file_names, table_files
from pipeline.sources.problems import Problems, shown
from pipeline.sources.raw_sample import GivenSplit, RawSample
from pipeline.sources.table_files import FORMATS, read_rows
from pipeline.sources.table_values import (
    Cell,
    SideCells,
    SideKind,
    as_name,
    as_number,
    as_text,
    as_time,
    is_missing,
    plain_name,
    refuse_twin_classes,
)
from pipeline.sources.text_table_options import Options, check_options, writing_of

__all__ = ["LAYOUT", "Options", "describe", "read", "select", "side_kinds"]

LAYOUT = (
    "tables with a text column and a label or target column (.csv, .tsv, .jsonl, .parquet), all with the same "
    "columns; train, val and test in their names give the split"
)


@dataclass(frozen=True)
class _File:
    """One table of the archive, and what its name says."""

    name: str
    prefix: str
    split: GivenSplit | None


def select(names: Sequence[str], options: Options) -> dict[str, str]:
    """Return the tables among `names`, named from the folder that holds them all.

    Raises:
        DataRefused: No table, two tables of one name but for the suffix, or names that give a split in part.
        WronglyCalled: The options contradict each other.
    """
    check_options(options)
    chosen = file_names.choose(names, FORMATS, options.files, LAYOUT)
    _files(sorted(chosen))
    return chosen


def describe(archive: tarfile.TarFile, options: Options) -> list[str]:
    """Return, per file, how it is read, in words; detected parts are marked as such.

    Raises:
        DataRefused: An encoding cannot be told.
    """
    return [
        table_files.describe(_open(archive, file.name), file.name, writing_of(options))
        for file in _files(archive.getnames())
    ]


def read(archive: tarfile.TarFile, options: Options) -> Iterator[RawSample]:
    """Yield the rows of all tables, one at a time, called by file and row: `train/00000042`, counted from 0.

    Side columns are read twice, once to see whether they hold numbers or categories.

    Raises:
        DataRefused: Rows that do not fit; all problems, up to 20, together, after the rows that do.
        WronglyCalled: The options contradict each other.
    """
    check_options(options)
    problems = Problems()
    files = _files(archive.getnames())
    columns = _Columns(options, side_kinds(archive, options))
    labels: set[str] = set()
    for file in files:
        opened = _open(archive, file.name)
        rows = read_rows(opened, file.name, columns.wanted, writing_of(options), problems)
        for number, (line, cells) in enumerate(rows):
            sample = columns.sample(file, number, line, cells, problems)
            if sample is not None:
                labels.add(sample.label)
                yield sample
    problems.check()
    refuse_twin_classes(sorted(labels))


def side_kinds(archive: tarfile.TarFile, options: Options) -> dict[str, SideKind]:
    """Return which side columns hold numbers and which categories, over all files.

    Raises:
        DataRefused: A column mixes numbers and words.
    """
    stated = {*options.categorical, options.id}
    kinds: dict[str, SideKind] = dict.fromkeys(filter(None, [*options.side, options.id]), "category")
    seen = _side_cells(archive, options, kinds) if not stated.issuperset(options.side) else {}
    return {column: kind if column in stated else seen[column].kind() for column, kind in kinds.items()}


def _side_cells(
    archive: tarfile.TarFile, options: Options, columns: Mapping[str, SideKind]
) -> dict[str, SideCells]:
    """Return what the cells of the side columns are, in all files."""
    files, writing = _files(archive.getnames()), writing_of(options)
    seen = {
        column: SideCells(column, typed=table_files.is_typed(files[0].name, writing))
        for column in options.side
    }
    # All columns are asked for, so that one that is missing is named together with the others.
    wanted = _Columns(options, columns).wanted
    places = {column: wanted.index(column) for column in options.side}
    for file in files:
        # Rows that cannot be read are named by the second reading, together with all other problems.
        for line, cells in read_rows(_open(archive, file.name), file.name, wanted, writing, Problems()):
            place = _place(file, line, options)
            for column, index in places.items():
                seen[column].see(place, cells[index])
    return seen


class _Columns:
    """From the cells of a row to a sample."""

    def __init__(self, options: Options, kinds: Mapping[str, SideKind]) -> None:
        self._options = options
        self._kinds = kinds
        roles = [options.text, options.label, options.target, options.group, options.time]
        self.wanted = [*dict.fromkeys(filter(None, roles)), *(name for name in kinds if name not in roles)]

    def sample(
        self, file: _File, number: int, line: int, cells: Sequence[Any], problems: Problems
    ) -> RawSample | None:
        """Return the sample of a row, or None after it was kept as a problem."""
        before = problems.count
        options = self._options
        values = dict(zip(self.wanted, cells, strict=True))
        place = _place(file, line, options)

        def cell(column: str) -> Cell:
            return Cell(f"{place}, column {column!r}", values[column])

        def name(column: str) -> str:
            return (as_name(cell(column), problems) or "") if column else ""

        sample = RawSample(
            sample_id=f"{file.prefix}{number:08d}",
            label=name(options.label),
            split=file.split,
            text=as_text(cell(options.text), problems),
            target=_target(cell(options.target), problems) if options.target else None,
            group=name(options.group),
            time=(as_time(cell(options.time), problems) or "") if options.time else "",
            side={column: _side(kind, cell(column), problems) for column, kind in self._kinds.items()},
        )
        return sample if problems.count == before else None


def _target(cell: Cell, problems: Problems) -> float | None:
    before = problems.count
    target = as_number(cell, problems)
    if target is None and problems.count == before:
        problems.add(cell.place, "a number", shown(cell.value), "Remove rows without target.")
    return target


def _side(kind: SideKind, cell: Cell, problems: Problems) -> str | float | None:
    if is_missing(cell.value):
        return None
    if kind == "number":
        return as_number(cell, problems)
    if isinstance(cell.value, float) and cell.value.is_integer():
        # pandas writes whole numbers with gaps as floats.
        return plain_name(int(cell.value))
    return as_name(cell, problems)


def _place(file: _File, line: int, options: Options) -> str:
    unit = "row" if table_files.format_of(file.name, options.format) == "parquet" else "line"
    return f"{file.name}, {unit} {line}"


def _files(names: Sequence[str]) -> list[_File]:
    """Return the tables in the order of their samples."""
    splits = file_names.splits_of(names)
    alone = len(names) == 1 and None in splits.values()
    files = [_File(name, "" if alone else f"{file_names.stem_of(name)}/", splits[name]) for name in names]
    counts = Counter(file.prefix for file in files)
    twins = sorted(file.name for file in files if counts[file.prefix] > 1)
    if twins:
        raise DataRefused(
            "Files differ by their suffix only. Expected each table once. Received: "
            f"{', '.join(twins)}. Remove one, or choose: --set files=."
        )
    return sorted(files, key=lambda file: file.prefix)


def _open(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    file = archive.extractfile(name)
    if file is None:
        raise DataRefused(
            f"{name} is no regular file. Expected {LAYOUT}. Run `millrace init` on the original data."
        )
    return file
