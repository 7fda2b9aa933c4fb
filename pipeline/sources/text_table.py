"""Tables with a column of texts: CSV, TSV, JSON lines and Parquet, one row per sample.

Files called train, val and test (or in folders of these names) give the split. Which column is what, and how
a file is written, are options; what nobody stated about the writing is detected and shown by `describe`.
"""

import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from msgspec import Struct

from pipeline.formats import tables
from pipeline.formats.cells import (
    Cell,
    SideCells,
    SideKind,
    as_label,
    as_name,
    as_side,
    as_target,
    as_text,
    as_time,
)
from pipeline.formats.delimited import DelimiterOption, QuotingOption, Table, in_words
from pipeline.formats.problems import Problems
from pipeline.formats.tables import FORMATS, FormatOption, Writing, format_of, read_table
from pipeline.formats.text_file import EncodingOption, open_member
from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.sources.label_sets import label_set
from pipeline.sources.sample import GivenSplit, RawSample, choose_files, splits_of, stem_of

LAYOUT = (
    "tables with a text column and a label or target column (.csv, .tsv, .jsonl, .parquet), all with the same "
    "columns; train, val and test in their names give the split"
)


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Which columns a table has, and how it is written."""

    text: str = "text"
    """Column of texts."""
    label: str = ""
    """Column of class names; every row must have one. `NA` is a class like any other."""
    target: str = ""
    """Column of numbers that regression predicts; every row must have one."""
    label_columns: tuple[str, ...] = ()
    """Columns that are a label each, 0 or 1 in every row: a text may have several of them, or none."""
    group: str = ""
    """Column of persons, machines or documents that a split must not tear apart."""
    time: str = ""
    """Column of times, ISO 8601."""
    side: tuple[str, ...] = ()
    """Columns of further facts about a text: numbers or categories, told apart by their cells."""
    categorical: tuple[str, ...] = ()
    """Those of `side` that are categories although they look like numbers."""
    id: str = ""
    """Column of names kept beside the features as a category, `007` as it stands."""
    files: str = ""
    """Glob that chooses files; "" for all with a known suffix."""
    format: FormatOption = "auto"
    """`auto` goes by the suffix."""
    header: bool = True
    """Whether the first row of a CSV or TSV names the columns; if not, they are called 1, 2, 3."""
    delimiter: DelimiterOption = "auto"
    """Of CSV: auto, comma, tab, semicolon or pipe."""
    quoting: QuotingOption = "auto"
    """`minimal`: fields may stand in double quotes; `none`: a quote is a character like any other."""
    encoding: EncodingOption = "auto"
    """Of CSV and TSV: auto, utf-8, cp1252 or latin-1."""


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
    _check_options(options)
    chosen = choose_files(names, FORMATS, options.files, LAYOUT)
    _files(sorted(chosen))
    return chosen


def describe(archive: tarfile.TarFile, options: Options) -> list[str]:
    """Return, per file, how it is read, in words; detected parts are marked as such.

    Raises:
        DataRefused: An encoding cannot be told.
    """
    described = []
    for file in _files(archive.getnames()):
        with open_member(archive, file.name) as opened:
            described.append(tables.describe_table(opened, file.name, _writing(options)))
    return described


def read(archive: tarfile.TarFile, options: Options) -> Iterator[RawSample]:
    """Yield the rows of all tables, one at a time, called by file and row: `train/00000042`, counted from 0.

    Side columns are read twice, once to see whether they hold numbers or categories.

    Raises:
        DataRefused: Rows that do not fit; all problems, up to 20, together, after the rows that do.
        WronglyCalled: The options contradict each other.
    """
    _check_options(options)
    problems = Problems()
    files = _files(archive.getnames())
    columns = _Columns(options, side_kinds(archive, options))
    for file in files:
        number = 0
        with open_member(archive, file.name) as opened:
            table = _table(opened, file.name, columns.wanted, options, problems)
            for batch in table.batches(columns.wanted):
                for row, cells in enumerate(batch.rows(columns.wanted)):
                    sample = columns.sample(file, number + row, batch.place(row), cells, problems)
                    if sample is not None:
                        yield sample
                number += len(batch)
    problems.check()


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
    files = _files(archive.getnames())
    typed = format_of(files[0].name, options.format) in ("jsonl", "parquet")
    seen = {column: SideCells(column, typed=typed) for column in options.side}
    # All columns are asked for, so that one that is missing is named together with the others.
    wanted = _Columns(options, columns).wanted
    for file in files:
        # Rows that cannot be read are named by the second reading, together with all other problems.
        with open_member(archive, file.name) as opened:
            for batch in _table(opened, file.name, wanted, options, Problems()).batches(wanted):
                for row, cells in enumerate(batch.rows(options.side)):
                    for column, cell in zip(options.side, cells, strict=True):
                        seen[column].see(batch.place(row), cell)
    return seen


def _table(file: IO[bytes], name: str, wanted: Sequence[str], options: Options, problems: Problems) -> Table:
    """Return a file that has the wanted columns; of JSON lines every row is asked for them later."""
    table = read_table(file, name, _writing(options), problems)
    there = wanted if table.columns is None else table.columns
    missing = [column for column in dict.fromkeys(wanted) if column not in there]
    if missing:
        known = ", ".join(there[:30]) + (", ..." if len(there) > 30 else "")
        written = f" It was read as: {in_words(table.dialect)}." if table.dialect else ""
        raise DataRefused(
            f"{name} has no column {', '.join(missing)}. Expected one of its {len(there)} columns: {known}. "
            f"Received: {', '.join(missing)}.{written} "
            "Name the right column (--set text=, label=, ...); a file whose first row is data needs --set header=false."
        )
    return table


class _Columns:
    """From the cells of a row to a sample."""

    def __init__(self, options: Options, kinds: Mapping[str, SideKind]) -> None:
        self._options = options
        self._kinds = kinds
        roles = [
            options.text,
            options.label,
            options.target,
            options.group,
            options.time,
            *options.label_columns,
        ]
        self.wanted = [*dict.fromkeys(filter(None, roles)), *(name for name in kinds if name not in roles)]

    def sample(
        self, file: _File, number: int, place: str, cells: Sequence[Any], problems: Problems
    ) -> RawSample | None:
        """Return the sample of a row, or None after it was kept as a problem."""
        before = problems.count
        options = self._options
        values = dict(zip(self.wanted, cells, strict=True))

        def cell(column: str) -> Cell:
            return Cell(f"{place}, column {column!r}", values[column])

        def name(column: str) -> str:
            return (as_name(cell(column), problems) or "") if column else ""

        sample = RawSample(
            sample_id=f"{file.prefix}{number:08d}",
            label=(as_label(cell(options.label), problems) or "") if options.label else "",
            split=file.split,
            text=as_text(cell(options.text), problems),
            target=as_target(cell(options.target), problems) if options.target else None,
            group=name(options.group),
            time=(as_time(cell(options.time), problems) or "") if options.time else "",
            side={column: as_side(kind, cell(column), problems) for column, kind in self._kinds.items()},
            labels=label_set({column: cell(column) for column in options.label_columns}, problems),
        )
        return sample if problems.count == before else None


def _files(names: Sequence[str]) -> list[_File]:
    """Return the tables in the order of their samples."""
    splits = splits_of(names)
    alone = len(names) == 1 and None in splits.values()
    files = [_File(name, "" if alone else f"{stem_of(name)}/", splits[name]) for name in names]
    counts = Counter(file.prefix for file in files)
    twins = sorted(file.name for file in files if counts[file.prefix] > 1)
    if twins:
        raise DataRefused(
            "Files differ by their suffix only. Expected each table once. Received: "
            f"{', '.join(twins)}. Remove one, or choose: --set files=."
        )
    return sorted(files, key=lambda file: file.prefix)


def _writing(options: Options) -> Writing:
    return Writing(options.format, options.delimiter, options.quoting, options.encoding, options.header)


def _check_options(options: Options) -> None:
    """Refuse options that contradict each other, naming all contradictions."""
    strangers = [column for column in options.categorical if column not in options.side]
    learnt = (options.label, *options.label_columns, options.target)
    taken = [column for column in options.side if column in (options.text, *learnt)]
    faults = {
        "no text column is named. Expected --set text=COLUMN": not options.text,
        "nothing to learn is named. Expected --set label=COLUMN, or --set target=COLUMN for regression": not any(
            learnt
        ),
        "label and label_columns are both named. Expected one of them: a column of labels, or one for each label": (
            options.label and options.label_columns
        ),
        f"categorical names {', '.join(strangers)}. Expected columns that side names too": strangers,
        f"side names {', '.join(taken)}. Expected columns other than text, label and target": taken,
    }
    problems = [message for message, fault in faults.items() if fault]
    if problems:
        received = ", ".join(
            f"{name}={value!r}"
            for name in ("text", "label", "label_columns", "target", "side", "categorical")
            if (value := getattr(options, name))
        )
        raise WronglyCalled(
            f"The options of kind text_table do not fit together: {'; '.join(problems)}. Received: {received}. "
            "Give them to `millrace init` again."
        )
