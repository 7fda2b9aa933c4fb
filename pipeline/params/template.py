"""A params.yaml as lines: values are replaced and blocks taken out, and every comment stays where it is.

A YAML library would give all lines back in a form of its own; here a line that nobody changes is the same to the byte.
It knows what the files under examples/ are made of: blocks by indentation, and one value per line.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

LINE = re.compile(
    r"^(?P<indent> *)(?P<key>[^\s:#][^:#]*):(?P<value>(?:[^#\"]|\"[^\"]*\"|(?<!\s)#)*?)(?P<comment>\s+#.*)?$"
)


class Template:
    """The text of a params.yaml that is changed key by key.

    Args:
        text: What to begin with.
    """

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()

    @property
    def text(self) -> str:
        """Return the file as it is now."""
        return "\n".join(self._lines) + "\n"

    def set(self, key: str, value: Any) -> None:
        """Replace the value at a dotted key; the comment beside it stays, and a block becomes one line.

        Args:
            key: Such as `data.image_size`; its last part is added at the end of its block where it is new.
            value: null, a number, a text, a list or a mapping.
        """
        place = self._place(key)
        if place is None:
            self.add(key, value)
            return
        line = LINE.match(self._lines[place])
        comment = (line["comment"] or "") if line else ""
        indent, last = " " * _indent(self._lines[place]), key.rsplit(".", maxsplit=1)[-1]
        del self._lines[place + 1 : self._end(place)]
        written = f"{indent}{last}: {as_yaml(value)}"
        before = len(self._lines[place]) - len(comment.lstrip()) if comment else 0
        gap = " " * max(1, before - len(written))
        self._lines[place] = written + (gap + comment.lstrip() if comment else "")

    def add(self, key: str, value: Any) -> None:
        """Write a new key at the end of its block; a block that is null or missing becomes one."""
        *outer, last = key.split(".")
        block = self._place(".".join(outer))
        if block is None:
            raise KeyError(key)
        end = self._end(block)
        while end > block + 1 and not self._lines[end - 1].strip():
            end -= 1
        self._lines.insert(end, f"{' ' * (_indent(self._lines[block]) + 2)}{last}: {as_yaml(value)}")

    def remove(self, key: str) -> None:
        """Take a key with its whole block out; nothing happens where it is not."""
        place = self._place(key)
        if place is not None:
            del self._lines[place : self._end(place)]

    def head(self, lines: Sequence[str]) -> None:
        """Replace the comment that the file begins with."""
        first = next(number for number, line in enumerate(self._lines) if not line.startswith("#"))
        # A name with a line break in it must not become a line of its own.
        self._lines[:first] = [f"# {' '.join(line.splitlines())}" if line else "#" for line in lines]

    def _place(self, key: str) -> int | None:
        """Return the number of the line of a key."""
        start, end, place = 0, len(self._lines), None
        indent = 0
        for part in key.split("."):
            found = [
                number
                for number in range(start, end)
                if _indent(self._lines[number]) == indent
                and (line := LINE.match(self._lines[number]))
                and line["key"].strip().strip("\"'") == part
            ]
            if not found:
                return None
            place = found[0]
            start, end, indent = place + 1, self._end(place), indent + 2
        return place

    def _end(self, place: int) -> int:
        """Return the number of the line after a block."""
        indent, end = _indent(self._lines[place]), place + 1
        while end < len(self._lines) and self._lines[end].strip() and _indent(self._lines[end]) > indent:
            end += 1
        return end


def as_yaml(value: Any) -> str:
    """Return a value in YAML 1.2 on one line; texts that YAML would read as something else stand in quotes."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{as_yaml(name)}: {as_yaml(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(as_yaml, value)) + "]"
    if (
        isinstance(value, str)
        and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*", value)
        and value.lower() not in WORDS
    ):
        return value
    # JSON is YAML 1.2, but for letters beyond the basic plane, which stay as they are.
    return json.dumps(value, ensure_ascii=False)


WORDS = frozenset(["true", "false", "null", "yes", "no", "on", "off", "y", "n"])


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
