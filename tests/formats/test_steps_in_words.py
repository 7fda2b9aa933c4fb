"""How time stamps lie is told per series, and of many series together."""

from pipeline.formats.steps import SHOWN_SERIES, Timeline, in_words

ONE = Timeline(
    "2024-01-01T00:00:00",
    "2024-01-02T00:00:00",
    "3600 s",
    rows=24,
    gaps=2,
    duplicates=1,
    moved=0.5,
    note="odd",
)


def test_a_few_series_have_a_line_each():
    """First, last, step, rows, gaps, duplicates, moves and a note."""
    first = "a: 2024-01-01T00:00:00 to 2024-01-02T00:00:00, step 3600 s, 24 rows, 2 steps without a row"
    assert [
        f"{first}, 1 row at a step that has one already, rows moved by up to 0.5 s to their steps, odd",
        "b: 2024-01-01T00:00:00 to 2024-01-01T00:00:00, step 1 month, 1 row, no gaps, no duplicates",
    ] == in_words([("a", ONE), ("b", Timeline("2024-01-01T00:00:00", "2024-01-01T00:00:00", "1 month", 1))])


def test_many_series_have_a_line_per_step():
    """With their ranges, and in how many of them something is odd."""
    even = Timeline("2023-01-01T00:00:00", "2023-12-31T00:00:00", "86400 s", 365)
    first, second = in_words(
        [(str(number), even) for number in range(SHOWN_SERIES)] + [("x", ONE), ("y", ONE)]
    )
    assert "12 series, step 86400 s: the first from 2023-01-01T00:00:00" in first
    assert "365 to 365 rows each, no gaps, no duplicates" in first
    assert "2 series, step 3600 s" in second
    assert "4 steps without a row in 2 series" in second
    assert "2 with notes, such as odd" in second
