"""One record as a CSV row or JSON object has it gives the arrays of the features stage, kind by kind."""

import json

import numpy as np
import pytest

from pipeline.inputs.specs import input_spec, kind_read
from pipeline.inputs.train_data import load_train_data
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from pipeline.serving.record import Transform, model_inputs_of
from tests.helpers.featured import (
    SERIES,
    SIDE,
    TEXT,
    WINDOWS,
    run_features,
    write_samples,
    write_split,
    write_texts,
    write_windowed,
)

NAN = float("nan")
TEXTS = ["Win a prize", "see you at HOME", "", "prize prize prize", "völlig unbekannt", "a b c d e f g h i"]
SIDE_COLUMNS = {
    "age": [30.0, None, 50.0, 41.0, 7.0, None],
    "town": ["Ulm", "Bonn", "Ulm", None, "Rome", "Ulm"],
}
SIDE_KINDS = {"age": "number", "town": "category"}
SPLITS = ["train", "train", "train", "train", "val", "test"]


def state():
    return json.loads(paths.FEATURES_STATE.read_text())


def alike(family, rows, records):
    """Compare what the stage wrote with what the records give, name by name and bit by bit."""
    inputs = load_train_data(family).inputs
    one_by_one = Transform(state(), [kind_read(state(), family)])
    spec = input_spec(state(), family)
    for row, record in zip(rows, records, strict=True):
        written = inputs[[row]] if isinstance(inputs, np.ndarray) else inputs.take(np.array([row]))
        written = written if isinstance(written, dict) else {"inputs": written}
        made = one_by_one(json.loads(json.dumps(record)))
        assert written.keys() == made.keys()
        assert (1, *spec.shape) == made["inputs"].shape
        for name, array in made.items():
            assert written[name].dtype == array.dtype
            np.testing.assert_array_equal(written[name], array)


@pytest.mark.parametrize("mode", ["one_hot", "embedded", None])
@pytest.mark.parametrize("family", ["cnn", "linear"])
def test_texts(family, mode, folder):
    """Tokens and bags, with side features as they come in a CSV row: strings, empty ones, unknown towns."""
    write_texts(folder, TEXTS, SPLITS, ["x", "y", "x", "y", "x", "y"], side=SIDE_COLUMNS, kinds=SIDE_KINDS)
    run_features(text=TEXT, side=SIDE | {"categories": mode} if mode else None)
    records = [
        {"text": text, "side": {"age": "" if age is None else str(age), "town": town or ""}}
        for text, age, town in zip(TEXTS, *SIDE_COLUMNS.values(), strict=True)
    ]
    alike(family, range(6), records)
    spec = input_spec(state(), family)
    assert {"one_hot": (4, ()), "embedded": (1, (3,)), None: (0, ())}[mode] == (
        spec.num_side,
        spec.categories,
    )


@pytest.mark.parametrize("scaling", ["channel", "series", "none"])
def test_whole_series(scaling, folder):
    """Series of different lengths, gaps as null, side features beside them."""
    lengths = [4, 2, 5, 3, 7, 1]
    payload = np.random.default_rng(2).normal(3, 2, (sum(lengths), 2)).astype(np.float32)
    payload[[0, 5, 6, 13, 20], 0] = np.nan
    write_samples(folder, payload, lengths, channels=("x", "y"), side=SIDE_COLUMNS, kinds=SIDE_KINDS)
    write_split(folder, SPLITS, labels=["x", "y", "x", "y", "x", "y"], stops=lengths)
    run_features(series=SERIES | {"scaling": scaling}, side=SIDE)
    parts = np.split(payload, np.cumsum(lengths)[:-1])
    records = [
        {
            "series": [[None if np.isnan(value) else float(value) for value in step] for step in part],
            "side": {"age": age, "town": town},
        }
        for part, age, town in zip(parts, *SIDE_COLUMNS.values(), strict=True)
    ]
    alike("rnn", range(6), records)
    assert (5, 2) == input_spec(state(), "rnn").shape
    assert input_spec(state(), "rnn").has_padding


