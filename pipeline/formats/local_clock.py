"""A local clock with its changes: which instant a stamp without an offset means, by the IANA time zone.

The rule for the hour that comes twice in autumn: in order of reading, rows belong to the first pass until the clock
goes back (or shows the same time again), and then to the second; a single pass is the first. A time that the clock
jumped over in spring belongs to no instant: it is refused, dropped or read by the clock before the change, as stated.

Zones come from the package tzdata, so that every machine that has installed the lock has the same ones.
"""

import datetime as dt
import difflib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from pipeline.formats.time_formats import DAY

MissingHour = Literal["fail", "drop", "shift"]
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
SORTED = 0.9
"""Rows are in order of time where so many of the steps between them go one way."""
UTC_NAMES = ("UTC", "GMT", "UCT", "Z", "z", "utc", "gmt")


@cache
def zone_names() -> frozenset[str]:
    """Return the names of all zones."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text("utf-8").split())


@cache
def zone(name: str) -> ZoneInfo:
    """Return a zone.

    Raises:
        ValueError: There is none of that name; similar ones are named.
    """
    if name not in zone_names():
        ends = {known.rsplit("/", 1)[-1].casefold(): known for known in sorted(zone_names())}
        word = name.rsplit("/", 1)[-1].replace(" ", "_").casefold()
        near = [ends[end] for end in difflib.get_close_matches(word, ends, n=3)]
        raise ValueError(
            f"Expected an IANA name such as {', '.join(near or ['Europe/Berlin', 'America/New_York'])}"
        )
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


@dataclass(frozen=True)
class Pieces:
    """A clock between its changes.

    Attributes:
        starts: Instants from which on an offset holds, microseconds since 1970, shape (pieces,).
        offsets: Of local clock from UTC, microseconds, shape (pieces,).
        names: What the clock is called meanwhile, `CEST`.
    """

    starts: np.ndarray
    offsets: np.ndarray
    names: tuple[str, ...]


@cache
def pieces(name: str, first_year: int, last_year: int) -> Pieces:
    """Return the offsets of a zone in these years and around them; changes are found to the second."""
    known = zone(name)

    def at(second: int) -> tuple[dt.timedelta, str]:
        time = (EPOCH + dt.timedelta(seconds=second)).astimezone(known)
        return time.utcoffset() or dt.timedelta(), time.tzname() or ""

    day = DAY // 1_000_000
    first = int((dt.datetime(max(first_year - 1, 2), 1, 1, tzinfo=dt.UTC) - EPOCH).total_seconds())
    last = int((dt.datetime(min(last_year + 2, 9998), 1, 1, tzinfo=dt.UTC) - EPOCH).total_seconds())
    found = [(first, at(first))]
    for later in range(first + day, last, day):
        if at(later) != found[-1][1]:
            low, high = later - day, later
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if at(middle) == found[-1][1] else (low, middle)
            found.append((high, at(high)))
    starts = np.array([start for start, _ in found], np.int64) * 1_000_000
    offsets = [round(offset.total_seconds()) * 1_000_000 for _, (offset, _) in found]
    return Pieces(starts, np.array(offsets, np.int64), tuple(name for _, (_, name) in found))


@dataclass(frozen=True)
class Instants:
    """What stamps of a local clock mean.

    Attributes:
        times: Microseconds since 1970 in UTC, int64, shape (rows,); of times that never were by the clock before.
        missing: bool, shape (rows,); which times the clock jumped over.
        twice: bool, shape (rows,); which times the clock showed twice.
    """

    times: np.ndarray
    missing: np.ndarray
    twice: np.ndarray


def instants(wall: np.ndarray, name: str, *, later: np.ndarray | None = None) -> Instants:
    """Return the instants of stamps.

    Args:
        wall: What the clock showed, as microseconds since 1970, int64, shape (rows,).
        name: Of the zone.
        later: bool, shape (rows,): whether a time that came twice is of the second pass; None: of the first.
    """
    if not wall.size:
        return Instants(wall, np.zeros(0, bool), np.zeros(0, bool))
    known = _pieces_of(wall, name)
    first, last = _candidates(wall, known)
    missing, twice = first > last, first < last
    piece = np.where(missing, last, first)
    if later is not None:
        piece = np.where(twice & later, last, piece)
    return Instants(wall - known.offsets[piece], missing, twice)


@dataclass(frozen=True)
class InUtc:
    """The rows of a series by a local clock, in order of their instants.

    Attributes:
        kept: Which rows they are, shape (kept,); none where a row of a missing hour is refused.
        times: Microseconds since 1970 in UTC, int64, shape (kept,), ascending.
        missing: Rows in an hour that the clock jumped over.
        note: What became of hours that came twice or never, in words.
    """

    kept: np.ndarray
    times: np.ndarray
    missing: np.ndarray
    note: str


def in_utc(wall: np.ndarray, rows: np.ndarray | None, name: str, missing_hour: MissingHour) -> InUtc:
    """Return the rows of a series with their instants.

    Args:
        wall: What the clock showed, microseconds since 1970, int64, shape (rows,), ascending.
        rows: Number of each row in order of reading; None where that is the order given.
        name: Of the zone.
        missing_hour: What becomes of rows in an hour that the clock jumped over.
    """
    order = np.arange(len(wall)) if rows is None else np.argsort(rows, kind="stable")
    later = np.empty(len(wall), bool)
    later[order] = second_pass(wall[order], name)
    found = instants(wall, name, later=later)
    missing = np.flatnonzero(found.missing)
    kept = np.flatnonzero(~found.missing) if missing_hour == "drop" else np.arange(len(wall))
    if missing.size and missing_hour == "fail":
        kept = kept[:0]
    kept = kept[np.argsort(found.times[kept], kind="stable")]
    note = f"times in UTC, by the clock of {name}"
    if found.twice.any():
        note += (
            f", {later.sum():,} of {found.twice.sum():,} rows in hours that came twice are of the second pass"
        )
    if missing.size:
        done = "left out" if missing_hour == "drop" else "read by the clock before"
        note += f", {missing.size:,} rows in hours that the clock jumped over {done}"
    return InUtc(kept, found.times[kept], missing, note)


def named_instants(wall: np.ndarray, names: pa.Array, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the instants of stamps that say what the clock was called, and which of them can be right.

    Args:
        wall: What the clock showed, microseconds since 1970, shape (rows,).
        names: `CET`, `CEST` or `UTC` of each.
        name: Of the zone; "" for none: only UTC is known then.
    """
    encoded = names.dictionary_encode()
    words = [str(word) for word in encoded.dictionary.to_pylist()]
    codes = np.asarray(encoded.indices.fill_null(0))
    utc = np.array([word in UTC_NAMES for word in words] or [True])[codes]
    if not name or not wall.size:
        return wall, utc
    known = _pieces_of(wall, name)
    right = np.array([[piece == word for word in words] for piece in known.names])
    first, last = _candidates(wall, known)
    fits_first = (first <= last) & right[first, codes]
    fits_last = (first <= last) & right[last, codes]
    times = wall - np.where(utc, 0, known.offsets[np.where(fits_first, first, last)])
    return times, utc | fits_first | fits_last


