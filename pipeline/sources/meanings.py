"""What the options of a kind mean, for `millrace init --options KIND`: read from the code that defines them.

Python drops the texts below the fields of a class, so the source of the class is parsed; a new kind, or a new option,
needs nothing but its field and the text below it.
"""

import ast
import inspect
import textwrap
import types
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec

from pipeline.formats.problems import as_typed
from pipeline.sources.kinds import CommonOptions, fields_of, source_of


class Meaning(NamedTuple):
    """One option.

    Attributes:
        name: As typed after `--set`.
        values: What it takes, in words.
        default: What holds without it, as typed; "" for nothing.
        text: What it means.
    """

    name: str
    values: str
    default: str
    text: str


def meanings(kind: str) -> list[Meaning]:
    """Return the options of a kind, its own before those that every kind has.

    Args:
        kind: One of `fetching.source.KINDS`.
    """
    return [*_of_struct(source_of(kind).Options), *_of_struct(CommonOptions)]


def _of_struct(struct: Any) -> Iterator[Meaning]:
    texts: dict[str, str] = {}
    for cls in reversed(struct.__mro__):
        if cls.__module__.startswith("pipeline."):
            texts |= _texts(cls)
    for field in fields_of(struct):
        default = field.default_factory() if callable(field.default_factory) else field.default
        yield Meaning(field.name, _values(field.type), _typed(default), texts.get(field.name, ""))


def _texts(cls: type) -> dict[str, str]:
    """Return the string below each field of a class."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    if not isinstance(body, ast.ClassDef):
        return {}
    found = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[field.target.id] = " ".join(below.value.value.split())
    return found


def _values(kind: Any) -> str:
    members = [member for member in get_args(kind) if member is not type(None)]
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_values(member) for member in members)
    if get_origin(kind) is Literal:
        return ", ".join(map(str, members))
    if get_origin(kind) in (tuple, list):
        quotes = ', what holds a comma in double quotes: "a,b",c' if str in members else ""
        return f"a comma-separated list{quotes}"
    plain = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
    return plain.get(getattr(kind, "__origin__", kind), "a text")


def _typed(default: Any) -> str:
    if default is None or default is msgspec.NODEFAULT:
        return ""
    if isinstance(default, tuple | list):
        return as_typed(map(str, default))
    return str(default).lower() if isinstance(default, bool) else str(default)
