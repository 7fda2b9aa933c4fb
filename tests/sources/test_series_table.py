"""Long tables become series on a regular grid; the second opinion is pandas."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from pipeline.fetching.snapshot import show, take_snapshot
from pipeline.fetching.source import Location
from pipeline.formats import time_grid
from pipeline.runtime import growing
from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.runtime.processes import terminal
from pipeline.sources import series_table
from tests.helpers.parquet_file import parquet
from tests.helpers.read_source import described, read_source

ROOT = Path(__file__).resolve().parents[2]

ROWS = "time,machine,x,room,y\n2024-01-01,b,1,R1,2\n2024-01-02,b,3,R1,\n2024-01-01,a,5,R2,6\n2024-01-03,a,7,R2,8\n"


def read(content, name="t.csv", **options):
    """Return the series of one file."""
    text = content if isinstance(content, bytes) else content.encode()
    return read_source(series_table, {name: text}, **options)


def test_series_are_told_apart_by_an_id_and_brought_to_a_grid():
    """In order of their ids; a day without a row is missing in all channels."""
    first, second = read(ROWS, id="machine", static=["room"], step=86_400)
    np.testing.assert_array_equal([[5, 6], [np.nan, np.nan], [7, 8]], first.series)
    np.testing.assert_array_equal([[1, 2], [3, np.nan]], second.series)
    assert [("a", ("x", "y"), "2024-01-01T00:00:00", 86_400.0, {"room": "R2"})] == [
        (first.sample_id, first.channels, first.time, first.step_seconds, first.side)
    ]


def test_a_logger_file_is_read_after_what_its_refusals_say():
    """Lines above the table, a row of units, no header, blanks: each refusal names the option that reads it."""
    logger = "Device;TL-500\nInterval;1d\n\nstamp;x;y\n;degC;%\n2024-01-01;1;2\n2024-01-02;3;4\n"
    with pytest.raises(DataRefused, match="--set skip=3"):
        read(logger, time="stamp")
    with pytest.raises(DataRefused, match="--set units_row=true"):
        read(logger, time="stamp", skip=3)
    with pytest.raises(DataRefused, match="--set header=false"):
        read("2024-01-01 1 2\n2024-01-02 3 4\n")
    bare = {"header": False, "time": "1", "delimiter": "blank"}
    for (sample,) in (
        read(logger, time="stamp", skip=3, units_row=True),
        read("2024-01-01  1 2\n2024-01-02 3   4\n", **bare),
    ):
        np.testing.assert_array_equal([[1, 2], [3, 4]], sample.series)


@pytest.mark.parametrize("blank", [",,\n", ",,\n\n", ' , ,\n"","",""\n'])
def test_rows_of_delimiters_alone_at_the_end_are_no_rows(blank):
    """Spreadsheets write them; between rows they are refused like any row without a time."""
    rows = "t,x,y\n2024-01-01,1,2\n2024-01-02,3,4\n"
    (sample,) = read(rows + blank, time="t")
    np.testing.assert_array_equal([[1, 2], [3, 4]], sample.series)
    with pytest.raises(DataRefused, match="line 4"):
        read(rows + ",,\n2024-01-03,5,6\n", time="t")


def test_rows_in_any_order_give_the_same_series():
    """Rows are ordered by series and time, whatever stands first in the file."""
    header, *rows = ROWS.splitlines()
    straight = read(ROWS, id="machine", static=["room"], step=86_400)
    turned = read("\n".join([header, *reversed(rows)]), id="machine", static=["room"], step=86_400)
    for one, two in zip(straight, turned, strict=True):
        np.testing.assert_array_equal(one.series, two.series)
        assert (one.sample_id, one.side, one.time) == (two.sample_id, two.side, two.time)


def test_every_file_is_a_series_without_an_id():
    """Named by folder and file; the folder around all of them is taken off."""
    files = {f"data/{name}.csv": b"t,v\n2024-01-01 00:00,1\n2024-01-01 00:05,2\n" for name in ("b/x", "a/y")}
    samples = read_source(series_table, files, time="t")
    assert [("a/y", 300.0), ("b/x", 300.0)] == [(sample.sample_id, sample.step_seconds) for sample in samples]


def test_label_target_and_group_hold_for_a_whole_series():
    """One value in all rows of a series."""
    rows = "t,id,x,c,g,y\n2024-01-01,007,1,NA,p1,0.5\n2024-01-02,007,2,NA,p1,0.5\n"
    (sample,) = read(rows, time="t", id="id", label="c", group="g", target="y")
    assert ("007", "NA", "p1", 0.5, ("x",)) == (
        sample.sample_id, sample.label, sample.group, sample.target, sample.channels
    )  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "options", "first", "step"),
    [
        (["2024-01-01T00:00:00Z", "2024-01-01T02:00:00+01:00"], {}, "2024-01-01T00:00:00+00:00", 3600),
        (["2024-01-01", "2024-01-02"], {}, "2024-01-01T00:00:00", 86_400),
        (["2024-01", "2024-02"], {}, "2024-01-15T12:00:00", 2_629_746),
        (["1.2.2024 5:00", "1.2.2024 6:00"], {"time_format": "%d.%m.%Y %H:%M"}, "2024-02-01T05:00:00", 3600),
        (["0", "60"], {"time_format": "seconds"}, "1970-01-01T00:00:00", 60),
        (["1500", "2000"], {"time_format": "milliseconds"}, "1970-01-01T00:00:01.500000", 0.5),
    ],
)
def test_times_are_read_as_stated(cells, options, first, step):
    """ISO 8601 with or without an offset, months, a format of strptime, Unix times."""
    (sample,) = read("time,x\n" + "".join(f"{cell},1\n" for cell in cells), **options)
    assert (first, step, 2) == (sample.time, sample.step_seconds, len(sample.series))


def test_init_says_how_the_times_of_every_series_lie(tmp_path, monkeypatch, capsys):
    """First, last, step, rows, gaps and duplicates: of a few series each, of many together."""
    monkeypatch.chdir(tmp_path)
    options = {"time": "t", "id": "id", "duplicates": "mean"}

    def shown(names):
        lines = [f"2024-01-{day:02},{name},1" for name in names for day in (1, 2, 3, 3, 5)]
        Path("a.csv").write_text("\n".join(["t,id,x", *lines, ""]))
        show(
            take_snapshot("series_table", Location(path="a.csv"), max_bytes=2**30, options=options),
            terminal(),
        )
        return " ".join(capsys.readouterr().out.split())

    few, many = shown("ab"), shown([f"s{number}" for number in range(40)])
    span = "2024-01-01T00:00:00 to 2024-01-05T00:00:00, step 86400 s, 5 rows, 1 step without a row, 1 row at a step"
    assert f"a and 1 more: {span}" in few
    assert "40 series, step 86400 s: the first from 2024-01-01T00:00:00" in many
    assert "40 steps without a row in 40 series, 40 rows at a step that has one already in 40 series" in many


def test_date_and_time_in_two_columns_are_read():
    """As a German spreadsheet has them; whole hours keep their own option, and each names the other."""
    rows = "Datum;Uhrzeit;x\n31.01.2024;23:45:00;1\n31.01.2024;24:00:00;2\n01.02.2024;00:15:00;3\n"
    (sample,) = read(rows, time="Datum", clock="Uhrzeit", time_format="%d.%m.%Y")
    assert ("2024-01-31T23:45:00", 900.0, 3) == (sample.time, sample.step_seconds, len(sample.series))
    with pytest.raises(DataRefused, match=r"(?s)'Uhrzeit'.*a whole hour.*--set clock=COLUMN"):
        read(rows, time="Datum", hour="Uhrzeit", time_format="%d.%m.%Y")


@pytest.mark.parametrize("order", [1, -1])
def test_a_local_clock_gives_the_instants_that_it_showed(order):
    """Two machines through both changes of a year, in one table: every hour once, as pandas has them."""
    utc = pd.date_range("2024-03-20", "2024-11-10", freq="30min", tz="UTC")
    wall = utc.tz_convert("America/New_York").strftime("%m/%d/%Y %I:%M %p")
    lines = [f"{stamp},{name},{count}" for count, stamp in enumerate(wall) for name in "ab"]
    rows = "\n".join(["t,id,x", *lines[::order]]) + "\n"
    options = {"time": "t", "time_format": "%m/%d/%Y %I:%M %p", "timezone": "America/New_York"}
    for sample in read(rows, id="id", **options):
        np.testing.assert_array_equal(np.arange(len(utc), dtype=np.float32), sample.series[:, 0])
        assert ("2024-03-20T00:00:00+00:00", 1800.0) == (sample.time, sample.step_seconds)
        assert "2 of 4 rows in hours that came twice" in sample.timeline.note


def test_an_hour_that_a_local_clock_never_showed_is_refused_until_it_is_stated():
    """A template of 24 rows a day has one in spring too; the advice, followed, reads the rest."""
    rows = "t,x\n" + "".join(f"2024-03-31 {hour:02}:00,{hour}\n" for hour in range(24))
    with pytest.raises(
        DataRefused, match=r"(?s)t\.csv, line 4: expected a time that the clock of Europe/Berlin showed.*drop"
    ):
        read(rows, time="t", timezone="Europe/Berlin")
    (sample,) = read(rows, time="t", timezone="Europe/Berlin", missing_hour="drop")
    assert [0.0, 1.0, *range(3, 24)] == sample.series[:, 0].tolist()
    (shifted,) = read(rows, time="t", timezone="Europe/Berlin", missing_hour="shift", duplicates="first")
    assert [0.0, 1.0, 2.0, *range(4, 24)] == shifted.series[:, 0].tolist()


def test_days_of_a_local_clock_are_days_of_the_calendar():
    """A day is 23 to 25 hours long by a clock: no zone is needed, and none is taken."""
    with pytest.raises(DataRefused, match="Leave --set timezone= out"):
        read("t,x\n2024-03-30,1\n2024-03-31,2\n2024-04-01,3\n", time="t", timezone="Europe/Berlin")


def test_anomaly_windows_are_by_the_clock_of_the_data():
    """A window without an offset is of the local clock too."""
    rows = "t,x\n" + "".join(f"2024-07-01 {hour:02}:00,{hour}\n" for hour in range(24))
    windows = json.dumps({"t.csv": [["2024-07-01 05:00", "2024-07-01 06:00"]]}).encode()
    files = {"t.csv": rows.encode(), "w.json": windows}
    options = {"time": "t", "anomaly_windows": "w.json", "files": "t.csv"}
    for zone in ({}, {"timezone": "Asia/Tokyo"}):
        (sample,) = read_source(series_table, files, **options, **zone)
        assert [5, 6] == np.flatnonzero(sample.anomalies).tolist()


def test_bike_sharing_by_its_local_clock(benchmarks):
    """Spring's missing hour has no row, autumn's two share one: the same values, two steps apart, in UTC."""
    content = (benchmarks / "bike-sharing" / "hour.csv").read_bytes()
    options = {"time": "dteday", "hour": "hr", "drop": ["instant"], "timezone": "America/New_York"}
    (sample,) = read(content, "hour.csv", **options)
    frame = pd.read_csv(io.BytesIO(content))
    wall = pd.DatetimeIndex(pd.to_datetime(frame["dteday"]) + pd.to_timedelta(frame["hr"], unit="h"))
    frame.index = wall.tz_localize("America/New_York", ambiguous=np.ones(len(wall), bool)).tz_convert("UTC")
    expected = frame[list(sample.channels)].asfreq("h").to_numpy(dtype=np.float32)
    np.testing.assert_array_equal(expected, sample.series)
    assert "2011-01-01T05:00:00+00:00" == sample.time


def test_taxis_are_events_and_their_advice_leads_on(benchmarks):
    """Trips with their own dates have no step; the suggested one reads them."""
    content = (benchmarks / "nyc-taxi-a" / "yellow_tripdata_sample_2019-01.csv").read_bytes()
    options = {"time": "pickup_datetime", "columns": ["fare_amount"]}
    with pytest.raises(DataRefused, match="these are events") as refused:
        read(content, "t.csv", **options)
    said = dict(re.findall(r"--set (step|off_grid|duplicates|gaps)=(\w+)", str(refused.value)))
    (sample,) = read(content, "t.csv", **options, **said)
    assert 10_000 == sample.timeline.rows


def test_parquet_and_csv_hold_the_same_series():
    """Typed columns, a category as a dictionary, a missing number as null."""
    frame = pd.DataFrame(
        {
            "time": pd.to_datetime(["2024-01-01", "2024-01-01", "2024-01-02"]),
            "machine": pd.Categorical(["b", "a", "b"]),
            "x": [1.5, None, 2.5],
            "on": [True, False, True],
        }
    )
    options = {"id": "machine", "step": 86_400}
    typed = read(parquet({name: pa.Table.from_pandas(frame)[name] for name in frame}), "t.parquet", **options)
    text = read(frame.assign(on=frame["on"].astype(int)).to_csv(index=False), **options)
    for one, two in zip(typed, text, strict=True):
        np.testing.assert_array_equal(one.series, two.series)
        assert (one.sample_id, one.time) == (two.sample_id, two.time)


def test_a_column_of_parquet_with_a_zone_holds_instants():
    """Two o'clock in Berlin's summer is noon in UTC, and the time says that it is UTC."""
    times = pd.to_datetime(["2024-07-01T14:00", "2024-07-01T15:00"]).tz_localize("Europe/Berlin")
    (sample,) = read(parquet({"time": pa.array(times), "x": pa.array([1.0, 2.0])}), "t.parquet")
    assert "2024-07-01T12:00:00+00:00" == sample.time


def test_files_with_and_without_an_offset_are_refused():
    """Nobody knows how far the clocks of one file are from those of the other."""
    files = {
        "a.csv": b"time,x\n2024-01-01T00:00Z,1\n2024-01-01T01:00Z,1\n",
        "b.csv": b"time,x\n2024-01-01T00:00,1\n",
    }
    with pytest.raises(DataRefused, match=r"b\.csv.*times with an offset, as in the files before.*without"):
        read_source(series_table, files)


def test_columns_of_parquet_are_found_by_name():
    """In any order, whatever the file's own is."""
    content = parquet({"x": [1.0, 2.0], "time": ["2024-01-01", "2024-01-02"], "y": [3.0, 4.0]})
    (sample,) = read(content, "t.parquet", columns=["y", "x"])
    assert [[3.0, 1.0], [4.0, 2.0]] == sample.series.tolist()


