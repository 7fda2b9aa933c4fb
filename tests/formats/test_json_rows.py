"""Objects of a JSON array are those that `json.loads` finds, whatever the size of what is read at once."""

import io
import json

import pytest

from pipeline.formats import json_rows
from pipeline.formats.json_rows import array_items, is_array
from pipeline.runtime.errors import UserError
from pipeline.sources import text_table
from tests.helpers.mutations import mutations
from tests.helpers.read_source import described, read_source

ROWS = [
    {
        "text": f'a "quoted" {{text}} [{number}], \u00e9\u4e2d',
        "data": {"label": ["ab"[number % 2]]},
        "n": number / 4,
    }
    for number in range(40)
]


def items(content):
    """What is found."""
    return [item for item, _ in array_items(io.BytesIO(content), dict, float)]


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1 << 16])
@pytest.mark.parametrize("indent", [None, 2])
def test_items_are_those_of_json(monkeypatch, size, indent):
    """However the file is cut up; also in the middle of a character or an escape."""
    monkeypatch.setattr(json_rows, "CHUNK_BYTES", size)
    for ascii_only in (True, False):
        content = json.dumps(ROWS, indent=indent, ensure_ascii=ascii_only).encode()
        assert ROWS == items(content)
        assert ROWS == items(b"\xef\xbb\xbf \n" + content + b"\n ")
    assert [] == items(b" [ \n ] ")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[",
        b'[{"a": 1}',
        b'[{"a": 1},]',
        b'[{"a": 1} {"a": 2}]',
        b"[1,,2]",
        b"[]x",
        b"{}",
        b'[{"a": 1}]]',
    ],
)
def test_what_is_no_array_is_refused(content):
    """A bracket or a comma too few or too many."""
    with pytest.raises(ValueError, match=r"\w"):
        items(content)


def test_an_array_is_told_by_its_first_sign():
    """Blanks and a byte order mark before it do not matter."""
    assert is_array(io.BytesIO(b"\xef\xbb\xbf\n ["))
    assert not is_array(io.BytesIO(b'{"a": []}'))


def test_a_table_may_be_an_array_of_nested_objects():
    """As Label Studio writes it, with paths to what lies inside; problems name the row."""
    content = json.dumps(ROWS).encode()
    stated = {"label": "data.label.0"}
    samples = read_source(text_table, {"export.json": content}, **stated)
    assert [(row["text"], row["data"]["label"][0]) for row in ROWS] == [(s.text, s.label) for s in samples]
    assert described(text_table, {"export.json": content}, **stated) == ["export.json: a JSON array, UTF-8"]
    odd = json.dumps([*ROWS[:2], {"text": "x"}]).encode()
    with pytest.raises(UserError, match=r"export.json, row 3: expected the keys data.label.0"):
        read_source(text_table, {"export.json": odd}, **stated)


def test_damaged_arrays_are_refused_or_read_as_json_reads_them():
    """No traceback, no other row."""
    whole = json.dumps([{"text": row["text"], "label": "a"} for row in ROWS[:5]]).encode()
    accepted = 0
    for content in mutations(whole, 300, 11):
        try:
            samples = read_source(text_table, {"a.json": content}, label="label", format="jsonl")
        except UserError:
            continue
        if not is_array(io.BytesIO(content)):
            continue  # JSON lines then, or nothing
        accepted += 1
        rows = json.loads(content.decode("utf-8-sig"))
        assert [(row["text"], str(row["label"])) for row in rows] == [(s.text, s.label) for s in samples]
    assert accepted
