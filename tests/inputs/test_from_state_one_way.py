"""Every row of docs/combinations.md: files, state and single record give a model the same arrays, bit by bit."""

import json

import numpy as np
import pytest
from rich.progress import Progress

from pipeline.evaluation.rows import load_rows
from pipeline.inputs.arrays import named, take
from pipeline.inputs.from_state import rebuilt_inputs
from pipeline.inputs.specs import called, input_spec, kind_read, kinds_read
from pipeline.inputs.train_data import load_split_rows, load_train_data
from pipeline.params.families import COMBINATIONS, FAMILIES
from pipeline.runtime import paths
from pipeline.serving.record import Transform
from pipeline.stages.features import features
from tests.helpers.featured import SERIES, SIDE, TEXT, WINDOWS, write_samples, write_split

NUM_SAMPLES = 6
SPLITS = ["train", "train", "train", "val", "test", "test"]
LABELS = ["x", "y", "x", "y", "x", "y"]
TARGETS = [1.0, 2.5, -3.0, 4.0, 0.5, 9.0]
TEXTS = [
    "Win a prize",
    "see you at HOME",
    "prize for home",
    "",
    "völlig unbekannt",
    "win a b c d e f g h i win",
]
SIDE_COLUMNS = {
    "age": [30.0, None, 50.0, 41.0, 7.0, None],
    "town": ["Ulm", "Bonn", "Ulm", None, "Rome", "Ulm"],
}
STEPS = [30, 20]
"""Of the two series that windows slide over."""


def rows_of_the_table():
    """Return each row with each kind of side features, and windows without history where a family can do without."""
    modes = ("one_hot", "embedded", None)
    # What `pretrained` reads is made by a trunk: tests/weights/test_frozen.py compares both ways.
    rows = [row for row in COMBINATIONS if row.family != "pretrained"]
    cases = [(row, mode, 3) for row in rows for mode in modes]
    able = [row for row in rows if row.windowed and not FAMILIES[row.family].needs_history]
    return cases + [(row, mode, 0) for row in able for mode in modes]


def named_case(case):
    row, mode, length = case
    windows = f" windows of {length}" if row.windowed else ""
    return f"{row.family} {row.payload} {row.task}{windows} {mode or 'alone'}"


def plain(values):
    """Return numbers as JSON has them, null for what is missing."""
    if isinstance(values, np.ndarray):
        return [plain(value) for value in values]
    return None if np.isnan(values) else float(values)


def beside(row):
    return {name: values[row] for name, values in SIDE_COLUMNS.items()}


def whole_samples(root, row, told):
    """Write images, texts or whole series; return a record per test sample."""
    if row.payload == "image":
        images = np.random.default_rng(0).integers(0, 256, (NUM_SAMPLES, 8, 8, 3), dtype=np.uint8)
        write_samples(root, images, [1] * NUM_SAMPLES, **told)
        raw = [{"image": image.tolist()} for image in images]
    elif row.payload == "text":
        encoded = [text.encode() for text in TEXTS]
        write_samples(
            root, np.frombuffer(b"".join(encoded), np.uint8), [len(text) for text in encoded], **told
        )
        raw = [{"text": text} for text in TEXTS]
    else:
        lengths = [4, 2, 5, 3, 7, 1]
        payload = np.random.default_rng(2).normal(3, 2, (sum(lengths), 2)).astype(np.float32)
        payload[[0, 5, 6, 16, 17, 20], 0] = np.nan
        write_samples(root, payload, lengths, channels=("x", "y"), **told)
        raw = [{"series": plain(part)} for part in np.split(payload, np.cumsum(lengths)[:-1])]
    labels = [f'["{label}"]' for label in LABELS] if row.task == "multilabel" else LABELS
    write_split(root, SPLITS, labels=labels, targets=TARGETS)
    return [raw[number] | {"side": beside(number)} for number in (4, 5)]


