"""What tables say about a series as a whole: its class, target, group and side features.

Tables with one row per series are joined by an id: every wanted column from the one table that has it.
"""

import tarfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

from pipeline.formats.cells import Cell, SideKind, as_name, as_side
from pipeline.formats.problems import Problems, shown
from pipeline.formats.side_cells import SideCells, kinds_of
from pipeline.formats.tables import Writing, not_read, read_table
from pipeline.formats.text_file import open_member
from pipeline.formats.written_numbers import PLAIN, NumberWriting
from pipeline.raw.answer_columns import AnswerColumns

COLUMNS_FIX = "Name the right columns and tables: --set id=, label=, group=, side=, targets=, tables=."
JOIN_FIX = (
    "Correct the table, or choose the files that belong to it: --set files=GLOB, with * where the id stands."
)


class Facts(TypedDict):
    """The part of a `RawSample` that comes from such tables."""

    label: str
    labels: tuple[str, ...] | None
    target: float | None
    group: str
    side: Mapping[str, str | float | None]


def side_kinds(
    cells: Iterable[Mapping[str, Cell]],
    side: Sequence[str],
    categorical: Sequence[str],
    *,
    target: str = "",
    writing: NumberWriting = PLAIN,
) -> dict[str, SideKind]:
    """Return which side columns hold numbers and which categories.

    Args:
        cells: Of every series, by column.
        side: The columns.
        categorical: Those that are categories although they look like numbers.
        target: Column of the number that regression predicts, "" for none.
        writing: How numbers are written.

    Raises:
        DataRefused: A column mixes numbers and words, or looks like numbers that are written in another way.
    """
    known: dict[str, SideKind] = {column: "category" for column in side if column in categorical}
    seen = {column: SideCells(column, typed=False, writing=writing) for column in side if column not in known}
    if target:
        seen[target] = SideCells(target, typed=False, writing=writing, role="target column")
    for row in cells:
        for column, looker in seen.items():
            looker.see(row[column].place, row[column].value)
    found = kinds_of(seen)
    return {column: known.get(column) or found[column] for column in side}


def facts(
    cells: Mapping[str, Cell],
    *,
    answers: AnswerColumns,
    group: str,
    kinds: Mapping[str, SideKind],
    problems: Problems,
) -> Facts:
    """Return what the cells of one series say.

    Args:
        cells: By column; text as it stands in the file.
        answers: Columns of class, labels and target.
        group: Column of the group, "" for none.
        kinds: Side columns, and what they hold.
        problems: Takes empty labels, groups and targets, and targets that are no number.
    """
    answer = answers.of(lambda column: _stripped(cells[column]), problems)
    return {
        "label": answer.label,
        "labels": answer.labels,
        "target": answer.target,
        "group": (as_name(_stripped(cells[group]), problems) or "") if group else "",
        "side": {
            column: as_side(kind, _stripped(cells[column]), problems, answers.writing)
            for column, kind in kinds.items()
        },
    }


def join_tables(
    archive: tarfile.TarFile,
    tables: Sequence[str],
    ids: Sequence[str],
    *,
    id_column: str,
    columns: Sequence[str],
    writing: Writing,
    problems: Problems,
) -> dict[str, dict[str, Cell]]:
    """Return the wanted cells of every sample, as {id: {column: cell}}.

    Args:
        archive: Holds the tables.
        tables: Their names; the first must have no row without a sample.
        ids: Of the samples; blanks around an id in a table do not matter, zeros before it do.
        id_column: Its name in every table; "" for the first column.
        columns: Which cells.
        writing: Of all tables.
        problems: Takes columns that are in none or several tables, ids that are there twice or have no partner.

    Raises:
        DataRefused: A table is empty, its encoding cannot be told, or there were too many problems.
    """
    found: dict[str, dict[str, Cell]] = {name: {} for name in ids}
    homes: dict[str, list[str]] = {column: [] for column in columns}
    for index, table in enumerate(tables):
        rows = _rows(archive, table, id_column, columns, writing=writing, problems=problems)
        strange = [name for name in rows.cells if name not in found] if index == 0 else []
        absent = [name for name in ids if name not in rows.cells] if index == 0 or rows.columns else []
        if strange:
            problems.add(table, "only ids that a file of a series has", _some(strange), JOIN_FIX)
        if absent:
            problems.add(table, "a row for every file of a series", f"none for {_some(absent)}", JOIN_FIX)
        for column in rows.columns:
            homes[column].append(table)
        for name, cells in rows.cells.items():
            found.get(name, {}).update(cells)
    for column, having in homes.items():
        if len(having) != 1:
            received = ", ".join(having) or "none of them"
            problems.add("the tables", f"one that has a column {column!r}", received, COLUMNS_FIX)
    problems.check()
    return found


class _Rows(NamedTuple):
    """Which of the wanted columns a table has, and their cells by id."""

    columns: list[str]
    cells: dict[str, dict[str, Cell]]


def _rows(
    archive: tarfile.TarFile,
    table: str,
    id_column: str,
    columns: Sequence[str],
    *,
    writing: Writing,
    problems: Problems,
) -> _Rows:
    with open_member(archive, table) as file:
        opened = read_table(file, table, writing, problems)
        if opened.dialect is None:
            raise not_read(file, table, "parquet")
        names = opened.columns or ()
        if id_column and id_column not in names:
            problems.add(f"{table}, line 1", f"a column {id_column!r}", shown(", ".join(names)), COLUMNS_FIX)
            return _Rows([], {})
        wanted = [column for column in columns if column in names]
        first: dict[str, str] = {}
        cells: dict[str, dict[str, Cell]] = {}
        for batch in opened.batches([id_column or names[0], *wanted]):
            for row, (key, *fields) in enumerate(batch.rows([id_column or names[0], *wanted])):
                name = key.strip(" \t")
                if first.setdefault(name, batch.place(row)) != batch.place(row):
                    received = f"{shown(name)} again, as in {first[name].removeprefix(f'{table}, ')}"
                    problems.add(batch.place(row), "every id once", received, JOIN_FIX)
                cells[name] = {
                    column: Cell(batch.place(row, column), field)
                    for column, field in zip(wanted, fields, strict=True)
                }
    return _Rows(wanted, cells)


def are_counted(names: Sequence[str]) -> bool:
    """Tell whether columns are counted through, as pandas calls those without a name: no row of values."""
    first = int(names[0]) if names and names[0].isdecimal() else None
    return first is not None and list(names) == [str(first + place) for place in range(len(names))]


def _stripped(cell: Cell) -> Cell:
    """Return a cell without blanks around it: files of series often write `1, 2` for `1,2`."""
    value: Any = cell.value.strip(" \t") if isinstance(cell.value, str) else cell.value
    return Cell(cell.place, value)


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(map(repr, names[:5]))}{f' and {len(names) - 5} more' if len(names) > 5 else ''}"
