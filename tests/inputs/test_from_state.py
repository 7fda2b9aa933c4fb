"""A model with a state of its own reads today's rows as it read them in its own time, kind by kind."""

import json

import numpy as np
import pytest
from rich.progress import Progress

from pipeline.evaluation.rows import load_rows
from pipeline.inputs.arrays import take
from pipeline.inputs.from_state import NotReadable, rebuilt_inputs
from pipeline.inputs.train_data import load_split_rows
from pipeline.runtime import paths
from pipeline.serving.record import Transform
from pipeline.stages.features import features
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

TEXTS = [
    "Win a prize",
    "see you at HOME",
    "prize for home",
    "völlig unbekannt",
    "a b c d e f g h i",
    "win home",
]
SIDE_COLUMNS = {
    "age": [30.0, None, 50.0, 41.0, 7.0, None],
    "town": ["Ulm", "Bonn", "Ulm", None, "Rome", "Ulm"],
}
SIDE_KINDS = {"age": "number", "town": "category"}
LABELS = ["x", "y", "x", "y", "x", "y"]
THEN = ["train", "train", "val", "val", "test", "test"]
TODAY = ["val", "val", "train", "train", "test", "test"]


def state():
    return json.loads(paths.FEATURES_STATE.read_text())


def written_arrays(kind):
    """Return what the features stage wrote of the test rows, by the names of the inputs."""
    found = load_split_rows("test", [kind])
    return named(take(found.inputs, found.rows))


def named(arrays):
    return arrays if isinstance(arrays, dict) else {"inputs": arrays}


