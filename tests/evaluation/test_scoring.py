"""Models are asked only what they were made for, and what judges them has a digest of its own."""

import json
import re

import numpy as np
import pytest

from pipeline.evaluation import scoring
from pipeline.evaluation.rows import EvaluationRows
from pipeline.evaluation.scoring import (
    NotComparable,
    incompatibilities,
    load_test_rows,
    reads_alike,
    score,
    scored_digest,
)
from tests.helpers.featured import (
    SERIES,
    SIDE,
    TEXT,
    WINDOWS,
    run_features,
    write_samples,
    write_texts,
    write_windowed,
)

HANDMADE = {"groups": ["edges"], "edge_cell_px": 4, "colour_bins": 8, "names": ["edges_0", "edges_1"]}
STATE = {
    "classes": ["a", "b"],
    "class_counts": [1, 1],
    "image": {"shape": [4, 4, 1], "mean": [0.2], "standard_deviation": [0.1]},
    "handmade": HANDMADE | {"mean": [0.5, 0.5], "standard_deviation": [1.0, 1.0]},
    "data": {"image_size": [4, 4], "channels": 1, "resize": "pad", "policy": "convert"},
}

FOUR_STEPS = {"length": 4, "horizon": 2, "stride": 1}
KNOWN = {"calendar": [], "known": {"numbers": [{"name": "warm"}], "categories": [{"name": "kind"}]}}
WINDOWED = {
    "task": "forecasting",
    "payload": "series",
    "series": {"channels": ["load", "warm", "kind"]},
    "windows": FOUR_STEPS | {"side": KNOWN},
    "target": {"names": ["load"]},
    "side": {"numbers": [{"name": "age"}], "categories": [{"name": "town"}]},
}
SIDE_KINDS = {"age": "number", "town": "category"}


def changed(section: str, **values) -> dict:
    """Return the state with other values in a section."""
    return STATE | {section: STATE[section] | values}


def windowed(section: str, **values) -> dict:
    """Return the state of windows with other values in a section."""
    return WINDOWED | {section: WINDOWED[section] | values}


READ = {("image",): True, ("vector",): True, ("image", "vector"): True}
"""Kinds that the models here read; others would be an error."""


@pytest.fixture
def scored(tmp_path, monkeypatch):
    """Return a function that scores a stand-in model made with one state on data that has another."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scoring, "load_model", lambda path: path)
    monkeypatch.setattr(scoring.prediction, "answers", lambda *_arguments: np.array([[0.2, 0.8]]))
    monkeypatch.setattr(scoring, "inputs_of", lambda split, kinds: READ[tuple(kinds)] and split)
    write_samples(tmp_path, np.zeros((1, 4, 4, 1), np.uint8), [1])
    for name in ("data/features", "model"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "model/model.keras").write_bytes(b"model")

    def call(family: str | dict, own: dict, current: dict):
        told = family if isinstance(family, dict) else {"family": family}
        settings = told | {"training": {"test_time_flip": False}}
        (tmp_path / "model/settings.json").write_text(json.dumps(settings))
        (tmp_path / "model/state.json").write_text(json.dumps(own))
        (tmp_path / "data/features/state.json").write_text(json.dumps(current))
        rows = EvaluationRows(("s0",), np.array([0]), ("a",))
        return score("champion", tmp_path / "model/model.keras", tmp_path / "model", rows)

    return call


@pytest.mark.parametrize("family", ["cnn", "dense"])
def test_other_statistics_of_the_same_inputs_do_not_matter(scored, family, monkeypatch):
    """More training data moves mean and deviation, which a model carries inside itself: nothing is rebuilt."""
    monkeypatch.setattr(scoring, "rebuilt_inputs", None)
    moved = changed("handmade", mean=[0.4, 0.6], standard_deviation=[2.0, 2.0])
    moved["image"] = STATE["image"] | {"mean": [0.3]}
    assert scored(family, STATE, moved).classes == ("a", "b")


@pytest.mark.parametrize(
    ("family", "current", "named"),
    [
        ("dense", changed("image", shape=[5, 5, 1]), r"image.shape is \[4, 4, 1\], today's \[5, 5, 1\]"),
        ("dense", changed("data", resize="crop"), "data.resize is pad, today's crop"),
        ("cnn", changed("image", shape=[5, 5, 1]), "image.shape"),
        ("cnn", changed("data", resize="crop"), "data.resize"),
        ("cnn", changed("data", policy="reject"), "data.policy"),
        (
            "cnn",
            changed("data", labelled_windows={"length": 50, "label": "last"}),
            "data.labelled_windows is None",
        ),
        ("cnn", changed("data", grey_range=[0, 4095]), r"data.grey_range is None, today's \[0, 4095\]"),
        ("cnn", STATE | {"task": "regression"}, "its task is classification, today's regression"),
        ("cnn", STATE | {"payload": "text"}, "its payload is image, today's text"),
    ],
)
def test_inputs_of_another_meaning_are_not_compared(scored, family, current, named):
    """Equal names and shapes are not enough: another way of resizing is another input."""
    with pytest.raises(NotComparable, match=f"champion cannot be asked what today's data asks: {named}"):
        scored(family, STATE, current)


@pytest.mark.parametrize(
    ("today", "named"),
    [
        (windowed("windows", horizon=3), "data.windows.horizon is 2, today's 3"),
        (windowed("target", names=["warm"]), "it predicts load, today's target is warm"),
        (windowed("series", channels=["load", "warm"]), r"channels that the series no longer have \(kind\)"),
        ({**WINDOWED, "windows": None}, "it reads windows, today's rows are the other kind"),
        (
            windowed("windows", side=KNOWN | {"known": {"numbers": [], "categories": [{"name": "kind"}]}}),
            r"no longer names as known \(warm\)",
        ),
    ],
)
def test_another_question_is_not_compared(today, named):
    """Another horizon, target or kind of row, a lost channel, and knowledge that today's models may not have."""
    (problem,) = incompatibilities(WINDOWED, today, SIDE_KINDS)
    assert re.search(named, problem)


