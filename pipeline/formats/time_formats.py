"""Times by a format of strptime, a column at once: strict, and written back to see that nothing was passed over.

C's strptime, which Arrow uses, moves 30 February to 2 March, and passes over a zone or a week it does not look at
(apache/arrow#31374). Here a cell is taken to pieces by the format (one regular expression per column), made a
time, and every piece is compared with what that time says: day, weekday, week, half of the day.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SECOND = 1_000_000  # microseconds
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
FIRST_TIME = -719_162 * DAY
LAST_TIME = 2_932_897 * DAY - 1
"""The years 1 to 9999, which Python's datetime can write."""

UNITS = {"seconds": 6, "milliseconds": 3, "microseconds": 0, "nanoseconds": -3}
"""Of Unix times: one of them has 10 to that power microseconds."""
MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
NAMES = {"b": MONTHS, "a": DAYS}
DIGITS = {"Y": 4, "G": 4, "y": 2, "m": 2, "d": 2, "j": 3, "H": 2, "I": 2, "M": 2, "S": 2, "V": 2}
ONE_DIGIT = {"u": "[1-7]", "w": "[0-6]", "q": "[1-4]"}
WORDS = {
    "b": r"\p{L}{3,9}",
    "a": r"\p{L}{3,9}",
    "p": r"[AaPp]\.?[Mm]\.?",
    "f": r"\d{1,9}",
    "z": r"[Zz]|[+-]\d{2}(?::?\d{2})?",
    "Z": r"[A-Za-z][A-Za-z0-9]{0,5}|[+-]\d{2,4}",
}
SHORT = {"B": "b", "A": "a", "h": "b", "e": "d"}
"""Directives that are read as another one."""
TOGETHER = {"F": "%Y-%m-%d", "T": "%H:%M:%S", "R": "%H:%M", "D": "%m/%d/%y"}
KNOWN = "%Y %y %m %b %B %d %j %G %V %u %a %A %w %q %H %I %p %M %S %f %z %Z %F %T %R %D %%"
DATES = (
    {"Y", "m"},
    {"Y", "b"},
    {"Y", "j"},
    {"Y", "q"},
    {"G", "V"},
    {"y", "m"},
    {"y", "b"},
    {"y", "j"},
    {"y", "q"},
)
"""Directives that give a date together; the day may be missing, and a year may stand alone."""
CENTURY = 69
"""POSIX: 69 to 99 are of the 20th century, 00 to 68 of the 21st."""


@dataclass(frozen=True)
class Read:
    """A column of cells as a format reads them.

    Attributes:
        times: Microseconds since 1970, int64, shape (rows,); in UTC where the cell has an offset.
        written: bool, shape (rows,); whether the cell is written by the format.
        exists: bool, shape (rows,); whether the calendar has that time.
        zones: What `%Z` stands for in each cell; None without `%Z`.
    """

    times: np.ndarray
    written: np.ndarray
    exists: np.ndarray
    zones: pa.Array | None


@dataclass(frozen=True)
class TimeFormat:
    """A format that can be read.

    Attributes:
        text: As the user gave it.
        pattern: A regular expression (RE2) with a group for every directive.
        directives: Their letters.
    """

    text: str
    pattern: str
    directives: frozenset[str]

    @property
    def has_date(self) -> bool:
        """Return whether the format gives a date, and not only a time of day."""
        return bool(self.directives & {"Y", "y", "G"})

    @property
    def has_clock(self) -> bool:
        """Return whether the format gives a time of day."""
        return bool(self.directives & {"H", "I"})

    @property
    def has_offset(self) -> bool:
        """Return whether cells say how far their clock is from UTC."""
        return "z" in self.directives

    def read(self, cells: pa.Array) -> Read:
        """Return the times of cells without blanks around them; null is not written by any format."""
        found = pc.extract_regex(cells, self.pattern)
        written = pc.is_valid(found).to_numpy(zero_copy_only=False)
        parts = {letter: pc.struct_field(found, letter) for letter in self.directives}
        numbers = {letter: _number(letter, part) for letter, part in parts.items() if letter not in "zZ"}
        days = _days(numbers)
        clock, hours_exist = _clock(numbers)
        exists = hours_exist & _says(days, numbers)
        times = days * DAY + clock
        if "z" in parts:
            offset, known = _offset(parts["z"])
            times, exists = times - offset, exists & known
        exists &= (times >= FIRST_TIME) & (times <= LAST_TIME)
        return Read(times, written, exists, parts.get("Z"))


