"""Times on circles, against datetime."""

import math
from datetime import datetime, timedelta

import numpy as np
import pytest

from pipeline.preprocessing.side import calendar_features, calendar_names, seconds_of

PARTS = ["hour", "weekday", "month", "day_of_year"]
START = datetime(1969, 12, 25, 3, 30)  # noqa: DTZ001  # the clock on the wall
TIMES = [START + timedelta(hours=2861 * number) for number in range(200)]


def test_every_part_is_what_datetime_says():
    """200 times from before 1970 on, leap years among them."""
    seconds = np.array([seconds_of(time.isoformat()) for time in TIMES], np.float64)
    turns = [
        [
            (time.hour + time.minute / 60) / 24,
            time.weekday() / 7,
            (time.month - 1) / 12,
            (time.timetuple().tm_yday - 1) / 365.25,
        ]
        for time in TIMES
    ]
    expected = [[f(2 * math.pi * turn) for turn in row for f in (math.sin, math.cos)] for row in turns]
    made = calendar_features(seconds, PARTS)
    np.testing.assert_allclose(expected, made, atol=1e-6)
    assert (len(calendar_names(PARTS)), np.float32) == (made.shape[1], made.dtype)


def test_midnight_is_near_eleven_at_night():
    """The way round the circle is short: 23 and 0 o'clock are as near as 0 and 1."""
    points = calendar_features(np.array([23 * 3600, 0, 3600]), ["hour"])
    assert math.dist(points[1], points[2]) == pytest.approx(math.dist(points[0], points[1]), abs=1e-6)


@pytest.mark.parametrize(
    "time", ["2026-11-23", "2026-11-23 00:00:00", "2026-11-23T00:00Z", "2026-11-23T05:00:00+05:00"]
)
def test_times_are_wall_clock_or_utc(time):
    """A date alone is midnight, and an instant with an offset has the clock of UTC."""
    assert 20780 * 86400 == seconds_of(time)


def test_no_time_is_refused():
    """The message shows what was given."""
    with pytest.raises(ValueError, match="time='soon'"):
        seconds_of("soon")


def test_no_parts_give_no_columns():
    """Nothing asked, nothing told."""
    assert (3, 0) == calendar_features(np.zeros(3), []).shape