def hours(steps, seed=4):
    """Return hourly load, warmth and kind of two series, some of it missing."""
    generator = np.random.default_rng(seed)
    payload = generator.normal(10, 3, (steps, 3)).astype(np.float32)
    payload[:, 2] = generator.integers(1, 4, steps)
    payload[[4, 7, 33], 1] = np.nan
    payload[[11, 12, 40], 0] = np.nan
    payload[[9, 41], 2] = np.nan
    return payload


SEGMENTS = [
    ("train", 0, 0, 18),
    ("val", 0, 18, 24),
    ("test", 0, 24, 30),
    ("train", 1, 0, 10),
    ("val", 1, 10, 20),
]


@pytest.mark.parametrize("length", [0, 3])
@pytest.mark.parametrize(
    ("scaling", "mode"), [("channel", None), ("series", "one_hot"), ("none", "embedded")]
)
def test_windows(length, scaling, mode, folder):
    """History, calendar, known columns (missing and unknown ones too) and what is told about the series."""
    payload = hours(50)
    told = {
        "side": {"roof": ["flat", "steep"], "floor": [1.0, None]},
        "kinds": {"roof": "category", "floor": "number"},
    }
    write_windowed(folder, payload, SEGMENTS, lengths=[30, 20], **(told if mode else {}))
    run_features(
        task="forecasting",
        windows=WINDOWS | {"length": length},
        series=SERIES | {"scaling": scaling},
        side=SIDE | {"categories": mode or "one_hot"},
    )
    data = load_train_data("rnn")
    from pipeline.data.samples import read_split
    from pipeline.inputs.train_data import windowed_inputs

    index = windowed_inputs(state(), read_split(), ("train", "val")).index
    rows = np.concatenate([data.train_rows, data.val_rows])
    records = []
    for position in index.locate(rows).tolist():
        series, start = (0, 0) if position < 30 else (1, 30)
        step = position - start
        records.append(
            {
                "series": [
                    [None if np.isnan(v) else float(v) for v in row] for row in payload[start:position]
                ],
                "time": f"2026-01-0{5 + step // 24}T{step % 24:02}:00:00",
                "known": {
                    "warm": float(payload[position, 1]),
                    "kind": None if position == 41 else float(payload[position, 2]),
                },
                "side": {"roof": ["flat", "steep"][series], "floor": [1, ""][series]},
                "id": f"00{series}",
            }
        )
    alike("rnn", rows, records)
    assert ("series" if length else "vector") == input_spec(state(), "rnn").kind


def one_pump(folder, time="2026-01-05T00:00:00", scaling="series"):
    """Fit hourly windows of three series, the last of which has no training steps; return a record of the first."""
    segments = [("train", 0, 0, 10), ("val", 0, 10, 20), ("train", 1, 0, 10), ("test", 1, 10, 20)]
    write_windowed(folder, hours(60), [*segments, ("test", 2, 0, 20)], lengths=[20, 20, 20], time=[time] * 3)
    windows = WINDOWS | {"known": [], "known_categorical": []}
    run_features(task="forecasting", windows=windows, series=SERIES | {"scaling": scaling}, side=None)
    return {"series": [[1.0, 2.0, 3.0]] * 3, "time": time, "id": "000"}


def test_a_time_with_an_offset_is_the_instant_it_was_at_ingest(folder):
    """Two o'clock in Berlin's summer is noon as ingest wrote it: the same hour on the circle."""
    record = one_pump(folder, "2026-01-05T00:00:00+00:00")
    noon = model_inputs_of(record | {"time": "2026-07-01T12:00Z"}, state(), ["series"])["side"]
    assert np.array_equal(
        noon, model_inputs_of(record | {"time": "2026-07-01T14:00+02:00"}, state(), ["series"])["side"]
    )
    np.testing.assert_allclose([[0, -1]], noon, atol=1e-6)
    with pytest.raises(DataRefused, match=r"with an offset.*Received: time='2026-07-01T12:00'"):
        model_inputs_of(record | {"time": "2026-07-01T12:00"}, state(), ["series"])


def test_a_time_with_an_offset_is_refused_where_clocks_had_none(folder):
    """Which wall clock is 14:00+02:00? Training saw times of a place, and does not know which."""
    record = one_pump(folder)
    np.testing.assert_allclose(
        [[0, -1]],
        model_inputs_of(record | {"time": "2026-07-01T12:00"}, state(), ["series"])["side"],
        atol=1e-6,
    )
    with pytest.raises(DataRefused, match=r"without an offset.*Received: time='2026-07-01T14:00\+02:00'"):
        model_inputs_of(record | {"time": "2026-07-01T14:00+02:00"}, state(), ["series"])


