"""Tensors of a PyTorch file of the format before 1.6, read without PyTorch and without running anything in it.

Such a file is five pickles and the raw numbers behind them. A pickle is a program for a small machine, and the one of
Python runs whatever function it names. The machine here knows the instructions that a dictionary of tensors needs and
four names; every other instruction or name is refused before it does anything, and what is made are plain tuples of
this file. No class is looked up, and no module is imported.

Layout: `torch/serialization.py`, `_legacy_save`; instructions: `pickletools.py` of CPython (read, not imported).
"""

import math
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pipeline.runtime.errors import NotPermitted

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MAX_INSTRUCTIONS = 2_000_000
MAX_STORAGES = 20_000
MAX_AXES = 8
DTYPES = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "DoubleStorage": "<f8",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ByteStorage": "|u1",
}
FUNCTIONS = {("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2")}
"""The names that a file may call; neither is looked up."""


class _Name(NamedTuple):
    module: str
    name: str


class _Storage(NamedTuple):
    dtype: str
    key: str
    numbers: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Mark:
    """Where a group of values begins on the stack."""


_MARK = _Mark()


def read_torch_tensors(content: bytes, name: str) -> dict[str, np.ndarray]:
    """Return the tensors of a file of weights by their names.

    Args:
        content: The whole file.
        name: For messages.

    Returns:
        Arrays of their own, float16, float32, float64, int32, int64 or uint8.

    Raises:
        NotPermitted: The file holds something beside tensors, or is none; nothing in it was run.
    """
    machine = _Machine(content, name)
    if machine.value() != MAGIC or machine.value() != PROTOCOL:
        raise machine.refused("a file that does not begin as PyTorch's files before version 1.6 do")
    machine.value()  # sizes of types on the machine that wrote it
    tensors, keys = machine.value(), machine.value()
    if not isinstance(tensors, dict) or not isinstance(keys, list):
        raise machine.refused("no dictionary of tensors")
    wanted: dict[str, _Storage] = {}
    for key, tensor in tensors.items():
        if not isinstance(key, str) or not isinstance(tensor, _Tensor):
            raise machine.refused(f"an entry that is no tensor but {type(tensor).__name__}")
        if wanted.setdefault(tensor.storage.key, tensor.storage) != tensor.storage:
            raise machine.refused("one storage described in two ways")
    total = sum(math.prod(tensor.shape) for tensor in tensors.values())
    if total > 2 * sum(storage.numbers for storage in wanted.values()):
        # Thousands of names for one large tensor would each get memory of their own.
        raise machine.refused(f"tensors of {total:,} numbers in far smaller storages")
    storages = machine.storages(keys, wanted)
    return {key: _array(tensor, storages) for key, tensor in tensors.items()}


def _array(tensor: _Tensor, storages: dict[str, np.ndarray]) -> np.ndarray:
    count = math.prod(tensor.shape)
    flat = storages[tensor.storage.key][tensor.offset : tensor.offset + count]
    # Dense, as was checked, so that its axes can be put in the order in which they lie.
    order = sorted(range(len(tensor.shape)), key=lambda axis: (-tensor.strides[axis], axis))
    laid = flat.reshape([tensor.shape[axis] for axis in order])
    return np.ascontiguousarray(laid.transpose(np.argsort(order)))


