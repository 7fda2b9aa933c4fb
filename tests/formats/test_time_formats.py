"""Formats of strptime are read strictly, a column at once; Python's datetime is the second opinion."""

import datetime as dt
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.formats.time_formats import time_format

EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001
FORMATS = [
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%d.%m.%y %H:%M:%S",
    "%m/%d/%Y %I:%M %p",
    "%m/%d/%Y %I:%M:%S.%f %p",
    "%Y%m%d%H%M",
    "%Y%m%d%H%M%S%f",
    "%Y-%m-%dT%H:%M:%S.%f%z",
    "%d %b %Y %H:%M:%S,%f",
    "%a, %d %B %Y %H:%M:%S %z",
    "%Y-%j %H",
    "%G-W%V-%u",
    "%A %G %V",
    "%b %d, %Y %H.%M",
    "%F %T",
    "%D %R",
]
PLAIN = {"%F %T": "%Y-%m-%d %H:%M:%S", "%D %R": "%m/%d/%y %H:%M"}
"""For Python, which writes the short forms and does not read them."""


def written(read):
    """Return what was read: datetimes, None where nothing can be."""
    return [
        EPOCH + dt.timedelta(microseconds=time) if there and exists else None
        for time, there, exists in zip(read.times.tolist(), read.written, read.exists, strict=True)
    ]


@pytest.mark.parametrize("text", FORMATS)
def test_what_datetime_writes_is_read_to_the_microsecond(text):
    """Thousands of drawn times of the years 1969 to 2068, back as `datetime.strptime` has them."""
    rng = random.Random(text)
    first = dt.datetime(1969, 1, 1, tzinfo=dt.UTC)
    cells = []
    for _ in range(3_000):
        zone = dt.timezone(dt.timedelta(minutes=rng.randrange(-720, 840, 15)))
        time = first + dt.timedelta(microseconds=rng.randrange(3_124_137_600_000_000))
        cells.append(time.astimezone(zone).strftime(text))
    expected = [dt.datetime.strptime(cell, PLAIN.get(text, text)) for cell in cells]  # noqa: DTZ007
    expected = [time.astimezone(dt.UTC).replace(tzinfo=None) if time.tzinfo else time for time in expected]
    assert expected == written(time_format(text).read(pa.array(cells)))


@pytest.mark.parametrize("text", FORMATS)
def test_what_datetime_refuses_is_refused(text):
    """Cells with one digit or letter changed: the same answer as `datetime.strptime`, or none."""
    rng = random.Random(text)
    cells = []
    for _ in range(3_000):
        time = dt.datetime(1969, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=rng.randrange(800_000))
        cell = list(time.strftime(text))
        cell[rng.randrange(len(cell))] = rng.choice("0123456789xM:- ")
        cells.append("".join(cell))
    found = written(time_format(text).read(pa.array(cells)))
    assert any(time is None for time in found)
    for cell, time in zip(cells, found, strict=True):
        try:
            expected = dt.datetime.strptime(cell, PLAIN.get(text, text))  # noqa: DTZ007
        except ValueError:
            expected = None
        expected = (
            expected.astimezone(dt.UTC).replace(tzinfo=None) if expected and expected.tzinfo else expected
        )
        # Python says nothing about a weekday that is not that of the day; we do.
        end_of_day = expected is None and "24" in cell and time and time.time() == dt.time()
        assert time in (expected, None) or end_of_day, cell


@given(st.integers(1, 9999), st.integers(0, 13), st.integers(0, 32))
def test_only_days_of_the_calendar_are_read(year, month, day):
    """30 February is no day, and 29 February in leap years only."""
    (found,) = written(time_format("%d.%m.%Y").read(pa.array([f"{day}.{month}.{year:04}"])))
    try:
        expected = dt.datetime(year, month, day)  # noqa: DTZ001
    except ValueError:
        expected = None
    assert expected == found


