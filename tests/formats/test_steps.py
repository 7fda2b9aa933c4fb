"""A step is taken where most rows are one apart; else the advice, followed literally, gives the series that was meant."""

import re

import numpy as np
import pandas as pd
import pytest

from pipeline.formats.problems import Problems
from pipeline.formats.time_grid import Policy, Rows, on_grid
from pipeline.runtime.errors import DataRefused

SECOND = 1_000_000


def grid_of(times, **policy):
    """Return the grid of a series that counts its rows; raises what is refused."""
    problems = Problems()
    values = np.arange(len(times), dtype=np.float32)[:, None]
    grid = on_grid(np.array(times), values, Policy(**policy), Rows("s", lambda row: f"row {row}", problems))
    problems.check()
    return grid


def advised(times):
    """Return what the refusal of these times says, and its options as the policy has them."""
    with pytest.raises(DataRefused) as refused:
        grid_of(times)
    said = dict(
        re.findall(r"--set (step|off_grid|duplicates|gaps)=([a-z]+|[0-9]+(?:\.[0-9]+)?)", str(refused.value))
    )
    step = said.pop("step", None)
    if step == "months":
        return str(refused.value), said | {"months": True}
    return str(refused.value), said | ({"step_seconds": float(step)} if step else {})


def stamps(start, *offsets_s):
    """Return microseconds from a start and seconds after it."""
    return np.datetime64(start, "us").astype(np.int64) + (np.concatenate(offsets_s) * SECOND).astype(np.int64)


@pytest.mark.parametrize("step", [1, 10, 60, 300, 900, 3600, 86_400])
@pytest.mark.parametrize("share", [0.002, 0.02, 0.2])
def test_jitter_is_moved_to_the_steps_of_the_clock(step, share):
    """Whatever the first row's own deviation is, steps lie on round times, one row at each."""
    rng = np.random.default_rng(round(step + 1_000 * share))
    off = np.round(rng.uniform(-share, share, 500) * step, 3)
    times = stamps("2024-03-01T00:00", np.arange(500) * step + off)
    message, policy = advised(times)
    assert {"step_seconds": float(step), "off_grid": "nearest"} == policy
    assert "jitter" in message
    grid = grid_of(times, **policy)
    assert (500, "2024-03-01T00:00:00", float(step)) == (len(grid.values), grid.time, grid.step_seconds)
    assert (0, 0) == (grid.timeline.gaps, grid.timeline.duplicates)
    np.testing.assert_allclose(np.abs(off).max(), grid.timeline.moved, atol=1e-6)


def test_jitter_with_holes_keeps_its_holes():
    """Rows that are not there are gaps, and the others stay where they belong."""
    rng = np.random.default_rng(0)
    there = np.flatnonzero(rng.random(1_000) < 0.8)
    times = stamps("2024-03-01T05:00", there * 3600.0 + rng.uniform(-30, 30, len(there)))
    _, policy = advised(times)
    grid = grid_of(times, **policy)
    np.testing.assert_array_equal(there - there[0], np.flatnonzero(~np.isnan(grid.values[:, 0])))


def test_jitter_about_seven_past_the_hour_stays_there():
    """A clock that is always seven minutes late has its steps there."""
    rng = np.random.default_rng(0)
    times = stamps("2024-03-01T00:29", np.arange(300) * 3600 + rng.uniform(-60, 60, 300))
    grid = grid_of(times, step_seconds=3600, off_grid="nearest")
    assert grid.time.startswith(("2024-03-01T00:28", "2024-03-01T00:29"))
    assert 300 == len(grid.values)


def test_a_row_about_every_minute_is_told_from_jitter():
    """Each waits a minute after the last: the deviations add up, and every row is moved by up to half a step."""
    times = stamps("2024-03-01", np.cumsum(np.random.default_rng(1).uniform(60.2, 63, 1_000)))
    message, policy = advised(times)
    assert "no clock, but a row about every 60 s" in message
    assert 60.0 == grid_of(times, **policy).step_seconds


