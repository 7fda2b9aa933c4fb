"""Tables with one series per row (CSV, TSV, Parquet): the values in columns, and beside them its class or target.

Where the class stands must be said: a column of numbers that nobody names would be a step of every series. Values that
are missing at the end of a row make a shorter series; elsewhere they stay missing.
"""

import math
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from pipeline.formats import tables
from pipeline.formats.cells import Cell, SideKind, number_cells, plain_number, without_blank_end
from pipeline.formats.delimited import Batch, is_nameless
from pipeline.formats.names import class_key
from pipeline.formats.problems import Problems, shown, without_padding
from pipeline.formats.tables import TextTableOptions, Writing, read_table
from pipeline.formats.text_file import open_member
from pipeline.formats.written_numbers import NumberWriting
from pipeline.raw.answer_columns import AnswerColumns, answer_problems, as_split
from pipeline.raw.sample import GivenSplit, RawSample, choose_files, splits_of, stem_of
from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.sources.series_facts import are_counted, facts, side_kinds

LAYOUT = (
    "tables (.csv, .tsv, .txt, .parquet) with one series per row, its values in columns of numbers, and its class in "
    "the column that --set label= names (first, last, or its name)"
)
PARQUET = (".parquet", ".pq")
SUFFIXES = (".csv", ".tsv", ".tab", ".txt", *PARQUET)
NOTHING = "none"
COLUMNS_FIX = (
    "Name the right columns: --set label=, id=, group=, side=, drop=; where no row of names is there: "
    "--set header=false, and columns are called 1, 2, 3."
)
HEADER_FIX = "If the first row is a series: --set header=false."
VALUES_FIX = "Remove rows without a value."


