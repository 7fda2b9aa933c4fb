"""Tensors are read, and nothing else: hostile files do nothing but be refused."""

import os
import pickle

import numpy as np
import pytest

from pipeline.runtime.errors import NotPermitted
from pipeline.weights.torch_file import read_torch_tensors
from tests.helpers.torch_bytes import (
    ORDERED,
    dictionary,
    group,
    simple_file,
    storage,
    tensor,
    text,
    torch_file,
    torch_file_of,
    whole,
)

NUMBERS = np.arange(6, dtype="<f4")
GOOD = torch_file({"a": tensor("k", 6, (2, 3), (3, 1))}, {"k": NUMBERS})


def test_tensors_come_back_as_they_were():
    """Names, shapes and numbers, of several storages and types."""
    content = torch_file(
        {"a": tensor("k", 6, (2, 3), (3, 1)), "b.c": tensor("m", 2, (), (), offset=1, kind="LongStorage")},
        {"k": NUMBERS, "m": np.array([7, 8], "<i8")},
    )
    found = read_torch_tensors(content, "x")
    assert ["a", "b.c"] == list(found)
    assert np.array_equal(NUMBERS.reshape(2, 3), found["a"])
    assert (8, np.int64) == (found["b.c"], found["b.c"].dtype)


def test_a_transposed_tensor_is_put_right():
    """Convolutions that came from another program lie in another order of axes."""
    original = np.arange(24, dtype="<f4").reshape(2, 3, 4)
    laid = original.transpose(2, 0, 1)  # seen as (4, 2, 3), with the steps of the original
    content = torch_file({"a": tensor("k", 24, (4, 2, 3), (1, 12, 4))}, {"k": original})
    assert np.array_equal(laid, read_torch_tensors(content, "x")["a"])


def test_a_file_that_python_wrote_is_read():
    """The pickles of Python itself use no instruction that is unknown here."""
    arrays = {"w": np.random.default_rng(0).normal(size=(3, 5)).astype("<f4"), "b": np.zeros(5, "<f4")}
    found = read_torch_tensors(simple_file(arrays), "x")
    assert all(np.array_equal(arrays[name], found[name]) for name in arrays)


class Canary:
    """Runs a command where it is unpickled."""

    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return os.system, (f"touch {self._path}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("place", ["whole", "entry", "begin"])
def test_code_in_a_pickle_is_not_run(protocol, place, tmp_path):
    """In every protocol and at every place: the canary does not appear."""
    canary = tmp_path / "canary"
    bad = pickle.dumps(Canary(canary), protocol=protocol)
    content = {
        "whole": torch_file_of(bad, {"k": NUMBERS}),
        "entry": torch_file({"a": bad[2:-1] if protocol >= 2 else bad[:-1]}, {"k": NUMBERS}),
        "begin": bad + GOOD,
    }[place]
    with pytest.raises(NotPermitted, match="Nothing in it was run"):
        read_torch_tensors(content, "x")
    assert not canary.exists()
    pickle.loads(bad)  # the canary is alive: Python's own machine runs it
    assert canary.exists()


NAMES = [
    "os system",
    "posix system",
    "builtins eval",
    "torch load",
    "torch._utils _rebuild_tensor",
    "torch  FloatStorage",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_not_on_the_list_is_refused(name):
    """Also where nothing is called, and where it lies beside a name that is."""
    module, _space, attribute = name.partition(" ")
    with pytest.raises(NotPermitted, match="no tensor needs"):
        read_torch_tensors(torch_file({"a": f"c{module}\n{attribute}\n".encode()}, {"k": NUMBERS}), "x")


def cycle():
    """Return tuples that hold the tuple before twice: 2 ** 200 values in 1 kB."""
    doubled = b"".join(b"h\x00h\x00\x86q\x00" for _ in range(200))
    return text("a") + b"q\x00" + doubled + b"h\x00"


BROKEN = {
    "cut off": GOOD[:-3],
    "more behind": GOOD + b"x",
    "no pickle": b"PK\x03\x04" + GOOD,
    "empty": b"",
    "no tensors": torch_file({"a": whole(3)}, {}),
    "too many numbers named": torch_file({"a": tensor("k", 1 << 30, (2, 3), (3, 1))}, {"k": NUMBERS}),
    "outside its storage": torch_file({"a": tensor("k", 6, (2, 3), (3, 1), offset=1)}, {"k": NUMBERS}),
    "negative offset": torch_file({"a": tensor("k", 6, (2, 3), (3, 1), offset=-1)}, {"k": NUMBERS}),
    "negative size": torch_file({"a": tensor("k", 6, (-2, 3), (3, 1))}, {"k": NUMBERS}),
    "steps of 0, a bomb": torch_file({"a": tensor("k", 6, (2, 3), (0, 0))}, {"k": NUMBERS}),
    "overlapping": torch_file({"a": tensor("k", 6, (2, 3), (1, 1))}, {"k": NUMBERS}),
    "one storage a thousand times": torch_file(
        {f"a{number}": tensor("k", 6, (6,), (1,)) for number in range(1000)}, {"k": NUMBERS}
    ),
    "unknown storage": torch_file({"a": tensor("k", 6, (6,), (1,))}, {"other": NUMBERS}),
    "a name twice": torch_file_of(
        b"\x80\x02" + ORDERED + b")R(" + 2 * (text("a") + tensor("k", 6, (6,), (1,))) + b"u.", {"k": NUMBERS}
    ),
    "a storage for a tensor": torch_file({"a": storage("k", 6)}, {"k": NUMBERS}),
    "doubled tuples": torch_file({"a": cycle()}, {"k": NUMBERS}),
    "doubled tuples called": torch_file_of(b"\x80\x02" + cycle() + b")R.", {"k": NUMBERS}),
    "doubled tuples as a key": torch_file_of(b"\x80\x02}" + cycle() + b"Ns.", {"k": NUMBERS}),
    "call of a tuple": torch_file({"a": group(text("x")) + b")R"}, {"k": NUMBERS}),
    "nothing on the stack": torch_file_of(b"\x80\x02R.", {}),
    "unknown memo": torch_file_of(b"\x80\x02h\x07.", {}),
    "two values": torch_file_of(b"\x80\x02NN.", {}),
    "a group left open": torch_file_of(b"\x80\x02(.", {}),
    "no end of a name": torch_file_of(b"\x80\x02c" + b"x" * 10_000, {}),
    "protocol 4": torch_file_of(b"\x80\x04" + dictionary({})[2:], {}),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_file_of_tensors_is_refused(name):
    """In no time, and with one kind of error."""
    with pytest.raises(NotPermitted, match="Nothing in it was run"):
        read_torch_tensors(BROKEN[name], "x")


def test_any_flipped_byte_is_refused_or_changes_numbers_only():
    """No mutation of a good file ends otherwise than in an array or in the one refusal."""
    random = np.random.default_rng(5)
    for _round in range(3000):
        content = bytearray(GOOD)
        content[random.integers(len(content))] = random.integers(256)
        try:
            found = read_torch_tensors(bytes(content), "x")
        except NotPermitted:
            continue
        assert all(isinstance(array, np.ndarray) for array in found.values())
