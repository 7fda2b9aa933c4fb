"""Columns beside a sample as numbers: scaled, one-hot, or ids for an embedding; fitted on train only.

A missing number becomes the mean of the training rows, that is 0 once scaled. A category that training did
not see, a rare one beyond the limit and a missing one share the first slot, `UNKNOWN`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.runtime import DataRefused
from pipeline.sources.cells import MISSING
from pipeline.tokens import most_frequent
from pipeline.train_statistics import exact_statistics

UNKNOWN = "(other or missing)"
Mode = Literal["one_hot", "embedded"]
Kind = Literal["number", "category"]
Value = str | float | None
Values = Sequence[Value] | np.ndarray


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers.

    Attributes:
        name: As in the source.
        mean: Of the training rows.
        standard_deviation: As `mean`; never 0.
    """

    name: str
    mean: float
    standard_deviation: float


@dataclass(frozen=True)
class CategoryColumn:
    """A column of categories.

    Attributes:
        name: As in the source.
        values: Categories in the order of their ids, which begin at 1; 0 is `UNKNOWN`.
    """

    name: str
    values: tuple[str, ...]

    def ids(self, values: Values) -> np.ndarray:
        """Return the id of each value, int32."""
        known = {value: number for number, value in enumerate(self.values, start=1)}
        if isinstance(values, np.ndarray):  # numbers that name categories: few different ones, many times
            different, places = np.unique(values, return_inverse=True)
            return self.ids(different.tolist())[places]
        return np.array([known.get(category_of(value), 0) for value in values], np.int32)


@dataclass(frozen=True)
class SideFeatures:
    """From side columns to arrays; its fields are all there is to know about it.

    Attributes:
        mode: What becomes of categories.
        numbers: In alphabetical order, as all columns.
        categories: The same.
    """

    mode: Mode
    numbers: tuple[NumberColumn, ...]
    categories: tuple[CategoryColumn, ...]

    @property
    def names(self) -> list[str]:
        """Return the name of every column of the first array that `transform` gives."""
        numbers = [column.name for column in self.numbers]
        if self.mode == "embedded":
            return numbers
        return numbers + [
            f"{column.name}={value}" for column in self.categories for value in (UNKNOWN, *column.values)
        ]

    @property
    def category_sizes(self) -> tuple[int, ...]:
        """Return per column of the second array the number that its ids are below; () where it has none."""
        return tuple(len(column.values) + 1 for column in self.categories) if self.mode == "embedded" else ()

    def transform(self, columns: Mapping[str, Values], num_rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the side features of some rows.

        Args:
            columns: Name to one value per row, a list or a float array; a column that is not there is
                missing in all rows, and others than the fitted ones are not looked at.
            num_rows: Rows of every column.

        Returns:
            float32 (num_rows, len(names)), and int32 ids (num_rows, len(category_sizes)).

        Raises:
            DataRefused: Something else than a finite number in a column of numbers.
        """
        nothing: Values = [None] * num_rows
        parts = [np.empty((num_rows, 0), np.float32)]
        for column in self.numbers:
            values = numbers_of(column.name, columns.get(column.name, nothing))
            parts.append(scaled_numbers(values, column.mean, column.standard_deviation)[:, None])
        ids = [column.ids(columns.get(column.name, nothing)) for column in self.categories]
        if self.mode == "embedded":
            return np.hstack(parts), np.stack(ids, axis=1) if ids else np.empty((num_rows, 0), np.int32)
        parts += [
            one_hot(chosen, len(column.values) + 1)
            for chosen, column in zip(ids, self.categories, strict=True)
        ]
        return np.hstack(parts), np.empty((num_rows, 0), np.int32)

    def state(self) -> dict[str, Any]:
        """Return the fields as JSON; `side_features_of` reads them."""
        return {
            "mode": self.mode,
            "numbers": [vars(column).copy() for column in self.numbers],
            "categories": [
                {"name": column.name, "values": list(column.values)} for column in self.categories
            ],
            "names": self.names,
        }


def side_features_of(state: Mapping[str, Any]) -> SideFeatures:
    """Return the side features that a `SideFeatures.state` describes."""
    return SideFeatures(
        state["mode"],
        tuple(NumberColumn(**column) for column in state["numbers"]),
        tuple(CategoryColumn(column["name"], tuple(column["values"])) for column in state["categories"]),
    )


def fit_side_features(
    columns: Mapping[str, Values],
    kinds: Mapping[str, Kind],
    *,
    mode: Mode,
    max_categories: int,
) -> SideFeatures:
    """Measure side columns; neither the order of rows nor that of columns matters.

    Args:
        columns: Name to one value per training row.
        kinds: What each column is.
        mode: What becomes of categories.
        max_categories: Slots per column at most, `UNKNOWN` among them; the most frequent categories stay.

    Raises:
        DataRefused: Something else than a finite number in a column of numbers.
    """
    numbers, categories = [], []
    for name in sorted(kinds):
        if kinds[name] == "category":
            counts = Counter(category for value in columns[name] if (category := category_of(value)))
            categories.append(CategoryColumn(name, most_frequent(counts, max_categories - 1, 1)))
        else:
            numbers.append(_measured(name, numbers_of(name, columns[name])))
    return SideFeatures(mode, tuple(numbers), tuple(categories))


def _measured(name: str, values: np.ndarray) -> NumberColumn:
    measured = exact_statistics(lambda: [values[:, None]], 1)
    return NumberColumn(name, measured.mean[0], measured.standard_deviation[0])


def category_of(value: Value) -> str:
    """Return the name of a category, "" where it is missing: 3.0 from a table of numbers and "3" are one."""
    if value is None or value != value:  # noqa: PLR0124  # NaN alone differs from itself
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if float(value).is_integer() else f"{float(value):.9g}"


def numbers_of(name: str, values: Values) -> np.ndarray:
    """Return numbers as float64, NaN where one is missing (None, NaN, or a text that readers take for missing).

    Raises:
        DataRefused: A value is something else, or infinite; names the column and the first such value.
    """
    if isinstance(values, np.ndarray):
        return values.astype(np.float64)
    numbers = np.empty(len(values), np.float64)
    for row, value in enumerate(values):
        try:
            missing = value is None or (isinstance(value, str) and value.strip(" \t") in MISSING)
            numbers[row] = np.nan if missing else float(value)  # type: ignore[arg-type]  # not None here
        except (TypeError, ValueError):
            numbers[row] = np.inf
        if np.isinf(numbers[row]):
            raise DataRefused(
                f"Column {name} holds something that is not a finite number. Expected numbers, as in training. "
                f"Received: {name}={value!r}. Mend the value, or name the column under categorical."
            )
    return numbers


def scaled_numbers(values: np.ndarray, mean: float, standard_deviation: float) -> np.ndarray:
    """Return float32 deviations from a mean, 0 where a value is missing."""
    scaled: np.ndarray = np.nan_to_num((values - mean) / standard_deviation, nan=0.0).astype(np.float32)
    return scaled


def one_hot(ids: np.ndarray, size: int) -> np.ndarray:
    """Return float32 rows with a 1 in the place of the id, shape (len(ids), size)."""
    rows: np.ndarray = np.eye(size, dtype=np.float32)[ids]
    return rows
