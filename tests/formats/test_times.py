"""Time stamps as people and machines write them; what is wrong is named, and the advice, followed, reads the cells."""

import datetime as dt
import random
from decimal import Decimal

import pyarrow as pa
import pytest

from pipeline.formats.delimited import Batch
from pipeline.formats.problems import Problems, typed_in
from pipeline.formats.times import CLOCKS, TimeReader, format_problem, iso, zone_problem
from pipeline.runtime.errors import DataRefused


def times_of(cells, time_format="auto", *, clock=None, timezone=""):
    """Return cells as ISO 8601 without an offset; raises what is refused."""
    columns = {"t": cells if isinstance(cells, (list, pa.Array)) else pa.array(cells)}
    if isinstance(cells, list):
        columns["t"] = pa.array(cells)
    if clock is not None:
        columns["c"] = pa.array(clock)
    problems = Problems()
    reader = TimeReader(time_format, clock="c" if clock is not None else "", timezone=timezone)
    found = reader.read(Batch("t.csv", "line", range(2, 2 + len(cells)), columns), "t", problems)
    problems.check()
    return [iso(time) for time in found.tolist()]


def refusal(cells, time_format="auto", **more):
    """Return why cells cannot be read."""
    with pytest.raises(DataRefused) as refused:
        times_of(cells, time_format, **more)
    return str(refused.value)


@pytest.mark.parametrize(
    ("unit", "digits"), [("seconds", 0), ("milliseconds", 3), ("microseconds", 6), ("nanoseconds", 9)]
)
def test_unix_times_are_exact_in_every_unit(unit, digits):
    """Thousands of drawn times as text, whole numbers, decimals and floats; `decimal` is the second opinion."""
    rng = random.Random(unit)
    micros = [rng.randrange(-(10**15), 4 * 10**15) for _ in range(3_000)]
    exact = [Decimal(micro).scaleb(digits - 6) for micro in micros]
    expected = [iso(micro) for micro in micros]
    assert expected == times_of([f"{value:f}" for value in exact], unit)
    assert expected == times_of(
        pa.array([value.quantize(Decimal("0.000001")) for value in exact], pa.decimal128(38, 6)), unit
    )
    whole = [int(value) for value in exact]
    unit_us = Decimal(10) ** (6 - digits)
    assert [iso(int((value * unit_us).to_integral_value("ROUND_FLOOR"))) for value in whole] == times_of(
        whole, unit
    )
    floats = times_of([float(value) for value in whole], unit)
    for found, value in zip(floats, whole, strict=True):
        assert abs(
            dt.datetime.fromisoformat(found) - dt.datetime.fromisoformat(iso(int(value * unit_us)))
        ) <= dt.timedelta(microseconds=2)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2024-05-03", "2024-05-03T00:00:00"),
        ("2024-05-03T24:00", "2024-05-04T00:00:00"),
        ("2024-12-31 24:00:00", "2025-01-01T00:00:00"),
        ("2024-05-03 10:00:00,125", "2024-05-03T10:00:00.125000"),
        ("2024-05-03T10:00:00.1234567", "2024-05-03T10:00:00.123456"),
        ("2024-05-03 10:00:00.123456789", "2024-05-03T10:00:00.123456"),
        ("2024-05-03T10:00:00.1234567Z", "2024-05-03T10:00:00.123456"),
        ("2024-05-03T24:00:00+02:00", "2024-05-03T22:00:00"),
        ("2024-11", "2024-11-01T00:00:00"),
        ("2024-Q4", "2024-10-01T00:00:00"),
        ("2024Q1", "2024-01-01T00:00:00"),
        ("2015-W53", "2015-12-28T00:00:00"),
        ("2015W01", "2014-12-29T00:00:00"),
        ("2015-W01-7", "2015-01-04T00:00:00"),
    ],
)
def test_iso_8601_is_read_without_being_told(cell, expected):
    """The end of a day, a comma, finer parts of a second than are kept, months, quarters and weeks."""
    assert [expected] == times_of([cell])


@pytest.mark.parametrize(
    "cell",
    [
        "2024-05-03T24:01",
        "2024-02-30",
        "2024-13",
        "2024-Q5",
        "2016-W53",
        "2024-05-03T24:00:01",
        "24:00",
        "",
        "2024-05-03T10:61",
    ],
)
def test_what_no_calendar_has_is_refused(cell):
    """No time is guessed."""
    assert "t.csv, line 2, column 't'" in refusal([cell])


