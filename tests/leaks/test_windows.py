"""Leaks of series under windows: known columns, columns ahead of the target, segments and times."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.leaks.findings import WindowColumns
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from tests.helpers.leak_gate import run_gate, run_split, split_and_gate
from tests.helpers.split_data import write_data


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def found():
    """Return the ids of the findings, as the summary has them."""
    return {entry["finding"] for entry in json.loads(paths.LEAKS_SUMMARY.read_text())["findings"]}


def write_hours(columns, lengths=(2000,), times=("2020-01-01T00:00:00",)):
    """Write series of hours with the given columns, each cut to its length."""
    table = np.stack(list(columns.values()), axis=1).astype(np.float32)
    write_data(
        [table[:length] + number for number, length in enumerate(lengths)],
        times=list(times),
        step_seconds=3600.0,
        channels=tuple(columns),
    )


def sales_and(rng=None, **columns):
    """Return a noisy column of sales with others beside it."""
    rng = rng or np.random.default_rng(0)
    return {"sales": rng.normal(size=2000), **columns}


def test_a_known_column_that_is_the_target_in_other_units_is_refused():
    """Turnover is three times the sales, up to rounding, and nobody knows it in advance."""
    columns = sales_and()
    columns["turnover"] = np.exp(columns["sales"])
    write_hours(columns)
    windows = WindowColumns(10, 5, ("sales",), ("turnover",))
    with pytest.raises(DataRefused, match=r"column:turnover \(L2.*data.windows.known"):
        split_and_gate("time", "forecasting", windows)
    run_gate("time", "forecasting", WindowColumns(10, 5, ("sales",)))
    assert set() == found()


def test_a_known_category_that_names_the_target_is_refused():
    """The alarm level of the hour is a name for the target's own value."""
    level = np.random.default_rng(0).integers(0, 5, 2000) * 1.0
    write_hours({"demand": (level * 7) % 5, "alarm": level})
    with pytest.raises(DataRefused, match=r"column:alarm \(L2"):
        split_and_gate("time", "regression", WindowColumns(0, 1, ("demand",), (), ("alarm",)))


def test_a_known_part_of_an_exact_sum_is_refused_and_a_part_of_the_past_is_not():
    """returns + kept = sold: with one part known and the other in the data, the sum says the target."""
    rng = np.random.default_rng(0)
    returns, kept = rng.poisson(40, 2000), rng.poisson(50, 2000)
    write_hours({"sold": returns + kept, "returns": returns, "kept": kept})
    with pytest.raises(DataRefused, match=r"sum:kept\+returns \(L2"):
        split_and_gate("time", "forecasting", WindowColumns(10, 5, ("sold",), ("kept",)))
    assert {"sum:kept+returns"} == found()
    run_gate("time", "forecasting", WindowColumns(10, 5, ("sold",)))


def test_a_column_that_runs_ahead_of_the_target_is_refused():
    """The forecast of somebody else was joined with its own answer: three hours early, sales to the digit."""
    columns = sales_and()
    columns["plan"] = np.roll(columns["sales"], -3)
    write_hours(columns)
    with pytest.raises(DataRefused, match=r"ahead:plan \(L2.*says 'sales' 3 steps before"):
        split_and_gate("time", "forecasting", WindowColumns(10, 5, ("sales",)))


def test_a_slow_column_beside_a_slow_target_is_no_leak():
    """Two walks that hardly move from hour to hour: each is known from its own past, which is no leak."""
    walk = np.random.default_rng(0).normal(size=2000).cumsum()
    write_hours({"sales": walk, "copy": walk + np.random.default_rng(1).normal(0, 0.5, 2000)})
    assert [] == split_and_gate("time", "forecasting", WindowColumns(10, 5, ("sales",)))["findings"]


@pytest.mark.parametrize("task", ["forecasting", "anomaly"])
def test_series_that_train_while_another_is_judged_are_refused(task):
    """A shop that opened later trains on hours that judge the first; anomalies are each machine's own."""
    write_hours(sales_and(), (1000, 2000), ("2020-01-01T00:00:00", "2020-01-20T00:00:00"))
    windows = WindowColumns(10, 5, ("sales",)) if task == "forecasting" else WindowColumns(10, 0)
    if task == "anomaly":
        assert [] == split_and_gate("time", task, windows)["findings"]
        return
    with pytest.raises(DataRefused, match=r"time-overlap \(L3.1.*split.val_start"):
        split_and_gate("time", task, windows)
    dates = {"val_start": "2020-02-01", "test_start": "2020-02-05"}
    run_split("time", task, windows, **dates)
    assert [] == run_gate("time", task, windows)["findings"]


def test_segments_out_of_order_are_refused():
    """An edited split trains on the last steps and is judged by the first."""
    write_hours(sales_and())
    windows = WindowColumns(10, 5, ("sales",))
    run_split("time", "forecasting", windows)
    table = pq.read_table(paths.SPLIT_PARQUET)
    turned = pa.array(table["split"].to_pylist()[::-1], pa.string())
    pq.write_table(
        table.set_column(table.schema.get_field_index("split"), "split", turned), paths.SPLIT_PARQUET
    )
    with pytest.raises(DataRefused, match=r"time-overlap \(L3.1.*out of order"):
        run_gate("time", "forecasting", windows)


def test_a_series_that_was_scaled_as_a_whole_is_refused():
    """Mean 0 and deviation 1 over all hours, test included."""
    sales = np.random.default_rng(0).normal(size=2000) + np.linspace(0, 2, 2000)
    write_hours({"sales": (sales - sales.mean()) / sales.std()})
    with pytest.raises(DataRefused, match=r"scaled:sales \(L1.2"):
        split_and_gate("time", "forecasting", WindowColumns(10, 5, ("sales",)))
