"""What a window's model is told about the first step that it predicts: the calendar and columns known ahead.

The columns stand in this order: calendar, known numbers, known categories one-hot, and then what is told
about the series as a whole (its own side features).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.calendar_features import calendar_features, calendar_names
from pipeline.series_features import SeriesScaler, steps_of
from pipeline.side_features import (
    CategoryColumn,
    NumberColumn,
    SideFeatures,
    Values,
    category_of,
    side_features_of,
)
from pipeline.tokens import most_frequent


@dataclass(frozen=True)
class WindowSide:
    """From a step to its side features; its fields are all there is to know about it.

    Attributes:
        calendar: Parts of the calendar, see `pipeline.calendar_features`.
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


def fit_window_side(
    payload: np.ndarray,
    segments: Sequence[tuple[str, int, int]],
    scaler: SeriesScaler,
    *,
    calendar: Sequence[str],
    known: Sequence[str],
    known_categorical: Sequence[str],
    max_categories: int,
) -> WindowSide:
    """Measure known columns on the training steps.

    Args:
        payload: float32 (total_steps, columns), as ingested.
        segments: Of train alone: sample id, first row of the payload, row after the last.
        scaler: Fitted on the same steps; known numbers have its mean and deviation.
        calendar: Parts of the calendar.
        known: Names of columns of numbers.
        known_categorical: Names of columns whose numbers name categories.
        max_categories: Slots per column at most, unknown among them.
    """
    place = {name: number for number, name in enumerate(scaler.channels)}
    numbers = [
        NumberColumn(name, scaler.mean[place[name]], scaler.standard_deviation[place[name]])
        for name in sorted(known)
    ]
    categories = []
    for name in sorted(known_categorical):
        counts: Counter[str] = Counter()
        for values in _column(payload, segments, place[name]):
            different, times = np.unique(values[~np.isnan(values)], return_counts=True)
            for value, count in zip(different.tolist(), times.tolist(), strict=True):
                counts[category_of(value)] += count
        categories.append(CategoryColumn(name, most_frequent(counts, max_categories - 1, 1)))
    return WindowSide(tuple(calendar), SideFeatures("one_hot", tuple(numbers), tuple(categories)))


def _column(
    payload: np.ndarray, segments: Sequence[tuple[str, int, int]], column: int
) -> Iterator[np.ndarray]:
    for _name, start, stop in segments:
        for chunk in steps_of(payload, start, stop, column + 1):
            yield chunk[:, column]