class _Machine:
    """Reads values from a file, one pickle after the other."""

    def __init__(self, content: bytes, name: str) -> None:
        self._content, self._file = content, name
        self._at, self._left = 0, MAX_INSTRUCTIONS
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def refused(self, received: str) -> NotPermitted:
        return NotPermitted(
            f"{self._file} is not read. Expected a dictionary of tensors, as PyTorch wrote it before version 1.6, and "
            f"nothing beside it. Received: {received}, at byte {self._at:,}. Nothing in it was run; do not use it."
        )

    def value(self) -> Any:
        """Return what the next pickle makes.

        Raises:
            NotPermitted: It uses an instruction or a name that no tensor needs.
        """
        self._stack, self._memo = [], {}
        while True:
            self._left -= 1
            if self._left < 0:
                raise self.refused(f"more than {MAX_INSTRUCTIONS:,} instructions")
            code = self._take(1)
            if code == b".":
                if len(self._stack) != 1:
                    raise self.refused("a pickle that leaves no single value")
                return self._stack[0]
            instruction = _INSTRUCTIONS.get(code)
            if instruction is None:
                raise self.refused(f"instruction {code!r}, which no tensor needs")
            try:
                instruction(self)
            except (IndexError, KeyError, TypeError, ValueError, struct.error, RecursionError) as error:
                raise self.refused(f"a broken pickle ({type(error).__name__})") from error

    def storages(self, keys: list[Any], wanted: dict[str, _Storage]) -> dict[str, np.ndarray]:
        """Return the numbers of every storage; they must account for the rest of the file to the last byte."""
        named = all(type(key) is str for key in keys)
        if len(keys) > MAX_STORAGES or not named or set(keys) != set(wanted) or len(keys) != len(wanted):
            raise self.refused("a list of storages that is not that of the tensors")
        found = {}
        for key in keys:
            storage = wanted[key]
            (numbers,) = struct.unpack("<q", self._take(8))
            if numbers != storage.numbers:
                raise self.refused(f"a storage of {numbers:,} numbers where {storage.numbers:,} are named")
            raw = self._take(numbers * np.dtype(storage.dtype).itemsize)
            found[key] = np.frombuffer(raw, storage.dtype)
        if self._at != len(self._content):
            raise self.refused(f"{len(self._content) - self._at:,} bytes behind the last tensor")
        return found

    # --- Reading

    def _take(self, size: int) -> bytes:
        if size < 0 or self._at + size > len(self._content):
            raise self.refused("a file that is cut off")
        taken = self._content[self._at : self._at + size]
        self._at += size
        return taken

    def number(self, form: str) -> int:
        return int(struct.unpack(form, self._take(struct.calcsize(form)))[0])

    def _line(self) -> str:
        end = self._content.find(b"\n", self._at, self._at + 200)
        if end < 0:
            raise self.refused("a name without an end")
        line = self._take(end - self._at).decode("ascii", "replace")
        self._at += 1
        return line

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise self.refused("a group of values where one is needed")
        return value

    def group(self) -> list[Any]:
        """Return what stands above the last mark, and take it and the mark away."""
        values: list[Any] = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    # --- Instructions

    def protocol(self) -> None:
        if self.number("<B") != 2:
            raise self.refused("another protocol than 2")

    def keep(self, number: int) -> None:
        self._memo[number] = self._stack[-1]

    def recall(self, number: int) -> None:
        self.push(self._memo[number])

    def text(self) -> None:
        self.push(self._take(self.number("<I")).decode("utf-8", "replace"))

    def whole(self) -> None:
        self.push(int.from_bytes(self._take(self.number("<B")), "little", signed=True))

    def name(self) -> None:
        name = _Name(self._line(), self._line())
        if name not in FUNCTIONS and not (name.module == "torch" and name.name in DTYPES):
            raise self.refused(f"the name {name.module}.{name.name}, which no tensor needs")
        self.push(name)

    def tuple_of(self, count: int) -> None:
        self.push(tuple([self.pop() for _ in range(count)][::-1]))

    def set_items(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(values) % 2:
            raise self.refused("entries of something that is no dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if type(key) is not str or key in target:
                raise self.refused("a key that is no text, or stands twice")
            target[key] = value

    def append(self, values: list[Any]) -> None:
        if type(self._stack[-1]) is not list:
            raise self.refused("items of something that is no list")
        self._stack[-1].extend(values)

    def storage(self) -> None:
        """Make a storage of `("storage", type, key, location, numbers, view)`."""
        kind, type_name, key, _location, numbers, view = self.pop()
        known = isinstance(type_name, _Name) and type_name.module == "torch" and type(key) is str
        if kind != "storage" or not known or type(numbers) is not int or numbers < 0 or view is not None:
            raise self.refused("a storage of another kind")
        self.push(_Storage(DTYPES[type_name.name], key, numbers))

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        if function == ("collections", "OrderedDict") and arguments == ():
            self.push({})
        elif function == ("torch._utils", "_rebuild_tensor_v2"):
            self.push(self._tensor(*arguments))
        else:
            raise self.refused("a call of something else, or with other arguments")

    def _tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *_gradient: Any) -> _Tensor:
        whole = type(shape) is tuple and all(type(size) is int and size >= 0 for size in shape)
        if not isinstance(storage, _Storage) or not whole or type(offset) is not int or offset < 0:
            raise self.refused("a tensor of another kind")
        if len(shape) > MAX_AXES:
            raise self.refused(f"a tensor of {len(shape):,} axes")
        if offset + math.prod(shape) > storage.numbers:
            raise self.refused(f"a tensor of shape {shape} in a storage of {storage.numbers:,} numbers")
        steps = (
            type(strides) is tuple
            and len(strides) == len(shape)
            and all(type(step) is int for step in strides)
        )
        # Convolutions of other programs lie transposed; an array that only seems large has steps of 0.
        ordered = sorted(zip(strides, shape, strict=True)) if steps else []
        dense = all(
            size == 1 or step == math.prod(inner for _step, inner in ordered[:axis])
            for axis, (step, size) in enumerate(ordered)
        )
        if not steps or not (dense or 0 in shape):
            raise self.refused(f"a tensor of shape {shape} with other steps than its shape needs")
        return _Tensor(storage, offset, shape, strides)

    def attributes(self) -> None:
        """Leave out what a dictionary of tensors says about versions of its layers."""
        self.pop()
        if type(self._stack[-1]) is not dict:
            raise self.refused("attributes of something that is no dictionary")


_INSTRUCTIONS: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": lambda machine: machine.protocol(),
    b"(": lambda machine: machine.push(_MARK),
    b")": lambda machine: machine.push(()),
    b"}": lambda machine: machine.push({}),
    b"]": lambda machine: machine.push([]),
    b"N": lambda machine: machine.push(None),
    b"\x88": lambda machine: machine.push(True),
    b"\x89": lambda machine: machine.push(False),
    b"K": lambda machine: machine.push(machine.number("<B")),
    b"M": lambda machine: machine.push(machine.number("<H")),
    b"J": lambda machine: machine.push(machine.number("<i")),
    b"\x8a": lambda machine: machine.whole(),
    b"X": lambda machine: machine.text(),
    b"q": lambda machine: machine.keep(machine.number("<B")),
    b"r": lambda machine: machine.keep(machine.number("<I")),
    b"h": lambda machine: machine.recall(machine.number("<B")),
    b"j": lambda machine: machine.recall(machine.number("<I")),
    b"t": lambda machine: machine.push(tuple(machine.group())),
    b"\x85": lambda machine: machine.tuple_of(1),
    b"\x86": lambda machine: machine.tuple_of(2),
    b"\x87": lambda machine: machine.tuple_of(3),
    b"s": lambda machine: machine.set_items([machine.pop(), machine.pop()][::-1]),
    b"u": lambda machine: machine.set_items(machine.group()),
    b"a": lambda machine: machine.append([machine.pop()]),
    b"e": lambda machine: machine.append(machine.group()),
    b"c": lambda machine: machine.name(),
    b"Q": lambda machine: machine.storage(),
    b"R": lambda machine: machine.call(),
    b"b": lambda machine: machine.attributes(),
}
"""PROTO, MARK, EMPTY_TUPLE, EMPTY_DICT, EMPTY_LIST, NONE, NEWTRUE, NEWFALSE, BININT1, BININT2, BININT, LONG1,
BINUNICODE, BINPUT, LONG_BINPUT, BINGET, LONG_BINGET, TUPLE, TUPLE1, TUPLE2, TUPLE3, SETITEM, SETITEMS, APPEND, APPENDS,
GLOBAL, BINPERSID, REDUCE and BUILD: those that a dictionary of tensors needs."""