def test_bike_sharing_has_165_hours_without_a_row(benchmarks):
    """Date and hour make the time; 17,544 hours of two years, equal to what pandas reindexes."""
    path = benchmarks / "bike-sharing" / "hour.csv"
    (sample,) = read(
        path.read_bytes(), "hour.csv", time="dteday", hour="hr", drop=["instant", "casual", "registered"]
    )
    frame = pd.read_csv(path)
    frame.index = pd.to_datetime(frame["dteday"]) + pd.to_timedelta(frame["hr"], unit="h")
    expected = frame[list(sample.channels)].asfreq("h").to_numpy(dtype=np.float32)
    np.testing.assert_array_equal(expected, sample.series)
    assert (17_544, 165) == (len(sample.series), int(np.isnan(sample.series).all(axis=1).sum()))
    assert ("2011-01-01T00:00:00", 3600.0, "cnt") == (sample.time, sample.step_seconds, sample.channels[-1])


def test_etth1_is_what_pandas_reads(benchmarks):
    """17,420 hours of seven columns without a gap."""
    path = benchmarks / "etth1" / "ETTh1.csv"
    (sample,) = read(path.read_bytes(), "ETTh1.csv", time="date")
    expected = pd.read_csv(path, index_col="date", float_precision="round_trip").to_numpy(dtype=np.float32)
    np.testing.assert_array_equal(expected, sample.series)