def test_another_state_for_the_same_question_is_compared():
    """More history read, another stride, further channels and known columns, another scale: nothing is in the way."""
    today = WINDOWED | {
        "series": {"channels": ["kind", "load", "warm", "wind"], "mean": [1.0]},
        "windows": FOUR_STEPS
        | {
            "length": 9,
            "stride": 5,
            "side": {
                "known": {"numbers": [{"name": "warm"}, {"name": "wind"}], "categories": [{"name": "kind"}]}
            },
        },
    }
    assert [] == incompatibilities(WINDOWED, today, SIDE_KINDS | {"more": "number"})
    assert not reads_alike(WINDOWED, today, ["series"])


def test_the_length_of_a_window_is_the_question_where_the_window_itself_is_judged():
    """An anomaly in four steps is not an anomaly in five."""
    own, today = (
        WINDOWED | {"task": "anomaly", "windows": WINDOWED["windows"] | {"horizon": 0, "length": length}}
        for length in (4, 5)
    )
    assert ["data.windows.length is 4, today's 5"] == incompatibilities(own, today, SIDE_KINDS)


@pytest.mark.parametrize(
    ("kinds", "named"),
    [
        ({"age": "number"}, "the category town beside each sample, today's is missing"),
        (SIDE_KINDS | {"age": "category"}, "the number age beside each sample, today's is category"),
    ],
)
def test_side_columns_must_still_be_there(kinds, named):
    """A column that is gone would count as missing everywhere, which is no fair comparison."""
    (problem,) = incompatibilities(WINDOWED, WINDOWED, kinds)
    assert named in problem


def test_inputs_are_rebuilt_only_where_the_model_reads_in_another_way(scored, monkeypatch):
    """Other cells matter to hand-made features, and not to a network of pixels."""
    asked = []
    monkeypatch.setattr(scoring, "rebuilt_inputs", lambda *given: asked.append(given[:2]) or "rebuilt")
    today = changed("handmade", edge_cell_px=3)
    scored("cnn", STATE, today)
    assert [] == asked
    scored("dense", STATE, today)
    assert [(STATE, ("vector",))] == asked


MIXED = {
    "family": "ensemble",
    "members": {"a": {"family": "cnn"}, "b": {"family": "dense"}},
    "reads": ["image", "vector"],
}


