"""Slices of the test rows follow the columns of the samples, whatever the order of the table."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.windows import Timeline
from pipeline.evaluation.rows import EvaluationRows
from pipeline.gate.checks import UnknownSlice, slice_masks
from pipeline.runtime import paths
from pipeline.runtime.errors import InputMissing


@pytest.fixture
def samples(tmp_path, monkeypatch):
    """Write a table of 8 samples, stored from the last row to the first."""
    monkeypatch.chdir(tmp_path)
    paths.SAMPLES_PARQUET.parent.mkdir(parents=True)
    table = {
        "row": list(range(8)),
        "group": ["a", "a", "b", "b", "", "c", "c", "c"],
        "side.weather": ["sun", "rain", None, "sun", "sun", "rain", "sun", "rain"],
        "side.age": [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, None, 70.0],
        "side.doors": [2.0, 4.0, 4.0, 2.0, 2.0, 4.0, 2.0, float("nan")],
    }
    pq.write_table(pa.table({name: values[::-1] for name, values in table.items()}), paths.SAMPLES_PARQUET)


def rows(*numbers):
    """Return test rows of these samples."""
    return EvaluationRows(tuple(map(str, numbers)), np.array(numbers))


def inside(masks):
    """Return slice to positions."""
    return {name: np.flatnonzero(mask).tolist() for name, mask in masks.items()}


def test_values_and_groups_are_slices_and_what_is_missing_is_one_too(samples):
    """Rows 1, 2, 3, 4: positions, not row numbers."""
    expected = {
        "group=a": [0],
        "group=b": [1, 2],
        "group=missing": [3],
        "weather=missing": [1],
        "weather=rain": [0],
        "weather=sun": [2, 3],
    }
    assert expected == inside(slice_masks(["group", "weather"], rows(1, 2, 3, 4)))


def test_numbers_fall_into_quarters_few_different_ones_do_not(samples):
    """Seven ages in four bins with every age in exactly one; two counts of doors stay as they are."""
    masks = slice_masks(["age", "doors"], rows(*range(8)))
    ages = {name: found for name, found in inside(masks).items() if name.startswith("age")}
    assert {
        "age=0..15": [0, 1],
        "age=15..30": [2, 3],
        "age=30..45": [4],
        "age=45..70": [5, 7],
        "age=missing": [6],
    } == ages
    assert {"doors=2": [0, 3, 4, 6], "doors=4": [1, 2, 5], "doors=missing": [7]} == {
        name: found for name, found in inside(masks).items() if name.startswith("doors")
    }


def test_windows_belong_where_their_series_does(samples):
    """Five windows of series 0 and 2 are in the groups of these samples."""
    names = tuple("abcdefgh")
    timeline = Timeline(names, np.array([0, 0, 2, 2, 2]), np.arange(5), 3)
    windows = EvaluationRows(timeline.ids, np.array([10, 11, 20, 21, 22]), timeline=timeline)
    assert {"group=a": [0, 1], "group=b": [2, 3, 4]} == inside(slice_masks(["group"], windows))


def test_an_unknown_column_is_named_with_those_there_are(samples):
    """A misspelt column is an error that lists the others, never a slice without rows."""
    with pytest.raises(
        UnknownSlice, match=r"Expected some of \['age', 'doors', 'group', 'weather'\].*'climate'"
    ):
        slice_masks(["climate"], rows(0))


def test_nothing_declared_reads_nothing(tmp_path, monkeypatch):
    """Without slices the table need not exist; with some it must."""
    monkeypatch.chdir(tmp_path)
    assert {} == slice_masks([], rows(0))
    with pytest.raises(InputMissing, match="dvc repro ingest"):
        slice_masks(["group"], rows(0))
