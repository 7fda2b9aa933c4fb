"""What tables say about a series as a whole: its class, target, group and side features."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from pipeline.sources.problems import Problems
from pipeline.sources.table_values import Cell, SideCells, SideKind, as_name, as_number, is_missing


class Facts(TypedDict):
    """The part of a `RawSample` that comes from such tables."""

    label: str
    target: float | None
    group: str
    side: Mapping[str, str | float | None]


def side_kinds(
    cells: Iterable[Mapping[str, Cell]], side: Sequence[str], categorical: Sequence[str]
) -> dict[str, SideKind]:
    """Return which side columns hold numbers and which categories.

    Args:
        cells: Of every series, by column.
        side: The columns.
        categorical: Those that are categories although they look like numbers.

    Raises:
        DataRefused: A column mixes numbers and words.
    """
    known: dict[str, SideKind] = {column: "category" for column in side if column in categorical}
    seen = {column: SideCells(column, typed=False) for column in side if column not in known}
    for row in cells:
        for column, looker in seen.items():
            looker.see(row[column].place, row[column].value)
    return {column: known.get(column) or seen[column].kind() for column in side}


def facts(
    cells: Mapping[str, Cell],
    *,
    label: str,
    target: str,
    group: str,
    kinds: Mapping[str, SideKind],
    problems: Problems,
) -> Facts:
    """Return what the cells of one series say.

    Args:
        cells: By column; text as it stands in the file.
        label: Column of the class, "" for none.
        target: Column of the number that regression predicts, "" for none.
        group: Column of the group, "" for none.
        kinds: Side columns, and what they hold.
        problems: Takes empty labels, groups and targets, and targets that are no number.
    """
    return {
        "label": _name(cells, label, problems),
        "target": _target(cells[target], problems) if target else None,
        "group": _name(cells, group, problems),
        "side": {column: _side(kind, cells[column], problems) for column, kind in kinds.items()},
    }


def _name(cells: Mapping[str, Cell], column: str, problems: Problems) -> str:
    return (as_name(_stripped(cells[column]), problems) or "") if column else ""


def _target(cell: Cell, problems: Problems) -> float | None:
    before = problems.count
    number = as_number(cell, problems)
    if number is None and problems.count == before:
        problems.add(cell.place, "a number", "nothing", "Remove series without a target.")
    return number


def _side(kind: SideKind, cell: Cell, problems: Problems) -> str | float | None:
    stripped = _stripped(cell)
    if is_missing(stripped.value):
        return None
    return as_number(stripped, problems) if kind == "number" else as_name(stripped, problems)


def _stripped(cell: Cell) -> Cell:
    """Return a cell without blanks around it: files of series often write `1, 2` for `1,2`."""
    value: Any = cell.value.strip(" \t") if isinstance(cell.value, str) else cell.value
    return Cell(cell.place, value)