def rebuilt(own, kind, folder):
    """Return what a model of some state reads of today's test rows, two rows at a time."""
    (folder / "scratch").mkdir(exist_ok=True)
    test = load_rows("test")
    inputs = rebuilt_inputs(own, [kind], test.rows, test.timeline, folder / "scratch")
    assert len(inputs) == len(test)
    parts = [
        named(inputs.take(np.arange(first, min(first + 2, len(test))))) for first in range(0, len(test), 2)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def check_equal(expected, made):
    assert expected.keys() == made.keys()
    for name, array in expected.items():
        assert array.dtype == made[name].dtype
        np.testing.assert_array_equal(array, made[name])


def check_differ(one, other):
    """The two states must not read alike, or equal arrays would prove nothing."""
    assert any(
        name not in other
        or one[name].shape != other[name].shape
        or not np.array_equal(one[name], other[name])
        for name in one
    )


def one_by_one(own, kind, records):
    made = [Transform(own, [kind])(json.loads(json.dumps(record))) for record in records]
    return {name: np.concatenate([arrays[name] for arrays in made]) for name in made[0]}


@pytest.mark.parametrize("mode", ["one_hot", "embedded", None])
@pytest.mark.parametrize("kind", ["tokens", "bag"])
def test_texts_are_read_with_the_vocabulary_of_then(kind, mode, folder):
    """Other training texts and other settings: ids, weights and categories are those of then."""
    columns = {"side": SIDE_COLUMNS, "kinds": SIDE_KINDS}
    write_texts(folder, TEXTS, THEN, LABELS, **columns)
    run_features(text=TEXT, side=SIDE | {"categories": mode} if mode else None)
    own, then = state(), written_arrays(kind)
    write_split(folder, TODAY, labels=LABELS)
    run_features(text=TEXT | {"lowercase": False, "max_tokens": 3, "max_bag": 9}, side=SIDE)
    check_equal(then, rebuilt(own, kind, folder))
    check_differ(then, written_arrays(kind))
    records = [
        {"text": TEXTS[row], "side": {name: values[row] for name, values in SIDE_COLUMNS.items()}}
        for row in (4, 5)
    ]
    check_equal(then, one_by_one(own, kind, records))


@pytest.mark.parametrize("scaling", ["channel", "series", "none"])
def test_whole_series_are_read_at_the_scale_of_then(scaling, folder):
    """Gaps, lengths beyond the longest of then, and side features; the columns stand in another order today."""
    lengths = [4, 2, 5, 3, 7, 1]
    payload = np.random.default_rng(2).normal(3, 2, (sum(lengths), 2)).astype(np.float32)
    payload[[0, 5, 6, 16, 17, 20], 0] = np.nan
    columns = {"side": SIDE_COLUMNS, "kinds": SIDE_KINDS}
    write_samples(folder, payload, lengths, channels=("x", "y"), **columns)
    write_split(folder, THEN, labels=LABELS, stops=lengths)
    run_features(series=SERIES | {"scaling": scaling}, side=SIDE)
    own, then = state(), written_arrays("series")
    turned = np.stack([payload[:, 1], payload[:, 0] * 5, payload[:, 0]], axis=1)
    write_samples(folder, turned, lengths, channels=("y", "z", "x"), **columns)
    write_split(folder, TODAY, labels=LABELS, stops=lengths)
    run_features(series=SERIES, side=SIDE)
    check_equal(then, rebuilt(own, "series", folder))
    check_differ(then, written_arrays("series"))
    parts = np.split(payload, np.cumsum(lengths)[:-1])
    records = [
        {
            "series": [[None if np.isnan(value) else float(value) for value in step] for step in parts[row]],
            "side": {name: values[row] for name, values in SIDE_COLUMNS.items()},
        }
        for row in (4, 5)
    ]
    check_equal(then, one_by_one(own, "series", records))


def hours(steps, seed=4):
    """Return hourly load, warmth and kind, some of it missing."""
    generator = np.random.default_rng(seed)
    payload = generator.normal(10, 3, (steps, 3)).astype(np.float32)
    payload[:, 2] = generator.integers(1, 4, steps)
    payload[[4, 27, 46], 1] = np.nan
    payload[[11, 12, 21, 22, 23], 0] = np.nan
    payload[[9, 47], 2] = np.nan
    return payload


SEGMENTS_THEN = [
    ("train", 0, 0, 18), ("val", 0, 18, 24), ("test", 0, 24, 30), ("train", 1, 0, 6), ("val", 1, 6, 12), ("test", 1, 12, 20),
]  # fmt: skip
SEGMENTS_TODAY = [
    ("train", 0, 0, 8), ("val", 0, 8, 24), ("test", 0, 24, 30), ("train", 1, 0, 9), ("val", 1, 9, 12), ("test", 1, 12, 20),
]  # fmt: skip


@pytest.mark.parametrize("length", [0, 3])
@pytest.mark.parametrize(
    ("scaling", "mode"), [("channel", None), ("series", "one_hot"), ("none", "embedded")]
)
def test_windows_are_read_with_history_calendar_and_categories_of_then(length, scaling, mode, folder):
    """Gaps are filled from before the window; another history, calendar and order of columns today."""
    payload = hours(50)
    told = {
        "side": {"roof": ["flat", "steep"], "floor": [1.0, None]},
        "kinds": {"roof": "category", "floor": "number"},
    }
    columns = told if mode else {}
    write_windowed(folder, payload, SEGMENTS_THEN, lengths=[30, 20], **columns)
    settings = {"task": "forecasting", "side": SIDE | {"categories": mode or "one_hot"}}
    run_features(windows=WINDOWS | {"length": length}, series=SERIES | {"scaling": scaling}, **settings)
    own, then = state(), written_arrays("series")
    write_windowed(folder, payload, SEGMENTS_TODAY, lengths=[30, 20], **columns)
    turned = payload[:, [2, 0, 1]]
    named_columns = {"time": ["2026-01-05T00:00:00"] * 2, "step_seconds": [3600.0] * 2, **columns}
    write_samples(folder, turned, [30, 20], channels=("kind", "load", "warm"), **named_columns)
    today = WINDOWS | {"length": 2, "calendar": ["weekday"]}
    run_features(windows=today, series=SERIES, **settings)
    check_equal(then, rebuilt(own, "series", folder))
    check_differ(then, written_arrays("series"))
    timeline = load_rows("test").timeline
    records = []
    for series, step in zip(timeline.series.tolist(), timeline.starts.tolist(), strict=True):
        first = [0, 30][series]
        steps = payload[first : first + step]
        known = payload[first + step]
        records.append(
            {
                "series": [[None if np.isnan(v) else float(v) for v in row] for row in steps],
                "time": f"2026-01-0{5 + step // 24}T{step % 24:02}:00:00",
                "known": {
                    name: None if np.isnan(value) else float(value)
                    for name, value in (("warm", known[1]), ("kind", known[2]))
                },
                "side": {"roof": ["flat", "steep"][series], "floor": [1, ""][series]},
                "id": f"00{series}",
            }
        )
    check_equal(then, one_by_one(own, "series", records))


def test_windows_of_anomalies_are_read_at_the_scale_of_then(folder):
    """Without a horizon the window itself is read, and the column of labels is not."""
    payload = np.random.default_rng(5).normal(0, 1, (40, 3)).astype(np.float32)
    payload[:, 2] = 0
    payload[35, 2] = 1
    windows = WINDOWS | {"horizon": 0, "targets": [], "known": [], "known_categorical": [], "calendar": []}
    arrays = {}
    for name, cut in (("then", 20), ("today", 12)):
        write_samples(folder, payload, [40], channels=("x", "y"), anomalies=True)
        write_split(
            folder, ["train", "val", "test"], rows=[0, 0, 0], starts=[0, cut, 30], stops=[cut, 30, 40]
        )
        run_features(task="anomaly", windows=windows, series=SERIES)
        arrays[name] = state(), written_arrays("series")
    own, then = arrays["then"]
    check_equal(then, rebuilt(own, "series", folder))
    check_differ(then, arrays["today"][1])


def test_images_are_described_with_the_features_of_then(folder):
    """Other cells and groups: the hand-made vector is the one the model was built on."""
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)
    write_samples(folder, images, [1] * 6)
    write_split(folder, THEN, labels=LABELS)
    features(["texture", "edges"], 4, 8, Progress(disable=True))
    own, then = state(), {kind: written_arrays(kind) for kind in ("image", "vector")}
    write_split(folder, TODAY, labels=LABELS)
    features(["colour"], 2, 4, Progress(disable=True))
    for kind, arrays in then.items():
        check_equal(arrays, rebuilt(own, kind, folder))
        check_equal(arrays, one_by_one(own, kind, [{"image": image.tolist()} for image in images[4:]]))
    check_differ(then["vector"], written_arrays("vector"))


