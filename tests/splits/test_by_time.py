"""Splits by time: the past trains, ties stay whole, embargoes are kept, dates pin what shares leave open."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.splits.by_time import (
    Boundaries,
    Segment,
    iso_time,
    seconds_since_1970,
    segments_by_time,
    split_by_time,
)

day_lists = st.lists(st.integers(1, 28), min_size=1, max_size=60)


def days(*numbers):
    """Return days of January 2020."""
    return [f"2020-01-{number:02d}" for number in numbers]


def steps(segments, split, series=0):
    """Return the steps of a split in one series."""
    return [(part.start, part.stop) for part in segments if part.split == split and part.series == series]


def test_the_last_shares_of_the_order_of_time_choose_and_judge():
    """Ten days in any order: days 1 to 6 train, 7 and 8 choose, 9 and 10 judge."""
    order = [10, 3, 7, 1, 9, 2, 8, 4, 6, 5]
    splits, dates = split_by_time(days(*order), Boundaries(0.2, 0.2))
    expected = ["test" if day > 8 else "val" if day > 6 else "train" for day in order]
    assert expected == splits.tolist()
    assert {"val_start": "2020-01-07T00:00:00", "test_start": "2020-01-09T00:00:00"} == dates


def test_ties_go_whole_to_the_later_side():
    """The boundary of a fifth would cut the four samples of day 3; all of them judge."""
    splits, _ = split_by_time(days(1, 1, 1, 1, 2, 2, 3, 3, 3, 3), Boundaries(0.2, 0.2))
    assert ["train"] * 4 + ["val"] * 2 + ["test"] * 4 == splits.tolist()


@settings(deadline=None)
@given(day_lists, st.floats(0.05, 0.4), st.floats(0.05, 0.4), st.integers(0, 3))
def test_no_time_is_on_two_sides(numbers, val_share, test_share, embargo):
    """Every training time is before every choosing time, and those before every judging time."""
    times = days(*numbers)
    try:
        splits, _ = split_by_time(times, Boundaries(val_share, test_share, embargo=embargo))
    except ValueError:
        return  # refused: what is let through is in order
    of = {
        name: [time for time, own in zip(times, splits, strict=True) if own == name] for name in set(splits)
    }
    assert max(of["train"]) < min(of["val"])
    assert max(of["val"]) < min(of["test"])


def test_dates_take_the_place_of_shares():
    """The first times of val and test, and the end of use, are as written."""
    boundaries = Boundaries(0.5, 0.4, "2020-01-03", "2020-01-05", "2020-01-07")
    splits, _ = split_by_time(days(1, 2, 3, 4, 5, 6, 7, 8), boundaries)
    assert ["train"] * 2 + ["val"] * 2 + ["test"] * 2 + ["excluded"] * 2 == splits.tolist()


@settings(deadline=None)
@given(day_lists, day_lists)
def test_with_dates_new_samples_move_no_old_one(old, new):
    """Growth leaves every old sample where it was."""
    boundaries = Boundaries(0.2, 0.2, "2020-01-10", "2020-01-20")
    known = days(5, 15, 25)
    before, _ = split_by_time(known + days(*old), boundaries)
    after, _ = split_by_time(known + days(*old) + days(*new), boundaries)
    assert before.tolist() == after[: len(before)].tolist()


def test_the_embargo_takes_the_end_of_train_and_of_val():
    """Two samples before each boundary are left out, with all that share their time."""
    times = days(1, 2, 3, 3, 3, 4, 5, 6, 7, 8, 9, 10)
    boundaries = Boundaries(0.2, 0.2, "2020-01-05", "2020-01-09", embargo=2)
    splits, _ = split_by_time(times, boundaries)
    expected = ["train"] * 2 + ["excluded"] * 4 + ["val"] * 2 + ["excluded"] * 2 + ["test"] * 2
    assert expected == splits.tolist()


@pytest.mark.parametrize("wrong", ["", "yesterday", "2020-13-01"])
def test_a_sample_without_a_time_is_refused(wrong):
    """The message counts them and says how to name the column."""
    with pytest.raises(ValueError, match=r"1 of 3 samples without, sample 1: .*--set time="):
        split_by_time(["2020-01-01", wrong, "2020-01-02"], Boundaries(0.2, 0.2))


def test_one_time_for_all_cannot_be_split():
    """All ties are on one side, so two splits are empty; both are named, with what is needed."""
    with pytest.raises(ValueError, match="train is too small") as error:
        split_by_time(days(1, 1, 1), Boundaries(0.2, 0.2))
    assert "val is too small" in str(error.value)
    assert "At least 5 samples are needed" in str(error.value)


def test_dates_out_of_order_are_refused():
    """Test may not begin before val."""
    with pytest.raises(ValueError, match="not in order"):
        split_by_time(days(1, 2, 3), Boundaries(0.2, 0.2, "2020-01-03", "2020-01-02"))


def test_times_count_in_utc():
    """A zone is respected, a time without one is UTC: the Unix epoch is 0."""
    seconds = seconds_since_1970(["1970-01-01", "1970-01-01T01:00:00+01:00", "1970-01-02 00:00"])
    assert [0.0, 0.0, 86400.0] == seconds.tolist()
    assert "1970-01-02T00:00:00" == iso_time(86400.0)


def test_every_series_is_cut_by_its_own_shares():
    """The first 60 percent of each series train, the last 20 judge."""
    segments = segments_by_time(np.array([100, 50]), ["", ""], np.zeros(2), Boundaries(0.2, 0.2))
    assert [Segment(0, "train", 0, 60), Segment(0, "val", 60, 80), Segment(0, "test", 80, 100)] == segments[
        :3
    ]
    assert [(30, 40)] == steps(segments, "val", series=1)


def test_the_embargo_takes_the_last_steps_of_train_and_of_val():
    """Five of each, none of test; where val has two steps only, both are left out, and none of train beyond its five."""
    segments = segments_by_time(np.array([100, 10]), ["", ""], np.zeros(2), Boundaries(0.2, 0.2, embargo=5))
    assert [
        Segment(0, "train", 0, 55),
        Segment(0, "excluded", 55, 60),
        Segment(0, "val", 60, 75),
        Segment(0, "excluded", 75, 80),
        Segment(0, "test", 80, 100),
        Segment(1, "train", 0, 1),
        Segment(1, "excluded", 1, 6),
        Segment(1, "excluded", 6, 8),
        Segment(1, "test", 8, 10),
    ] == segments


def test_dates_cut_every_series_at_the_same_time():
    """Hours from 1 January; a series that begins later has fewer steps before the same date."""
    boundaries = Boundaries(0.1, 0.1, "2020-01-03", "2020-01-04", "2020-01-05")
    segments = segments_by_time(
        np.array([120, 96]), ["2020-01-01", "2020-01-02"], np.array([3600.0, 3600.0]), boundaries
    )
    assert [(0, 48)] == steps(segments, "train")
    assert [(0, 24)] == steps(segments, "train", series=1)
    assert [(48, 72)] == steps(segments, "test", series=1)
    assert [(96, 120)] == steps(segments, "excluded")


def test_a_boundary_between_two_steps_goes_to_the_later_one():
    """val_start at half past belongs to no step; the next step is the first of val."""
    boundaries = Boundaries(0.1, 0.1, "2020-01-01T02:30:00", "2020-01-01T04:00:00")
    segments = segments_by_time(np.array([6]), ["2020-01-01"], np.array([3600.0]), boundaries)
    assert [(0, 3)] == steps(segments, "train")
    assert [(3, 4)] == steps(segments, "val")


@settings(deadline=None)
@given(st.lists(st.integers(20, 200), min_size=1, max_size=5), st.integers(0, 5))
def test_segments_cover_every_step_once(lengths, embargo):
    """Whatever is left out, no step is in two segments and none is in no segment."""
    boundaries = Boundaries(0.3, 0.3, embargo=embargo)
    segments = segments_by_time(np.array(lengths), [""] * len(lengths), np.zeros(len(lengths)), boundaries)
    counts = Counter((part.series, step) for part in segments for step in range(part.start, part.stop))
    assert {(series, step): 1 for series, length in enumerate(lengths) for step in range(length)} == dict(
        counts
    )


def test_series_too_short_for_a_window_are_refused_with_the_number_of_steps():
    """A horizon of 30 steps does not fit into 20; at a share of 0.2 it takes 150."""
    with pytest.raises(ValueError, match="test is too small") as error:
        segments_by_time(np.array([100]), [""], np.zeros(1), Boundaries(0.2, 0.2), needed=(50, 30))
    assert "Expected at least 30 steps in a row" in str(error.value)
    assert "At least 150 steps are needed" in str(error.value)


def test_dates_without_time_stamps_are_refused():
    """A series without a step in time cannot be cut at a date."""
    with pytest.raises(ValueError, match="Dates cannot cut series"):
        segments_by_time(np.array([9]), [""], np.zeros(1), Boundaries(0.1, 0.1, "2020-01-01", "2020-01-02"))
