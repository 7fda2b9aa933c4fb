"""JSON lines and Parquet are read strictly and keep their types; expected values are written by hand."""

import json

import pytest

from pipeline.formats.json_rows import ABSENT, nested_keys, value_at
from pipeline.runtime.errors import DataRefused
from pipeline.sources import text_table
from tests.helpers.parquet_file import parquet
from tests.helpers.read_source import read_source


def read(files, /, **options):
    """Return the samples of tables with a column `label`."""
    return read_source(text_table, files, **({"label": "label"} | options))


def refusal(files, /, **options):
    """Return the message that refuses these files."""
    with pytest.raises(DataRefused) as refused:
        read(files, **options)
    return str(refused.value)


JSON_LINES = {
    "no object": (b"1\n", "line 1: expected a JSON object; received '1'"),
    "no JSON": (b'{"text": "x" "label": 1}\n', "line 1, column 14"),
    "key twice": (b'{"text": "x", "label": "a", "text": "y"}\n', "the key 'text' twice"),
    "key missing": (b'{"text": "x"}\n', "expected the keys label"),
    "NaN": (b'{"text": "x", "label": NaN}\n', "NaN is no JSON number"),
    "fraction": (b'{"text": "x", "label": 1.5}\n', "expected a name or a whole number; received 1.5"),
    "null": (b'{"text": null, "label": "a"}\n', "column 'text': expected a text; received None"),
    "number": (b'{"text": 3, "label": "a"}\n', "column 'text': expected a text; received 3"),
    "half a pair": (b'{"text": "\\ud800", "label": "a"}\n', "half a surrogate pair"),
    "NUL": (b'{"text": "\\u0000", "label": "a"}\n', "a NUL character"),
    "deep": (b'{"text": ' + b"[" * 100_000 + b"}\n", "nested too deeply"),
    "empty line": (b'\n{"text": "x", "label": "a"}\n', "an empty line"),
    "not UTF-8": (b'{"text": "\xff", "label": "a"}\n', "the bytes ff"),
}


@pytest.mark.parametrize(("content", "said"), JSON_LINES.values(), ids=JSON_LINES.keys())
def test_json_lines_are_read_strictly(content, said):
    """Each fault is named with its line."""
    assert said in refusal({"a.jsonl": content})


def test_json_says_what_is_a_number():
    """A number in quotes is a category, whole numbers and booleans are names, and 1e400 is no number."""
    rows = (
        b'{"text": "", "label": 1, "n": 5, "c": "5"}\r\n{"text": "y", "label": true, "n": 1e3, "c": null}\n\n'
    )
    first, second = read({"a.jsonl": rows}, side=("n", "c"))
    assert ("1", {"n": 5.0, "c": "5"}) == (first.label, first.side)
    assert ("true", {"n": 1000.0, "c": None}) == (second.label, second.side)
    for number in (b"1e400", b"1" + b"0" * 400):
        row = b'{"text": "x", "label": "a", "n": ' + number + b"}\n"
        assert "a number" in refusal({"a.jsonl": b'{"text": "x", "label": "a", "n": 1}\n' + row}, target="n")


def test_parquet_keeps_its_types():
    """Dates are times, whole numbers with gaps are categories again, NaN is missing."""
    import datetime as dt

    columns = {
        "text": ["x", "y"],
        "label": [1, 2],
        "when": [dt.date(2026, 1, 2), dt.date(2026, 1, 3)],
        "n": [1.5, float("nan")],
        "c": [7.0, None],
        "id": ["007", "x"],
    }
    options = {"time": "when", "side": ("n", "c"), "categorical": ("c",), "id": "id"}
    first, second = read({"a.parquet": parquet(columns)}, **options)
    assert ("1", "2026-01-02T00:00:00") == (first.label, first.time)
    assert [{"n": 1.5, "c": "7", "id": "007"}, {"n": None, "c": None, "id": "x"}] == [first.side, second.side]


def test_a_damaged_parquet_file_is_refused():
    """No Parquet at all, cut off, and damaged inside; a missing column is named."""
    good = parquet({"text": ["x" * 50, "y"], "label": ["a", "b"]})
    named_by_no_text = parquet({"texts": ["x"], "label": ["a"]}).replace(b"texts", b"text\xf3")
    for content in (b"text\0label\n", good[:-9], b"", named_by_no_text):
        assert "intact Parquet" in refusal({"a.parquet": content})
    assert "has no column missing" in refusal({"a.parquet": good}, text="missing")


TASK = {
    "data": {"text": "where is my card", "meta.info": {"channel": "mail"}},
    "annotations": [{"result": [{"value": {"choices": ["billing"]}}]}],
    "a.b": "whole",
    "none": None,
}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.text", "where is my card"),
        ("annotations.0.result.0.value.choices.0", "billing"),
        ("a.b", "whole"),
        ("data.meta.info.channel", "mail"),
        ("none", None),
        ("data.other", ABSENT),
        ("annotations.1", ABSENT),
        ("annotations.-1", ABSENT),
        ("annotations.x", ABSENT),
        ("data.text.0", ABSENT),
        ("", ABSENT),
        (".", ABSENT),
    ],
)
def test_what_lies_inside_a_json_object_has_a_path(key, value):
    """As Label Studio, MLflow and Hugging Face export it; a key with a dot in its name is found too."""
    assert value is value_at(TASK, key) or value == value_at(TASK, key)


def test_every_path_that_is_named_leads_to_its_value():
    """They are what a message, and `millrace init` without a kind, offer."""
    paths = nested_keys(TASK)
    assert "annotations.0.result.0.value.choices.0" in paths
    assert "data.meta.info.channel" in paths
    assert ABSENT not in [value_at(TASK, path) for path in paths]


def test_a_nested_export_is_read_by_its_paths():
    """And a path that is not there is refused with those that are."""
    lines = "".join(json.dumps(TASK | {"data": {"text": f"text {number}"}}) + "\n" for number in range(3))
    label = "annotations.0.result.0.value.choices.0"
    samples = read({"a.jsonl": lines.encode()}, text="data.text", label=label)
    assert [("text 0", "billing"), ("text 1", "billing"), ("text 2", "billing")] == [
        (sample.text, sample.label) for sample in samples
    ]
    said = refusal({"a.jsonl": lines.encode()}, text="data.body", label=label)
    assert "expected the keys data.body; received only 'data.text, annotations.0.result" in said
    assert "stands for its column: data.text" in said
