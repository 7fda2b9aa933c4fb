"""A JSON array of objects, read one object after the other: exports of Label Studio, pandas and Kaggle.

`json.loads` would need the whole file in memory, several times over. What lies inside an object has a path, `value_at`.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import IO, Any

CHUNK_BYTES = 1 << 16
MAX_OBJECT_CHARACTERS = 1 << 26
"""Of one object; what is longer has lost a bracket or a quote."""
BLANK = re.compile(r"[ \t\r\n]*")
BOM = codecs.BOM_UTF8


def is_array(file: IO[bytes]) -> bool:
    """Tell whether a file begins like a JSON array; it is at its start again afterwards."""
    begin = file.read(1024).removeprefix(BOM).lstrip(b" \t\r\n")
    file.seek(0)
    return begin.startswith(b"[")


def array_items(
    file: IO[bytes], hook: Callable[[list[tuple[str, Any]]], Any], refuse: Callable[[str], Any]
) -> Iterator[tuple[Any, int]]:
    """Yield the items of an array and how many characters each has.

    Args:
        file: Opened at its start; UTF-8.
        hook: Makes a value of the pairs of an object, as in `json.loads`.
        refuse: Takes `NaN` and `Infinity`.

    Raises:
        ValueError: It is no such array; the items before were yielded.
    """
    decoder = json.JSONDecoder(object_pairs_hook=hook, parse_constant=refuse)
    decode = codecs.getincrementaldecoder("utf-8-sig")()
    text, place, ended = "", 0, False
    before = "["

    def skip() -> None:
        """Go to the next character that is no blank, reading on where there is none."""
        nonlocal text, place, ended
        place = BLANK.match(text, place).end()  # type: ignore[union-attr]  # it matches nothing, too
        while place == len(text) and not ended:
            chunk = file.read(CHUNK_BYTES)
            text, place, ended = decode.decode(chunk, final=not chunk), 0, not chunk
            place = BLANK.match(text).end()  # type: ignore[union-attr]

    while True:
        skip()
        mark = text[place : place + 1]
        if mark == "]" and before != "":
            place += 1
            skip()
            if place < len(text):
                raise ValueError(f"{text[place : place + 20]!r} after the end of the array")
            return
        if mark != before and not (before == "," and mark == "]"):
            raise ValueError(
                f"{text[place : place + 20]!r} where {before!r} was expected"
                if mark
                else "the end of the file"
            )
        place += 1
        skip()
        if before == "[" and text[place : place + 1] == "]":
            continue
        while True:
            try:
                item, end = decoder.raw_decode(text, place)
            except json.JSONDecodeError:
                # It may go on in what was not read yet; a number at the end may, too, but no row is one.
                if ended or len(text) - place > MAX_OBJECT_CHARACTERS:
                    raise
                chunk = file.read(max(CHUNK_BYTES, len(text) - place))
                text, place, ended = text[place:] + decode.decode(chunk, final=not chunk), 0, not chunk
                continue
            break
        yield item, end - place
        place, before = end, ","


ABSENT = object()
"""What `value_at` returns where nothing stands: null is a value."""
MOST_KEYS = 200
DEEPEST = 12


def value_at(value: Any, key: str) -> Any:
    """Return what stands at a key of a JSON object, or at a path of keys and places in lists.

    A key that holds a dot itself is found first. A path is how exports of Label Studio, MLflow and Hugging Face name
    what lies inside: `data.text`, `annotations.0.result.0.value.choices.0`.

    Args:
        value: As JSON has it.
        key: Keys joined by dots; places in lists are counted from 0.

    Returns:
        `ABSENT` where there is nothing.
    """
    if isinstance(value, dict) and key in value:
        return value[key]
    head, dot, rest = key.partition(".")
    while dot:
        inner = _inside(value, head)
        if inner is not ABSENT and (found := value_at(inner, rest)) is not ABSENT:
            return found
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return _inside(value, key)


def nested_keys(value: Any, before: str = "", depth: int = 0) -> list[str]:
    """Return the paths of the plain values in a JSON object; of each list those of its first element.

    Args:
        value: As JSON has it.
        before: The path to it, with a dot at its end.
        depth: How deep it lies; what lies deeper than `DEEPEST` is one value.
    """
    if depth == DEEPEST or not value or not isinstance(value, dict | list):
        return [before[:-1]] if before else []
    if isinstance(value, list):
        return nested_keys(value[0], f"{before}0.", depth + 1)
    found: list[str] = []
    for key, inner in value.items():
        if len(found) < MOST_KEYS:
            found += nested_keys(inner, f"{before}{key}.", depth + 1)
    return found


def _inside(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return value.get(key, ABSENT)
    if isinstance(value, list) and key.isascii() and key.isdigit() and int(key) < len(value):
        return value[int(key)]
    return ABSENT
