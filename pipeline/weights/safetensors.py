"""Files of named arrays in the safetensors format: a JSON header and raw numbers, and nothing that could run.

Layout (https://github.com/huggingface/safetensors#format): eight bytes with the length of the header, the header, the
numbers. Read strictly: every byte belongs to an array, none to two. Written so that equal arrays give equal bytes.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.runtime.errors import NotPermitted
from pipeline.runtime.files import write_bytes

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "|u1"}
MAX_HEADER_BYTES = 4 << 20
MAX_ARRAYS = 20_000
MAX_BYTES = 4 << 30
NAME = re.compile(r"[A-Za-z0-9_.\-/]{1,200}")


def write_safetensors(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, str]) -> None:
    """Write arrays, all or nothing; equal arrays and texts give equal bytes.

    Args:
        path: The file.
        arrays: By name, of a type in `DTYPES`.
        about: Texts that travel in the header.
    """
    codes = {np.dtype(code).str: name for name, code in DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": dict(sorted(about.items()))}
    parts, at = [], 0
    for name in sorted(arrays):
        raw = np.ascontiguousarray(arrays[name]).tobytes()
        code = codes[arrays[name].dtype.newbyteorder("<").str]
        header[name] = {
            "dtype": code,
            "shape": list(arrays[name].shape),
            "data_offsets": [at, at + len(raw)],
        }
        parts.append(raw)
        at += len(raw)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=True).encode()
    text += b" " * (-len(text) % 8)
    write_bytes(path, len(text).to_bytes(8, "little") + text + b"".join(parts))


def read_safetensors(content: bytes, name: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays of a file by their names, read-only, and the texts in its header.

    Args:
        content: The whole file.
        name: For messages.

    Raises:
        NotPermitted: It is no such file, or holds what arrays do not need.
    """
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or size > MAX_HEADER_BYTES or 8 + size > len(content):
        raise _refused(name, "no header of a length that fits")
    try:
        header = json.loads(content[8 : 8 + size], object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise _refused(name, f"a header that is no JSON ({str(error)[:100]})") from error
    if not isinstance(header, dict) or len(header) > MAX_ARRAYS:
        raise _refused(name, "a header that is no list of arrays")
    about = header.pop("__metadata__", {})
    if not isinstance(about, dict) or not all(isinstance(text, str) for text in about.values()):
        raise _refused(name, "metadata that is not made of texts")
    body = memoryview(content)[8 + size :]
    found, at = {}, 0
    for key, start, stop, dtype, shape in sorted(
        map(_entry(name), header.items()), key=lambda entry: entry[1:3]
    ):
        if start != at or stop - start != math.prod(shape) * np.dtype(dtype).itemsize:
            raise _refused(name, f"array {key!r} at bytes {start:,} to {stop:,}, of shape {shape}")
        if stop > len(body):
            raise _refused(name, f"array {key!r} behind the end of the file")
        found[key] = np.frombuffer(body[start:stop], dtype).reshape(shape)
        at = stop
    if at != len(body):
        raise _refused(name, f"{len(body) - at:,} bytes that belong to no array")
    return found, about


def _entry(name: str) -> Any:
    def read(item: tuple[str, Any]) -> tuple[str, int, int, str, tuple[int, ...]]:
        key, entry = item
        fits = NAME.fullmatch(key) and isinstance(entry, dict)
        if not fits or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise _refused(name, f"an entry {key[:80]!r} that is no array")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise _refused(name, f"array {key!r} of type {str(dtype)[:20]}")
        numbers = (
            isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2 and len(shape) <= 8
        )
        if not numbers or not all(
            type(number) is int and 0 <= number <= MAX_BYTES for number in shape + offsets
        ):
            raise _refused(name, f"array {key!r} of an absurd size")
        return key, offsets[0], offsets[1], DTYPES[dtype], tuple(shape)

    return read


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _refused(name: str, received: str) -> NotPermitted:
    return NotPermitted(
        f"{name} is not read. Expected a safetensors file: a header, and arrays that account for every byte. "
        f"Received: {received}. Do not use it, or get it again."
    )
