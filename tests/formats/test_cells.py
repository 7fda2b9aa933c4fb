"""Cells are numbers, missing values or labels by one rule; the second opinion is Python's `decimal`."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.formats.cells import (
    Cell,
    as_number,
    label_text,
    number_cells,
    numbers,
    plain_name,
    without_blank_end,
)
from pipeline.formats.delimited import Batch
from pipeline.formats.problems import Problems
from pipeline.formats.side_cells import SideCells
from pipeline.runtime.errors import DataRefused


@given(
    st.lists(st.decimals(allow_nan=False, allow_infinity=False, min_value=-1e30, max_value=1e30), max_size=9)
)
def test_every_decimal_number_is_read(values):
    """What `decimal` writes is read to the nearest float32, with blanks around it or not."""
    expected = np.array([float(value) for value in values], dtype=np.float32)
    found, wrong = numbers([f" {value}\t" for value in values])
    np.testing.assert_array_equal(expected, found.astype(np.float32))
    assert [] == wrong


@pytest.mark.parametrize(
    "cell", ["1_000", "inf", "-Infinity", "1e39", "0x1A", "1,5", "\u0661", "1 2", "\x0c1", "Nan"]
)
def test_what_only_python_would_read_is_no_number(cell):
    """Each of these means something else in some file, so none is taken."""
    values, wrong = numbers(["1", cell, "2"])
    assert [1] == wrong
    assert [1.0, 2.0] == values[[0, 2]].tolist()
    assert np.isnan(values[1])


def test_missing_values_are_nan_and_not_wrong():
    """An empty cell, a question mark and the usual words stand for no value."""
    values, wrong = numbers(["", "?", "NA", "NaN", "null", "3"])
    assert [] == wrong
    assert [True] * 5 + [False] == np.isnan(values).tolist()


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e39", "Nan"])
def test_what_only_arrow_would_read_is_no_number(cell):
    """Arrow casts a whole column at once, and takes each of these; the rule is that of single cells."""
    problems = Problems()
    batch = Batch("t.csv", "line", range(2, 5), {"a": pa.array(["1", cell, "2"])})
    np.testing.assert_array_equal([[1], [np.nan], [2]], number_cells(batch, ["a"], problems))
    with pytest.raises(DataRefused, match=rf"t.csv, line 3, .* received '{cell}'"):
        problems.check()


def test_true_is_a_name_and_no_number():
    """Python counts with it; a target of `true` in JSON lines is a mistake."""
    problems = Problems()
    assert as_number(Cell("t.jsonl, line 1", True), problems) is None
    with pytest.raises(DataRefused, match=r"t.jsonl, line 1: expected a number .*received True"):
        problems.check()
    assert "true" == plain_name(True)


def side_cells(cells):
    """Return what the side column `room` of a delimited file is, seen cell by cell."""
    seen = SideCells("room", typed=False)
    for line, cell in enumerate(cells, start=2):
        seen.see(f"t.csv, line {line}", cell)
    return seen


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["41", "", "0.5", "NA", "0"], "number"),
        (["Bonn", "", "NA", "Ulm"], "category"),
        (["41", "007", "12"], "category"),
        (["41", "-07"], "category"),
        (["41", "007", "12b"], "category"),
    ],
)
def test_a_side_column_is_of_numbers_unless_cells_are_words_or_padded(cells, kind):
    """Whoever writes 007 means an id: then 41 is one as well, and a 12b among them is no mistake."""
    assert kind == side_cells(cells).kind()


def test_a_side_column_of_numbers_and_words_is_refused():
    """The first number and the first word are named, for either may be the mistake."""
    with pytest.raises(
        DataRefused, match=r"'room' mixes .*'41' at t.csv, line 3, and 'old' at t.csv, line 4"
    ):
        side_cells(["NA", "41", "old", "12", "new"]).kind()


@pytest.mark.parametrize(
    ("written", "label"),
    [("1.0000000e+00", "1"), ("-1.0000000e+00", "-1"), (" 2.0", "2"), ("1E1", "10"), ("0.50", "0.5"), ("1", "1"),
     ("007", "007"), ("NA", "NA"), ("Standing", "Standing"), ("1e400", "1e400"), ("+1", "+1"), ("1.", "1")],
)  # fmt: skip
def test_a_label_written_as_a_float_has_its_short_form(written, label):
    """The same class in .txt and .ts has one name; ids and words stay as they are."""
    assert label == label_text(written)


@given(st.integers(-(10**6), 10**6))
def test_short_forms_are_the_number_itself(value):
    """Scientific notation of a whole number comes back as that number."""
    assert str(value) == label_text(f"{value:.7e}") or Decimal(f"{value:.7e}") != value


@given(st.lists(st.lists(st.booleans(), max_size=4), max_size=5))
def test_rows_that_hold_nothing_are_passed_over_at_the_end_of_a_file_alone(blocks):
    """Wherever the file is cut into batches: a blank row with any row behind it stays, with its place."""
    cells = [["x" if filled else " " for filled in block] for block in blocks]
    starts = np.cumsum([1, *map(len, cells)])[:-1]
    batches = [
        Batch("t.csv", "line", range(start, start + len(block)), {"a": pa.array(block, pa.string())})
        for start, block in zip(starts.tolist(), cells, strict=True)
    ]
    every = [cell for block in cells for cell in block]
    while every and every[-1] == " ":
        every.pop()
    found = list(without_blank_end(iter(batches)))
    assert every == [cell for batch in found for (cell,) in batch.rows(["a"])]
    assert list(range(1, len(every) + 1)) == [number for batch in found for number in batch.numbers]
