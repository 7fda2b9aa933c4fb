"""Windows as an index: the same ones that a loop over every step finds."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.windows import WindowIndex, find_windows

ROOT = Path(__file__).resolve().parents[2]


def by_hand(segments, payload, *, length, horizon, stride, columns):
    """Return the positions that the rules allow, one step after the other."""
    found = []
    for series_start, start, stop in segments:
        first = None
        for position in range(start, stop):
            if horizon and position - length < series_start:
                continue
            if position + (horizon or length) > stop:
                continue
            first = position if first is None else first
            told = payload[position : position + (horizon or length)][:, columns]
            if (position - first) % stride == 0 and not np.isnan(told).any():
                found.append(position)
    return found


@settings(max_examples=150, deadline=None)
@given(
    length=st.integers(1, 6),
    horizon=st.integers(0, 4),
    stride=st.integers(1, 4),
    cuts=st.lists(st.integers(0, 60), min_size=4, max_size=4),
    missing=st.lists(st.integers(0, 59), max_size=6),
)
def test_the_index_is_what_a_loop_finds(length, horizon, stride, cuts, missing):
    """Two series of 30 steps, a segment in each, some targets missing: the same positions in the same order."""
    payload = np.zeros((60, 2), np.float32)
    payload[missing, 1] = np.nan
    a, b = sorted(min(cut, 30) for cut in cuts[:2])
    c, d = sorted(max(cut, 30) for cut in cuts[2:])
    segments = [(0, a, b), (30, c, d)]
    shape = {"length": length, "horizon": horizon, "stride": stride, "columns": [1]}
    index = find_windows(segments, payload, **shape)
    assert by_hand(segments, payload, **shape) == index.locate(np.arange(len(index))).tolist()


def test_history_reaches_back_over_the_segment_but_not_over_the_series():
    """A test segment from step 10 on forecasts step 10 from the training steps before it."""
    payload = np.zeros((20, 1), np.float32)
    shape = {"length": 4, "horizon": 2, "stride": 1, "columns": [0]}
    train = find_windows([(0, 0, 10)], payload, **shape)
    test = find_windows([(0, 10, 20)], payload, **shape)
    assert (4, 8) == (train.locate(np.array([0]))[0], train.locate(np.array([len(train) - 1]))[0])
    assert (10, 18) == (test.locate(np.array([0]))[0], test.locate(np.array([len(test) - 1]))[0])
    both = train.followed_by(test)
    assert [8, 10] == both.locate(np.array([4, 5])).tolist()


def test_no_window_is_no_error():
    """A segment too short for a window gives an index of length 0."""
    index = find_windows(
        [(0, 0, 3)], np.zeros((3, 1), np.float32), length=3, horizon=1, stride=1, columns=[0]
    )
    assert 0 == len(index) == len(index.locate(np.arange(0)))


def test_numbers_may_come_in_any_order_and_shape():
    """A permutation is located entry by entry."""
    index = WindowIndex(np.array([5, 100]), np.array([3, 4]), 10)
    assert [[130, 5], [25, 100]] == index.locate(np.array([[6, 0], [2, 3]])).tolist()


SCRIPT = """
import sys
import numpy as np
from pipeline.data.windows import find_windows
from tests.helpers.peak_memory import peak_kib
payload = np.lib.format.open_memmap(sys.argv[1], mode="r")
base = peak_kib()
index = find_windows([(0, 0, len(payload))], payload, length=48, horizon=12, stride=1, columns=[0])
order = np.random.default_rng(1).permutation(np.arange(len(index)))
for start in range(0, len(order), 1 << 20):
    index.locate(order[start : start + 512])
print(len(index), (peak_kib() - base) // 1024)
"""


def test_ten_million_windows_need_little_memory(tmp_path):
    """Index and order of an epoch over 10 M steps take less than 600 MiB, the mapped file included."""
    steps = 10_000_000
    payload = np.lib.format.open_memmap(tmp_path / "payload.npy", "w+", np.float32, (steps, 1))
    payload[5_000_000] = np.nan
    payload.flush()
    del payload
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "payload.npy")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    count, mebibytes = map(int, ended.stdout.split())
    assert steps - 48 - 12 + 1 - 12 == count
    assert mebibytes < 600
