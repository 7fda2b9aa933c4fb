"""Tables with one row per sample, joined by an id: every wanted column from the one table that has it."""

import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, NamedTuple

from pipeline.runtime import DataRefused
from pipeline.sources.delimited import read_table
from pipeline.sources.dialects import DelimiterOption, dialect_of
from pipeline.sources.problems import Problems, shown
from pipeline.sources.table_values import Cell
from pipeline.sources.text_file import EncodingOption

TABLES_DIR = "tables/"
"""Where in the archive they are."""
COLUMNS_FIX = "Name the right columns and tables: --set id=, label=, group=, side=, targets=, tables=."
JOIN_FIX = (
    "Correct the table, or choose the files that belong to it: --set files=GLOB, with * where the id stands."
)


@contextmanager
def opened(archive: tarfile.TarFile, member: str) -> Iterator[IO[bytes]]:
    """Open a member of an archive.

    Raises:
        DataRefused: It is no regular file.
    """
    file = archive.extractfile(member)
    if file is None:
        raise DataRefused(f"{member} is no regular file. Run `millrace init` on the original data.")
    with file:
        yield file


def join_tables(
    archive: tarfile.TarFile,
    tables: Sequence[str],
    ids: Sequence[str],
    *,
    id_column: str,
    columns: Sequence[str],
    delimiter: DelimiterOption,
    encoding: EncodingOption,
    problems: Problems,
) -> dict[str, dict[str, Cell]]:
    """Return the wanted cells of every sample, as {id: {column: cell}}.

    Args:
        archive: Holds the tables.
        tables: Their names; the first must have no row without a sample.
        ids: Of the samples; blanks around an id in a table do not matter, zeros before it do.
        id_column: Its name in every table; "" for the first column.
        columns: Which cells.
        delimiter: Of all tables.
        encoding: Of all tables.
        problems: Takes columns that are in none or several tables, ids that are there twice or have no partner.

    Raises:
        DataRefused: A table is empty, its encoding cannot be told, or there were too many problems.
    """
    found: dict[str, dict[str, Cell]] = {name: {} for name in ids}
    homes: dict[str, list[str]] = {column: [] for column in columns}
    for index, table in enumerate(tables):
        rows = _rows(
            archive,
            table,
            id_column=id_column,
            columns=columns,
            delimiter=delimiter,
            encoding=encoding,
            problems=problems,
        )
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
    *,
    id_column: str,
    columns: Sequence[str],
    delimiter: DelimiterOption,
    encoding: EncodingOption,
    problems: Problems,
) -> _Rows:
    with opened(archive, table) as file:
        dialect = dialect_of(file, table, delimiter=delimiter, quoting="auto", encoding=encoding)
        read = read_table(file, table, dialect, problems)
        names = plain_names(read.columns)
        if id_column and id_column not in names:
            problems.add(f"{table}, line 1", f"a column {id_column!r}", shown(", ".join(names)), COLUMNS_FIX)
            return _Rows([], {})
        key = names.index(id_column) if id_column else 0
        wanted = {column: names.index(column) for column in columns if column in names}
        lines: dict[str, int] = {}
        cells: dict[str, dict[str, Cell]] = {}
        for line, fields in read.rows:
            name = fields[key].strip(" \t")
            if lines.setdefault(name, line) != line:
                received = f"{shown(name)} again, as in line {lines[name]}"
                problems.add(f"{table}, line {line}", "every id once", received, JOIN_FIX)
            cells[name] = {
                column: Cell(f"{table}, line {line}, column {column!r}", fields[at])
                for column, at in wanted.items()
            }
    return _Rows(list(wanted), cells)


def plain_names(columns: Sequence[str]) -> list[str]:
    """Return names of columns without blanks around them and without the `#` some files begin with."""
    names = [name.strip(" \t") for name in columns]
    return [names[0].removeprefix("#").strip(" \t"), *names[1:]]


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(map(repr, names[:5]))}{f' and {len(names) - 5} more' if len(names) > 5 else ''}"