def test_nab_windows_mark_the_steps_that_pandas_marks(benchmarks):
    """Twelve files with their own steps; clocks that were set need a stated policy."""
    folder = benchmarks / "nab-a"
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}
    options = {"time": "timestamp", "anomaly_windows": "labels/combined_windows.json"}
    with pytest.raises(DataRefused, match=r"ec2_request_latency_system_failure\.csv, line 558"):
        read_source(series_table, files, **options)
    samples = read_source(series_table, files, **options, duplicates="mean", off_grid="nearest", gaps="fill")
    windows = json.loads(files["labels/combined_windows.json"])
    assert 12 == len(samples)
    for sample in samples:
        times = pd.Timestamp(sample.time) + pd.to_timedelta(
            np.arange(len(sample.series)) * sample.step_seconds, "s"
        )
        marks = [(times >= start) & (times <= end) for start, end in windows[f"{sample.sample_id}.csv"]]
        np.testing.assert_array_equal(np.any([np.zeros(len(times), bool), *marks], axis=0), sample.anomalies)


def test_monthly_series_have_all_their_months(benchmarks):
    """Airline and sunspots: 144 and 2,820 months, none missing."""
    for name, time, months in (("Airline", "Date", 144), ("monthly-sunspots", "Month", 2820)):
        content = (benchmarks / "forecast-small" / f"{name}.csv").read_bytes()
        (sample,) = read(content, f"{name}.csv", time=time)
        assert (months, 0) == (len(sample.series), int(np.isnan(sample.series).sum()))