def windowed_series(root, told):
    """Write two hourly series with gaps; return their steps."""
    generator = np.random.default_rng(4)
    payload = generator.normal(10, 3, (sum(STEPS), 3)).astype(np.float32)
    payload[:, 2] = generator.integers(1, 4, sum(STEPS))
    payload[[4, 27, 46], 1] = np.nan
    payload[[11, 12, 21, 22, 23], 0] = np.nan
    payload[[9, 47], 2] = np.nan
    write_samples(
        root,
        payload,
        STEPS,
        channels=("load", "warm", "kind"),
        time=["2026-01-05T00:00:00"] * 2,
        step_seconds=[3600.0] * 2,
        **told,
    )
    write_split(
        root,
        ["train", "val", "test"] * 2,
        rows=[0, 0, 0, 1, 1, 1],
        starts=[0, 18, 24, 0, 6, 12],
        stops=[18, 24, 30, 6, 12, 20],
    )
    return payload


def window_records(payload, length, horizon):
    """Return a record per test window: all steps before it, or its own where nothing is predicted."""
    timeline, records = load_rows("test").timeline, []
    for series, step in zip(timeline.series.tolist(), timeline.starts.tolist(), strict=True):
        first = sum(STEPS[:series])
        at = first + step
        records.append(
            {
                "series": plain(payload[first : at if horizon else at + length]),
                "time": f"2026-01-0{5 + step // 24}T{step % 24:02}:00:00",
                "known": {"warm": plain(payload[at, 1]), "kind": plain(payload[at, 2])},
                "side": beside(series),
                "id": f"00{series}",
            }
        )
    return records


def same_three_ways(state, records, folder, kinds):
    """Return the test inputs of a model by name, after files, state and records gave the same."""
    test, found = load_rows("test"), load_split_rows("test", kinds)
    files = named(take(found.inputs, found.rows))
    (folder / "scratch").mkdir()
    rebuilt = rebuilt_inputs(state, kinds, test.rows, test.timeline, folder / "scratch")
    by_state = named(take(rebuilt, np.arange(len(test))))
    transform = Transform(state, kinds)
    one_by_one = [transform(json.loads(json.dumps(record))) for record in records]
    by_record = {name: np.concatenate([made[name] for made in one_by_one]) for name in one_by_one[0]}
    for made in (by_state, by_record):
        assert files.keys() == made.keys()
        for name, array in files.items():
            assert array.dtype == made[name].dtype
            np.testing.assert_array_equal(array, made[name], err_msg=name)
    return files


@pytest.mark.parametrize("case", rows_of_the_table(), ids=named_case)
def test_files_state_and_record_give_the_same_arrays(case, tmp_path, monkeypatch):
    """What training reads, an older champion makes from the payload, and serving from a JSON object."""
    monkeypatch.chdir(tmp_path)
    row, mode, length = case
    count = len(STEPS) if row.windowed else NUM_SAMPLES
    columns = {name: values[:count] for name, values in SIDE_COLUMNS.items()}
    told = {"side": columns, "kinds": {"age": "number", "town": "category"}} if mode else {}
    settings = {
        "task": row.task,
        "side": SIDE | {"categories": mode or "one_hot"},
        "text": TEXT,
        "series": SERIES,
    }
    if row.windowed:
        horizon = {"regression": 1, "forecasting": 2, "anomaly": 0}[row.task]
        changes = {"length": length, "horizon": horizon}
        if row.task == "anomaly":
            changes |= {"targets": [], "known": [], "known_categorical": [], "calendar": []}
        settings |= {"windows": WINDOWS | changes, "series": SERIES | {"scaling": "series"}}
        payload = windowed_series(tmp_path, told)
        features(None, None, None, Progress(disable=True), **settings)
        records = window_records(payload, length, horizon)
    else:
        records = whole_samples(tmp_path, row, told)
        features(["texture", "edges"], 4, 8, Progress(disable=True), **settings)
    state = json.loads(paths.FEATURES_STATE.read_text())
    assert bool(mode) == bool(state.get("side"))

    files = same_three_ways(state, records, tmp_path, [kind_read(state, row.family)])
    test = load_rows("test")
    spec = input_spec(state, row.family)
    assert (len(test), *spec.shape) == files["inputs"].shape
    assert length == 0 or row.reads == spec.kind
    if row.windowed and mode:  # what is told about the series stands behind what is known about the step
        own, told_at = np.load(paths.SIDE_NPY), files["side" if length else "inputs"]
        np.testing.assert_array_equal(
            own[test.timeline.series], told_at[:, told_at.shape[1] - own.shape[1] :]
        )
    data = load_train_data(row.family)
    assert not set(data.train_rows.tolist()) & set(data.val_rows.tolist())
    trained = named(take(data.inputs, data.train_rows))
    assert {name: array.shape[1:] for name, array in files.items()} == {
        name: array.shape[1:] for name, array in trained.items()
    }


