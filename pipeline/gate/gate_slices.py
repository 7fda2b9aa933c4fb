"""The declared slices of the test rows: values of a side column or of the group, numbers in four bins."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from pipeline.evaluation.rows import JudgedRows
from pipeline.gate.question import GROUP
from pipeline.runtime import paths
from pipeline.runtime.stage import InputMissing

SIDE_PREFIX = "side."
BINS = 4
"""Of numbers, with as many test rows each; a column of no more different numbers is taken value by value."""
MISSING = "missing"
BoolArray = npt.NDArray[np.bool_]


class UnknownSlice(ValueError):
    """The samples have no such column."""


def slice_masks(columns: Sequence[str], rows: JudgedRows) -> dict[str, BoolArray]:
    """Return `column=value` to which rows are in that slice, shape (num_rows,).

    Args:
        columns: `group`, or names of side columns.
        rows: Test rows; of windows each belongs where its series does.

    Raises:
        UnknownSlice: There is no such column; says which there are.
        InputMissing: There is no table of samples.
    """
    samples = rows.rows if rows.timeline is None else rows.timeline.series
    masks: dict[str, BoolArray] = {}
    for column, values in _read(columns).items():
        names = _names([values[sample] for sample in samples])
        for name in sorted(set(names.tolist())):
            masks[f"{column}={name}"] = names == name
    return masks


def _read(columns: Sequence[str]) -> dict[str, list[str | float | None]]:
    """Return the values of each column in order of row."""
    if not columns:
        return {}
    if not paths.SAMPLES_PARQUET.is_file():
        raise InputMissing(f"{paths.SAMPLES_PARQUET} does not exist. Run `dvc repro ingest`.")
    stored = pq.read_schema(paths.SAMPLES_PARQUET).names
    known = {name.removeprefix(SIDE_PREFIX): name for name in stored if name.startswith(SIDE_PREFIX)}
    known[GROUP] = GROUP
    unknown = [name for name in columns if known.get(name) not in stored]
    if unknown:
        raise UnknownSlice(
            f"register.slices names columns that the samples do not have. Expected some of {sorted(known)}. "
            f"Received: {unknown}. Correct it in params.yaml."
        )
    chosen = [known[name] for name in columns]
    table = pq.read_table(paths.SAMPLES_PARQUET, columns=["row", *chosen]).sort_by("row")
    return {name: table[stored_as].to_pylist() for name, stored_as in zip(columns, chosen, strict=True)}


def _names(values: Sequence[str | float | None]) -> npt.NDArray[np.object_]:
    """Return the name of the slice that each value belongs to."""
    numbers = np.array([value for value in values if isinstance(value, float) and np.isfinite(value)])
    distinct = np.unique(numbers)
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, BINS + 1))) if len(distinct) > BINS else None
    return np.array([_name(value, edges) for value in values], dtype=object)


def _name(value: str | float | None, edges: npt.NDArray[np.floating] | None) -> str:
    if value is None or value == "" or (isinstance(value, float) and not np.isfinite(value)):
        return MISSING
    if edges is None or isinstance(value, str):
        return value if isinstance(value, str) else f"{value:g}"
    # Closed above, so that the largest number has a bin.
    place = int(np.clip(np.searchsorted(edges, value) - 1, 0, len(edges) - 2))
    return f"{edges[place]:g}..{edges[place + 1]:g}"
