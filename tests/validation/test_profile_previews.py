"""How series are drawn; pictures and texts are shown in tests/validation/test_report.py."""

import numpy as np

from pipeline.validation.series import polylines, series_previews


def points(line):
    """Return a polyline as an array of shape (points, 2)."""
    return np.array([[float(number) for number in pair.split(",")] for pair in line.split()])


def test_a_line_by_hand():
    """0, 2, 1 goes from bottom left to the top in the middle, then half down."""
    (line,) = polylines(np.array([0.0, 2.0, 1.0]))
    assert line == "0.0,39.0 50.0,1.0 100.0,20.0"


def test_gaps_part_the_line():
    """Before and after a missing value, and a single known step is drawn as a dot."""
    lines = polylines(np.array([0, 1, np.nan, 1, np.inf, 0, 1]))
    assert [len(points(line)) for line in lines] == [2, 2, 2]
    assert len(set(map(tuple, points(lines[1]).tolist()))) == 1


def test_a_peak_survives_thinning():
    """One high step among 10,000 is still drawn, near its place, with few points."""
    values = np.zeros(10_000)
    values[7_000] = 5
    (line,) = polylines(values)
    drawn = points(line)
    assert len(drawn) <= 80
    assert drawn[drawn[:, 1].argmin()].tolist() == [70.0, 1.0]


def test_constant_and_unknown_series():
    """A constant one is a line in the middle, an unknown one is nothing."""
    assert set(points(polylines(np.full(5, 3.0))[0])[:, 1]) == {20.0}
    assert polylines(np.full(200, np.nan)) == []


def test_at_most_three_channels_are_drawn():
    """More would hide each other."""
    show = series_previews([np.random.default_rng(0).random((20, 9))])
    assert [channel for channel, _ in show(0).lines] == [0, 1, 2]