def test_windows_serve_series_by_id():
    """A JSON file that names ids instead of files."""
    files = {
        "t.csv": ROWS.encode(),
        "w.json": json.dumps({"a": [["2024-01-02", "2024-01-09"]], "b": []}).encode(),
    }
    first, second = read_source(
        series_table,
        files,
        id="machine",
        static=["room"],
        step=86_400,
        anomaly_windows="w.json",
        files="t.csv",
    )
    assert [[False, True, True], [False, False]] == [first.anomalies.tolist(), second.anomalies.tolist()]


GOOD = "time,x,y\n2024-01-01,1,2\n2024-01-02,3,4\n"


@pytest.mark.parametrize(
    ("content", "options", "messages"),
    [
        (GOOD + "2024-01-03,x,inf\nsoon,1,1e39\n", {},
         ["line 4, column 'x'", "'x'", "line 4, column 'y'", "'inf'", "line 5, column 'time'", "'soon'", "'1e39'"]),
        (GOOD + "2024-01-03,1\n2024-01-04,1,2,3\n2024-01-05,1,bad\n", {},
         ["line 4: expected 3 fields, as in the first row; received 2", "line 5: expected 3 fields", "received 4 in",
          "line 6, column 'y'"]),
        (GOOD + "\n2024-01-03,1,2\n", {}, ["line 4: expected a row; received an empty line"]),
        (GOOD + '2024-01-03,"1,2\n2024-01-04,1,2\n', {}, ["line 4"]),
        (GOOD + '2024-01-03,"1"2,2\n', {}, ["line 4, column 15", "closing quote"]),
        (GOOD + '2024-01-03,"1\n",2\n2024-01-04,q,2\n', {}, ["line 4, column 'x'", "'1\\n'", "line 6, column 'x'"]),
        (GOOD + '2024-01-03,"a\nb",2\n', {"id": "x"}, ["line 4, column 'x'", "a cell that ends in its line"]),
        (GOOD + "2024-02-30,1,2\n,1,2\n", {}, ["'2024-02-30'", "line 5, column 'time'"]),
        (GOOD + "2024-01-03T00:00:00Z,1,2\n", {}, ["line 4", "wall clock, as above"]),
        (GOOD, {"time": "date", "drop": ["z"]}, ["a column 'date'", "a column 'z'"]),
        (GOOD, {"drop": ["x", "y"]}, ["at least one column of numbers"]),
        (GOOD, {"hour": "x", "time": "time", "columns": ["q"]}, ["a column 'q'"]),
        (GOOD.replace("3,4", "24,4"), {"hour": "x"}, ["line 3, column 'x'", "a whole hour"]),
        (GOOD, {"static": ["x"]}, ["line 3, column 'x'", "expected '1', as at t.csv, line 2", "received '3'"]),
        (GOOD, {"label": "y"}, ["line 3, column 'y'", "'4'"]),
        (GOOD.replace("1,2", ",2"), {"id": "x"}, ["line 2, column 'x'", "an id"]),
        (GOOD + "2024-01-02,5,6\n", {}, ["line 4", "one row per step"]),
        ("time,x,x\n2024-01-01,1,2\n", {}, ["at least one column of numbers"]),
        ("#time,x, x\n2024-01-01,1,2\n", {}, ["at least one column of numbers"]),
        ("time,x,x,5\n2024-01-01,1,2,3\n", {}, ["line 1 does not name the columns"]),
        ("time,x\n", {}, ["at least one row"]),
        ("", {}, ["empty"]),
        (b"time,x\n2024-01-01,\xff\xfe\xfa\n", {"encoding": "utf-8"}, ["t.csv"]),
    ],
)  # fmt: skip
def test_every_problem_is_named_with_its_place(content, options, messages):
    """File, line, column, expected and received; all of them at once."""
    with pytest.raises(DataRefused) as refused:
        read(content, **options)
    assert [] == [message for message in messages if message not in str(refused.value)]