@pytest.mark.parametrize(
    ("cells", "unit"),
    [
        (["1e30"], "seconds"),
        (["9" * 19], "nanoseconds"),
        (["9" * 40], "nanoseconds"),
        (["1704067200000000"], "seconds"),
        ([2**62], "milliseconds"),
        ([1e300], "microseconds"),
        ([float("inf")], "seconds"),
        (["-99999999999999"], "milliseconds"),
        (["x", None, ""], "seconds"),
        (pa.array([2**64 - 1], pa.uint64()), "nanoseconds"),
        (pa.array([True]), "seconds"),
    ],
)
def test_out_of_range_is_a_problem_of_the_line(cells, unit):
    """And never a traceback; 19 nines of nanoseconds are the year 2286."""
    if cells == ["9" * 19]:
        assert ["2286-11-20T17:46:39.999999"] == times_of(["9999999999999999999"[:19]], unit)
        return
    assert "t.csv, line 2, column 't'" in refusal(cells, unit)


def test_the_ends_of_the_calendar_are_problems_of_their_lines():
    """A zone, a time of day or 24:00 may lead out of the years 1 to 9999: no traceback."""
    for cells, options in [
        (["9999-12-31T24:00"], {}),
        (["0001-01-01T00:00"], {"timezone": "Asia/Tokyo"}),
        (["9999-12-31"], {"clock": ["23:59"]}),
        (["9999-12-31T23:59:59-12:00"], {}),
    ]:
        assert "line 2" in refusal(cells, **options)


ADVISED = [
    ["1704067200", "1704070800"],
    ["1704067200000", "1704070800000"],
    ["1704067200000000", "1704070800000000"],
    ["1704067200000000000", "1704070800000000000"],
    ["1704067200.5", "1704070800.25"],
    ["202401010000", "202401012359"],
    ["2024010123", "2024010200"],
    ["20240131", "20240201"],
    ["31.01.2024", "01.02.2024"],
    ["31.1.2024 5:00", "1.2.2024 17:00"],
    ["03.05.2024 10:00:00.020", "03.05.2024 10:00:00.040"],
    ["03.05.2024 10:00:00,020", "03.05.2024 10:00:00,040"],
    ["01/31/2024 05:00 PM", "02/01/2024 05:00 AM"],
    ["Fri, 03 May 2024 10:00:00 GMT", "Sat, 04 May 2024 10:00:00 GMT"],
    ["2024-05-03 10:00:00 UTC", "2024-05-03 11:00:00 UTC"],
    ["03/Oct/2024:10:00:00 +0200", "03/Oct/2024:11:00:00 +0200"],
    ["20240101T120000Z", "20240101T130000Z"],
    ["3-May-24", "14-May-24"],
    ["Jan 2020", "Feb 2020"],
    ["Q1 2005", "Q2 2005"],
    ["2015 W01", "2015 W02"],
    ["1950", "1951"],
    ["0", "1", "2"],
    ["28.02.2023"] * 30 + ["30.02.2023"],
]


@pytest.mark.parametrize("cells", ADVISED, ids=lambda cells: cells[0])
def test_advice_followed_reads_the_cells_or_names_what_is_left(cells):
    """One option, tried before it is said; the second reading has no other advice about the format."""
    message = refusal(cells)
    (stated,) = [said for pairs in typed_in(message) for name, said in pairs if name == "time_format"]
    if cells[-1] != "30.02.2023":
        assert len(cells) == len(times_of(cells, stated))
        return
    message = refusal(cells, stated)
    assert "line 32" in message
    assert "remove these rows" in message
    assert "--set" not in message


@pytest.mark.parametrize("cells", [["45292", "45293"], ["45292.0416667", "45292.0833333"]])
def test_day_numbers_of_a_spreadsheet_are_named(cells):
    """They are no counts of seconds."""
    assert "day numbers of a spreadsheet" in refusal(cells)


@pytest.mark.parametrize(("cells", "ways"), [(["01/02/2024", "03/04/2024"], ["%d/%m/%Y", "%m/%d/%Y"])])
def test_a_day_that_may_be_a_month_is_asked_for(cells, ways):
    """Both readings are named, and none is taken."""
    message = refusal(cells)
    assert ways == [way for pairs in typed_in(message) for _, way in pairs]
    assert "the day first" in message
    assert "the month first" in message


