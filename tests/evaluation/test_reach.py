"""Intervals around values: taken from answers before the test, and counted on test."""

import numpy as np
import pytest

from pipeline.evaluation.reach import reach_of
from pipeline.metrics.ends import share_ends
from pipeline.metrics.intervals import Groups

DRAWN = {"confidence": 0.9, "resamples": 400, "seed": 0}


def test_half_widths_and_coverage_by_hand():
    """Errors 1 to 19 before: rank 18 of 0.9, so 18 to each side; of ten test errors, 15 to 24, four are inside."""
    before = np.zeros((19, 1)), np.arange(1.0, 20.0)[:, None].astype(np.float32)
    found = reach_of(
        before, np.arange(15.0, 25.0)[:, None], np.zeros((10, 1), np.float32), **DRAWN, blocks=None
    )
    assert found.half_widths == pytest.approx([18.0])
    assert (found.rows, found.coverage.value) == (19, pytest.approx(0.4))
    low, high = share_ends(0.4, 10, 0.9)
    assert found.coverage.low <= low
    assert found.coverage.high >= high
    assert found.as_json()["half_widths"] == [18.0]


def test_each_step_and_target_has_its_own_width():
    """A step further ahead is less sure."""
    errors = np.random.default_rng(0).normal(size=(60, 3, 2)) * np.array([1.0, 2.0, 4.0])[:, None]
    found = reach_of(
        (np.zeros((60, 3, 2)), errors.astype(np.float32)), errors, np.zeros_like(errors), **DRAWN, blocks=None
    )
    assert found.half_widths.shape == (3, 2)
    assert (np.diff(found.half_widths, axis=0) > 0).all()
    assert found.coverage.value > 0.89


def test_eight_rows_are_too_few_for_nine_in_ten():
    """No interval rather than a wrong one."""
    before = np.zeros((8, 1)), np.ones((8, 1), np.float32)
    assert reach_of(before, np.zeros((5, 1)), np.zeros((5, 1), np.float32), **DRAWN, blocks=None) is None


def test_rows_of_one_group_say_less_of_the_coverage():
    """40 rows of four machines, two of them outside: wider than 40 rows alone."""
    before = np.zeros((19, 1)), np.ones((19, 1), np.float32)
    y_true = np.repeat([0.0, 0.5, 5.0, 6.0], 10)[:, None]
    said = np.zeros((40, 1), np.float32)
    machines = Groups(tuple(np.repeat(range(4), 10).tolist()))
    alone, together = (
        reach_of(before, y_true, said, **DRAWN, blocks=blocks).coverage for blocks in (None, machines)
    )
    assert alone.value == together.value == 0.5
    assert together.high - together.low > 1.5 * (alone.high - alone.low)