def second_pass(wall: np.ndarray, name: str) -> np.ndarray:
    """Return which rows are of the second pass of an hour that came twice.

    Args:
        wall: What the clock showed in order of reading, microseconds since 1970, int64, shape (rows,).
        name: Of the zone.

    Returns:
        bool, shape (rows,).
    """
    later = np.zeros(len(wall), bool)
    known = _pieces_of(wall, name)
    first, last = _candidates(wall, known)
    twice = np.flatnonzero(first < last)
    if not twice.size:
        return later
    outside = ~((first < last)[1:] & (first < last)[:-1])
    steps = np.diff(wall)[outside]
    forward, backward = int((steps > 0).sum()), int((steps < 0).sum())
    for change in np.unique(last[twice]).tolist():
        rows = twice[last[twice] == change]
        if forward >= SORTED * (forward + backward):
            later[rows] = _after_change(wall[rows])
        elif backward >= SORTED * (forward + backward):
            later[rows[::-1]] = _after_change(wall[rows[::-1]])
        else:
            later[rows] = _seen_before(wall[rows])
    return later


def _after_change(wall: np.ndarray) -> np.ndarray:
    """Return which rows of an hour, in order of time, come after the clock went back."""
    steps = np.diff(wall)
    back = np.flatnonzero(steps < 0)
    if not back.size:
        back = np.flatnonzero(steps == 0)
    later = np.zeros(len(wall), bool)
    if back.size:
        later[back[0] + 1 :] = True
    return later


def _seen_before(wall: np.ndarray) -> np.ndarray:
    """Return which rows, in any order, show a time that a row before them shows."""
    later = np.ones(len(wall), bool)
    later[np.unique(wall, return_index=True)[1]] = False
    return later


def _pieces_of(wall: np.ndarray, name: str) -> Pieces:
    """Return the pieces that stamps can lie in; whole decades, so that series of one table share them."""
    years = (
        wall[[wall.argmin(), wall.argmax()]].astype("datetime64[us]").astype("datetime64[Y]").astype(int)
        + 1970
    )
    return pieces(name, int(years[0]) // 10 * 10, int(years[1]) // 10 * 10 + 9)


def _candidates(wall: np.ndarray, known: Pieces) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last piece in which the clock shows a time; first > last where none does."""
    begins = known.starts + known.offsets
    ends = known.starts[1:] + known.offsets[:-1]
    first = np.searchsorted(ends, wall, side="right")
    last = np.maximum(np.searchsorted(begins, wall, side="right") - 1, 0)
    return np.where(wall < begins[0], 0, first), last