def test_an_ensemble_is_rebuilt_where_one_of_its_members_reads_in_another_way(scored, monkeypatch):
    """With all that its members read."""
    asked = []
    monkeypatch.setattr(scoring, "rebuilt_inputs", lambda *given: asked.append(given[:2]) or "rebuilt")
    scored(MIXED, STATE, STATE)
    assert [] == asked
    scored(MIXED, STATE, changed("handmade", edge_cell_px=3))
    assert [(STATE, ("image", "vector"))] == asked


@pytest.mark.parametrize("family", ["boosting", "dense"])
def test_all_families_that_read_features_are_asked_with_those_of_their_time(scored, family, monkeypatch):
    """Trees as well as networks."""
    asked = []
    monkeypatch.setattr(scoring, "rebuilt_inputs", lambda *given: asked.append(given[1]) or "rebuilt")
    scored(family, STATE, changed("handmade", edge_cell_px=3))
    assert [("vector",)] == asked


def test_champion_from_before_the_data_settings_were_recorded_is_compared(scored):
    """Where one side does not say how its pixels came about, shape and features decide."""
    old = {name: value for name, value in STATE.items() if name != "data"}
    scored("cnn", old, STATE)
    scored("dense", old, STATE)


def test_classes_are_mapped_by_name(scored):
    """The same classes in another order: columns change places, so that a column means the same for both."""
    answers = scored("cnn", STATE | {"classes": ["b", "a"]}, STATE)
    assert ("a", "b") == answers.classes
    np.testing.assert_array_equal([[0.8, 0.2]], answers.predictions)


def test_a_class_more_is_left_to_the_gate(scored):
    """Other classes are not an error here; the gate says in words what differs."""
    assert ("a", "b") == scored(
        "cnn", STATE, STATE | {"classes": ["a", "b", "c"], "class_counts": [1, 1, 1]}
    ).classes


# The digest of what judges.


def judged(folder, **run):
    """Return the digest of the test rows of six texts."""
    write_texts(folder, TEXTS, run.pop("splits", SPLITS), run.pop("labels", LABELS), **run.pop("side", {}))
    run_features(text=TEXT | run)
    return scored_digest(load_test_rows())


TEXTS = ["win a prize", "see you at home", "prize for home", "see a prize", "win home", "prize"]
SPLITS = ["train", "train", "train", "val", "test", "test"]
LABELS = ["x", "y", "x", "y", "x", "y"]


def test_the_digest_of_judged_rows_does_not_move_with_what_was_fitted(folder):
    """Another vocabulary and other training rows: the same rows judge."""
    before = judged(folder)
    assert before == judged(folder, max_tokens=2, bag_size=20)
    assert before == judged(folder, splits=["train", "train", "excluded", "val", "test", "test"])


@pytest.mark.parametrize("change", ["rows", "label", "content", "side"])
def test_the_digest_of_judged_rows_moves_with_what_judges(change, folder, monkeypatch):
    """Other rows, another truth, another text, another value beside it."""
    side = {"side": {"age": [1.0, 2, 3, 4, 5, 6]}, "kinds": {"age": "number"}}
    before = judged(folder, side=side)
    changes = {
        "rows": {"splits": ["train", "train", "train", "val", "val", "test"]},
        "label": {"labels": ["x", "y", "x", "y", "y", "y"]},
        "content": {},
        "side": {},
    }
    if change == "content":
        monkeypatch.setitem(globals(), "TEXTS", [*TEXTS[:4], "win a home", "prize"])
    if change == "side":
        side["side"]["age"][5] = 7.0
    assert before != judged(folder, side=side, **changes[change])


def test_the_digest_of_windows_holds_history_and_not_the_future(folder):
    """A value before the windows may be read by another model; steps after the last one judge nothing yet."""
    payload = np.random.default_rng(1).normal(0, 1, (40, 3)).astype(np.float32)
    payload[:, 2] = 1
    segments = [("train", 0, 0, 10), ("val", 0, 10, 20), ("test", 0, 20, 30)]

    def digest(steps):
        write_windowed(folder, steps, segments)
        run_features(task="forecasting", windows=WINDOWS, series=SERIES, side=SIDE)
        return scored_digest(load_test_rows())

    before = digest(payload[:35])
    assert before == digest(payload)
    for step, moves in ((2, True), (29, True), (30, False)):
        other = payload.copy()
        other[step, 1] += 1
        assert moves == (before != digest(other))
