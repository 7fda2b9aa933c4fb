"""Tables with a column of texts: CSV, TSV, JSON lines and Parquet, one row per sample.

Files called train, val and test (or in folders of these names) give the split. Which column is what, and how
a file is written, are options; what nobody stated about the writing is detected and shown by `describe`.
"""

import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.formats.cells import (
    NAME_FIX,
    Cell,
    SideKind,
    as_name,
    as_side,
    as_text,
)
from pipeline.formats.delimited import Batch
from pipeline.formats.problems import Problems
from pipeline.formats.side_cells import kinds_by_reading
from pipeline.formats.tables import FORMATS, TableOptions, Writing, describe_table, form_of, table_with
from pipeline.formats.text_file import open_member
from pipeline.formats.times import Fault, TimeReader, time_problems
from pipeline.formats.written_numbers import NumberWriting
from pipeline.raw.answer_columns import AnswerColumns, answer_problems, as_split
from pipeline.raw.sample import GivenSplit, RawSample, choose_files, splits_of, stem_of
from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.sources.path_labels import SPLIT_CELLS

COLUMNS_FIX = (
    "Name the right column (--set text=, label=, ...); of a file whose first row is data: --set header=false."
)
LAYOUT = (
    "tables with a text column and a label or target column (.csv, .tsv, .jsonl, .json, .parquet), all with the same "
    "columns; train, val and test in their names give the split"
)


