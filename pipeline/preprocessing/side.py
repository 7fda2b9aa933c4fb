"""Columns beside a sample as numbers: scaled, one-hot, or ids for an embedding; fitted on train only.

A missing number becomes the mean of the training rows, that is 0 once scaled. A category that training did
not see, a rare one beyond the limit and a missing one share the first slot, `UNKNOWN`.

What a window's model is told about the first step that it predicts stands in this order: calendar, known numbers,
known categories one-hot, and then what is told about the series as a whole (its own side features). The calendar
says where in the day, the week and the year a time stands, as points on circles. A point on a circle has no jump: 23
o'clock is as near to 0 as 1 o'clock is. Times are wall-clock times as the source writes them; one with an offset
(`+02:00`) is an instant, and its clock is that of UTC, as at ingest. All of it is known in advance, so it may be
told to a model about the step that it predicts.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np

from pipeline.data.samples import MISSING, Kind, Value, Values
from pipeline.preprocessing.statistics import exact_statistics
from pipeline.preprocessing.texts import most_frequent
from pipeline.runtime.errors import DataRefused

UNKNOWN = "(other or missing)"
Mode = Literal["one_hot", "embedded"]
DAY_SECONDS = 86_400
YEAR_DAYS = 365.25


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
            # Python takes true for 1, and 1_000 for 1000.
            odd = isinstance(value, bool) or (isinstance(value, str) and "_" in value)
            numbers[row] = np.nan if missing else np.inf if odd else float(value)  # type: ignore[arg-type]  # not None
        except (TypeError, ValueError, OverflowError):
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


def _hour(seconds: np.ndarray) -> np.ndarray:
    return (seconds % DAY_SECONDS) / DAY_SECONDS


def _weekday(seconds: np.ndarray) -> np.ndarray:
    # 1 January 1970 was a Thursday; Monday is 0.
    return ((seconds // DAY_SECONDS + 3) % 7) / 7


def _month(seconds: np.ndarray) -> np.ndarray:
    months = seconds.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    return (months % 12) / 12


def _day_of_year(seconds: np.ndarray) -> np.ndarray:
    days = seconds.astype("datetime64[s]").astype("datetime64[D]")
    share: np.ndarray = (days - days.astype("datetime64[Y]")).astype(np.int64) / YEAR_DAYS
    return share


CIRCLES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "hour": _hour,
    "weekday": _weekday,
    "month": _month,
    "day_of_year": _day_of_year,
}
"""Name in params.yaml to the part of its circle that is over, in [0, 1). The hour counts minutes as well."""


def seconds_of(time: str) -> int:
    """Return the seconds of an ISO 8601 time since 1970: of the clock on the wall, or in UTC where it has an offset.

    Raises:
        ValueError: It is no such time.
    """
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        raise ValueError(
            f"Not a time. Expected ISO 8601, 2026-11-23T14:00:00 say. Received: time={time!r}. Mend the time."
        ) from None
    if moment.tzinfo:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return int((moment - datetime(1970, 1, 1)).total_seconds())  # noqa: DTZ001  # one clock on both sides


def has_offset(time: str) -> bool:
    """Return whether an ISO 8601 time says how far its clock is from UTC; False for what is no time."""
    try:
        return datetime.fromisoformat(time).tzinfo is not None
    except ValueError:
        return False


def calendar_names(parts: Sequence[str]) -> list[str]:
    """Return the name of every column of `calendar_features`."""
    return [f"{part}.{axis}" for part in parts for axis in ("sin", "cos")]


def calendar_features(seconds: np.ndarray, parts: Sequence[str]) -> np.ndarray:
    """Return sine and cosine of each part of the calendar.

    Args:
        seconds: Wall-clock seconds since 1970, shape (num_times,); rounded to whole seconds.
        parts: Any of `hour`, `weekday`, `month`, `day_of_year`.

    Returns:
        float32, shape (num_times, 2 * len(parts)).
    """
    whole = np.rint(seconds).astype(np.int64)
    columns = np.empty((len(whole), 2 * len(parts)), np.float32)
    for number, part in enumerate(parts):
        angle = 2 * np.pi * CIRCLES[part](whole)
        columns[:, 2 * number], columns[:, 2 * number + 1] = np.sin(angle), np.cos(angle)
    return columns


@dataclass(frozen=True)
class WindowSide:
    """From a step to its side features; its fields are all there is to know about it.

    Attributes:
        calendar: Parts of the calendar, any of `CIRCLES`.
        known: Columns of the series that are known in advance.
    """

    calendar: tuple[str, ...]
    known: SideFeatures

    @property
    def names(self) -> list[str]:
        """Return the name of every column of `transform`."""
        return [*calendar_names(self.calendar), *self.known.names]

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns of the series that `transform` wants."""
        numbers = [column.name for column in self.known.numbers]
        return numbers + [column.name for column in self.known.categories]

    def transform(self, seconds: np.ndarray, columns: Mapping[str, Values]) -> np.ndarray:
        """Return the side features of some steps.

        Args:
            seconds: Wall-clock seconds since 1970 of each step; not looked at without calendar features.
            columns: Known column to its value at each step; NaN or None is missing.

        Returns:
            float32, shape (num_steps, len(names)).
        """
        known, _ids = self.known.transform(columns, len(seconds))
        return np.hstack([calendar_features(seconds, self.calendar), known])

    def state(self) -> dict[str, Any]:
        """Return the fields as JSON; `window_side_of` reads them."""
        return {"calendar": list(self.calendar), "known": self.known.state(), "names": self.names}


def window_side_of(state: Mapping[str, Any]) -> WindowSide:
    """Return the side features that a `WindowSide.state` describes."""
    return WindowSide(tuple(state["calendar"]), side_features_of(state["known"]))
