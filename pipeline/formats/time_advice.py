"""What to say where time stamps cannot be read: the one option with which these cells can, tried before it is said."""

import re
from collections.abc import Iterator
from functools import cache

import numpy as np
import pyarrow as pa

from pipeline.formats.problems import to_set
from pipeline.formats.time_formats import DIGITS, UNITS, time_format

TRIED_CELLS = 2_000
MOST = 0.8
TIME_FIX = "Correct these cells, or state how times are written: --set time_format='%d.%m.%Y %H:%M'."
CELLS_FIX = "Correct these cells, or remove these rows."
NUMBERS_FIX = (
    "Name the column that has the times (--set time=COLUMN); numbers of steps can be taken for seconds: "
    "--set time_format=seconds."
)
SPREADSHEET_FIX = (
    "These look like the day numbers of a spreadsheet: give the column the format yyyy-mm-dd hh:mm:ss there, and "
    "export it again."
)
SHORTENED_FIX = (
    "A spreadsheet has shortened these numbers, and their last digits are lost: give the column the format 0 there, "
    "and export it again from the original."
)
DATES = (
    *(
        "%Y-%m-%d",
        "%d.%m.%Y",
        "%d. %m. %Y",
        "%d.%m.%y",
        "%y.%m.%d",
        "%d/%m/%Y",
        "%m/%d/%Y",
        "%d/%m/%y",
        "%m/%d/%y",
        "%d-%m-%y",
        "%m-%d-%y",
        "%d-%m-%Y",
        "%m-%d-%Y",
    ),
    *(
        "%Y/%m/%d",
        "%Y.%m.%d",
        "%Y%m%d",
        "%d-%b-%Y",
        "%d-%b-%y",
        "%d %b %Y",
        "%d. %b %Y",
        "%b %d %Y",
        "%b %d, %Y",
    ),
    *(
        "%d%b%Y",
        "%d/%b/%Y",
        "%d.%b.%Y",
        "%Y-%b-%d",
        "%a %d %b %Y",
        "%a, %d %b %Y",
        "%a %b %d %Y",
        "%a, %b %d, %Y",
    ),
    *("%y%m%d", "%y-%m-%d", "%y/%m/%d", "%Y-%j", "%Y_%m_%d", "%d_%m_%Y", "%Y %m %d", "%d %m %Y"),
)
PERIODS = (
    *(
        "%Y",
        "%Y%m",
        "%m/%Y",
        "%m.%Y",
        "%m-%Y",
        "%Y/%m",
        "%Y.%m",
        "%YM%m",
        "%Y-M%m",
        "%b-%Y",
        "%b %Y",
        "%b-%y",
        "%b %y",
    ),
    *(
        "%b/%Y",
        "%Y %b",
        "%Y-%b",
        "%G-W%V",
        "%G W%V",
        "%G-%V",
        "%G/%V",
        "%V/%G",
        "W%V %G",
        "W%V-%G",
        "W%V/%G",
        "%GW%V-%u",
    ),
    *(
        "%Y-Q%q",
        "%Y Q%q",
        "%Y/Q%q",
        "Q%q %Y",
        "Q%q-%Y",
        "Q%q/%Y",
        "%qQ%Y",
        "%q/%Y",
        "%Y-q%q",
        "%Yq%q",
        "q%q %Y",
    ),
)
WHOLE = ("%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %Z %Y")
"""As C and Unix write a time: the year behind the clock."""
COMPACT = ("%Y%m%d", "%y%m%d")
"""A time of day in digits may follow at once."""
BETWEEN = (" ", "T", "", ", ", "_", "-", ":", ";", " - ", "/")
CLOCKS = (
    *("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%H:%M:%S,%f", "%H:%M:%S:%f", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p"),
    *(
        "%I:%M:%S%p",
        "%I %p",
        "%H.%M",
        "%H.%M.%S",
        "%H-%M-%S",
        "%H_%M_%S",
        "%H%M",
        "%H%M%S",
        "%H%M%S.%f",
        "%H%M%S%f",
    ),
    *("%Hh%M", "%H", "%H Uhr", "%H:%M Uhr", "%Hh"),
)
ZONES = ("", "%z", " %z", " %Z", "%Z", " UTC%z", " GMT%z")


def advice(cells: pa.Array, stated: str, every: bool) -> str:
    """Return what to do about cells that could not be read.

    Args:
        cells: Text, without blanks around it.
        stated: The option `time_format`.
        every: Whether none of the cells could be read.
    """
    some = [cell for cell in cells.slice(0, TRIED_CELLS).to_pylist() if cell]
    if not some or not every:
        return TIME_FIX if every else CELLS_FIX
    found = [text for text in formats_of(some) if text != stated]
    if len(found) == 1:
        return _state(found[0])
    if found:
        both = ", or ".join(f"{to_set('time_format', text)} ({_order(text)})" for text in found[:3])
        return f"These cells can be read in several ways: {both}. State the right one."
    units = _units(some)
    if units and units != [stated]:
        return " or ".join(f"--set time_format={unit}" for unit in units).join(
            ("These look like Unix times: ", ".")
        )
    if all(re.fullmatch(r"\d([.,]\d+)?[eE]\+?\d+", cell) for cell in some):
        return SHORTENED_FIX
    if all(re.fullmatch(r"[2-6]\d{4}([.,]\d*)?", cell) for cell in some):
        return SPREADSHEET_FIX
    if all(re.fullmatch(r"\d{1,8}(\.0*)?", cell) for cell in some) and stated == "auto":
        return NUMBERS_FIX
    if any(re.search(r"[^\W\d_]{3}", cell) and re.search(r"\d", cell) for cell in some):
        return f"{TIME_FIX} Names of months and days must be English."
    return TIME_FIX


def formats_of(cells: list[str]) -> list[str]:
    """Return the formats that read most of these cells: all but a few dates that no calendar has.

    Of formats with the same answer one is returned.
    """
    texts = pa.array(cells, pa.string())
    answers: dict[bytes, tuple[int, str]] = {}
    for text in dict.fromkeys(text for place in (0, len(cells) // 2, -1) for text in _of_one(cells[place])):
        found = time_format(text).read(texts)
        good = found.written & found.exists
        if good.mean() >= MOST and _plausible(found.times[good], digits=cells[-1].isdigit()):
            answers.setdefault(np.where(good, found.times, 0).tobytes(), (int(good.sum()), text))
    best = max((count for count, _ in answers.values()), default=0)
    return [text for count, text in answers.values() if count == best]


def _of_one(cell: str) -> Iterator[str]:
    """Yield formats that a cell may be written by: a date at its beginning, and a time of day in the rest."""
    yield from (text for text in (*PERIODS, *WHOLE) if _pattern(text).fullmatch(cell))
    for date in DATES:
        for end in range(len(cell), 5, -1):
            if not _pattern(date).fullmatch(cell, 0, end):
                continue
            if end == len(cell):
                yield date
            compact = date in COMPACT
            for between in BETWEEN:
                if cell.startswith(between, end) and (between or compact):
                    rest = cell[end + len(between) :]
                    yield from (
                        f"{date}{between}{clock}" for clock in _clocks() if _pattern(clock).fullmatch(rest)
                    )


@cache
def _clocks() -> tuple[str, ...]:
    return tuple(clock + zone for clock in CLOCKS for zone in ZONES)


@cache
def _pattern(text: str) -> re.Pattern[str]:
    """Return what a format matches, for one cell at a time; a zone is a name in capitals, and not AM or PM."""
    pieces = {letter: rf"\d{{1,{digits}}}" for letter, digits in DIGITS.items()}
    pieces |= {"Y": r"\d{4}", "G": r"\d{4}", "y": r"\d{2}", "q": "[1-4]", "u": "[1-7]", "f": r"\d{1,9}"}
    pieces |= {"b": r"[^\W\d_]{3,9}", "a": r"[^\W\d_]{3,9}", "p": r"[AaPp]\.?[Mm]\.?"}
    pieces |= {"z": r"(?:[Zz]|[+-]\d{2}(?::?\d{2})?)", "Z": "(?!AM|PM)[A-Z]{1,5}"}
    found = re.findall(r"%.|[^%]+", text)
    return re.compile("".join(pieces[piece[1]] if piece[0] == "%" else re.escape(piece) for piece in found))


def _plausible(times: np.ndarray, *, digits: bool) -> bool:
    """Say whether all times are of years that people keep data of; mere digits may be a count as well."""
    years = times.astype("datetime64[us]").astype("datetime64[Y]").astype(int) + 1970
    first, last = (1900, 2100) if digits else (1600, 2300)
    return bool(((years >= first) & (years < last)).all())


def _units(cells: list[str]) -> list[str]:
    """Return the units in which all cells are Unix times of the years 1973 to 2286."""
    if not all(re.fullmatch(r"\d{9,19}(\.\d*)?", cell) for cell in cells):
        return []
    digits = {len(cell.partition(".")[0]) for cell in cells}
    known = {"seconds": (9, 10), "milliseconds": (12, 13), "microseconds": (15, 16), "nanoseconds": (18, 19)}
    return [unit for unit in UNITS if digits <= set(known[unit])]


def _state(text: str) -> str:
    return f"State how times are written: {to_set('time_format', text)}."


def _order(text: str) -> str:
    first = re.search(r"%[dmbyYGq]", text)
    names = {"%d": "the day first", "%m": "the month first", "%y": "the year first"}
    return names.get(first[0] if first else "", f"as {text}")
