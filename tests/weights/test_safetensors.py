"""Arrays come back to the bit, equal arrays give equal bytes, and what does not add up is refused."""

import json

import numpy as np
import pytest

from pipeline.runtime.errors import NotPermitted
from pipeline.weights.safetensors import read_safetensors, write_safetensors

ARRAYS = {
    "b.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a": np.array([1, 2], np.int64),
    "half": np.ones((0, 4), np.float16),
}


def file_of(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def entry(start=0, stop=4, shape=(1,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


def test_arrays_and_texts_come_back(tmp_path):
    """In any order given, with the same bytes."""
    one, two = tmp_path / "one", tmp_path / "two"
    write_safetensors(one, ARRAYS, {"kind": "x"})
    write_safetensors(two, dict(reversed(ARRAYS.items())), {"kind": "x"})
    assert one.read_bytes() == two.read_bytes()
    found, about = read_safetensors(one.read_bytes(), "one")
    assert {"kind": "x"} == about
    for name, array in ARRAYS.items():
        assert np.array_equal(array, found[name])
        assert array.dtype == found[name].dtype


@pytest.mark.parametrize(
    "content",
    [
        b"",
        (1 << 40).to_bytes(8, "little") + b"{}",
        file_of(b"{"),
        file_of([]),
        file_of({"a": entry()}),
        file_of({"a": entry()}, b"12345"),
        file_of({"a": entry(shape=(1 << 31, 1 << 31))}, b"1234"),
        file_of({"a": entry(stop=-4)}, b"1234"),
        file_of({"a": entry(dtype="O")}, b"1234"),
        file_of({"a": entry(), "b": entry()}, b"1234"),
        file_of({"a": entry(), "b": entry(8, 12)}, b"1" * 12),
        file_of({"../../a b": entry()}, b"1234"),
        file_of({"a": entry() | {"code": "x"}}, b"1234"),
        file_of(b'{"a": {}, "a": {}}'),
        file_of({"__metadata__": {"a": 1}}),
        file_of(b"[" * 100_000),
    ],
)
def test_what_does_not_add_up_is_refused(content):
    """Lengths that lie, arrays over each other, bytes that belong to nobody, other types."""
    with pytest.raises(NotPermitted, match="Expected a safetensors file"):
        read_safetensors(content, "x")