@pytest.mark.parametrize("text", CLOCKS)
def test_date_and_time_in_two_columns_are_joined(text):
    """Whatever form the time of day has, a date by its own format, or as ISO 8601."""
    rng = random.Random(text)
    times = [dt.datetime(2024, 1, 1) + dt.timedelta(seconds=rng.randrange(86_400)) for _ in range(500)]  # noqa: DTZ001
    clock = [time.strftime(text) for time in times]
    expected = [dt.datetime.strptime(f"2024-01-01 {cell}", f"%Y-%m-%d {text}").isoformat() for cell in clock]  # noqa: DTZ007
    assert expected == times_of(["2024-01-01"] * 500, clock=clock)
    assert expected == times_of(["1.1.2024"] * 500, "%d.%m.%Y", clock=clock)
    assert expected == times_of(["1.1.2024"] * 500, f"%d.%m.%Y {text}", clock=clock)
    assert expected == times_of([dt.date(2024, 1, 1)] * 500, clock=clock)


def test_a_time_of_day_that_is_none_is_refused():
    """24:00 is the end of the day; a date with a time of its own is no date."""
    assert ["2024-01-02T00:00:00"] == times_of(["2024-01-01"], clock=["24:00"])
    assert "column 'c'" in refusal(["2024-01-01"], clock=["25:00"])
    assert "--set hour=COLUMN" in refusal(["2024-01-01"], clock=["7"])
    assert "column 't'" in refusal(["2024-01-01T05:00"], clock=["07:00"])
    assert ["2024-01-01T07:00:00"] == times_of(["20240101"], "%Y%m%d %H%M", clock=["0700"])
    assert ["2024-01-01T07:00:00"] == times_of([dt.date(2024, 1, 1)], clock=[dt.time(7)])


def test_a_named_zone_needs_its_clock():
    """UTC is known; CET only to a zone that has it, where it tells the two passes of an hour apart."""
    text = "%Y-%m-%d %H:%M %Z"
    assert ["2024-01-01T05:00:00"] == times_of(["2024-01-01 05:00 UTC"], text)
    assert "--set timezone=Europe/Berlin" in refusal(["2024-01-01 05:00 CET"], text)
    cells = ["2024-10-27 02:30 CEST", "2024-10-27 02:30 CET"]
    assert ["2024-10-27T00:30:00", "2024-10-27T01:30:00"] == times_of(cells, text, timezone="Europe/Berlin")
    assert "line 2" in refusal(["2024-07-01 02:30 CET"], text, timezone="Europe/Berlin")
    assert "line 2" in refusal(["no time"], text, timezone="Europe/Berlin")


def test_a_zone_for_times_with_an_offset_is_refused():
    """They are instants already."""
    for cells, text in ((["2024-01-01T00:00Z"], "auto"), (["01.01.2024 +0100"], "%d.%m.%Y %z")):
        assert "Leave --set timezone= out" in refusal(cells, text, timezone="Europe/Berlin")


def test_typed_columns_are_read_as_they_are():
    """Dates and stamps of Parquet; whole numbers by a format of digits."""
    assert ["2024-01-31T00:00:00"] == times_of([dt.date(2024, 1, 31)])
    assert ["2024-01-31T05:00:00"] == times_of([dt.datetime(2024, 1, 31, 5)], "%d.%m.%Y")  # noqa: DTZ001
    assert ["2024-01-31T00:00:00"] == times_of([20240131], "%Y%m%d")
    assert "--set time_format=milliseconds" in refusal([1704067200000])
    assert "line 2" in refusal(pa.array([2**31 - 1], pa.date32()))


@pytest.mark.parametrize("text", ["%Y-%W", "%d.%m", "unix", "ms", "", "%", "%H:%M"])
def test_formats_that_cannot_be_read_are_named_before_any_file(text):
    """With what could be said instead."""
    assert "nanoseconds" in format_problem(text)


def test_options_that_can_be_read_have_no_problem():
    """Units, formats, zones."""
    for text in ("auto", "seconds", "nanoseconds", "%d.%m.%Y", "%Y-Q%q"):
        assert format_problem(text) == ""
    assert zone_problem("Europe/Berlin") == zone_problem("") == ""
    assert "Europe/Berlin" in zone_problem("Europe/Berln")