@pytest.mark.parametrize("mode", ["one_hot", None])
@pytest.mark.parametrize(
    ("payload", "own"),
    [
        ("image", {"image": {"image": "inputs"}, "vector": {"vector": "inputs"}}),
        ("text", {"bag": {"bag": "inputs", "bag_weights": "weights"}, "tokens": {"tokens": "inputs"}}),
    ],
)
def test_who_reads_several_kinds_gets_each_by_its_name(payload, own, mode, tmp_path, monkeypatch):
    """The arrays that a model of one kind reads alone, and what stands beside a sample as ever."""
    monkeypatch.chdir(tmp_path)
    row = next(row for row in COMBINATIONS if row.payload == payload)
    told = {"side": SIDE_COLUMNS, "kinds": {"age": "number", "town": "category"}} if mode else {}
    records = whole_samples(tmp_path, row, told)
    side = SIDE | {"categories": mode or "one_hot"}
    features(["texture", "edges"], 4, 8, Progress(disable=True), side=side, text=TEXT, series=SERIES)
    state = json.loads(paths.FEATURES_STATE.read_text())
    files = same_three_ways(state, records, tmp_path, list(own))
    for kind, names in own.items():
        found = load_split_rows("test", [kind])
        alone = named(take(found.inputs, found.rows))
        for name, before in names.items():
            np.testing.assert_array_equal(alone[before], files.pop(name))
    assert files.keys() == ({"side"} if mode else set())
    if mode:
        np.testing.assert_array_equal(alone["side"], files["side"])


def test_a_bag_has_one_name_whoever_reads_it():
    """Beside pieces, or beside tokens; alone it keeps those that it has."""
    kinds = ["pieces", "bag"]
    assert ["pieces", "bag", "bag_weights"] == [
        called(name, "pieces", kinds) for name in ("inputs", "bag", "bag_weights")
    ]
    assert ["bag", "bag_weights"] == [called(name, "bag", kinds) for name in ("inputs", "weights")]
    assert "weights" == called("weights", "bag", ["bag"])


def test_a_model_is_asked_what_it_reads_before_the_table_of_families():
    """A member whose family is gone, or reads something else today, is fed as it was trained."""
    images, members = {"payload": "image"}, {"a": {"family": "dense"}, "b": {"family": "gone"}}
    assert ("vector",) == kinds_read(images, {"family": "dense"})
    assert ("image",) == kinds_read(images, {"family": "gone"})
    # From before members could read different things; then from after it.
    assert ("vector",) == kinds_read(images, {"family": "ensemble", "members": members})
    assert ("vector",) == kinds_read(
        images, {"family": "ensemble", "members": dict(reversed(members.items()))}
    )
    settings = {"family": "ensemble", "members": members, "reads": ["vector", "image"]}
    assert ("vector", "image") == kinds_read(images, settings)
