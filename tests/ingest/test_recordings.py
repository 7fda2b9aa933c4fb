"""Recordings with a class per step become windows that have one; the second opinion is counting by hand."""

from collections import Counter

import numpy as np
import pytest

from pipeline.ingest.recordings import labelled_windows
from pipeline.ingest.sequences import ingest_sequences
from pipeline.raw.sample import RawSample, StepLabels
from pipeline.runtime.errors import DataRefused

NAMES = ("sit", "walk", "run")


def recording(codes, name="a", **said):
    """Return a recording whose values count its steps."""
    series = np.arange(len(codes), dtype=np.float32)[:, None]
    return RawSample(
        name, series=series, channels=("x",), step_labels=StepLabels(np.array(codes, np.int32), NAMES), **said
    )


def cut(*recordings, length=4, stride=2, label="majority"):
    """Return the windows of recordings."""
    return list(
        labelled_windows(
            recordings, num_recordings=len(recordings), length=length, stride=stride, label=label
        )
    )


@pytest.mark.parametrize(
    ("label", "expected"), [("majority", ["sit", "walk", "run"]), ("last", ["walk", "run", "run"])]
)
def test_a_window_has_the_class_of_most_of_its_steps_or_of_the_last(label, expected):
    """Of two that are as frequent the one that stands first; steps, names and times by hand."""
    windows = cut(
        recording([0, 0, 1, 1, 1, 2, 2, 2, 0], time="2024-01-01T00:00:00", step_seconds=0.5), label=label
    )
    assert expected == [window.label for window in windows]
    assert ["a 000000000", "a 000000002", "a 000000004"] == [window.sample_id for window in windows]
    assert [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]] == [window.series[:, 0].tolist() for window in windows]
    assert ["2024-01-01T00:00:00", "2024-01-01T00:00:01", "2024-01-01T00:00:02"] == [
        window.time for window in windows
    ]


def test_any_window_has_the_most_frequent_class():
    """A thousand drawn windows against Counter, which keeps the order of appearance."""
    rng = np.random.default_rng(0)
    for _ in range(1000):
        codes = rng.integers(0, 3, 7)
        (window,) = cut(recording(codes), length=7)
        assert NAMES[Counter(codes.tolist()).most_common(1)[0][0]] == window.label


def test_windows_belong_to_the_person_or_else_to_their_recording():
    """So that a split by group cannot tear them apart."""
    windows = cut(recording([0] * 6, "a"), recording([1] * 4, "b", group="ben"))
    assert ["a", "a", "ben"] == [window.group for window in windows]


def test_what_has_no_class_or_is_too_short_is_rejected_and_counted(tmp_path, monkeypatch):
    """Steps without a class are most of a window; a recording has fewer steps than a window; no value at all."""
    monkeypatch.chdir(tmp_path)
    empty = recording([1] * 4, "d")
    empty.series[:] = np.nan
    windows = cut(recording([0] * 4 + [-1] * 4, "a"), recording([1] * 3, "b"), recording([1] * 4, "c"), empty)
    summary = ingest_sequences(
        windows, num_samples=None, task="classification", max_rejected_share=0.9, labelled=True
    )
    assert {"sit": 2, "walk": 1} == summary["classes"]
    assert {"unlabelled": 1, "short": 1, "empty": 1} == summary["rejected"]
    assert ["b 000000000"] == summary["rejected_examples"]["short"]


def test_names_that_begin_alike_do_not_disturb_the_order():
    """Blanks and other signs before them in the alphabet stand in names as well."""
    names = ["a", "a !x", "a b", "a-b", "a/b", "ab"]
    ids = [window.sample_id for window in cut(*(recording([0] * 8, name) for name in sorted(names)))]
    assert sorted(ids) == ids
    assert 3 * len(names) == len(set(ids))


def test_recordings_without_classes_and_other_archives_are_refused():
    """Both say what to do."""
    with pytest.raises(DataRefused, match="--set step_label=COLUMN"):
        cut(RawSample("a", series=np.zeros((9, 1), np.float32), channels=("x",)))
    with pytest.raises(DataRefused, match="millrace refresh"):
        list(labelled_windows([recording([0] * 4)], num_recordings=2, length=4, stride=1, label="last"))


def test_windows_without_a_class_are_left_out_where_that_is_asked_for(tmp_path, monkeypatch):
    """Counted apart from what is broken, which the share of rejected samples limits; else they count as rejected."""
    monkeypatch.chdir(tmp_path)
    recordings = [recording([0] * 4 + [-1] * 8, "a"), recording([1] * 4, "c")]
    asked = {"num_samples": None, "task": "classification", "labelled": True}
    summary = ingest_sequences(
        cut(*recordings, stride=4), **asked, max_rejected_share=0.0, unlabelled="leave_out"
    )
    assert (4, 2, 0, {}) == tuple(summary[key] for key in ("read", "kept", "num_rejected", "rejected"))
    assert {"unlabelled": 2} == summary["left_out"]
    for policy in ("fail", "reject"):
        with pytest.raises(DataRefused, match=r"2 for unlabelled.*--set unlabelled=leave_out"):
            ingest_sequences(cut(*recordings, stride=4), **asked, max_rejected_share=0.4, unlabelled=policy)
    short = [recording([0] * 3, "a"), recording([1] * 4, "b"), recording([0] * 4, "c")]
    summary = ingest_sequences(cut(*short), **asked, max_rejected_share=0.4, unlabelled="leave_out")
    assert {"short": 1} == summary["rejected"]
    assert "left_out" not in summary


def test_series_without_an_answer_are_rejected_where_that_is_asked_for(tmp_path, monkeypatch):
    """They count against the share; a limit per class does not take them for a class of their own."""
    monkeypatch.chdir(tmp_path)
    samples = [
        RawSample(name, label, series=np.ones((3, 1), np.float32), channels=("x",))
        for name, label in zip("abcdef", ["u", "", "v", "", "u", "v"], strict=True)
    ]
    asked = {"num_samples": 6, "task": "classification", "unlabelled": "reject"}
    summary = ingest_sequences(samples, **asked, max_rejected_share=0.5, limit_per_class=1)
    assert ({"unlabelled": 2}, 2) == (summary["rejected"], summary["beyond_limit"])
    with pytest.raises(DataRefused, match="2 for unlabelled"):
        ingest_sequences(samples, **asked, max_rejected_share=0.3)
