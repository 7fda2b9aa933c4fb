"""All problems of the files at once, by cause and with their places; and what to type about them."""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from pipeline.runtime.errors import DataRefused

LIMIT = 20
"""Causes; reading stops here: a file with so many is read by the wrong rules, and says nothing new."""
MOST = 1_000_000
"""Places; counting them all would take longer than to look at the first."""
FEW, SHOWN_PLACES = 3, 5
"""Places that are told each in its line, and of a cause with more."""
PLACE = re.compile(
    r"(?P<file>.*), (?P<unit>line|row) (?P<number>\d+)(?P<column>, (?:column|label|target|text) .*)?",
    re.DOTALL,
)
SHOWN_CHARACTERS = 60
ARCHIVE_FIX = "Compare the file with the archive's copy, and download it again."
"""What to do about a file that contradicts its own format."""


@dataclass
class _Cause:
    """Problems that are one: the same is expected in the same column of a file.

    Attributes:
        expected: What belongs there.
        unit: `line` or `row`; "" where the place names none.
        count: How often.
        first: Of the first few: their number among all problems, their line, place and what stands there.
        fixes: What to do.
    """

    expected: str
    unit: str
    count: int = 0
    first: list[tuple[int, str, str, str]] = field(default_factory=list)
    fixes: dict[str, None] = field(default_factory=dict)

    def words(self) -> list[tuple[int, str]]:
        """Return lines of a message, each with its number among all problems: one for all, or one for each of few."""
        if self.count <= FEW or not self.unit:
            return [
                (number, f"  {place}: expected {self.expected}; received {received}")
                for number, _, place, received in self.first
            ]
        number, _, place, _ = self.first[0]
        received = ", ".join(dict.fromkeys(item[3] for item in self.first))
        lines = ", ".join(item[1] for item in self.first)
        so = f"so in {self.count:,} {self.unit}s: {lines}, ..."
        return [(number, f"  {place}: expected {self.expected}; received {received}, ...; {so}")]


class Problems:
    """Collects what is wrong with the given files, by cause, in the order of reading.

    Args:
        limit: Reading stops at so many causes; None: they only wait here until they are passed on.

    Attributes:
        count: How many problems there are so far.
        unread: Rows that were passed over so far, because they cannot be read.
    """

    def __init__(self, limit: int | None = LIMIT) -> None:
        self.count = self.unread = 0
        self._limit = limit
        self._causes: dict[tuple[str, ...], _Cause] = {}

    def add(self, place: str, expected: str, received: str, fix: str) -> None:
        """Keep one problem.

        Args:
            place: File, line and where it is known column (counted from 1): `train.csv, line 7, column 3`.
            expected: What belongs there.
            received: What is there; see `shown`.
            fix: What to do; named once however often it is needed.

        Raises:
            DataRefused: There are so many causes now, or places, that reading on makes no sense.
        """
        found = PLACE.fullmatch(place)
        file, unit, line, column = (
            found.group("file", "unit", "number", "column") if found else (place, "", "", "")
        )
        # A column by its number is one of a line, not of the table.
        column = "" if (column or "")[9:].isdigit() else column or ""
        cause = _Cause(expected, unit, 1, [(1, line, place, received)], {fix: None})
        self._take((file, column, expected), cause)

    def pass_on(self, problems: "Problems") -> None:
        """Hand all problems over; none is here any more.

        Raises:
            DataRefused: There are so many now that reading on makes no sense.
        """
        causes, self._causes, self.count = self._causes, {}, 0
        for key, cause in causes.items():
            problems._take(key, cause)  # noqa: SLF001  # of its own kind

    def check(self) -> None:
        """Refuse the files if there was any problem.

        Raises:
            DataRefused: Naming all of them.
        """
        if self.count:
            raise self._refusal(stopped=False)

    def _take(self, key: tuple[str, ...], cause: _Cause) -> None:
        if key in self._causes or self._limit or len(self._causes) < LIMIT:
            known = self._causes.setdefault(key, _Cause(cause.expected, cause.unit))
            more = [(self.count + number, *rest) for number, *rest in cause.first]
            known.first += more[: SHOWN_PLACES - len(known.first)]  # type: ignore[arg-type]  # four, as they were
            known.count += cause.count
            known.fixes |= cause.fixes if len(known.fixes) < FEW else {}
        self.count += cause.count
        if self._limit and (len(self._causes) >= self._limit or self.count >= MOST):
            raise self._refusal(stopped=True)

    def _refusal(self, *, stopped: bool) -> DataRefused:
        count = (
            f"The first {self.count:,} problems, where reading stopped" if stopped else _counted(self.count)
        )
        lines = [
            line for _, line in sorted(line for cause in self._causes.values() for line in cause.words())
        ]
        fixes = " ".join(dict.fromkeys(fix for cause in self._causes.values() for fix in cause.fixes))
        return DataRefused("\n".join(["The files cannot be read as they are.", *lines, f"{count}. {fixes}"]))


def shown(value: object) -> str:
    """Return what was received, in quotes and shortened, for a message of one line."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


def _counted(count: int) -> str:
    return "1 problem" if count == 1 else f"{count:,} problems"


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


# --- What a message says to type: a shell must take it as it stands, whatever files and columns are called.

NEEDS_QUOTES = re.compile(r'\A["\s]|[,\n]|\s\Z')
OF_A_SHELL = re.compile(r"""[\s'"\\$`;&|<>()!~*?\[{]""")
WORD = re.compile(r"""--set ((?:'[^']*'|"[^"]*"|[^\s'"`,;:()]|[,;:](?=[^\s`)]))+)""")
"""What belongs to a sentence, a comma before a blank, ends it."""


def as_typed(elements: Iterable[str]) -> str:
    """Return a list as `listed` in `pipeline/raw/typed.py` reads it."""
    return ",".join(
        '"' + element.replace('"', '""') + '"' if NEEDS_QUOTES.search(element) else element
        for element in elements
    )


def in_a_shell(value: str) -> str:
    """Return a value for a command that somebody copies, in quotes only where a shell would read something into it."""
    return shlex.quote(value) if OF_A_SHELL.search(value) or value.startswith("#") else value


def to_set(name: str, value: str) -> str:
    """Return `--set NAME=VALUE` as it can be typed."""
    return f"--set {name}={in_a_shell(value)}"


def to_list(name: str, elements: Iterable[str]) -> str:
    """Return `--set NAME=A,B` as it can be typed, each element whole whatever it holds."""
    return to_set(name, as_typed(elements))


def typed_in(message: str) -> list[list[tuple[str, str]]]:
    """Return what a message says to type, as names and values; what stands side by side belongs together.

    Args:
        message: With `--set NAME=VALUE` in it, as `to_set` writes it.
    """
    found: list[list[tuple[str, str]]] = []
    end = -1
    for match in WORD.finditer(message):
        try:
            (item, *more) = shlex.split(match[1])
        except ValueError:  # a quote that belongs to the sentence
            continue
        name, _, value = item.partition("=")
        value = value if match[1].endswith(("'", '"')) else value.rstrip(".")
        if more or not name.isidentifier() or not value:
            continue
        if message[end : match.start()].strip() or end < 0:
            found.append([])
        found[-1].append((name, value))
        end = match.end()
    return found
