"""Read YAML the way DVC does and turn it into frozen structs, reporting every problem at once.

PyYAML reads `1e-3` as a string and `no` as False; DVC (ruamel, YAML 1.2) reads 0.001 and "no". The same
file must mean the same to both, so ruamel reads it here too.
"""

import difflib
import io
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent

from pipeline.runtime.errors import ParamsError, Place

T = TypeVar("T", bound=msgspec.Struct)
_RAISE = object()
PLAIN_NAMES = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    list: "a list",
    dict: "a block",
}


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML 1.2 file.

    Raises:
        ParamsError: Not a mapping, broken YAML, a duplicate key, or an alias (`*name`): two keys that
            silently share one value are hard to review and DVC cannot track them apart.
    """
    return yaml_content(path.read_text(encoding="utf-8"), str(path))


def yaml_content(text: str, path: str) -> dict[str, Any]:
    """Return the mapping in YAML 1.2 text; see `read_yaml`.

    Args:
        text: The YAML.
        path: Where it is from, for messages.
    """
    try:
        yaml = YAML(typ="safe", pure=False)
        for event in YAML(typ="safe", pure=False).parse(io.StringIO(text)):
            if isinstance(event, AliasEvent):
                place = f"*{event.anchor} at line {event.start_mark.line + 1}"
                raise ParamsError([f"{path}: no aliases here. Received: {place}. Write the value out."])
        content = yaml.load(text)
    except DuplicateKeyError as error:
        raise ParamsError([f"{path}: a key stands twice. {error.problem}. Remove one of them."]) from error
    except YAMLError as error:
        raise ParamsError([f"{path}: not valid YAML 1.2. {error}. Correct the file."]) from error
    if not isinstance(content, dict):
        raise ParamsError([f"{path}: expected a mapping of parameters. Received: {type(content).__name__}."])
    return content


def value_at(content: Mapping[str, Any], key: str, default: Any = _RAISE) -> Any:
    """Return the value at a dotted key such as `training.epochs`, as DVC names parameters.

    Raises:
        KeyError: There is none, and no default.
    """
    value: Any = content
    for part in key.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif default is _RAISE:
            raise KeyError(key)
        else:
            return default
    return value


def convert(value: object, struct: type[T], where: str) -> T:
    """Return `value` as a `struct`, strict in names, types and ranges.

    Args:
        value: What the YAML file holds at this place.
        struct: The frozen struct to fill; nested structs and `dict[str, Struct]` are walked.
        where: Name of the file, for messages.

    Raises:
        ParamsError: With every problem found, not only the first.
    """
    problems = list(_problems(value, struct, ()))
    if problems:
        raise ParamsError(
            [f"{where}: {problem.message}" for problem in problems], [problem.place for problem in problems]
        )
    return msgspec.convert(value, struct)


class _Problem(NamedTuple):
    """What is wrong at which place of the file (keys from the outside in)."""

    place: Place
    message: str


def _problems(value: object, kind: Any, place: Place) -> Iterator[_Problem]:
    inner = _without_metadata(kind)
    if get_origin(inner) is dict and isinstance(value, dict) and value:
        name_kind, item_kind = get_args(inner)
        for name, item in value.items():
            yield from _problems(name, name_kind, (*place, name))
            yield from _problems(item, item_kind, (*place, name))
        return
    variants = [arg for arg in _union_members(kind) if _is_struct(arg)]
    if len(variants) > 1 and isinstance(value, dict):
        yield from _variant_problems(value, variants, place)
    elif variants and isinstance(value, dict):
        yield from _struct_problems(value, variants[0], place)
    elif not _fits(value, kind):
        name = place[-1] if place else "the file"
        yield _Problem(
            place, f"{_key(place)} is not usable. Expected {_describe(kind)}. Received: {name}={value!r}."
        )


def _struct_problems(value: Mapping[str, object], struct: Any, place: Place) -> Iterator[_Problem]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    tag_field = struct.__struct_config__.tag_field
    for name in value:
        if name not in fields and name != tag_field:
            known = sorted([*fields, *([tag_field] if tag_field else [])])
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = (
                f"Did you mean {_key((*place, close[0]))}?" if close else f"Known here: {', '.join(known)}."
            )
            yield _Problem((*place, name), f"{_key((*place, name))} is not a parameter. {hint}")
    for name, field in fields.items():
        if name in value:
            yield from _problems(value[name], field.type, (*place, name))
        elif field.required:
            # A whole section with its comments stands in the examples, also in those of a version that came later.
            kind = _describe(field.type)
            shown = (
                f"; git grep -A 9 '^{name}:' -- '*.yaml' shows one" if not place and SECTION in kind else ""
            )
            expected = f"Expected {kind}. Add it{shown}."
            yield _Problem((*place, name), f"{_key((*place, name))} is missing. {expected}")


def _variant_problems(value: dict[str, object], variants: list[Any], place: Place) -> Iterator[_Problem]:
    tag_field = variants[0].__struct_config__.tag_field
    by_tag = {variant.__struct_config__.tag: variant for variant in variants}
    tag = value.get(tag_field)
    if tag in by_tag:
        yield from _struct_problems(value, by_tag[tag], place)
        return
    close = difflib.get_close_matches(str(tag), by_tag, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    expected = ", ".join(sorted(by_tag))
    yield _Problem(
        place, f"{_key(place)}.{tag_field} must be one of {expected}. Received: {tag_field}={tag!r}.{hint}"
    )


def _fits(value: object, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError:
        return False
    return True


def _key(place: Place) -> str:
    return ".".join(map(str, place)) or "the file"


def _without_metadata(kind: Any) -> Any:
    return kind.__origin__ if hasattr(kind, "__metadata__") else kind


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _union_members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


SECTION = "a block of parameters"


def _bounds(meta: msgspec.Meta) -> Iterator[str]:
    for sign, bound in ((">", meta.gt), (">=", meta.ge), ("<", meta.lt), ("<=", meta.le)):
        if bound is not None:
            yield f"{sign} {bound}"
    if meta.pattern is not None:
        yield f"of the form {meta.pattern}"


def _describe(kind: Any) -> str:
    members = _union_members(kind)
    if len(members) > 1:
        return " or ".join(_describe(member) for member in members)
    if hasattr(kind, "__metadata__"):
        bounds = " and ".join(bound for meta in kind.__metadata__ for bound in _bounds(meta))
        return f"{_describe(kind.__origin__)} {bounds}".strip()
    if get_origin(kind) is tuple:
        items = [_describe(item) for item in get_args(kind) if item is not Ellipsis]
        return f"[{', '.join(items)}{', ...' if Ellipsis in get_args(kind) else ''}]"
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in get_args(kind))
    if kind is type(None):
        return "null"
    if _is_struct(kind) or get_origin(kind) is dict:
        return SECTION
    if kind in PLAIN_NAMES:
        return PLAIN_NAMES[kind]
    return getattr(kind, "__name__", str(kind))
