"""Samples without an answer and classes too rare to learn, by policy and counted."""

import io
from collections import Counter

import numpy as np
import pytest

from pipeline.raw.answers import Answered, rare_classes, refuse_single, without_classes
from pipeline.raw.sample import RawSample
from pipeline.runtime.errors import DataRefused
from pipeline.sources import image_arrays, series_arrays, series_files, series_table, text_table
from tests.helpers.read_source import read_source

TABLE = b'text,label,price\na,x,1\nb,,2\nc," ",3\nd,y,\n'
RUNS = {f"run_{name}.csv": b"a\n1\n2\n" for name in "123"}
STEPS = b"time,id,load,state\n" + b"".join(
    b"2026-01-0%d,%s,1,%s\n" % (day, name, state)
    for name, state in ((b"a", b"on"), (b"b", b""))
    for day in (1, 2)
)


def npy(array):
    """Return an array as a file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def answered(source, files, **options):
    """Return the labels that are left of a source, and how many samples are not."""
    rule = Answered(options)
    labels = [sample.label for sample in rule.among(read_source(source, files, **options))]
    return labels, rule.unlabelled


@pytest.mark.parametrize(
    ("source", "files", "options", "left"),
    [
        (text_table, {"a.csv": TABLE}, {"label": "label"}, (["x", "y"], 2)),
        (text_table, {"a.csv": TABLE}, {"target": "price"}, (["", "", ""], 1)),
        (text_table, {"a.csv": TABLE}, {"label": "label", "target": "price"}, (["x"], 3)),
        (series_files, {**RUNS, "t.csv": b"run,ok\nrun_1,yes\nrun_2,\nrun_3,no\n"},
         {"targets": "t.csv", "label": "ok"}, (["yes", "no"], 1)),
        (series_table, {"a.csv": STEPS}, {"id": "id", "label": "state"}, (["on"], 1)),
    ],
)  # fmt: skip
def test_samples_without_an_answer_are_refused_or_left_out_and_counted(source, files, options, left):
    """In every kind whose answers stand in a column; the refusal names the way on."""
    with pytest.raises(DataRefused, match="--set unlabelled=leave_out"):
        read_source(source, files, **options)
    assert left == answered(source, files, **options, unlabelled="leave_out")


def test_samples_that_never_have_an_answer_are_not_left_out():
    """A series to forecast has neither class nor target, and nobody named a column of them."""
    rule = Answered({"unlabelled": "leave_out"})
    assert 1 == len(list(rule.among([RawSample("a", text="x")])))


def test_classes_with_fewer_samples_than_asked_for_are_rare():
    """Over all given splits together; what has no class is none."""
    counts = Counter({("train", "a"): 3, ("test", "a"): 2, ("train", "b"): 4, ("", ""): 1})
    assert {"b": 4} == rare_classes(counts, 5)
    assert {} == rare_classes(counts, 0)
    samples = [RawSample("0", "a"), RawSample("1", "b"), RawSample("2")]
    assert ["0", "2"] == [sample.sample_id for sample in without_classes(samples, {"b": 4})]


def test_arrays_have_their_answers_without_an_option_that_names_them():
    """An array of labels with an empty name, images without labels, and a series with NaN for a target."""
    pixels = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4) * 5
    images = {"x.npy": npy(pixels), "y.npy": npy(np.array(["a", "", "b"])), "x_test.npy": npy(pixels[:2])}
    series = {"X.npy": npy(np.ones((3, 5))), "y.npy": npy(np.array([1.0, np.nan, 2.0]))}
    for kind, source, files, options, counts in (
        ("image_arrays", image_arrays, images, {}, (2, 3)),
        ("series_arrays", series_arrays, series, {"answer": "target"}, (2, 1)),
    ):
        with pytest.raises(DataRefused, match="--set unlabelled=leave_out"):
            read_source(source, files, **options)
        samples = read_source(source, files, **options, unlabelled="leave_out")
        rule = Answered(options | {"unlabelled": "leave_out"}, kind)
        assert counts == (len(list(rule.among(samples))), rule.unlabelled)


def test_classes_of_which_most_have_one_sample_look_like_names():
    """Twelve with two pictures each are classes, and so are twelve of which six have one."""
    names = [f"class {number}" for number in range(12)]
    with pytest.raises(
        DataRefused, match=r"12 classes of 12 samples, 12 of them with one.*least_per_class=2"
    ):
        refuse_single("image_folder", dict.fromkeys(names, 1))
    refuse_single("image_folder", dict.fromkeys(names, 2))
    refuse_single("image_folder", dict.fromkeys(names, 1) | dict.fromkeys(names[:6], 2))
