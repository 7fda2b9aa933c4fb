"""Files as PyTorch wrote them before version 1.6, put together byte by byte, also such as it never wrote."""

import pickle
import struct

import numpy as np

ORDERED = b"ccollections\nOrderedDict\n"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def text(word: str) -> bytes:
    return b"X" + struct.pack("<I", len(word.encode())) + word.encode()


def whole(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)


def group(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def storage(key: str, numbers: int, kind: str = "FloatStorage") -> bytes:
    return (
        group(text("storage"), f"ctorch\n{kind}\n".encode(), text(key), text("cpu"), whole(numbers), b"N")
        + b"Q"
    )


def tensor(key: str, numbers: int, shape, strides, offset: int = 0, kind: str = "FloatStorage") -> bytes:
    sizes = group(*map(whole, shape)), group(*map(whole, strides))
    return (
        REBUILD + group(storage(key, numbers, kind), whole(offset), *sizes, b"\x89", ORDERED + b")R") + b"R"
    )


def dictionary(entries: dict[str, bytes]) -> bytes:
    body = b"".join(text(name) + value for name, value in entries.items())
    return b"\x80\x02" + ORDERED + b")R(" + body + b"u."


def torch_file(entries: dict[str, bytes], numbers: dict[str, np.ndarray], tail: bytes = b"") -> bytes:
    """Return a file of named tensors.

    Args:
        entries: Name to what makes the tensor, see `tensor`.
        numbers: Key of each storage to what it holds.
        tail: Behind the last number.
    """
    return torch_file_of(dictionary(entries), numbers, tail)


def torch_file_of(program: bytes, numbers: dict[str, np.ndarray], tail: bytes = b"") -> bytes:
    head = b"".join(
        pickle.dumps(value, protocol=2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    )
    raw = b"".join(struct.pack("<q", array.size) + array.tobytes() for array in numbers.values())
    return head + program + pickle.dumps(list(numbers), protocol=2) + raw + tail


def simple_file(arrays: dict[str, np.ndarray]) -> bytes:
    """Return a file of float32 arrays, each row by row in a storage of its own."""
    entries = {}
    for name, array in arrays.items():
        strides = [int(np.prod(array.shape[axis + 1 :])) for axis in range(array.ndim)]
        entries[name] = tensor(f"s{name}", array.size, array.shape, strides)
    return torch_file(entries, {f"s{name}": array.astype("<f4") for name, array in arrays.items()})