@pytest.mark.parametrize("seed", range(8))
def test_events_are_told_and_the_advice_leads_on(seed):
    """A step is never found among them; the one that is suggested reads them, with the policies it says."""
    times = stamps("2024-01-01", np.sort(np.random.default_rng(seed).uniform(0, 60 * 86_400, 400)))
    message, policy = advised(times)
    assert "events" in message
    grid = grid_of(times, **policy)
    assert grid.timeline.rows == 400
    assert not np.isnan(grid.values[0]).any()


@pytest.mark.parametrize("frequency", ["ME", "BME", "QE", "YE", "BQE", "MS", "BMS", "QS"])
def test_ends_and_beginnings_of_months_are_months(frequency):
    """By themselves where all lie on the last or the same day; as advised where weekends move them."""
    times = (
        pd.date_range("2015-01-01", periods=40, freq=frequency).to_numpy("datetime64[us]").astype(np.int64)
    )
    grid = grid_of(times) if not frequency.startswith("B") else grid_of(times, **advised(times)[1])
    months = times.astype("datetime64[us]").astype("datetime64[M]")
    step = int((months[1] - months[0]).astype(int))
    assert (40, step, True, 0) == (len(grid.values), grid.step, grid.months, grid.timeline.gaps)


def test_weekdays_are_told():
    """Saturdays and Sundays are counted as missing, which somebody should know."""
    times = pd.bdate_range("2022-01-03", periods=500).to_numpy("datetime64[us]").astype(np.int64)
    timeline = grid_of(times).timeline
    assert 198 == timeline.gaps
    assert "weekdays only: 198 of the steps" in timeline.note
    daily = np.delete(np.arange(500), [10, 11]) * 86_400 * SECOND
    assert grid_of(daily).timeline.note == ""


def test_a_grid_of_holes_is_refused_until_it_is_stated():
    """Rows of office hours leave most minutes without one; filling or holding is somebody's decision."""
    day = 9 * 3600 + np.arange(0, 8 * 3600, 60)
    times = stamps("2024-03-04", *(day + 86_400 * number for number in range(5)))
    message, policy = advised(times)
    assert "rows at half of the steps of 60 s" in message
    assert policy["gaps"] in ("fill", "hold")
    assert grid_of(times, **policy).timeline.gaps == len(grid_of(times, gaps="fill").values) - len(times)


def test_whole_steps_without_a_most_frequent_one_are_named():
    """Half of the hours are missing: the step is clear, and has to be said."""
    there = np.flatnonzero(np.random.default_rng(2).random(2_000) < 0.4)
    message, policy = advised(there * 3600 * SECOND)
    assert "all of them whole steps of 3600 s" in message
    np.testing.assert_array_equal(
        there - there[0],
        np.flatnonzero(~np.isnan(grid_of(there * 3600 * SECOND, **(policy | {"gaps": "fill"})).values[:, 0])),
    )


def test_nearest_needs_a_step_of_a_clock_or_a_stated_one():
    """3607 s is nobody's clock: rows would be moved to steps that drift through the day."""
    times = np.arange(100) * 3607 * SECOND
    times[50:] += 900 * SECOND
    with pytest.raises(DataRefused, match=r"--set step=3607\."):
        grid_of(times, off_grid="nearest")
    assert 3607.0 == grid_of(times, off_grid="nearest", step_seconds=3607.0).step_seconds
    with pytest.raises(DataRefused, match="--set step=3607 --set off_grid=nearest"):
        grid_of(times)


def test_a_repeated_hour_on_a_sunday_night_asks_for_the_zone():
    """A local clock that was set back writes an hour twice."""
    wall = (
        pd.date_range("2024-10-20", "2024-11-02", freq="h", tz="UTC")
        .tz_convert("Europe/Berlin")
        .tz_localize(None)
    )
    times = np.sort(wall.to_numpy("datetime64[us]").astype(np.int64))
    with pytest.raises(DataRefused, match="--set timezone=Europe/Berlin"):
        grid_of(times)