@pytest.mark.parametrize("wrong", [{"id": "004"}, {"id": None}, {"id": 0}])
def test_a_series_that_is_not_known_is_refused(wrong, folder):
    """It has no scale of its own: the known ones are named, and the word that takes the scale of all."""
    record = one_pump(folder)
    with pytest.raises(DataRefused, match=r"record's id .*Expected one of 000, 001, 002.*pooled_scale: true"):
        model_inputs_of(record | wrong, state(), ["series"])


def test_a_new_series_has_the_scale_of_all_where_the_record_says_so(folder):
    """As series without training steps have it, which are known; where scales are those of channels nobody asks."""
    record = one_pump(folder)
    own, pooled, untrained = (
        model_inputs_of(record | said, state(), ["series"])["inputs"]
        for said in ({}, {"id": "new", "pooled_scale": True}, {"id": "002"})
    )
    assert np.array_equal(untrained, pooled)
    assert not np.array_equal(own, pooled)
    scale = state()["series"]
    expected = (1.0 - scale["mean"][0]) / scale["standard_deviation"][0]
    assert expected == pytest.approx(pooled[0, 0, 0])
    record = one_pump(folder, scaling="channel")
    assert np.array_equal(
        model_inputs_of(record, state(), ["series"])["inputs"],
        model_inputs_of(record | {"id": None}, state(), ["series"])["inputs"],
    )


def test_images(folder):
    """Pixels and hand-made features of an image given as nested lists."""
    from rich.progress import Progress

    from pipeline.stages.features import features

    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)
    write_samples(folder, images, [1] * 6)
    write_split(folder, SPLITS, labels=["x", "y", "x", "y", "x", "y"])
    features(["texture"], 4, 8, Progress(disable=True))
    for family in ("cnn", "dense"):
        alike(family, range(6), [{"image": image.tolist()} for image in images])
    with pytest.raises(DataRefused, match=r"shape \(8, 8, 1\). Received: shape \(2, 2\)"):
        model_inputs_of({"image": [[1, 2], [3, 4]]}, state(), ["image"])


def test_one_channel_may_come_as_a_plain_list(folder):
    """A list of numbers is a series of one channel."""
    write_samples(folder, np.arange(12, dtype=np.float32)[:, None], [2] * 6, channels=("x",))
    write_split(folder, SPLITS, labels=["x", "y", "x", "y", "x", "y"], stops=[2] * 6)
    run_features(series=SERIES)
    alike("cnn", [1], [{"series": [2, 3]}])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"text": "hi", "side": {"age": "old"}}, "age='old'"),
        ({"side": {}}, "record's text .* only side"),
        ({"text": 3}, "Expected a string. Received: int 3"),
        ({"text": 3, "side": {"age": "old"}}, "(?s)a string.*age='old'"),
        ({"text": "hi", "side": [1]}, "Expected an object"),
    ],
)
def test_a_malformed_record_is_refused(record, message, folder):
    """What is wrong is said, all of it at once."""
    write_texts(folder, TEXTS, SPLITS, ["x", "y", "x", "y", "x", "y"], side=SIDE_COLUMNS, kinds=SIDE_KINDS)
    run_features(text=TEXT, side=SIDE)
    with pytest.raises(DataRefused, match=message):
        model_inputs_of(record, state(), ["tokens"])


@pytest.mark.parametrize(
    "series", [[], [[1], [2]], [[1, 2], [3]], [["a", 2]] * 2, [[1, float("inf")]] * 2, [[1, 2]], "12"]
)
def test_a_malformed_series_is_refused(series, folder):
    """Ragged, too short, too narrow, words, infinite: each with what was expected."""
    write_samples(folder, np.ones((12, 2), np.float32), [2] * 6, channels=("x", "y"))
    write_split(folder, SPLITS, labels=["x", "y", "x", "y", "x", "y"], stops=[2] * 6)
    run_features(series=SERIES)
    with pytest.raises(DataRefused, match=r"record's series .* Expected"):
        model_inputs_of({"series": series}, state(), ["series"])
