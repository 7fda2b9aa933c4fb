"""What a cell of a table means: a text, a name (label, group, id), a number or a time; alone, or a column at once.

Delimited files hold text only, so a number is what is written as one (`pipeline/formats/cells.py`); JSON lines
and Parquet say it themselves. A missing value is an empty cell or null; among numbers also the spellings of
`MISSING`, which in a column of words are words. `007` is a name, never 7.
"""

import datetime as dt
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from pipeline.data.label_sets import as_cell
from pipeline.data.samples import MISSING
from pipeline.formats.delimited import Batch
from pipeline.formats.problems import Problems, shown
from pipeline.formats.written_numbers import (
    PLAIN,
    NumberWriting,
    advice,
)

# --- Single cells of text files: what is a number, what is missing, and how a label is written.
#
# One rule for all series sources, so that a value means the same in every format. Numbers are decimal
# (`-1.5`, `2e-3`), in ASCII; what Python would also take (`1_000`, `inf`, other scripts' digits) is refused.

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
LARGEST = float(np.finfo(np.float32).max)
WRITTEN_AS_FLOAT = re.compile(r"[+-]?\d+(\.\d*([eE][+-]?\d+)?|[eE][+-]?\d+)", re.ASCII)
EXACT_INTEGERS = 2.0**53
DIGITS_AND_SIGNS = re.compile(r"[-+.0-9eE]*")


def is_number(cell: str) -> bool:
    """Say whether a cell without surrounding spaces is a number that float32 can hold."""
    return NUMBER.fullmatch(cell) is not None and abs(float(cell)) <= LARGEST


def numbers(cells: Sequence[str], missing: frozenset[str] = MISSING) -> tuple[np.ndarray, list[int]]:
    """Return cells as numbers, and which of them are none.

    Args:
        cells: As they stand in the file; spaces and tabs around a number do not matter.
        missing: What stands for no value.

    Returns:
        float64, shape (num_cells,), NaN where a value is missing or wrong; and the indices of the wrong ones.
    """
    stripped = [cell.strip(" \t") for cell in cells]
    fast = _all_numbers(stripped)
    if fast is not None:
        return fast, []
    wrong = [index for index, cell in enumerate(stripped) if not (cell in missing or is_number(cell))]
    refused = set(wrong)
    values = [
        math.nan if index in refused or cell in missing else float(cell)
        for index, cell in enumerate(stripped)
    ]
    return np.array(values), wrong


def _all_numbers(cells: list[str]) -> np.ndarray | None:
    """Return the cells as numbers if there is nothing but plain numbers among them: the usual, fast case."""
    if not DIGITS_AND_SIGNS.fullmatch("".join(cells)):
        return None
    try:
        values = np.array([float(cell) for cell in cells])
    except ValueError:
        return None
    return values if bool((np.abs(values) <= LARGEST).all()) else None


def label_text(cell: str) -> str:
    """Return a label, with a number that is written as a float brought to its short form.

    `1.0000000e+00` in a .txt file and `1` in a .ts file are the same class; `007` and `NA` stay as they are.
    """
    label = cell.strip(" \t")
    if not WRITTEN_AS_FLOAT.fullmatch(label) or abs(float(label)) >= EXACT_INTEGERS:
        return label
    value = float(label)
    return str(int(value)) if value.is_integer() else repr(value)


# --- What a cell of a table means.

SideKind = Literal["number", "category"]
PADDED = re.compile(r"[+-]?0[0-9]+")
"""An id: no number is written with leading zeros."""
CLEAN_TEXT = "Write Unicode text without NUL."
NAME_FIX = "Fill in or remove these rows."
UNLABELLED_FIX = "Fill in these cells, or leave such rows out, counted: --set unlabelled=leave_out."
LABEL_FIX = (
    f"{UNLABELLED_FIX} Where a sample may have several labels, and an empty cell says none of them: --set "
    "unlabelled=no_labels."
)
TRUTHS = {"1": True, "true": True, "0": False, "false": False}
TRUTH_FIX = "Correct these cells: each label either applies or does not."
NUMBER_FIX = "Correct these cells; a missing value is an empty cell."
LEAVE_OUT = "A column can be left out: --set drop=COLUMN."
UNITS = "If that row holds units: --set units_row=true."
ISO_FIX = "Write times as 2026-11-23 or 2026-11-23T17:05:00, all with an offset or all without."