def test_empty_lines_at_the_end_and_windows_line_ends_do_not_matter():
    """Also a byte order mark, blanks around numbers, another separator, and quotes."""
    (sample,) = read('\ufefftime;"x"\r\n2024-01-01; 1\r\n2024-01-02;"2"\r\n\r\n\r\n')
    assert [[1.0], [2.0]] == sample.series.tolist()


@pytest.mark.long
def test_line_numbers_hold_across_batches():
    """A wrong cell after some blocks of a megabyte is named with its own line."""
    lines = [f"{second},{second % 7}" for second in range(300_000)]
    lines[250_000] = "250000,oops"
    lines[100_000] = "100000"
    with pytest.raises(DataRefused) as refused:
        read("time,x\n" + "\n".join(lines), time_format="seconds")
    for message in ("line 100002: expected 2 fields", "line 250002, column 'x'", "'oops'"):
        assert message in str(refused.value)


def test_files_with_other_columns_are_refused():
    """What the first file has the others have too, and no more."""
    files = {"a.csv": GOOD.encode(), "b.csv": GOOD.replace("y", "z").encode()}
    with pytest.raises(DataRefused, match=r"(?s)b.csv.*a column 'y'.*a column 'z' too"):
        read_source(series_table, files)


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"t.csv": [["2024-01-02", "2024-01-01"]]}', '{"t.csv": 1}', "{}"]
)
def test_windows_that_are_none_are_refused(content):
    """No object, no JSON, a window that ends before it begins, no list, no entry."""
    with pytest.raises(DataRefused, match="windows"):
        read_source(
            series_table, {"t.csv": GOOD.encode(), "w.json": content.encode()}, anomaly_windows="w.json"
        )


