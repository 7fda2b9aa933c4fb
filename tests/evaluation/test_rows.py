"""The rows that judge: names, truth in the units of the data, where windows stand, the naive error of train."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.evaluation.rows import EvaluationRows, load_rows
from pipeline.metrics.values import seasonal_naive_error
from pipeline.runtime import paths
from pipeline.runtime.errors import InputMissing
from tests.helpers.featured import SERIES, SIDE, TEXT, WINDOWS, run_features, write_texts, write_windowed


def test_texts_have_labels(folder) -> None:
    """Whole samples: one row each, its own name, no timeline."""
    write_texts(
        folder, ["a b", "b c", "c d", "d e"], ["train", "train", "test", "test"], ["x", "y", "x", "y"]
    )
    run_features(text=TEXT)
    rows = load_rows("test")
    assert (("002", "003"), [2, 3], ("x", "y")) == (rows.sample_ids, rows.rows.tolist(), rows.labels)
    assert rows.timeline is None
    assert [0, 1] == rows.class_indices(["x", "y"]).tolist()


def test_rows_know_whose_they_are(folder) -> None:
    """The group of each test row, also of some of them; () where no sample has one."""
    splits, labels = ["train", "test", "test", "test"], ["x", "x", "x", "x"]
    write_texts(folder, ["a b", "b c", "c d", "d e"], splits, labels, group=["ann", "bob", "", "bob"])
    run_features(text=TEXT)
    rows = load_rows("test")
    assert ("bob", "", "bob") == rows.groups
    assert ("", "bob") == rows.take(np.array([1, 2])).groups
    write_texts(folder, ["a b", "b c", "c d", "d e"], splits, labels)
    assert () == load_rows("test").groups


def test_samples_without_a_column_of_groups_are_refused(folder) -> None:
    """Nobody would know which rows are alike."""
    write_texts(folder, ["a b", "b c"], ["train", "test"], ["x", "x"])
    run_features(text=TEXT)
    pq.write_table(pq.read_table(paths.SAMPLES_PARQUET).drop_columns("group"), paths.SAMPLES_PARQUET)
    with pytest.raises(InputMissing, match="Expected a column group"):
        load_rows("test")


def test_labels_that_nobody_knows_are_refused() -> None:
    """The message names both sides."""
    with pytest.raises(ValueError, match=r"Expected \['x'\]. Received: \['z'\]"):
        EvaluationRows(("a",), np.zeros(1, int), ("z",)).class_indices(["x"])


def write_two_series(folder, second=1.0) -> np.ndarray:
    """Write two series of 30 hours, windows over them, and return their loads."""
    generator = np.random.default_rng(0)
    load = np.concatenate([generator.normal(size=30), 100 * second * generator.normal(size=30)])
    payload = np.stack([load, generator.normal(size=60), np.arange(60) % 2], axis=1).astype(np.float32)
    parts = [("train", 0, 12), ("val", 12, 20), ("test", 20, 30)]
    segments = [(split, row, start, stop) for row in (0, 1) for split, start, stop in parts]
    write_windowed(folder, payload, segments, lengths=[30, 30])
    run_features(task="forecasting", windows=WINDOWS, series=SERIES, side=SIDE)
    return payload[:, 0].astype(float)


def test_windows_stand_on_a_timeline(folder) -> None:
    """Nine windows of two steps fit into ten; named by series and first predicted step."""
    load = write_two_series(folder)
    rows = load_rows("test")
    assert (9, 9) == rows.timeline.segments
    assert ("000@20", "001@28") == (rows.sample_ids[0], rows.sample_ids[-1])
    assert rows.targets[9, :, 0].tolist() == load[[50, 51]].tolist()
    assert rows.naive_errors is None


def test_naive_errors_are_those_of_each_series_on_train(folder) -> None:
    """Steps 0 to 11 of each series, computed apart; windows carry the one of their series."""
    load = write_two_series(folder)
    found = load_rows("test", season=3).naive_errors
    first, second = (seasonal_naive_error(load[start : start + 12, None], 3)[0] for start in (0, 30))
    assert [first] * 9 + [second] * 9 == pytest.approx(found[:, 0].tolist())


def test_a_series_that_never_changes_takes_the_naive_error_of_the_others(folder) -> None:
    """A scale of 0 would make every error infinite."""
    write_two_series(folder, second=0.0)
    found = load_rows("test", season=3).naive_errors
    assert found[0, 0] == pytest.approx(found[-1, 0])


def test_a_season_longer_than_train_leaves_the_naive_error_out(folder) -> None:
    """Nothing to scale by."""
    write_two_series(folder)
    assert load_rows("test", season=24).naive_errors is None


def test_some_rows_keep_all_that_belongs_to_them(folder) -> None:
    """Positions pick names, truth, places and scales alike."""
    write_two_series(folder)
    rows = load_rows("test", season=3)
    few = rows.take(np.array([1, 12]))
    assert ("000@21", "001@23") == few.sample_ids == few.timeline.ids
    assert np.array_equal(rows.targets[[1, 12]], few.targets)
    assert len(few) == 2
