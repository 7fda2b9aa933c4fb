"""Single cells of text files: what is a number, what is missing, and how a label is written.

One rule for all series sources, so that a value means the same in every format. Numbers are decimal
(`-1.5`, `2e-3`), in ASCII; what Python would also take (`1_000`, `inf`, other scripts' digits) is refused.
"""

import math
import re
from collections.abc import Sequence

import numpy as np

from pipeline.data.samples import MISSING

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
