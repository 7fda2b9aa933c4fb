"""The search space of a candidate: is it usable, and what settings does a sampled point stand for.

Knows neither Optuna nor TensorFlow, so that the check stage can refuse a bad space in milliseconds.
"""

import difflib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import msgspec
from msgspec.inspect import (
    BoolType,
    FloatType,
    IntType,
    ListType,
    LiteralType,
    Type,
    VarTupleType,
    type_info,
)

from pipeline.params.families import FAMILIES, Candidate, family_of
from pipeline.params.sections import Choice, FloatRange, IntRange, Training
from pipeline.runtime.strict_yaml import value_at

FIXED = {
    "training.epochs": "halving itself decides how many epochs a trial gets",
    "training.monitor": "scores of different monitors cannot be compared",
    "training.workers": "all trials are trained by as many processes as the baseline",
}
"""Settings that look searchable and are not, each with its reason."""


def space_problems(candidate: Candidate) -> list[str]:
    """Return what is wrong with the search space of a candidate, nothing when it is usable.

    Args:
        candidate: One entry of `candidates`; its `tune.space` is checked against the types and ranges of
            its own `model` settings and of the `training` section.

    Returns:
        One message per problem, beginning with the key where there is one, `model.l2: low must be ...`; the
        caller puts the name of the candidate before it.
    """
    known = _leaves(Training, "training.") | _leaves(type(candidate.model), "model.")
    problems = []
    family = family_of(candidate)
    if candidate.tune.space and not FAMILIES[family].trained:
        problems.append(
            f"a search has no effect: family {family} is solved, not trained, and scored once. Expected a family that "
            f"learns by epochs. Received: {', '.join(candidate.tune.space)}. Remove the space."
        )
    elif candidate.tune.space and candidate.training.get("epochs") == 0:
        problems.append(
            "a search has no effect. Expected training.epochs >= 1. Received: epochs=0. Remove the space."
        )
    for key, dimension in candidate.tune.space.items():
        if key not in known:
            problems.append(f"{key}: {_unknown(key, list(known))}")
        elif key in FIXED:
            problems.append(f"{key}: cannot be searched: {FIXED[key]}. Remove it.")
        elif isinstance(dimension, Choice):
            problems += [f"{key}: {text}" for text in _choice_problems(dimension, known[key])]
        else:
            problems += [f"{key}: {text}" for text in _range_problems(dimension, known[key])]
    return problems


def with_sampled(settings: Mapping[str, Any], sampled: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the sampled values laid over them.

    Args:
        settings: Nested plain values, `{"model": {...}, "training": {...}}`; not changed.
        sampled: Dotted key to value, `{"training.learning_rate": 0.001}`. A single number for a setting that
            is a list (units per layer) stands for the list with that one number.

    Returns:
        A deep copy with the values replaced, of the types the settings had.
    """
    result: dict[str, Any] = json.loads(json.dumps(settings))
    for key, value in sampled.items():
        *parents, name = key.split(".")
        section = result
        for parent in parents:
            section = section[parent]
        section[name] = _like(section[name], value)
    return result


def sampled_of(settings: Mapping[str, Any], space: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return where settings lie in a space, or None if outside.

    Args:
        settings: Nested plain values, `{"model": {...}, "training": {...}}`.
        space: Dotted key to range as plain values, `{"kind": "float", "low": ..., "high": ..., "log": ...}`
            or `{"kind": "choice", "values": [...]}`.

    Returns:
        Dotted key to value; of a choice, the value as the space lists it.
    """
    sampled = {}
    for key, dimension in space.items():
        current = value_at(settings, key)
        if dimension["kind"] == "choice":
            listed = [value for value in dimension["values"] if _like(current, value) == current]
            if not listed:
                return None
            sampled[key] = listed[0]
        else:
            single = current[0] if isinstance(current, list) and len(current) == 1 else current
            if isinstance(single, list) or not dimension["low"] <= single <= dimension["high"]:
                return None
            sampled[key] = single
    return sampled


def _like(current: object, value: Any) -> Any:
    """Return `value` in the shape and type of the value it replaces."""
    if isinstance(current, list) and not isinstance(value, list | tuple):
        return [value]
    if isinstance(current, float) and isinstance(value, int):
        return float(value)
    return list(value) if isinstance(value, tuple) else value


def _leaves(struct: type[msgspec.Struct], prefix: str) -> dict[str, Any]:
    """Return dotted key to type annotation for every setting in a struct and the structs inside it."""
    leaves: dict[str, Any] = {}
    for field in msgspec.structs.fields(struct):
        name = prefix + field.encode_name
        # `Augment | None`: a block that may be absent has settings all the same.
        blocks = [part for part in get_args(field.type) or (field.type,) if _is_struct(part)]
        if blocks:
            leaves |= _leaves(blocks[0], f"{name}.")
        else:
            leaves[name] = field.type
    return leaves


def _is_struct(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, msgspec.Struct)


def _unknown(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(sorted(known))}."
    return f"is not a setting of this candidate. Expected a key below `model` or `training`. {hint}"


def _range_problems(dimension: FloatRange | IntRange, annotation: Any) -> Iterator[str]:
    low, high = dimension.low, dimension.high
    received = f"Received: low={low}, high={high}."
    single = _single(type_info(annotation))
    wanted = (IntType, FloatType) if isinstance(dimension, IntRange) else (FloatType,)
    if not isinstance(single, wanted):
        yield f"a range of this kind does not fit. Expected {_fitting(single)}. {received} Change `kind`."
    elif not (math.isfinite(low) and math.isfinite(high)) or low >= high:
        yield f"low must be below high. Expected two finite numbers in rising order. {received} Correct them."
    elif dimension.log and low <= 0:
        yield f"a log scale needs positive numbers. Expected low > 0. {received} Raise low, or drop `log`."
    else:
        for name, value in (("low", low), ("high", high)):
            if problem := _value_problem(value, annotation):
                yield f"{problem} Received: {name}={value}. Narrow the range."


def _choice_problems(dimension: Choice, annotation: Any) -> Iterator[str]:
    written = [json.dumps(value) for value in dimension.values]
    for text in sorted({text for text in written if written.count(text) > 1}):
        yield f"a value stands twice. Expected different values. Received: {text}. Remove one."
    for value in dimension.values:
        if problem := _value_problem(value, annotation):
            yield f"a value cannot be used. {problem} Received: {value!r}. Correct or remove it."


def _value_problem(value: object, annotation: Any) -> str:
    """Return why a value does not fit the setting, or an empty string."""
    kind = type_info(annotation)
    if isinstance(kind, VarTupleType | ListType) and not isinstance(value, list | tuple):
        value = [value]
    try:
        msgspec.convert(value, annotation, strict=True)
    except msgspec.ValidationError as error:
        if isinstance(kind, LiteralType):
            return f"Expected one of {', '.join(map(str, kind.values))}."
        return str(error).split(" - at ")[0].rstrip(".") + "."
    return ""


def _single(kind: Type) -> Type:
    return kind.item_type if isinstance(kind, VarTupleType | ListType) else kind


def _fitting(kind: Type) -> str:
    if isinstance(kind, IntType):
        return "kind `int` or `choice` for a whole number"
    if isinstance(kind, BoolType):
        return "kind `choice` for true or false"
    return "kind `choice` for names"