@cache
def time_format(text: str) -> TimeFormat:
    """Return a format of strptime.

    Raises:
        ValueError: It cannot be read, and why: a directive that is unknown or there twice, or no date.
    """
    pieces = re.findall(r"%.?|[^%]+", "".join(_split(text)), re.DOTALL)
    letters = [SHORT.get(piece[1:], piece[1:]) if piece[0] == "%" else "" for piece in pieces]
    for piece, letter in zip(pieces, letters, strict=True):
        if piece[0] == "%" and piece != "%%" and letter not in {*DIGITS, *ONE_DIGIT, *WORDS}:
            raise ValueError(f"{piece} is not read. Expected directives among {KNOWN}")
    directives = [letter for letter in letters if letter not in ("", "%")]
    twice = sorted({letter for letter in directives if directives.count(letter) > 1})
    if twice:
        raise ValueError(
            f"{', '.join(f'%{letter}' for letter in twice)} twice. Expected every directive once"
        )
    said = frozenset(directives)
    if not (said == {"Y"} or _is_date(said) or (said and said <= {"H", "I", "p", "M", "S", "f"})):
        raise ValueError(f"it gives no date. Expected a year, and month, week, quarter or day, among {KNOWN}")
    if ("I" in said) != ("p" in said) or {"H", "I"} <= said:
        raise ValueError("hours are not clear. Expected %H, or %I with %p")
    if (
        ("M" in said and not said & {"H", "I"})
        or ("S" in said and "M" not in said)
        or ("f" in said and "S" not in said)
    ):
        raise ValueError("a part of the time of day is missing. Expected %H, %H:%M, %H:%M:%S or %H:%M:%S.%f")
    patterns = [_pattern(letters, index, piece) for index, piece in enumerate(pieces)]
    return TimeFormat(text, f"^(?s:{''.join(patterns)})$", said)


def _split(text: str) -> list[str]:
    return [
        TOGETHER.get(piece[1:], piece) if piece[0] == "%" else piece
        for piece in re.findall(r"%.?|[^%]+", text, re.DOTALL)
    ]


def _is_date(said: frozenset[str]) -> bool:
    if {"d"} & said and not said & {"m", "b"}:
        return False
    return any(date <= said for date in DATES) and len(said & {"Y", "y", "G"}) == 1


def _pattern(letters: list[str], index: int, piece: str) -> str:
    """Return what a piece of a format matches; numbers without anything between them have all their digits."""
    letter = letters[index]
    if letter in ("", "%"):
        literal = "%" if letter == "%" else piece
        return re.sub(r"(\\ |\s)+", r"\\s+", re.escape(literal))
    if letter in WORDS:
        return f"(?P<{letter}>{WORDS[letter]})"
    if letter in ONE_DIGIT:
        return f"(?P<{letter}>{ONE_DIGIT[letter]})"
    near = [letters[place] for place in (index - 1, index + 1) if 0 <= place < len(letters)]
    digits = DIGITS[letter]
    exact = letter in "YGy" or any(other in {*DIGITS, *ONE_DIGIT, "f"} for other in near)
    return f"(?P<{letter}>\\d{{{digits}}})" if exact else f"(?P<{letter}>\\d{{1,{digits}}})"


def _number(letter: str, part: pa.Array) -> np.ndarray:
    """Return a piece of every cell as int64: names by their place, -1 for one that is none; else 0 at nulls."""
    if letter in NAMES:
        names = NAMES[letter]
        places = pc.index_in(
            pc.utf8_slice_codeunits(pc.utf8_lower(part), 0, 3), pa.array([name[:3] for name in names])
        )
        whole = pc.is_in(pc.utf8_lower(part), pa.array([*names, *(name[:3] for name in names), "sept"]))
        part = pc.if_else(whole, pc.add(places, int(letter == "b")), -1)
    elif letter == "p":
        part = pc.match_substring(part, "p", ignore_case=True)
    elif letter == "f":
        part = pc.utf8_slice_codeunits(pc.utf8_rpad(part, 6, "0"), 0, 6)
    if pa.types.is_string(part.type):
        part = pc.if_else(pc.equal(part, ""), "0", part)  # cells that are not written by the format
    values: np.ndarray = pc.fill_null(pc.cast(part, pa.int64()), 0).to_numpy(zero_copy_only=False)
    return values