@dataclass(frozen=True)
class Cell:
    """One cell and where it stands.

    Attributes:
        place: `train.csv, line 7, label 'category'`.
        value: As the format gives it.
    """

    place: str
    value: Any


def is_missing(value: Any) -> bool:
    """Tell whether a cell holds nothing: empty, null, or the NaN that pandas writes for it."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def is_blank(value: Any) -> bool:
    """Tell whether a cell holds nothing, or nothing but blanks."""
    return is_missing(value) or (isinstance(value, str) and not value.strip())


def as_text(cell: Cell, problems: Problems) -> str | None:
    """Return a text as it stands, possibly empty; None and a problem for anything that is no text."""
    if not isinstance(cell.value, str):
        problems.add(cell.place, "a text", shown(cell.value), NAME_FIX)
        return None
    return cell.value if _storable(cell, problems) else None


def as_name(cell: Cell, problems: Problems, fix: str = NAME_FIX) -> str | None:
    """Return a label, group or id as text; None and a problem where there is none, only blanks, or a fraction."""
    name = plain_name(cell.value)
    if name is None or is_blank(name):
        problems.add(cell.place, "a name or a whole number", shown(cell.value), fix)
        return None
    return name if _storable(Cell(cell.place, name), problems) else None


def as_label(cell: Cell, problems: Problems, fix: str = NAME_FIX) -> str | None:
    """Return a label as text, of a list of labels (JSON lines, Parquet) the JSON list; else as `as_name`."""
    if not isinstance(cell.value, list | tuple | np.ndarray):
        return as_name(cell, problems, fix)
    names = [as_name(Cell(cell.place, item), problems) for item in cell.value]
    return None if None in names else as_cell(filter(None, names))


def as_truth(cell: Cell, problems: Problems) -> bool:
    """Return whether the label of a column of its own applies; False and a problem for what is neither 0 nor 1."""
    name = plain_name(cell.value)
    if isinstance(cell.value, str) and is_number(cell.value.strip(" \t")):
        name = plain_name(float(cell.value))
    truth = TRUTHS.get((name or "").strip(" \t").casefold())
    if truth is None:
        fix = f"{TRUTH_FIX} {UNLABELLED_FIX}" if is_blank(cell.value) else TRUTH_FIX
        problems.add(cell.place, "0 or 1 (true or false)", shown(cell.value), fix)
    return bool(truth)


def plain_name(value: Any) -> str | None:
    """Return a cell as a name: text as it stands, `true` and `false`, whole numbers; None for all else.

    pandas writes whole numbers as floats where one of them is missing: 2.0 is 2.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int) else None


def as_number(cell: Cell, problems: Problems, writing: NumberWriting = PLAIN) -> float | None:
    """Return a number; None where it is missing; None and a problem for anything else."""
    if is_missing(cell.value) or (
        isinstance(cell.value, str) and writing.is_missing(cell.value.strip(" \t"))
    ):
        return None
    number = plain_number(cell.value, writing)
    if number is None:
        problems.add(cell.place, writing.words, shown(cell.value), number_fix([cell.value], writing))
    return None if number is not None and float(np.float32(number)) in writing.missing_numbers else number


def number_fix(cells: Sequence[Any], writing: NumberWriting) -> str:
    """Return what to do about cells of one column that are no numbers."""
    texts = [cell.strip(" \t") for cell in cells if isinstance(cell, str)]
    options = advice(texts, writing) if len(texts) == len(cells) else ""
    return f"If these are numbers, say how they are written: {options}." if options else NUMBER_FIX


def plain_number(value: Any, writing: NumberWriting = PLAIN) -> float | None:
    """Return a cell as a number, or None if it is none that float32 can hold; blanks around it do not matter."""
    if isinstance(value, str):
        text = value.strip(" \t") if writing.is_plain else writing.plain(value.strip(" \t")) or ""
        return float(text) if is_number(text) else None
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    # Compared as it is: a whole number of JSON may be too large for any float. NaN is never smaller.
    return float(value) if -LARGEST <= value <= LARGEST else None


