"""All problems of the files at once, each with its place, instead of one per attempt; and the series that have none."""

from dataclasses import dataclass

import numpy as np

from pipeline.runtime.errors import DataRefused

LIMIT = 20
"""Reading stops here: a file with so many problems is read by the wrong rules, and says nothing new."""
SHOWN_CHARACTERS = 60
ARCHIVE_FIX = "Compare the file with the archive's copy, and download it again."
"""What to do about a file that contradicts its own format."""


class Problems:
    """Collects what is wrong with the given files, in the order of reading.

    Args:
        limit: Reading stops at so many; None: they only wait here until they are passed on.

    Attributes:
        count: How many problems there are so far.
    """

    def __init__(self, limit: int | None = LIMIT) -> None:
        self.count = 0
        self._limit = limit
        self._found: list[tuple[str, str, str, str]] = []

    def add(self, place: str, expected: str, received: str, fix: str) -> None:
        """Keep one problem.

        Args:
            place: File, line and where it is known column (counted from 1): `train.csv, line 7, column 3`.
            expected: What belongs there.
            received: What is there; see `shown`.
            fix: What to do; named once however often it is needed.

        Raises:
            DataRefused: There are so many now that reading on makes no sense.
        """
        self.count += 1
        if self._limit or self.count <= LIMIT:
            self._found.append((place, expected, received, fix))
        if self._limit and self.count >= self._limit:
            raise self._refusal(stopped=True)

    def pass_on(self, problems: "Problems") -> None:
        """Hand all problems over; none is here any more.

        Raises:
            DataRefused: There are so many now that reading on makes no sense.
        """
        found, self._found, self.count = self._found, [], 0
        for problem in found:
            problems.add(*problem)

    def check(self) -> None:
        """Refuse the files if there was any problem.

        Raises:
            DataRefused: Naming all of them.
        """
        if self.count:
            raise self._refusal(stopped=False)

    def _refusal(self, *, stopped: bool) -> DataRefused:
        count = f"The first {self.count} problems, where reading stopped" if stopped else _counted(self.count)
        lines = [
            f"  {place}: expected {expected}; received {received}"
            for place, expected, received, _ in self._found
        ]
        fixes = " ".join(dict.fromkeys(fix for *_, fix in self._found))
        return DataRefused("\n".join(["The files cannot be read as they are.", *lines, f"{count}. {fixes}"]))


def shown(value: object) -> str:
    """Return what was received, in quotes and shortened, for a message of one line."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


def _counted(count: int) -> str:
    return "1 problem" if count == 1 else f"{count} problems"


@dataclass(frozen=True)
class SeriesRow:
    """One series of a file.

    Attributes:
        line: Where it stands, counted from 1.
        series: float32, shape (steps, channels); NaN where a value is missing.
        label: Its class; "" where the file has none.
        target: What regression predicts; None where the file has classes.
    """

    line: int
    series: np.ndarray
    label: str = ""
    target: float | None = None


def without_padding(series: np.ndarray) -> np.ndarray:
    """Return a series without the missing steps at its end.

    Formats with equal columns (.tsv, .txt, .arff) fill up shorter series with NaN or `?`.

    Args:
        series: Shape (steps, channels).

    Returns:
        A view; shape (0, channels) if no step has a value.
    """
    there = np.flatnonzero(~np.isnan(series).all(axis=1))
    return series[: there[-1] + 1] if there.size else series[:0]
