"""Stretches of series that stand in train and are judged elsewhere: planted ones are named, habits are none."""

import json
import subprocess
import sys

import numpy as np
import pytest

from pipeline.leaks.copies import Stretch, copied_stretches
from pipeline.leaks.findings import WindowColumns
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from tests.helpers.clean_sets import etth1
from tests.helpers.leak_gate import split_and_gate
from tests.helpers.split_data import write_data

FORECAST = WindowColumns(48, 24, ("load",))
ALARM = WindowColumns(48, 0)


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def noise(seed, steps=2000):
    """Return a walk that never comes back to the same numbers."""
    return np.random.default_rng(seed).normal(size=steps).cumsum().astype(np.float32)


def gate(*series, windows=ALARM, **columns):
    """Split hours (55 % train, then 20 % val, 25 % test) and put them through the gate; return the finding ids."""
    task = "forecasting" if windows.targets else "anomaly"
    times = [f"2020-0{1 + number}-01T00:00:00" for number in range(len(series))]
    if windows.targets:
        times = ["2020-01-01T00:00:00"] * len(series)
    ids = [f"meter {number}" for number in range(len(series))]
    write_data(list(series), times=times, step_seconds=3600.0, channels=("load",), ids=ids, **columns)
    return [entry["finding"] for entry in split_and_gate("time", task, windows)["findings"]]


@pytest.mark.parametrize("windows", [ALARM, FORECAST])
def test_a_stretch_of_test_that_stands_in_another_series_train_is_refused(windows):
    """Steps 1800 to 1899 of meter 0 were pasted at step 300 of meter 1: both are named, with their steps."""
    first, second = noise(0), noise(1)
    second[300:400] = first[1800:1900]
    with pytest.raises(DataRefused, match=r"copied-stretches \(L1.4") as error:
        gate(first, second, windows=windows)
    assert "1800 to 1899 of meter 0 (test) are 300 to 399 of meter 1" in str(error.value)
    summary = json.loads(paths.LEAKS_SUMMARY.read_text())
    assert [("copied-stretches", 2)] == [
        (entry["finding"], entry["samples"]) for entry in summary["findings"]
    ]


def test_a_meter_that_was_exported_twice_with_a_shift_is_refused():
    """The second export begins 900 steps later, so that it trains on what the first is judged by."""
    meter = noise(0, 3000)
    with pytest.raises(DataRefused, match=r"of meter 0 \(val\) are \d+ to \d+ of meter 1"):
        gate(meter[:2000], meter[900:2900])


def test_a_stretch_that_a_series_repeats_in_its_own_test_is_refused():
    """An outage was filled with the readings of another month."""
    meter = noise(0)
    meter[1700:1760] = meter[200:260]
    with pytest.raises(DataRefused, match=r"1700 to 1759 of meter 0 \(test\) are 200 to 259 of meter 0"):
        gate(meter)


def test_a_meter_that_was_exported_twice_and_is_cut_at_the_same_time_passes():
    """Its copy trains on what it trains on itself, and is judged by the same steps."""
    assert [] == gate(noise(0), noise(0), windows=FORECAST)


def test_other_columns_may_repeat():
    """The calendar of each year is the same; what is predicted is not."""
    calendar = np.tile(noise(9, 500), 4)
    write_data(
        [np.stack([noise(0), calendar], axis=1)],
        times=["2020-01-01T00:00:00"],
        step_seconds=3600.0,
        channels=("load", "calendar"),
    )
    windows = WindowColumns(48, 24, ("load",), ("calendar",))
    assert [] == split_and_gate("time", "forecasting", windows)["findings"]


