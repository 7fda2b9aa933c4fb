"""Stamps of a local clock become instants; pandas, with its own rules for both odd hours, is the second opinion."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.formats.local_clock import in_utc, instants, named_instants, second_pass, zone, zone_names

ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Africa/Casablanca",
    "UTC",
)
HOUR = 3_600_000_000


def microseconds(*times):
    """Return times as the readers have them."""
    return np.array(times, dtype="datetime64[us]").astype(np.int64)


@pytest.mark.parametrize("name", ZONES)
def test_drawn_stamps_are_the_instants_of_pandas(name):
    """Ten thousand of the years 1975 to 2036, in both passes of an hour that came twice; missing ones are told."""
    rng = np.random.default_rng(3)
    around = microseconds(
        "2018-10-28T02:30", "2018-11-04T01:30", "2018-04-01T01:45", "2018-10-07T02:15", "2018-03-25T02:30"
    )
    drawn = rng.integers(*microseconds("1975-01-01", "2036-01-01"), 6_000)
    wall = np.concatenate([drawn, rng.choice(around, 4_000) + rng.integers(-2 * HOUR, 2 * HOUR, 4_000)])
    later = rng.random(10_000) < 0.5
    frame = pd.DatetimeIndex(wall.astype("datetime64[us]"))
    expected = frame.tz_localize(zone(name), ambiguous=~later, nonexistent="NaT")
    found = instants(wall, name, later=later)
    np.testing.assert_array_equal(expected.isna(), found.missing)
    exact = expected.tz_convert("UTC").tz_localize(None).to_numpy("datetime64[us]").astype(np.int64)
    np.testing.assert_array_equal(exact[~found.missing], found.times[~found.missing])
    assert name == "UTC" or found.missing.any()


@pytest.mark.parametrize("minutes", [5, 15, 30, 60])
@pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York", "America/St_Johns"])
def test_a_regular_logger_is_told_apart_by_the_order_of_its_rows(name, minutes):
    """A year as a local clock shows them, forwards and newest first, are the instants that they were."""
    utc = pd.date_range("2024-01-01", "2025-01-01", freq=f"{minutes}min", tz="UTC")
    wall = utc.tz_convert(name).tz_localize(None).to_numpy("datetime64[us]").astype(np.int64)
    expected = utc.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64)
    for order in (np.arange(len(wall)), np.arange(len(wall))[::-1]):
        later = second_pass(wall[order], name)
        found = instants(wall[order], name, later=later)
        np.testing.assert_array_equal(expected[order], found.times)
        assert not found.missing.any()


def test_rows_in_any_order_are_told_apart_where_they_are_equal():
    """Of two rows at the same time the one that is read first is the first."""
    wall = microseconds(
        "2024-10-27T04:00", "2024-10-27T02:30", "2024-10-27T00:00", "2024-10-27T02:30", "2024-10-27T03:00"
    )
    assert [False, False, False, True, False] == second_pass(wall, "Europe/Berlin").tolist()


def test_a_single_pass_of_an_hour_is_the_first():
    """A row an hour, and one of them for an hour that came twice: the second has none."""
    wall = microseconds("2011-11-06T00:00", "2011-11-06T01:00", "2011-11-06T02:00")
    found = in_utc(wall, None, "America/New_York", "fail")
    assert [4.0, 5.0, 7.0] == ((found.times - microseconds("2011-11-06")[0]) / HOUR).tolist()


def test_jitter_within_the_hour_does_not_matter():
    """The clock goes back where a row is before the one that was read before it."""
    times = ["01:59:50", "02:20:05", "02:40:01", "02:59:58", "02:20:02", "02:40:03", "03:00:04"]
    wall = microseconds(*(f"2024-10-27T{time}" for time in times))
    assert [False] * 4 + [True] * 2 + [False] == second_pass(wall, "Europe/Berlin").tolist()


@pytest.mark.parametrize(
    ("policy", "kept", "times"), [("fail", [], []), ("drop", [0, 2], [0, 1]), ("shift", [0, 1, 2], [0, 1, 1])]
)
def test_an_hour_that_the_clock_jumped_over_is_treated_as_stated(policy, kept, times):
    """02:00 of 31 March 2024 was never shown in Berlin; by the clock before it, it is 01:00 UTC, as 03:00 is."""
    wall = microseconds("2024-03-31T01:00", "2024-03-31T02:00", "2024-03-31T03:00")
    found = in_utc(wall, None, "Europe/Berlin", policy)
    assert kept == found.kept.tolist()
    assert [1] == found.missing.tolist()
    assert times == ((found.times - microseconds("2024-03-31T00:00")[0]) / HOUR).tolist()


def test_names_of_the_clock_decide():
    """CEST is the first pass and CET the second; EST is no name of Berlin's clock."""
    wall = microseconds(*["2024-10-27T02:30"] * 4)
    times, known = named_instants(wall, pa.array(["CEST", "CET", "EST", "UTC"]), "Europe/Berlin")
    assert [True, True, False, True] == known.tolist()
    assert [0.5, 1.5, 2.5] == ((times - microseconds("2024-10-27")[0]) / HOUR)[[0, 1, 3]].tolist()
    assert [False, False, False, True] == named_instants(wall, pa.array(["CEST", "CET", "EST", "UTC"]), "")[
        1
    ].tolist()


def test_every_zone_is_there_offline_and_similar_names_are_told():
    """From the package, whatever the machine has; a city alone or a slip is answered with the name."""
    assert len(zone_names()) > 400
    assert "Europe/Berlin" == zone("Europe/Berlin").key
    with pytest.raises(ValueError, match="Europe/Berlin"):
        zone("Berlin")
    with pytest.raises(ValueError, match="America/New_York"):
        zone("America/New York")
    for name in ("../etc/passwd", "Europe", "", "CEST", "/usr/share/zoneinfo/UTC"):
        with pytest.raises(ValueError, match="IANA"):
            zone(name)