@pytest.mark.parametrize(
    ("text", "cell", "expected"),
    [
        ("%d.%m.%Y %H:%M", "31.12.2023 24:00", "2024-01-01T00:00:00"),
        ("%d.%m.%Y %H:%M", "31.12.2023 24:01", None),
        ("%d.%m.%Y %H:%M:%S", "31.12.2023 23:59:60", None),
        ("%G-W%V", "2015-W53", "2015-12-28T00:00:00"),
        ("%G-W%V", "2016-W53", None),
        ("%G-W%V", "2015-W01", "2014-12-29T00:00:00"),
        ("%Y-Q%q", "2005-Q4", "2005-10-01T00:00:00"),
        ("Q%q %Y", "Q5 2005", None),
        ("%b-%y", "Mar-69", "1969-03-01T00:00:00"),
        ("%b-%y", "mar-68", "2068-03-01T00:00:00"),
        ("%a, %d %b %Y", "Mon, 03 May 2024", None),
        ("%a, %d %b %Y", "Fri, 03 May 2024", "2024-05-03T00:00:00"),
        ("%d %b %Y", "3 Mai 2024", None),
        ("%Y%m%d", "2024111", None),
        ("%H Uhr, %d.%m.%Y", "7 Uhr, 3.5.2024", "2024-05-03T07:00:00"),
        ("%I:%M %p %d/%m/%Y", "12:05 a.m. 03/05/2024", "2024-05-03T00:05:00"),
        ("%I:%M %p %d/%m/%Y", "13:05 PM 03/05/2024", None),
        ("%Y-%m-%d %H:%M:%S.%f", "2024-05-03 10:00:00.123456789", "2024-05-03T10:00:00.123456"),
        ("%Y-%m-%d %H:%M:%S.%f", "2024-05-03 10:00:00.5", "2024-05-03T10:00:00.500000"),
        ("%Y-%m-%d %H:%M%z", "0001-01-01 00:00+01:00", None),
        ("%Y-%m-%d %H:%M%z", "2024-01-01 00:00+99:00", None),
        ("%Y", "1950", "1950-01-01T00:00:00"),
        ("%d.%m.%Y", None, None),
    ],
)
def test_hand_worked_cells(text, cell, expected):
    """The end of a day, weeks, quarters, names, digits without anything between them."""
    (found,) = written(time_format(text).read(pa.array([cell], pa.string())))
    assert expected == (found and found.isoformat())


def test_every_quarter_and_week_is_that_of_pandas():
    """Two thousand weeks and four hundred quarters, their first days."""
    pandas = pytest.importorskip("pandas")
    days = pandas.date_range("1985-12-30", periods=2_000, freq="W-MON")
    weeks = [f"{iso.year}-W{iso.week:02}" for iso in map(dt.datetime.isocalendar, days)]
    assert days.to_pydatetime().tolist() == written(time_format("%G-W%V").read(pa.array(weeks)))
    quarters = pandas.period_range("1960Q1", periods=400, freq="Q")
    cells = [f"{quarter.year} Q{quarter.quarter}" for quarter in quarters]
    np.testing.assert_array_equal(
        quarters.to_timestamp().to_numpy("datetime64[us]").astype(np.int64),
        time_format("%Y Q%q").read(pa.array(cells)).times,
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("%Y-%W", "%W is not read"),
        ("%U %Y", "%U is not read"),
        ("%c", "%c is not read"),
        ("%Y-%m-%d %Q", "%Q is not read"),
        ("%d.%m", "gives no date"),
        ("%d %Y", "gives no date"),
        ("date", "gives no date"),
        ("", "gives no date"),
        ("%Y %Y", "%Y twice"),
        ("%F %d", "%d twice"),
        ("%Y-%m-%d %I:%M", "hours are not clear"),
        ("%Y-%m-%d %H:%M %p", "hours are not clear"),
        ("%Y-%m-%d %M", "time of day is missing"),
        ("%Y-%m-%d %", "% is not read"),
    ],
)
def test_a_format_that_would_pass_something_over_is_refused(text, reason):
    """C's strptime takes each of these, and looks at a part of the cell only."""
    with pytest.raises(ValueError, match=reason):
        time_format(text)