def as_target(
    cell: Cell, problems: Problems, writing: NumberWriting = PLAIN, fix: str = NAME_FIX
) -> float | None:
    """Return what regression predicts; None and a problem where it is missing or no number."""
    before = problems.count
    target = as_number(cell, problems, writing)
    if target is None and problems.count == before:
        problems.add(cell.place, "a number", shown(cell.value), fix)
    return target


def as_side(
    kind: SideKind, cell: Cell, problems: Problems, writing: NumberWriting = PLAIN
) -> str | float | None:
    """Return a side feature, None where it is missing; None and a problem for what is not of its kind."""
    if is_missing(cell.value) or (isinstance(cell.value, str) and cell.value.strip(" \t") in writing.missing):
        return None
    if kind == "number":
        return as_number(cell, problems, writing)
    return as_name(cell, problems)


def as_time(cell: Cell, problems: Problems) -> str | None:
    """Return a time as ISO 8601, in UTC where it has an offset; None and a problem for anything else."""
    time = iso_text(cell.value)
    if time is None:
        problems.add(cell.place, "a time as in ISO 8601", shown(cell.value), ISO_FIX)
    return time


def iso_text(value: Any) -> str | None:
    """Return a time as ISO 8601, in UTC where it has an offset; None where it is none."""
    try:
        time = value if isinstance(value, dt.date) else dt.datetime.fromisoformat(value)
        if not isinstance(time, dt.datetime):
            time = dt.datetime(time.year, time.month, time.day)  # noqa: DTZ001  # a date has no zone
        return (time.astimezone(dt.UTC) if time.tzinfo else time).isoformat()
    except (ValueError, TypeError, OverflowError):
        return None


