"""What the real features stage fits follows from train alone, and the gate's second reckoning agrees with it."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.progress import Progress

from pipeline.leaks.findings import SignOff, WindowColumns, read_leak_data
from pipeline.leaks.fitted import fitted_on_train_problems, refuse_unless_fitted_on_train
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from pipeline.stages.features import features
from tests.helpers.leak_gate import run_split, two_classes, words
from tests.helpers.split_data import write_data

TEXT = {
    "unit": "words",
    "lowercase": True,
    "digits_alike": False,
    "vocabulary_size": 150,
    "min_count": 2,
    "max_tokens": 10,
    "vectors": None,
    "word_ngrams": [1, 2],
    "char_ngrams": [3, 4],
    "bag_size": 300,
    "max_bag": 40,
}
SERIES = {"scaling": "channel", "max_length": None}
SIDE = {"categories": "one_hot", "max_categories": 4}
WINDOWS = {
    "length": 10,
    "horizon": 2,
    "stride": 1,
    "targets": ["x"],
    "known": ["y"],
    "known_categorical": ["z"],
    "calendar": [],
}


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def side(count):
    """Return a column of numbers and one of categories, some missing."""
    rng = np.random.default_rng(5)
    numbers = [None if value > 1.5 else float(value) for value in rng.normal(10, 3, count) / 10]
    return {"age": numbers, "town": rng.choice(["a", "b", "c", "d", "e", "f"], count).tolist()}


def images():
    """Images of two classes with side columns."""
    pixels = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 3), dtype=np.uint8)
    write_data(list(pixels), labels=two_classes(200), side=side(200))
    return {"groups": ["texture"], "edge_cell_px": 4, "colour_bins": 8, "side": SIDE}, {}


def texts():
    """Texts of two classes with side columns."""
    write_data(words(0), labels=two_classes(300), side=side(300))
    return {"text": TEXT, "side": SIDE}, {}


def values():
    """Series of different lengths that carry a number; some steps are missing."""
    rng = np.random.default_rng(0)
    series = [rng.normal(3, 2, (rng.integers(10, 20), 2)) for _ in range(200)]
    for steps in series[::3]:
        steps[4, 1] = np.nan
    write_data(series, targets=rng.normal(size=200).tolist(), channels=("x", "y"))
    return {"series": SERIES}, {"task": "regression"}


def windows():
    """Two series under windows, with known columns, each with its own scale."""
    rng = np.random.default_rng(0)
    series = [
        np.stack([rng.normal(size=500), rng.normal(size=500), rng.integers(0, 5, 500)], axis=1) for _ in "ab"
    ]
    write_data(series, times=["2020-01-01"] * 2, step_seconds=3600.0, channels=("x", "y", "z"))
    columns = WindowColumns(10, 2, ("x",), ("y",), ("z",))
    place = {"method": "time", "task": "forecasting", "windows": columns}
    return {"series": {**SERIES, "scaling": "series"}, "windows": WINDOWS, "side": SIDE}, place


KINDS = (images, texts, values, windows)


def run_features(settings, task="classification"):
    """Run the real features stage; return its state."""
    arguments = {"groups": None, "edge_cell_px": None, "colour_bins": None, **settings}
    with Progress(disable=True) as progress:
        return features(**arguments, progress=progress, task=task)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_the_features_stage_fits_is_fitted_on_train(kind):
    """NumPy's and a second fit's numbers for train are those of the state, for every kind of data."""
    settings, place = kind()
    run_split(**place)
    run_features(settings, place.get("task", "classification"))
    refuse_unless_fitted_on_train(**{"method": "stratified", "task": "classification", **place})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_fitted_state_moves_with_the_rows_that_judge(kind):
    """Every test and val sample is overwritten by something else: the state stays the same to the byte."""
    settings, place = kind()
    run_split(**place)
    run_features(settings, place.get("task", "classification"))
    before, payload = paths.FEATURES_STATE.read_bytes(), paths.PAYLOAD_NPY.read_bytes()
    overwrite_judges()
    assert payload != paths.PAYLOAD_NPY.read_bytes()
    run_features(settings, place.get("task", "classification"))
    assert before == paths.FEATURES_STATE.read_bytes()


def overwrite_judges():
    """Overwrite the payload, side columns and targets of all that is not train."""
    payload, samples, split = (
        np.load(paths.PAYLOAD_NPY),
        pq.read_table(paths.SAMPLES_PARQUET),
        pq.read_table(paths.SPLIT_PARQUET),
    )
    held_out = [row for row in split.to_pylist() if row["split"] != "train"]
    starts = samples["start"].to_pylist()
    for row in held_out:
        start = starts[row["row"]]
        part = payload[start + row["start"] : start + row["stop"]]
        part[...] = ord("q") if payload.ndim == 1 else 7 + part[::-1] * 3 % 100
    np.save(paths.PAYLOAD_NPY, payload)
    rows = {row["row"] for row in held_out if row["start"] == 0 and row["stop"] >= 0}
    for name, other in (("side.age", 1000.0), ("side.town", "q")):
        if name in samples.schema.names:
            column = [other if row in rows else value for row, value in enumerate(samples[name].to_pylist())]
            place = samples.schema.get_field_index(name)
            samples = samples.set_column(place, samples.schema.field(place), [column])
    pq.write_table(samples, paths.SAMPLES_PARQUET)
    targets = [
        row["target"] if row["split"] == "train" else row["target"] * 0 + 99 for row in split.to_pylist()
    ]
    place = split.schema.get_field_index("target")
    pq.write_table(split.set_column(place, "target", pa.array(targets)), paths.SPLIT_PARQUET)


CHANGES = [
    (images, "fitted:image", lambda state: state["image"]["mean"]),
    (images, "fitted:handmade", lambda state: state["handmade"]["standard_deviation"]),
    (images, "fitted:side.age", lambda state: state["side"]["numbers"][0]),
    (images, "selected:classes", lambda state: state["class_counts"]),
    (texts, "selected:side.town", lambda state: state["side"]["categories"][0]["values"]),
    (texts, "selected:text.tokens", lambda state: state["text"]["tokens"]["vocabulary"]),
    (texts, "fitted:text.bag", lambda state: state["text"]["bag"]["inverse_frequencies"]),
    (values, "fitted:series", lambda state: state["series"]["mean"]),
    (values, "fitted:target", lambda state: state["target"]["mean"]),
    (windows, "fitted:series of 000001", lambda state: state["series"]["of_series"]["000001"]["mean"]),
    (windows, "selected:side.z", lambda state: state["windows"]["side"]["known"]["categories"][0]["values"]),
]


@pytest.mark.parametrize(("kind", "finding", "part"), CHANGES, ids=[change[1] for change in CHANGES])
def test_every_part_of_the_state_is_reckoned_again(kind, finding, part):
    """One number or name that is off, as one row more in the fit would make it, is found, and nothing else."""
    settings, place = kind()
    place = {"method": "stratified", "task": "classification", **place}
    run_split(**place)
    state = json.loads(json.dumps(run_features(settings, place["task"])))
    changed = part(state)
    key = "mean" if isinstance(changed, dict) else 0
    changed[key] = f"q{changed[key]}" if isinstance(changed[key], str) else changed[key] * (1 + 1e-4) + 1e-4
    data = read_leak_data(**place)
    handmade = np.load(paths.FEATURES_NPY) if "handmade" in state else None
    assert {finding} == {problem.finding for problem in fitted_on_train_problems(state, data, handmade)}


def test_a_state_that_is_off_stops_the_run_and_can_be_signed_off():
    """The message names the file and the part; a reason in params lets it through."""
    settings, place = values()
    place = {"method": "stratified", **place}
    run_split(**place)
    state = run_features(settings, place["task"])
    state["series"]["mean"][0] += 0.01
    paths.FEATURES_STATE.write_text(json.dumps(state))
    with pytest.raises(
        DataRefused, match=r"fitted:series \(L1.2.*state.json was not measured on train alone"
    ):
        refuse_unless_fitted_on_train(**place)
    signed = {
        name: SignOff("scaled by hand for the demo", 0.02) for name in ("fitted:series", "fitted:side.age")
    }
    assert ["fitted:side.age"] == refuse_unless_fitted_on_train(**place, accepted=signed)
    state["series"]["mean"][0] += 1
    paths.FEATURES_STATE.write_text(json.dumps(state))
    with pytest.raises(DataRefused, match=r"signed off up to 0.02, and goes as far as \d\.\d+ now"):
        refuse_unless_fitted_on_train(**place, accepted=signed)


def test_the_scale_of_frozen_features_is_reckoned_again():
    """What a pretrained trunk makes of the training rows has this mean and deviation, and no other."""
    frozen = np.random.default_rng(3).normal(size=(40, 3)).astype(np.float32)
    data = SimpleNamespace(train_rows=np.arange(30), split=SimpleNamespace(splits=np.array(["train"])))

    def found(rows):
        scale = {
            "mean": frozen[:rows].mean(axis=0).tolist(),
            "standard_deviation": frozen[:rows].std(axis=0).tolist(),
        }
        return {
            problem.finding for problem in fitted_on_train_problems({"pretrained": scale}, data, None, frozen)
        }

    assert set() == found(30)
    assert {"fitted:pretrained"} == found(31)
