"""Time stamps become a regular grid by stated policy; hand-worked cases, and pandas as the second opinion."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.formats.problems import Problems
from pipeline.formats.time_grid import Policy, Rows, on_grid
from pipeline.runtime.errors import DataRefused

MINUTE = 60_000_000


def microseconds(*times):
    """Return times as the grid wants them."""
    return np.array(times, dtype="datetime64[us]").astype(np.int64)


def grid_of(times, values, **policy):
    """Return the grid of one channel; raises what is refused."""
    problems = Problems()
    series = np.array(values, dtype=np.float32).reshape(len(times), -1)
    rows = Rows("s", lambda row: f"row {row}", problems)
    grid = on_grid(np.array(times), series, Policy(**policy), rows)
    problems.check()
    return grid


@given(st.sets(st.integers(0, 40), min_size=2, max_size=30), st.sampled_from([1, 60, 3600]))
def test_gaps_are_filled_as_pandas_fills_them(minutes, step):
    """A row at every step from the first to the last; NaN where there was none."""
    times = sorted(minutes)
    frame = pd.Series(
        range(len(times)), pd.to_datetime([time * step for time in times], unit="s"), dtype="float32"
    )
    expected = frame.asfreq(f"{step}s").to_numpy()
    stamps = [time * step * 1_000_000 for time in times]
    grid = grid_of(stamps, range(len(times)), step_seconds=step, gaps="fill")
    np.testing.assert_array_equal(expected, grid.values[:, 0])
    assert (step, frame.index[0].isoformat()) == (grid.step_seconds, grid.time)


@given(st.sets(st.integers(0, 40), min_size=2, max_size=30))
def test_gaps_hold_the_row_before_them_as_pandas_does(minutes):
    """A source that writes when something happens: nothing new, so the last values stay true."""
    times = sorted(minutes)
    frame = pd.Series(
        range(len(times)), pd.to_datetime([time * 60 for time in times], unit="s"), dtype="float32"
    )
    grid = grid_of([time * MINUTE for time in times], range(len(times)), step_seconds=60, gaps="hold")
    np.testing.assert_array_equal(frame.asfreq("60s", method="ffill").to_numpy(), grid.values[:, 0])


def test_held_rows_keep_their_missing_cells():
    """A cell that was empty in the row before the gap stays missing over the gap: it was not measured."""
    grid = grid_of(np.array([0, 1, 4]) * MINUTE, [[1, np.nan], [2, 5], [3, 6]], gaps="hold")
    np.testing.assert_array_equal([[1, np.nan], [2, 5], [2, 5], [2, 5], [3, 6]], grid.values)


def test_the_most_frequent_step_is_taken():
    """Two gaps of different length do not change the step of a series."""
    grid = grid_of(np.array([0, 1, 2, 5, 6, 8]) * MINUTE, range(6))
    assert 60.0 == grid.step_seconds
    np.testing.assert_array_equal([0, 1, 2, np.nan, np.nan, 3, 4, np.nan, 5], grid.values[:, 0])


def test_a_regular_series_is_not_copied():
    """The longest series are the regular ones, and memory is what limits them."""
    values = np.zeros((3, 1), np.float32)
    grid = on_grid(np.arange(3) * MINUTE, values, Policy(), Rows("s", str, Problems()))
    assert np.shares_memory(values, grid.values)


@pytest.mark.parametrize(
    ("policy", "expected"), [("first", [0, 1, 4]), ("last", [0, 3, 4]), ("mean", [0, 2, 4])]
)
def test_rows_at_one_step_become_one_by_policy(policy, expected):
    """A clock that was set back writes some steps twice."""
    grid = grid_of(np.array([0, 1, 1, 1, 2]) * MINUTE, [0, 1, 2, 3, 4], duplicates=policy)
    assert expected == grid.values[:, 0].tolist()


def test_the_mean_passes_over_missing_values():
    """A mean of what is there; of nothing it is missing."""
    values = [[1, np.nan], [np.nan, np.nan], [3, np.nan], [5, 6]]
    grid = grid_of(np.array([0, 0, 0, 1]) * MINUTE, values, duplicates="mean")
    np.testing.assert_array_equal([[2, np.nan], [5, 6]], grid.values)


def test_times_between_steps_move_to_the_nearest_by_policy():
    """29 seconds off is this step, 31 seconds off the next."""
    times = np.array([0, 60, 120 - 29, 180 + 29, 240]) * 1_000_000
    assert [0, 1, 2, 3, 4] == grid_of(times, range(5), step_seconds=60, off_grid="nearest").values[
        :, 0
    ].tolist()


@pytest.mark.parametrize(("months", "seconds"), [(1, 2_629_746), (3, 3 * 2_629_746), (12, 31_556_952)])
def test_months_quarters_and_years_are_steps(months, seconds):
    """Time stamps on the same day of a month lie regularly, although months differ in length."""
    times = (np.datetime64("1949-01") + np.arange(0, 20 * months, months)).astype("datetime64[us]")
    grid = grid_of(times.astype(np.int64), range(20))
    assert (20, seconds) == (len(grid.values), grid.step_seconds)


def test_months_counted_in_mean_months_stay_in_their_month():
    """From the middle of the first month on, every step of 250 years falls into the month it is for."""
    months = np.datetime64("1749-01") + np.arange(3000)
    grid = grid_of(months.astype("datetime64[us]").astype(np.int64), range(3000))
    seconds = np.arange(3000) * grid.step_seconds
    found = np.datetime64(grid.time) + (seconds * 1e6).astype("timedelta64[us]")
    np.testing.assert_array_equal(months, found.astype("datetime64[M]"))


def test_a_missing_month_is_a_gap():
    """Months are counted by the calendar also where one is not there."""
    grid = grid_of(microseconds("2020-01", "2020-02", "2020-03", "2020-05"), [1, 2, 3, 5])
    np.testing.assert_array_equal([1, 2, 3, np.nan, 5], grid.values[:, 0])


@pytest.mark.parametrize(
    ("start", "end", "steps"), [(1, 2, [1, 2]), (0.5, 2.5, [1, 2]), (-5, 0, [0]), (3, 99, [3, 4]), (7, 9, []), (-9, -7, [])]
)  # fmt: skip
def test_windows_mark_the_steps_within_them(start, end, steps):
    """Both ends belong to a window; what is outside the series does not matter."""
    grid = grid_of(1_000 * MINUTE + np.arange(5) * MINUTE, range(5))
    window = (1_000 * MINUTE + round(start * MINUTE), 1_000 * MINUTE + round(end * MINUTE))
    assert steps == np.flatnonzero(grid.marked([window])).tolist()


def test_windows_mark_months():
    """A window from January to March marks three months."""
    grid = grid_of(microseconds(*(f"2020-{month:02}" for month in range(1, 8))), range(7))
    window = microseconds("2020-02-10", "2020-04-01").tolist()
    assert [1, 2, 3] == np.flatnonzero(grid.marked([tuple(window)])).tolist()


@pytest.mark.parametrize(
    ("minutes", "policy", "message"),
    [
        ([0, 1, 1, 2], {}, r"row 2: expected one row per step.*1 such row in s"),
        (
            [0, 1, 1.5, 2, 3, 4, 5, 6, 6.5],
            {},
            r"row 2: expected a time that is whole steps of 60 s.*2 such rows in s",
        ),
        (
            [0, 1, 3, 6],
            {"gaps": "fail", "step_seconds": 60},
            r"row 2: expected a row one step of 60 s after .* a gap; 2 such rows in s",
        ),
        ([0], {}, "at least two rows"),
        ([0, 0], {"duplicates": "first"}, "at least two rows"),
        ([0, 1, 2, 10_000_000], {}, "4 rows over 10000001 steps of 60 s"),
    ],
)
def test_what_the_policy_does_not_allow_is_refused(minutes, policy, message):
    """Row and reason; a time stamp of another century does not fill the memory."""
    with pytest.raises(DataRefused, match=message):
        grid_of((np.array(minutes) * MINUTE).astype(np.int64), range(len(minutes)), **policy)


@pytest.mark.parametrize(
    ("zone", "around", "minutes"),
    [
        ("Europe/Berlin", "2024-03-25", 60),
        ("Europe/Berlin", "2027-03-25", 15),
        ("America/New_York", "2024-03-06", 30),
    ],
)
def test_the_hour_that_a_local_clock_jumped_over_is_said(zone, around, minutes):
    """Of a clock that pandas knows; the same rows in UTC, and a gap at another hour, say nothing."""
    utc = pd.date_range(around, periods=14 * 24 * 60 // minutes, freq=f"{minutes}min", tz="UTC")
    local = utc.tz_convert(zone).tz_localize(None)
    times = microseconds(*local[~local.duplicated()].to_numpy())
    note = grid_of(times, range(len(times)), gaps="fill").timeline.note
    assert f"--set timezone={zone}" in note
    assert "T02:00:00" in note
    plain = microseconds(*utc.tz_localize(None).to_numpy())
    assert not grid_of(plain, range(len(plain)), gaps="fill").timeline.note
    gap = np.delete(plain, slice(100, 100 + 60 // minutes))
    assert not grid_of(gap, range(len(gap)), gaps="fill").timeline.note