def test_a_window_without_the_history_the_model_reads_is_refused(folder):
    """A model of three steps cannot answer where today's windows begin after two."""
    payload = hours(50)
    segments = [("train", 0, 0, 18), ("val", 0, 18, 24), ("test", 0, 24, 30), ("test", 1, 0, 20)]
    write_windowed(folder, payload, segments, lengths=[30, 20])
    run_features(task="forecasting", windows=WINDOWS, series=SERIES, side=SIDE)
    own = state()
    run_features(task="forecasting", windows=WINDOWS | {"length": 2}, series=SERIES, side=SIDE)
    with pytest.raises(NotReadable, match="1 of 22 windows have less history than the 3 steps it reads"):
        rebuilt(own, "series", folder)


def test_a_calendar_of_another_clock_is_refused(folder):
    """Hours of then were those on the wall; today's times say their offset and count in UTC."""
    write_windowed(folder, hours(50), SEGMENTS_THEN, lengths=[30, 20])
    run_features(task="forecasting", windows=WINDOWS, series=SERIES, side=SIDE)
    own = state()
    with_offset = {"time": ["2026-01-05T00:00:00+01:00"] * 2, "step_seconds": [3600.0] * 2}
    write_windowed(folder, hours(50), SEGMENTS_THEN, lengths=[30, 20], **with_offset)
    run_features(task="forecasting", windows=WINDOWS, series=SERIES, side=SIDE)
    with pytest.raises(NotReadable, match="its calendar is one of wall-clock time, today's times are UTC"):
        rebuilt(own, "series", folder)


def test_a_series_shorter_than_a_model_without_padding_reads_is_refused(folder):
    """Where all series had one length no model learned of ends."""
    write_samples(folder, np.ones((18, 1), np.float32), [3] * 6, channels=("x",))
    write_split(folder, THEN, labels=LABELS, stops=[3] * 6)
    run_features(series=SERIES)
    own = state()
    write_samples(folder, np.ones((17, 1), np.float32), [3] * 5 + [2], channels=("x",))
    with pytest.raises(NotReadable, match="1 of 2 series have fewer than the 3 steps it reads"):
        rebuilt(own, "series", folder)