def without_blank_end(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield batches of delimited text without the rows at its end that hold nothing: spreadsheets write them."""
    held: list[Batch] = []
    for batch in batches:
        end = len(batch)
        while end and not any(cells[end - 1].as_py().strip() for cells in batch.columns.values()):
            end -= 1
        if end:
            yield from held
            held.clear()
        filled, blank = _part(batch, 0, end), _part(batch, end, len(batch))
        if end:
            yield filled
        if len(blank):
            held.append(blank)


def _part(batch: Batch, start: int, stop: int) -> Batch:
    columns = {name: cells[start:stop] for name, cells in batch.columns.items()}
    return replace(batch, numbers=batch.numbers[start:stop], columns=columns)


def number_cells(
    batch: Batch, columns: Sequence[str], problems: Problems, writing: NumberWriting = PLAIN
) -> np.ndarray:
    """Return columns as numbers.

    Args:
        batch: Has the columns.
        columns: Their names.
        problems: Takes every cell that is no number float32 can hold, row by row.
        writing: How numbers are written.

    Returns:
        float64, shape (num_rows, num_columns); NaN where a value is missing or wrong.
    """
    values = np.full((len(batch), len(columns)), np.nan)
    wrong = np.zeros(values.shape, dtype=bool)
    for index, column in enumerate(columns):
        cells = _stripped(batch.columns[column])
        if types.is_string(cells.type):
            plain = writing.plain_cells(pc.fill_null(cells, ""))
            values[:, index], wrong[:, index] = _written_numbers(pc.fill_null(plain, ""))
            wrong[:, index] |= plain.is_null().to_numpy(zero_copy_only=False)
        elif types.is_boolean(cells.type) or types.is_decimal(cells.type) or _is_numeric(cells.type):
            values[:, index] = pc.cast(cells, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            wrong[:, index] = np.abs(values[:, index]) > LARGEST
        else:
            fix = f"{NUMBER_FIX} {LEAVE_OUT}"
            problems.add(batch.place(0, column), "a column of numbers", str(cells.type), fix)
    first = wrong[0].all() or (wrong[0].any() and not wrong[1:].any()) if len(wrong) > 1 else False
    units = f" {UNITS}" if first and batch.unit == "line" else ""
    fixes = {
        column: number_fix(batch.columns[column].filter(pa.array(wrong[:, index])).to_pylist(), writing)
        for index, column in enumerate(columns)
        if wrong[:, index].any()
    }
    for row, index in np.argwhere(wrong).tolist():
        column = columns[index]
        received = shown(batch.columns[column][row].as_py())
        problems.add(batch.place(row, column), writing.words, received, f"{fixes[column]} {LEAVE_OUT}{units}")
    values[wrong] = np.nan
    if writing.missing_numbers:
        nothing = np.array(list(writing.missing_numbers), np.float32)
        values[np.isin(values.astype(np.float32), nothing)] = np.nan
    return values


def _written_numbers(cells: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return text without blanks around it as numbers, NaN where there is none, and which cells are wrong."""
    missing = pc.is_in(cells, value_set=_missing_cells())
    try:
        found = pc.cast(pc.if_else(missing, None, cells), pa.float64()).to_numpy(zero_copy_only=False)
        # Arrow also takes `nan` in any case for a number, `inf`, and what float32 cannot hold.
        if bool((missing.to_numpy(zero_copy_only=False) | (np.abs(found) <= LARGEST)).all()):
            return found, np.zeros(len(found), dtype=bool)
    except pa.ArrowInvalid:
        pass  # At least one is wrong, or written in a way that Arrow does not know: `+1`.
    found, indices = numbers(cells.to_pylist())
    wrong = np.zeros(len(found), dtype=bool)
    wrong[indices] = True
    return found, wrong


def name_cells(batch: Batch, column: str, problems: Problems) -> pa.Array:
    """Return a column as text, "" where nothing stands; numbers of Parquet as they are written shortest.

    Args:
        batch: Has the column.
        column: Its name.
        problems: Takes cells of text files that go on in the next line.
    """
    cells = _stripped(batch.columns[column])
    if not types.is_string(cells.type):
        cells = pc.cast(cells, pa.string())
    row = pc.index(pc.match_substring(cells, "\n"), True).as_py() if batch.unit == "line" else -1
    if row >= 0:
        received = shown(batch.columns[column][row].as_py())
        problems.add(
            batch.place(row, column), "a cell that ends in its line", received, "Correct these cells."
        )
    return pc.fill_null(cells, "")


class NameCodes:
    """Names by number, in order of appearance: what the rows of a long table say without a copy of it per row.

    Attributes:
        names: Those seen so far.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self._codes: dict[str, int] = {"": -1}

    def read(self, batch: Batch, column: str, problems: Problems) -> np.ndarray:
        """Return the number of the name in every row, int32, shape (rows,); -1 where nothing stands."""
        encoded = pc.dictionary_encode(name_cells(batch, column, problems))
        for name in encoded.dictionary.to_pylist():
            if name not in self._codes:
                self._codes[name] = len(self.names)
                self.names.append(name)
        codes = np.array([self._codes[name] for name in encoded.dictionary.to_pylist()], np.int32)
        rows: np.ndarray = codes[encoded.indices.to_numpy()]
        return rows


def _stripped(cells: pa.Array) -> pa.Array:
    """Return cells without dictionary, and text without blanks around it."""
    if types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if types.is_large_string(cells.type):
        cells = cells.cast(pa.string())
    return pc.utf8_trim(cells, " \t") if types.is_string(cells.type) else cells


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_null(kind))


@cache
def _missing_cells() -> pa.Array:
    # Not with the module: pyarrow imports pandas for its first array, and a quiet night reads no cell.
    return pa.array(sorted(MISSING))


def _storable(cell: Cell, problems: Problems) -> bool:
    """Keep a problem for a text that UTF-8 cannot hold (half a surrogate pair from JSON), or one with NUL."""
    # Text files cannot get here with either; their lines are refused already.
    odd = "a NUL character" if "\0" in cell.value else ""
    if not odd and not cell.value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in cell.value):
        odd = "half a surrogate pair"
    if odd:
        problems.add(cell.place, "Unicode text without NUL", f"{odd} in {shown(cell.value)}", CLEAN_TEXT)
    return not odd