@pytest.mark.parametrize(
    "options",
    [{"time": ""}, {"step": "weeks"}, {"step": -1.0}, {"step": 1e-9}, {"step": 1e300}, {"time_format": "%Y-%W"}, {"timezone": "Berlin"},
     {"time_format": "seconds", "timezone": "Europe/Berlin"}, {"clock": "x", "hour": "y"}, {"categorical": ["x"]}, {"id": "time"}, {"static": ["x"], "drop": ["x"]}],
)  # fmt: skip
def test_options_that_contradict_each_other_are_refused(options):
    """Before any file is read."""
    with pytest.raises(WronglyCalled, match="Expected"):
        read(GOOD, **options)


@pytest.mark.parametrize("options", [{"files": "z*.csv"}, {"anomaly_windows": "w.json"}])
def test_files_that_are_not_there_are_refused(options):
    """A pattern that matches nothing, windows that nobody has."""
    with pytest.raises(DataRefused, match="Expected"):
        read(GOOD, **options)


def test_a_damaged_parquet_file_is_refused():
    """Cut off in the middle, and a column of another kind."""
    content = parquet({"time": ["2024-01-01"], "x": [[1, 2]]})
    for damaged in (content[: len(content) // 2], content):
        with pytest.raises(DataRefused, match=r"t\.parquet"):
            read(damaged, "t.parquet")


def test_it_says_how_it_reads():
    """One line per file, with what was found out."""
    files = {"a.csv": b"time;x\n2024-01-01;1\n", "b.parquet": parquet({"x": [1]})}
    words = described(series_table, files)
    assert "semicolon" in words[0]
    assert "b.parquet: Parquet" == words[1]


MEASURE = """
import sys, tarfile
from pipeline.sources import series_table
from tests.helpers.peak_memory import peak_kib
with tarfile.open(sys.argv[1]) as archive:
    for sample in series_table.read(archive, series_table.Options()):
        print(len(sample.series))
print(peak_kib() // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_ten_million_rows_need_less_than_a_gibibyte(tmp_path, suffix):
    """One row group, one series, three channels: times and values are all that is in memory."""
    import tarfile

    path = tmp_path / f"long.{suffix}"
    writer = None
    for start in range(0, 10_000_000, 500_000):
        seconds = pa.array(np.arange(start, start + 500_000)).cast(pa.timestamp("s"))
        values = {name: np.full(500_000, 0.25) for name in ("x", "y", "z")}
        table = pa.table({"time": seconds.cast(pa.string()) if suffix == "csv" else seconds} | values)
        if writer is None:
            writer = (
                pa.csv.CSVWriter(path, table.schema)
                if suffix == "csv"
                else pq.ParquetWriter(path, table.schema)
            )
        writer.write_table(table)
    writer.close()
    with tarfile.open(tmp_path / "source.tar", "w:") as archive:
        archive.add(path, path.name)
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "source.tar")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows, mebibytes = done.stdout.split()
    assert 10_000_000 == int(rows)
    assert int(mebibytes) < 1024


STEPS = (
    "time,who,x,doing\n2024-01-01,a,1,sit\n2024-01-02,a,2,walk\n2024-01-04,a,3,walk\n2024-01-01,b,4,\n"
    "2024-01-02,b,5,sit\n"
)


@pytest.mark.parametrize(("gaps", "third"), [("fill", None), ("hold", "walk")])
def test_every_step_may_have_a_class(gaps, third):
    """It is no channel; a gap has none, or that before it; NA is a class like any other."""
    first, second = read(STEPS, id="who", step_label="doing", gaps=gaps)
    classes = [
        [one.step_labels.names[code] if code >= 0 else None for code in one.step_labels.codes]
        for one in (first, second)
    ]
    assert [["sit", "walk", third, "walk"], [None, "sit"]] == classes
    assert (("x",), "") == (first.channels, first.label)
    assert [4.0, 5.0] == second.series[:, 0].tolist()
    (sample,) = read("time,x,c\n2024-01-01,1,NA\n2024-01-02,1,b\n", step_label="c")
    assert ("NA", "b") == sample.step_labels.names


def test_a_class_that_changes_within_a_series_is_told_what_it_is():
    """The advice, followed, reads it; what has no meaning for classes is refused."""
    with pytest.raises(DataRefused, match="--set step_label=COLUMN instead of label"):
        read(STEPS, id="who", label="doing")
    with pytest.raises(WronglyCalled, match="Expected first, last or fail"):
        read(STEPS, id="who", step_label="doing", duplicates="mean")
    with pytest.raises(WronglyCalled, match="Expected one of them"):
        read(STEPS, id="who", step_label="doing", label="x")


def test_a_wide_table_may_be_many_series():
    """One per column, from its first to its last value, at its own time; of two tables with the table's name."""
    wide = "time,b,a\n2024-01-01,1,\n2024-01-02,2,5\n2024-01-03,,6\n"
    first, second = read(wide, wide=True)
    assert [("a", "2024-01-02T00:00:00", [[5], [6]]), ("b", "2024-01-01T00:00:00", [[1], [2]])] == [
        (one.sample_id, one.time, one.series.tolist()) for one in (first, second)
    ]
    assert ("value",) == first.channels
    two = read_source(series_table, {"x.csv": wide.encode(), "y.csv": wide.encode()}, wide=True)
    assert ["x/a", "x/b", "y/a", "y/b"] == [one.sample_id for one in two]
    with pytest.raises(DataRefused, match="column 'c': expected at least one value"):
        read("time,a,c\n2024-01-01,1,\n2024-01-02,2,\n", wide=True)
    with pytest.raises(WronglyCalled, match="Expected one of them"):
        read(wide, wide=True, step_label="a")


def test_a_grid_of_which_most_steps_have_no_row_is_refused_until_somebody_says_what_they_are():
    """Hourly rows, and then a week between each: nobody asked for a series that is mostly missing."""
    times = [f"2026-01-01T{hour:02d}:00" for hour in range(20)] + [
        f"2026-0{month}-0{day}T00:00" for month in (2, 3) for day in (1, 8)
    ]
    content = "\n".join(["time,x", *(f"{time},{n}" for n, time in enumerate(times)), ""]).encode()
    with pytest.raises(DataRefused, match=r"(?s)rows at half of the steps.*--set gaps=fill"):
        read_source(series_table, {"a.csv": content})
    (filled,) = read_source(series_table, {"a.csv": content}, gaps="fill")
    assert len(filled.series) > 40 * 24 > np.isfinite(filled.series).sum()


@pytest.mark.parametrize("shuffled", [False, True], ids=["one series after the other", "mixed"])
def test_a_long_table_goes_through_a_file_and_is_read_as_from_memory(shuffled, tmp_path, monkeypatch):
    """Rows beyond a bound do not wait in memory; what comes out is the same."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(1)
    rows = [
        f"{name},2026-01-01 {hour:02d}:00,{random.integers(0, 99)}" for name in "abc" for hour in range(24)
    ]
    if shuffled:
        random.shuffle(rows)
    files = {"meters.csv": ("id,time,load\n" + "\n".join(rows) + "\n").encode()}
    expected = read_source(series_table, files, time="time", id="id")
    monkeypatch.setattr(growing, "MOST_IN_MEMORY", 10)
    monkeypatch.setattr(time_grid, "ROWS_AT_ONCE", 30)
    received = read_source(series_table, files, time="time", id="id")
    assert [sample.sample_id for sample in expected] == [sample.sample_id for sample in received]
    for before, after in zip(expected, received, strict=True):
        assert np.array_equal(before.series, after.series)


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("2024-01-01,5\n2024-01-02,6\n2024-01-03,7\n", {"time": "2024-01-01"}),
        ("01.02.2024,5\n02.02.2024,6\n03.02.2024,8\n", {"time": "01.02.2024", "time_format": "%d.%m.%Y"}),
        ("1700000000;5\n1700000060;6\n", {"time": "1700000000", "time_format": "seconds"}),
    ],
)
def test_a_first_row_that_is_data_is_no_header(content, options):
    """Its time as the name of the column would lose it; following the advice literally reads it."""
    with pytest.raises(DataRefused, match="--set header=false"):
        read(content, **options)
    (sample,) = read(content, **(options | {"header": False, "time": "1"}))
    assert content.count("\n") == len(sample.series)