class Options(TextTableOptions, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Which columns a table has, and how it is written."""

    label: str = ""
    """Column of class names: its name, or first or last for where it stands; none where there is no class."""
    target: str = ""
    """Column of numbers that regression predicts: its name, or first or last."""
    id: str = ""
    """Column with the name of every series, each once; "": they are counted through."""
    group: str = ""
    """Column with the person, machine or place that a split must not tear apart."""
    split: str = ""
    """Column that says train, val or test."""
    side: tuple[str, ...] = ()
    """Columns that become side features."""
    categorical: tuple[str, ...] = ()
    """Those of `side` that are categories although they look like numbers."""
    columns: tuple[str, ...] = ()
    """Columns of the values, in order; (): all that nothing else is said about."""
    drop: tuple[str, ...] = ()
    """Columns that are left out."""
    channels: Annotated[int, Meta(ge=1)] = 1
    """How many channels a series has."""
    order: Literal["by_channel", "by_step"] = "by_channel"
    """Of several channels: all steps of the first, then of the second; or all channels of the first step, then of the
    second."""
    files: str = ""
    """Glob that chooses files; "" for all with a known suffix. Names with train, val and test give the split."""


def select(names: Sequence[str], options: Options) -> dict[str, str]:
    """Return the tables among `names`, named from the folder that holds them all.

    Raises:
        DataRefused: No table, two tables of one name but for the suffix, or names that give a split in part.
        WronglyCalled: The options contradict each other.
    """
    _check_options(options)
    chosen = choose_files(names, SUFFIXES, options.files, LAYOUT)
    _prefixes(sorted(chosen))
    return chosen


def describe(archive: tarfile.TarFile, options: Options) -> list[str]:
    """Return, per file, how it is read, in words, and which columns are the values.

    Raises:
        DataRefused: An encoding cannot be told, or a column is not there.
    """
    described = []
    for member in sorted(archive.getnames()):
        with open_member(archive, member) as file:
            described.append(tables.describe_table(file, member, Writing.of_text(options)))
    problems = Problems()
    columns = _columns_of(archive, options, problems)[min(archive.getnames())]
    problems.check()
    answer = columns.label or columns.target or ", ".join(options.label_columns)
    words = (
        f"a row is a series of {len(columns.values)} values, {columns.values[0]!r} to {columns.values[-1]!r}"
    )
    return [*described, f"{words}; its answer is in {answer!r}" if answer else words]


def read(archive: tarfile.TarFile, options: Options) -> Iterator[RawSample]:
    """Yield the rows of all tables, called by file and row (`train/00000042`, counted from 0), or by their id.

    Side columns are read twice, once to see whether they hold numbers or categories.

    Raises:
        DataRefused: Cells, rows or columns that do not fit; up to 20 problems together.
        WronglyCalled: The options contradict each other.
    """
    _check_options(options)
    problems = Problems()
    columns = _columns_of(archive, options, problems)
    problems.check()
    kinds: dict[str, SideKind] = {}
    if options.side:
        cells = _side_cells(archive, columns, options)
        kinds = side_kinds(cells, options.side, options.categorical, writing=NumberWriting.of(options))
    samples = _samples(archive, columns, options, kinds, problems)
    yield from _named(samples, problems) if options.id else samples
    problems.check()


@dataclass(frozen=True)
class _Columns:
    """The columns of one table.

    Attributes:
        label: That of the class, "" for none.
        target: That of the number to predict, "" for none.
        said: All that are read beside the values.
        values: In order.
        named_by_numbers: Whether the row of names could be a series: it is one where its class comes again below.
    """

    label: str
    target: str
    said: tuple[str, ...]
    values: tuple[str, ...]
    named_by_numbers: bool


def _columns_of(archive: tarfile.TarFile, options: Options, problems: Problems) -> dict[str, _Columns]:
    """Return the columns of every table, after comparing them with those of the first."""
    found: dict[str, _Columns] = {}
    written = NumberWriting.of(options)
    for member in sorted(archive.getnames()):
        with open_member(archive, member) as file:
            table = read_table(file, member, Writing.of_text(options), problems)
        names = table.columns or ()
        label, target = _standing(options.label, names), _standing(options.target, names)
        answers = (label, *options.label_columns, target)
        roles = (*answers, options.id, options.group, options.split, *options.side)
        said = tuple(dict.fromkeys(filter(None, roles)))
        values = options.columns or tuple(
            name for name in names if name not in (*said, *options.drop) and not is_nameless(name)
        )
        first = next(iter(found.values())).values if found else values
        for missing in [name for name in (*said, *values, *options.drop) if name not in names]:
            problems.add(f"{member}, header", f"a column {missing!r}", shown(", ".join(names)), COLUMNS_FIX)
        if values != first:
            expected = f"the values of the first table, {first[0]!r} to {first[-1]!r}"
            problems.add(f"{member}, header", expected, shown(", ".join(values)), COLUMNS_FIX)
        if not values or len(values) % options.channels:
            expected = f"columns of values, whole series of {options.channels} channels"
            problems.add(f"{member}, header", expected, f"{len(values)} columns", COLUMNS_FIX)
        numbers = _as_series(values, written) if options.header and table.dialect else None
        answer = label or target
        numbered = numbers is not None and not are_counted(
            [name for name in names if name in (*values, answer)]
        )
        if numbers is not None and (
            not _in_order(numbers) or (numbered and plain_number(answer, written) is not None)
        ):
            problems.add(f"{member}, header", "names of columns", shown(", ".join(names)), HEADER_FIX)
        twice = sorted({name for name in values if name in said})
        if twice:
            received = f"{', '.join(twice)} as a value and as something else"
            problems.add(f"{member}, header", "one purpose for every column", received, COLUMNS_FIX)
        found[member] = _Columns(label, target, said, values, numbered)
    return found


def _as_series(names: Sequence[str], written: NumberWriting) -> list[float] | None:
    """Return names of columns as numbers, NaN for what means no value; None where they are no series."""
    found = [plain_number(name, written) for name in names]
    if all(value is None for value in found):
        return None
    if any(value is None and not written.is_missing(name) for name, value in zip(names, found, strict=True)):
        return None
    return [math.nan if value is None else value for value in found]


def _in_order(numbers: Sequence[float]) -> bool:
    """Say whether numbers rise or fall from column to column, as times and wavelengths do and values seldom."""
    steps = np.diff(numbers)
    return bool((steps > 0).all() or (steps < 0).all())


def _standing(column: str, names: Sequence[str]) -> str:
    """Return the name of a column that may be given by its place."""
    if column in names or column not in ("first", "last", NOTHING) or not names:
        return column
    return {"first": names[0], "last": names[-1], NOTHING: ""}[column]


def _batches(
    archive: tarfile.TarFile, member: str, wanted: Sequence[str], options: Options, problems: Problems
) -> Iterator[Batch]:
    with open_member(archive, member) as file:
        table = read_table(file, member, Writing.of_text(options), problems)
        batches = table.batches(wanted)
        yield from without_blank_end(batches) if table.dialect else batches


def _side_cells(
    archive: tarfile.TarFile, columns: Mapping[str, _Columns], options: Options
) -> Iterator[Mapping[str, Cell]]:
    for member in columns:
        # Rows that cannot be read are named by the second reading, together with all other problems.
        for batch in _batches(archive, member, options.side, options, Problems(limit=None)):
            yield from _cells(batch, options.side)


def _cells(batch: Batch, columns: Sequence[str]) -> Iterator[dict[str, Cell]]:
    if not columns:
        yield from ({} for _ in range(len(batch)))
        return
    for row, fields in enumerate(batch.rows(columns)):
        yield {
            column: Cell(batch.place(row, column), field)
            for column, field in zip(columns, fields, strict=True)
        }


def _samples(
    archive: tarfile.TarFile,
    tables_of: Mapping[str, _Columns],
    options: Options,
    kinds: Mapping[str, SideKind],
    problems: Problems,
) -> Iterator[RawSample]:
    """Yield the rows of all tables in order; none after the first problem."""
    prefixes = _prefixes(list(tables_of))
    splits, written = splits_of(tables_of), NumberWriting.of(options)
    channels = tuple(str(channel) for channel in range(1, options.channels + 1))
    for member in sorted(tables_of, key=prefixes.__getitem__):
        columns, number = tables_of[member], 0
        answers = AnswerColumns(
            columns.label, columns.target, options.label_columns, options.unlabelled, written
        )
        for batch in _batches(archive, member, (*columns.said, *columns.values), options, problems):
            values = number_cells(batch, columns.values, problems, written).astype(np.float32)
            for row, cells in enumerate(_cells(batch, columns.said)):
                said = facts(
                    cells,
                    answers=answers,
                    group=options.group,
                    kinds=kinds,
                    problems=problems,
                )
                series = without_padding(_shaped(values[row], options))
                if not len(series) and not problems.count:
                    problems.add(batch.place(row), "at least one value", "none", VALUES_FIX)
                split: GivenSplit | None = splits[member]
                if options.split:
                    split = as_split(cells[options.split], problems)
                name = f"{prefixes[member]}{number + row:08d}"
                if options.id:
                    name = str(cells[options.id].value if cells[options.id].value is not None else "").strip(
                        " \t"
                    )
                    if not name:
                        problems.add(cells[options.id].place, "a name", "nothing", "Fill it in.")
                again = columns.label and class_key(said["label"]) == class_key(columns.label)
                if columns.named_by_numbers and again:
                    received = f"the class {columns.label!r}, which comes again below"
                    problems.add(f"{member}, header", "names of columns", received, HEADER_FIX)
                # Nothing is passed on once something is wrong: the files are refused as a whole then.
                if not problems.count:
                    yield RawSample(name, split=split, series=series, channels=channels, **said)
            number += len(batch)


def _shaped(values: np.ndarray, options: Options) -> np.ndarray:
    """Return the values of a row as a series, shape (steps, channels)."""
    if options.order == "by_step":
        return values.reshape(-1, options.channels)
    return values.reshape(options.channels, -1).T


def _named(samples: Iterator[RawSample], problems: Problems) -> Iterator[RawSample]:
    """Yield samples in order of their names, which may stand anywhere in the tables."""
    found: dict[str, RawSample] = {}
    for sample in samples:
        if found.setdefault(sample.sample_id, sample) is not sample:
            problems.add(
                "the tables",
                "every id once",
                f"{shown(sample.sample_id)} again",
                "Name another column as id.",
            )
    if not problems.count:
        yield from (found[name] for name in sorted(found))


def _prefixes(names: Sequence[str]) -> dict[str, str]:
    """Return what the names of samples of every table begin with."""
    splits = splits_of(names)
    alone = len(names) == 1 and None in splits.values()
    prefixes = {name: "" if alone else f"{stem_of(name)}/" for name in names}
    twins = sorted(name for name, prefix in prefixes.items() if list(prefixes.values()).count(prefix) > 1)
    if twins:
        raise DataRefused(
            "Files differ by their suffix only. Expected each table once. Received: "
            f"{', '.join(twins)}. Remove one, or choose: --set files=."
        )
    return prefixes


def _check_options(options: Options) -> None:
    """Refuse options that contradict each other, naming all contradictions."""
    problems = []
    if not (options.label or options.label_columns or options.target):
        problems.append(
            "nobody says where the class or target stands: its column would be a value. Expected --set label=first, "
            "label=last, label=NAME, label_columns=A,B or target=NAME; label=none where there is none"
        )
    strangers = [column for column in options.categorical if column not in options.side]
    if strangers:
        problems.append(f"categorical names {', '.join(strangers)}. Expected columns that side names too")
    problems += NumberWriting.of(options).problems
    roles = [options.label, options.target, options.id, options.group, options.split]
    problems += answer_problems(options, options.label if options.label != NOTHING else "")
    named = [*filter(None, roles), *options.label_columns, *options.side, *options.columns, *options.drop]
    twice = sorted({column for column in named if named.count(column) > 1})
    if twice:
        problems.append(f"{', '.join(twice)} named for two purposes. Expected one for each column")
    if problems:
        raise WronglyCalled(
            f"The options of kind series_rows do not fit together: {'; '.join(problems)}. "
            "Give them to `millrace init` again."
        )