def _days(numbers: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return days since 1970; of a month, week or quarter its first day."""
    if "G" in numbers:
        january_4th = _days_of_months(numbers["G"], 1) + 3
        monday = january_4th - (january_4th + 3) % 7
        days: np.ndarray = monday + 7 * (numbers["V"] - 1) + _weekday(numbers)
        return days
    if "y" in numbers:
        years = numbers["y"] + np.where(numbers["y"] < CENTURY, 2000, 1900)
    elif "Y" in numbers:
        years = numbers["Y"]
    else:
        return np.zeros(len(next(iter(numbers.values()))), np.int64)
    ones = np.ones_like(years)
    months = numbers.get("m", numbers.get("b", 3 * numbers.get("q", ones) - 2))
    found: np.ndarray = _days_of_months(years, months) + numbers.get("j", numbers.get("d", ones)) - 1
    return found


def _days_of_months(years: np.ndarray, months: np.ndarray | int) -> np.ndarray:
    count = (years - 1970) * 12 + months - 1
    days: np.ndarray = count.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return days


def _weekday(numbers: Mapping[str, np.ndarray]) -> np.ndarray | int:
    """Return the day of the week, Monday 0; Monday where the format has none."""
    if "u" in numbers:
        return numbers["u"] - 1
    if "a" in numbers:
        return numbers["a"]
    return (numbers["w"] - 1) % 7 if "w" in numbers else 0


def _clock(numbers: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return microseconds since midnight, and which of them a clock shows; 24:00 is the end of a day."""
    nothing = np.zeros(len(next(iter(numbers.values()))), np.int64)
    minutes, seconds, rest = (numbers.get(letter, nothing) for letter in "MSf")
    hours = numbers.get("H", nothing)
    exists = (
        (minutes < 60) & (seconds < 60) & ((hours < 24) | ((hours == 24) & (minutes + seconds + rest == 0)))
    )
    if "I" in numbers:
        hours = numbers["I"] % 12 + 12 * numbers["p"]
        exists &= (numbers["I"] >= 1) & (numbers["I"] <= 12)
    times: np.ndarray = hours * HOUR + minutes * MINUTE + seconds * SECOND + rest
    return times, exists


def _says(days: np.ndarray, numbers: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return where a day, written back, says the same of every directive."""
    date = days.astype("datetime64[D]")
    months = date.astype("datetime64[M]").astype(np.int64)
    year = months // 12 + 1970
    month = months % 12 + 1
    weekday = (days + 3) % 7
    thursday = days - weekday + 3
    iso_year = thursday.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
    back = {
        "Y": year,
        "y": year % 100,
        "m": month,
        "b": month,
        "q": (month + 2) // 3,
        "d": days - _days_of_months(year, month) + 1,
        "j": days - _days_of_months(year, 1) + 1,
        "G": iso_year,
        "V": (thursday - _days_of_months(iso_year, 1)) // 7 + 1,
        "a": weekday,
        "u": weekday + 1,
        "w": (weekday + 1) % 7,
    }
    same = np.ones(len(days), bool)
    for letter, values in back.items():
        if letter in numbers:
            same &= values == numbers[letter]
    return same


def _offset(part: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return offsets in microseconds, and which of them a clock can have."""
    pieces = pc.extract_regex(part, r"^(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>\d{2})?$")
    hours, minutes = (_number("", pc.struct_field(pieces, name)) for name in ("hours", "minutes"))
    minus = pc.fill_null(pc.equal(pc.struct_field(pieces, "sign"), "-"), False).to_numpy(zero_copy_only=False)
    return np.where(minus, -1, 1) * (hours * HOUR + minutes * MINUTE), (hours < 24) & (minutes < 60)