HOURS = np.arange(2000)
DRAWN = np.random.default_rng(0)
HABITS = {
    "nothing": [np.zeros(2000)] * 2,
    "gauges that stand still": [np.full(2000, 21.5)] * 2,
    "hardly anything": [(HOURS % 431 == number) * 1.0 for number in (0, 99)],
    "counters": [(HOURS + later) * 0.1 for later in (0, 300)],
    "on and off": [((HOURS + later) // 50 % 2) * 80.0 for later in (0, 20)],
    "the same every day": [40 + 10 * np.sin(2 * np.pi * ((HOURS + later) % 24) / 24) for later in (0, 7)],
    "rare sales": DRAWN.poisson(0.3, (2, 2000)) * 1.0,
    "few sales": DRAWN.integers(0, 3, (2, 2000)) * 1.0,
    "thermometers of tenths": [np.round(noise(seed) / 20, 1) for seed in (2, 3)],
    "meters with gaps": [np.where(HOURS % 100 < 60, np.nan, noise(seed)) for seed in (2, 3)],
}


@pytest.mark.parametrize("name", HABITS)
def test_what_series_do_again_and_again_is_no_copy(name):
    """Two series of a kind, one a little later than the other: equal numbers say nothing there."""
    assert [] == copied_stretches(*stretched(*HABITS[name]), shortest=24)


def test_a_copy_that_was_pasted_twice_into_test_is_refused_twice():
    """The series holds it three times then, and all the same it is no habit: train has it once."""
    meter = np.random.default_rng(0).normal(size=2000).astype(np.float32)
    meter[1400:1500] = meter[1700:1800] = meter[300:400]
    found = copied_stretches(*stretched(meter), shortest=24)
    assert [Stretch(1400, 300, 100), Stretch(1700, 300, 100)] == found


def test_noise_that_was_tiled_across_the_boundary_is_refused():
    """A thousand steps, four times: train has them twice, and is judged by the same."""
    tiled = np.tile(np.random.default_rng(0).normal(size=1000), 4)
    assert copied_stretches(*stretched(tiled), shortest=24)


def test_counters_among_other_series_are_no_copies():
    """Two counters beside eight walks: a rise of one is rare there, and still says nothing after another rise."""
    counters = [np.arange(later, later + 2000) * 1.0 for later in (0, 800)]
    walks = [noise(seed) * 100 for seed in range(8)]
    assert [] == copied_stretches(*stretched(*counters, *walks), shortest=24)


def test_a_copy_whose_zeros_have_another_sign_is_one_copy():
    """A meter that stands still every tenth step: one export rounds that to -0.0, which is the number 0.0."""
    first, second = noise(0), noise(1)
    first[1500:1600:10] = 0.0
    second[300:400] = first[1500:1600]
    second[300:400:10] = -0.0
    assert [Stretch(1500, 2300, 100)] == copied_stretches(*stretched(first, second), shortest=24)


def test_a_paste_into_a_real_series_is_refused(benchmarks):
    """etth1 passes as it is (test_clean); with five days of its test part pasted into its past it does not."""
    how = etth1(benchmarks)
    table = np.load(paths.PAYLOAD_NPY)
    table[4000:4120] = table[16000:16120]
    np.save(paths.PAYLOAD_NPY, table)
    with pytest.raises(DataRefused, match=r"steps 16000 to 16119 of 000000 \(test\) are 4000 to 4119 of"):
        split_and_gate(**how)


@pytest.mark.slow
def test_ten_million_steps_fit_into_memory():
    """A copy of 200 steps among ten million is found in less than 1.5 GiB, interpreter and payload included."""
    code = """
import numpy as np
from tests.helpers.peak_memory import peak_kib
from pipeline.leaks.copies import copied_stretches
payload = np.random.default_rng(0).normal(size=(10_000_000, 1)).astype(np.float32)
payload[1_000_000:1_000_200] = payload[9_000_000:9_000_200]
ranges = [(0, 10_000_000)], [(0, 7_000_000)], [(7_000_000, 10_000_000)]
print(*copied_stretches(payload, [0], *ranges, shortest=48))
print(peak_kib())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=paths.__file__.rsplit("/pipeline/")[0],
        capture_output=True,
        text=True,
    )
    stretch, kib = done.stdout.splitlines()
    assert stretch == repr(Stretch(9_000_000, 1_000_000, 200))
    assert int(kib) < 1.5 * 2**20


def stretched(*series):
    """Return payload, columns, series, train and judged segments: 55 % train, the rest judged."""
    ends = np.cumsum([len(values) for values in series]).tolist()
    whole = [(end - len(values), end) for values, end in zip(series, ends, strict=True)]
    cuts = [start + (end - start) * 55 // 100 for start, end in whole]
    train = [(start, cut) for (start, _), cut in zip(whole, cuts, strict=True)]
    held_out = [(cut, end) for (_, end), cut in zip(whole, cuts, strict=True)]
    return np.concatenate(series)[:, None].astype(np.float32), [0], whole, train, held_out


def test_stretches_are_what_a_search_by_hand_finds():
    """Thirty pastes of 10 to 60 steps: those of at least 24 steps are found, each once, each to its last step."""
    rng = np.random.default_rng(3)
    first, second = noise(0), noise(1)
    pasted = []
    for number, length in enumerate(rng.integers(10, 60, 14).tolist()):
        held_out, train = 1110 + 62 * number, 70 * number
        second[train : train + length] = first[held_out : held_out + length]
        if length >= 24:
            pasted.append(Stretch(held_out, 2000 + train, length))
    assert 5 <= len(pasted) < 14
    assert pasted == copied_stretches(*stretched(first, second), shortest=24)


def test_several_columns_must_all_be_copied():
    """Two columns: a stretch where only one of them is the same is no copy of what is judged."""
    payload, _, series, train, held_out = stretched(noise(0), noise(1))
    payload = np.concatenate([payload, payload[::-1] * 2], axis=1)
    payload[2300:2400, 0] = payload[1500:1600, 0]
    assert [] == copied_stretches(payload, [0, 1], series, train, held_out, shortest=24)
    assert [Stretch(1500, 2300, 100)] == copied_stretches(payload, [0], series, train, held_out, shortest=24)
