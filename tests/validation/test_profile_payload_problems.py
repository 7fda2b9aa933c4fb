"""The checks on payloads of texts and series as a whole."""

import numpy as np
import pytest

from pipeline.validation.series import channel_problems, series_problems
from pipeline.validation.texts import text_problems

ROWS, STARTS, LENGTHS = np.arange(3), np.array([0, 4, 4]), np.array([4, 0, 2])
BYTES = np.zeros(6, np.uint8)
STEPS = np.zeros((6, 2), np.float32)


def test_sound_payloads_have_no_problem():
    """Samples follow each other to the end, in any order of the table; a text may be empty."""
    assert text_problems(BYTES, ROWS, STARTS, LENGTHS) == []
    order = [2, 0, 1]
    assert text_problems(BYTES, ROWS[order], STARTS[order], LENGTHS[order]) == []
    assert series_problems(STEPS, ROWS, STARTS, LENGTHS, 2, has_anomalies=True) == []


@pytest.mark.parametrize(
    ("rows", "starts", "lengths"),
    [
        (ROWS, STARTS, np.array([4, 0, 1])),
        (ROWS, STARTS, np.array([4, 0, 3])),
        (ROWS, np.array([0, 3, 4]), LENGTHS),
        (ROWS, np.array([0, 7, 4]), np.array([4, -3, 2])),
        (np.array([0, 1, 1]), STARTS, LENGTHS),
        (np.array([0, 1, 3]), STARTS, LENGTHS),
    ],
)
def test_samples_that_do_not_cover_the_payload_are_named(rows, starts, lengths):
    """Too short, too long, overlapping, backwards, and rows that repeat or jump."""
    for problems in (
        text_problems(BYTES, rows, starts, lengths),
        series_problems(STEPS, rows, starts, lengths, 2, has_anomalies=False),
    ):
        (problem,) = problems
        assert "Expected" in problem
        assert "Received" in problem


@pytest.mark.parametrize("payload", [STEPS, np.zeros(6, np.int16), np.zeros((6, 1), np.uint8)])
def test_a_payload_that_is_no_text_is_named(payload):
    """Texts are bytes in one row."""
    (problem,) = text_problems(payload, ROWS, STARTS, LENGTHS)
    assert "holds no texts" in problem
    assert str(payload.shape) in problem


@pytest.mark.parametrize(
    "payload", [BYTES, STEPS.astype(np.float64), STEPS[:, :1], STEPS[:0], np.zeros((6, 2, 1), np.float32)]
)
def test_a_payload_that_is_no_series_is_named(payload):
    """Series are float32 steps with as many channels as the table says, at least one step."""
    (problem,) = series_problems(payload, ROWS, STARTS, LENGTHS, 2, has_anomalies=False)
    assert "holds no series" in problem


@pytest.mark.parametrize("value", [0.5, np.nan])
def test_labels_of_anomalies_are_zero_or_one(value):
    """Anything else in the last channel is refused."""
    steps = STEPS.copy()
    steps[3, 1] = value
    (problem,) = series_problems(steps, ROWS, STARTS, LENGTHS, 2, has_anomalies=True)
    assert "0 or 1" in problem


def test_unknown_channels_are_all_named():
    """Every misspelt column of data.windows at once, with the known ones."""
    (problem,) = channel_problems(("load", "temp"), ("load", "tmp", "windy"))
    assert "Expected some of load, temp. Received: tmp, windy." in problem
    assert channel_problems(("load",), ("load",)) == []
