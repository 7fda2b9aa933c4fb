"""Rows come back as they went in, from memory or from a file, in any order."""

import numpy as np
import pytest

from pipeline.runtime import growing


@pytest.mark.parametrize("most", [1 << 20, 1000, 0], ids=["in memory", "some in a file", "all in a file"])
@pytest.mark.parametrize("width", [1, 3])
def test_rows_come_back_as_they_went_in(most, width, tmp_path, monkeypatch):
    """In the order in which they came, and by their numbers; NumPy is the second source."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(growing, "MOST_IN_MEMORY", most)
    monkeypatch.setattr(growing, "ROWS_AT_ONCE", 100)
    random = np.random.default_rng(0)
    parts = [random.normal(size=(count, width)).astype(np.float32) for count in (1, 0, 300, 17, 250)]
    rows, array = np.concatenate(parts), growing.GrowingArray(np.float32, width)
    for part in parts:
        array.append(part)
    assert np.array_equal(rows[20:333], array.part(20, 333))
    numbers = random.permutation(len(rows))[:99]
    assert np.array_equal(rows[numbers], array.taken(numbers))
    array.append(parts[0])
    assert np.array_equal(parts[0], array.part(len(rows), len(rows) + 1))
    assert [] == [path for path in tmp_path.rglob("*") if path.is_file()]


def test_nothing_came_in(tmp_path, monkeypatch):
    """No rows are an empty array of the right shape."""
    monkeypatch.chdir(tmp_path)
    array = growing.GrowingArray(np.int64, 2)
    assert (0, 2) == array.part(0, 0).shape
    assert (0, 2) == array.taken(np.empty(0, np.int64)).shape


def test_what_is_added_later_does_not_change_what_was_added(tmp_path, monkeypatch):
    """The caller may use its array again."""
    monkeypatch.chdir(tmp_path)
    values, array = np.array([1.0, 2.0]), growing.GrowingArray(np.float64)
    array.append(values)
    values[:] = 0
    assert [[1.0], [2.0]] == array.part(0, 2).tolist()


def test_a_large_array_lies_in_a_file_without_a_name(tmp_path, monkeypatch):
    """What is written is there to be read, nothing is left of it, and its room was taken before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(growing, "MOST_IN_MEMORY", 1000)
    small, large = growing.large_array((10, 5), np.float32), growing.large_array((100, 5), np.float32)
    assert not isinstance(small, np.memmap)
    assert isinstance(large, np.memmap)
    large[:] = np.arange(500, dtype=np.float32).reshape(100, 5)
    assert np.array_equal(np.arange(500).reshape(100, 5), large)
    assert [] == [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_full_disk_is_an_error_and_kills_nobody(tmp_path, monkeypatch):
    """posix_fallocate says so before a single number is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match=r"space|large"):
        growing.large_array((1 << 40, 8), np.float64)
