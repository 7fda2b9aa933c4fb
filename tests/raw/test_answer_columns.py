"""What a row says that is to be learnt is read by one rule, whatever the kind of the table."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.raw.answers import Answered
from pipeline.runtime.errors import DataRefused, WronglyCalled
from pipeline.sources import image_table, series_files, series_rows, series_table, text_table
from tests.helpers.read_source import read_source


def png():
    """Return a small picture."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(file, "png")
    return file.getvalue()


KINDS = {
    "text_table": (text_table, {}, lambda rows: {"a.csv": table("text", "abc", rows)}),
    "image_table": (
        image_table, {}, lambda rows: {"a.csv": table("path", "abc", rows), **{f"{name}.png": png() for name in "abc"}}),
    "series_rows": (series_rows, {"id": "id"}, lambda rows: {"a.csv": table("id,v1,v2", ["a,1,2", "b,3,4", "c,5,6"], rows)}),
    "series_table": (series_table, {"id": "id"}, lambda rows: {"a.csv": table("time,id,load", [
        f"2026-01-0{day},{name},{day}" for name in "abc" for day in (1, 2)], [row for row in rows for _ in range(2)])}),
    "series_files": (series_files, {"targets": "t.csv"}, lambda rows: {
        "t.csv": table("id", "abc", rows), **{f"{name}.csv": b"v\n1\n2\n" for name in "abc"}}),
}  # fmt: skip
"""Kind to its module, its options, and its files for three samples a, b, c with further cells `toxic,rude,price`."""


def table(header, firsts, rows):
    """Return a CSV whose rows go on with the cells of `rows`."""
    lines = [
        f"{header},toxic,rude,price",
        *(f"{first},{row}" for first, row in zip(firsts, rows, strict=True)),
    ]
    return "\n".join(lines).encode() + b"\n"


def read(kind, rows, **options):
    """Return the samples of a kind."""
    module, own, files = KINDS[kind]
    if module in (series_rows, series_table):
        # What nobody names would be a value of the series.
        named = [options.get("label"), options.get("target"), *options.get("label_columns", ())]
        own = own | {"drop": tuple(name for name in ("toxic", "rude", "price") if name not in named)}
    return read_source(module, files(rows), **own, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_one_column_per_label_in_every_kind_of_table(kind):
    """0 and 1, also as truths and with a point; none of them is no label."""
    samples = read(kind, ["1,true,9", "0.0,0,9", "False,1.0,9"], label_columns=("toxic", "rude"))
    assert [("rude", "toxic"), (), ("rude",)] == [sample.labels for sample in samples]
    assert {""} == {sample.label for sample in samples}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", ["2", "maybe", ""])
def test_a_label_column_holds_nothing_but_truths(kind, cell):
    """An uncertain answer is none; of a missing one the way on is said."""
    fix = "--set unlabelled=leave_out" if not cell else "either applies or does not"
    with pytest.raises(DataRefused, match="expected 0 or 1") as error:
        read(kind, ["1,0,9", f"{cell},1,9", "0,0,9"], label_columns=("toxic", "rude"))
    assert fix in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_one_column_of_labels_or_one_for_each(kind):
    """Both, or one column twice, are refused before anything is read."""
    with pytest.raises(WronglyCalled, match="label and label_columns are both named"):
        read(kind, ["1,0,9"] * 3, label="price", label_columns=("toxic", "rude"))
    with pytest.raises(WronglyCalled, match="toxic"):
        read(kind, ["1,0,9"] * 3, label_columns=("toxic", "toxic"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("options", "rows", "left"),
    [
        ({"label": "toxic"}, ["x,0,9", ",0,9", "y,0,9"], "ac"),
        ({"target": "price"}, ["x,0,1.5", "x,0,", "y,0,-99.0"], "a"),
        ({"label_columns": ("toxic", "rude")}, ["1,0,9", ",,9", "0,,9"], "a"),
    ],
    ids=["label", "target", "label_columns"],
)
def test_rows_without_an_answer_are_refused_rejected_or_left_out(kind, options, rows, left):
    """A missing value that was stated (-99) is no answer either; the refusal names the way on."""
    options = options | {"missing": ("-99",)}
    with pytest.raises(DataRefused, match="--set unlabelled=leave_out"):
        read(kind, rows, **options)
    for policy in ("leave_out", "reject"):
        samples = read(kind, rows, **options, unlabelled=policy)
        assert 3 == len(samples)
        rule = Answered(options | {"unlabelled": policy})
        assert len(left) == len(list(rule.among(samples)))
        assert 3 - len(left) == rule.unlabelled
        ingest = Answered(options | {"unlabelled": policy}, rejecting=True)
        assert (3 if policy == "reject" else len(left)) == len(list(ingest.among(samples)))


def test_a_list_is_a_set_of_labels_in_tables_of_images_too():
    """Cells of JSON lines and Parquet that are lists."""
    rows = b'{"path": "a", "tags": ["x", "y"]}\n{"path": "b", "tags": []}\n'
    samples = read_source(image_table, {"a.jsonl": rows, "a.png": png(), "b.png": png()}, label="tags")
    assert ['["x", "y"]', "[]"] == [sample.label for sample in samples]