class Options(TableOptions, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Which columns a table has, and how it is written."""

    text: str = "text"
    """Column of texts."""
    label: str = ""
    """Column of class names; every row must have one. `NA` is a class like any other."""
    target: str = ""
    """Column of numbers that regression predicts; every row must have one."""
    group: str = ""
    """Column of persons, machines or documents that a split must not tear apart."""
    time: str = ""
    """Column of times."""
    time_format: str = "auto"
    """`auto`: ISO 8601; else a format of strptime, or Unix `seconds`, `milliseconds`, `microseconds`, `nanoseconds`."""
    timezone: str = ""
    """IANA name (Europe/Berlin) of the local clock that wrote the times, which become instants then; of an hour that
    came twice it is the first. "": times without an offset stay as they are."""
    split: str = ""
    """Column that says train, val or test; "": the names of the files may."""
    side: tuple[str, ...] = ()
    """Columns of further facts about a text: numbers or categories, told apart by their cells."""
    categorical: tuple[str, ...] = ()
    """Those of `side` that are categories although they look like numbers."""
    id: str = ""
    """Column of names kept beside the features as a category, `007` as it stands."""
    files: str = ""
    """Glob that chooses files; "" for all with a known suffix."""


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
    _files(sorted(chosen), options)
    return chosen


def describe(archive: tarfile.TarFile, options: Options) -> list[str]:
    """Return, per file, how it is read, in words; detected parts are marked as such.

    Raises:
        DataRefused: An encoding cannot be told.
    """
    described = []
    for file in _files(archive.getnames(), options):
        with open_member(archive, file.name) as opened:
            described.append(describe_table(opened, file.name, Writing.of(options)))
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
    files = _files(archive.getnames(), options)
    columns = _Columns(options, side_kinds(archive, options))
    for file in files:
        number = 0
        reader = TimeReader(options.time_format, timezone=options.timezone)
        with open_member(archive, file.name) as opened:
            table = table_with(
                opened, file.name, columns.wanted, Writing.of(options), problems, fix=COLUMNS_FIX
            )
            for batch in table.batches(columns.wanted):
                times = reader.texts(batch, options.time) if options.time else [""] * len(batch)
                for row, cells in enumerate(batch.rows(columns.wanted)):
                    sample = columns.sample(
                        file, number + row, batch.place(row), cells, problems, time=times[row]
                    )
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
    if not options.target and stated.issuperset(options.side):
        return kinds
    asked = [column for column in options.side if column not in stated]
    first = _files(archive.getnames(), options)[0].name
    with open_member(archive, first) as opened:
        typed = form_of(opened, first, options.format) in ("jsonl", "parquet")
    batches = _batches(archive, _Columns(options, kinds).wanted, options)
    writing = NumberWriting.of(options)
    return kinds | kinds_by_reading(batches, asked, target=options.target, typed=typed, writing=writing)


def _batches(archive: tarfile.TarFile, wanted: Sequence[str], options: Options) -> Iterator[Batch]:
    """Yield all tables; rows that cannot be read are named by the second reading, with all other problems."""
    for file in _files(archive.getnames(), options):
        with open_member(archive, file.name) as opened:
            # All columns are asked for, so that one that is missing is named together with the others.
            yield from table_with(
                opened, file.name, wanted, Writing.of(options), Problems(), fix=COLUMNS_FIX
            ).batches(wanted)


class _Columns:
    """From the cells of a row to a sample."""

    def __init__(self, options: Options, kinds: Mapping[str, SideKind]) -> None:
        self._options = options
        self._kinds = kinds
        self._writing = NumberWriting.of(options)
        self._answers = AnswerColumns(
            options.label, options.target, options.label_columns, options.unlabelled, self._writing
        )
        roles = [options.text, *self._answers.names, options.group, options.time, options.split]
        self.wanted = [*dict.fromkeys(filter(None, roles)), *(name for name in kinds if name not in roles)]

    def sample(
        self,
        file: _File,
        number: int,
        place: str,
        cells: Sequence[Any],
        problems: Problems,
        *,
        time: str | Fault,
    ) -> RawSample | None:
        """Return the sample of a row, or None after it was kept as a problem."""
        before = problems.count
        options = self._options
        values = dict(zip(self.wanted, cells, strict=True))

        def cell(column: str) -> Cell:
            return Cell(f"{place}, column {column!r}", values[column])

        def name(column: str, fix: str = NAME_FIX) -> str:
            return (as_name(cell(column), problems, fix) or "") if column else ""

        split = as_split(cell(options.split), problems, SPLIT_CELLS) if options.split else file.split
        if self._answers.lacking(values.__getitem__):
            # Nobody reads the rest of such a row; see `pipeline.raw.answers`.
            return RawSample(f"{file.prefix}{number:08d}", split=split, text="")

        def time_of(time: str | Fault) -> str:
            if isinstance(time, str):
                return time
            problems.add(f"{place}, column {options.time!r}", *time)
            return ""

        answer = self._answers.of(cell, problems)
        sample = RawSample(
            sample_id=f"{file.prefix}{number:08d}",
            label=answer.label,
            split=split,
            text=as_text(cell(options.text), problems),
            target=answer.target,
            group=name(options.group),
            time=time_of(time),
            side={
                column: as_side(kind, cell(column), problems, self._writing)
                for column, kind in self._kinds.items()
            },
            labels=answer.labels,
        )
        return sample if problems.count == before else None


def _files(names: Sequence[str], options: Options) -> list[_File]:
    """Return the tables in the order of their samples; where a column gives the split, no name does."""
    splits = dict.fromkeys(names) if options.split else splits_of(names)
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


def _check_options(options: Options) -> None:
    """Refuse options that contradict each other, naming all contradictions."""
    strangers = [column for column in options.categorical if column not in options.side]
    learnt = (options.label, *options.label_columns, options.target)
    taken = [column for column in options.side if column in (options.text, *learnt, options.split)]
    faults = {
        "no text column is named. Expected --set text=COLUMN": not options.text,
        "nothing to learn is named. Expected --set label=COLUMN, or --set target=COLUMN for regression": not any(
            learnt
        ),
        f"categorical names {', '.join(strangers)}. Expected columns that side names too": strangers,
        f"side names {', '.join(taken)}. Expected columns other than text, label, target and split": taken,
    }
    problems = [message for message, fault in faults.items() if fault]
    problems += answer_problems(
        options, options.label, (options.text, options.target, options.split, *options.side)
    )
    problems += [*NumberWriting.of(options).problems, *time_problems(options.time_format, options.timezone)]
    stated = {"time_format": options.time_format != "auto", "timezone": bool(options.timezone)}
    if not options.time and any(stated.values()):
        named = " and ".join(name for name, given in stated.items() if given)
        problems.append(f"{named} without a column of times. Expected --set time=COLUMN")
    if problems:
        received = ", ".join(
            f"{name}={value!r}"
            for name in ("text", "label", "label_columns", "target", "split", "side", "categorical")
            if (value := getattr(options, name))
        )
        raise WronglyCalled(
            f"The options of kind text_table do not fit together: {'; '.join(problems)}. Received: {received}. "
            "Give them to `millrace init` again."
        )
