"""The kinds of sources, by the name that `millrace init --kind` and data/source.json use.

Imported here one by one, so that dvc.yaml's dependencies can be compared with the code behind a stage.
"""

import tarfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, get_origin

import msgspec
from msgspec import Struct

from pipeline.runtime import WronglyCalled
from pipeline.sources import (
    digits,
    idx,
    image_folder,
    series_archive,
    series_files,
    series_table,
    text_lines,
    text_table,
)
from pipeline.sources.raw_sample import Payload, RawSample


class SourceModule(Protocol):
    """What a file under pipeline/sources offers; see `pipeline/sources/raw_sample.py`."""

    LAYOUT: str
    PAYLOAD: Payload
    Options: type[Any]

    def select(self, names: Sequence[str], options: Any) -> dict[str, str]:
        """Return which files belong to the data, as {name in the archive: given name}."""

    def describe(self, archive: tarfile.TarFile, options: Any) -> list[str]:
        """Return how the files will be read, in words."""

    def read(self, archive: tarfile.TarFile, options: Any) -> Iterator[RawSample]:
        """Yield the samples, ordered by sample_id."""


SOURCES: dict[str, SourceModule] = {
    "digits": digits,
    "idx": idx,
    "image_folder": image_folder,
    "text_table": text_table,
    "text_lines": text_lines,
    "series_archive": series_archive,
    "series_files": series_files,
    "series_table": series_table,
}


def stated_options(kind: str, stated: Sequence[str]) -> dict[str, Any]:
    """Return options as they stand in data/source.json, from `name=value` as typed after `--set`.

    Raises:
        WronglyCalled: Names are unknown, or values are not of their type; every problem at once.
    """
    known = {field.name: field for field in msgspec.structs.fields(SOURCES[kind].Options)}
    content: dict[str, Any] = {}
    problems = []
    for item in stated:
        name, equals, value = item.partition("=")
        if name not in known or not equals:
            problems.append(
                f"--set {item} is not understood. Expected NAME=VALUE with a name of kind {kind}: "
                f"{', '.join(known) or 'it has none'}."
            )
        elif name in content:
            problems.append(f"--set {name} is there twice. Expected it once; lists are comma-separated.")
        elif get_origin(known[name].type) in (tuple, list):
            content[name] = [part.strip() for part in value.split(",") if part.strip()]
        else:
            content[name] = {"true": True, "false": False}.get(value, value)
    if problems:
        raise WronglyCalled("\n".join(f"millrace init: {problem}" for problem in problems))
    return plain_options(kind, content)


def plain_options(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return options without those that are at their default.

    Raises:
        WronglyCalled: A value is not of its type.
    """
    made = options_of(kind, content)
    plain: dict[str, Any] = msgspec.to_builtins(made)
    defaults: dict[str, Any] = msgspec.to_builtins(SOURCES[kind].Options())
    changed = {name: value for name, value in plain.items() if defaults.get(name) != value}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}


def options_of(kind: str, content: Mapping[str, Any]) -> Struct:
    """Return the options of a source as its module takes them.

    Raises:
        WronglyCalled: A value is not of its type.
    """
    try:
        made: Struct = msgspec.convert(dict(content), SOURCES[kind].Options, strict=False)
    except msgspec.ValidationError as error:
        raise WronglyCalled(
            f"The options of kind {kind} cannot be used: {error}. Received: {dict(content)}. "
            "Run `millrace init` again with other --set values."
        ) from error
    return made
