"""The readers of sources and their options, by the name that `millrace init --kind` and data/source.json use."""

import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, Literal, Protocol, cast, get_args, get_origin

import msgspec
from msgspec import Struct

from pipeline.raw.label_sets import ONE_CLASS
from pipeline.raw.sample import RawSample
from pipeline.raw.typed import listed
from pipeline.runtime.errors import WronglyCalled


class CommonOptions(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What `--set` may say of every kind."""

    join_labels: bool | None = None
    """What becomes of labels, groups and categories that are one to every reader but spelt in several ways: true reads
    them as one, false keeps them apart; without it they are refused."""
    least_per_class: int = 0
    """Classes with fewer samples are left out, which is counted; 0: none is."""
    ignore: tuple[str, ...] = ()
    """Globs of files or folders that are passed over: `docs/*`, `*.xml`, `@thumbs`."""
    labels_separator: str | None = None
    """What stands between the labels of samples that have several: pipe, semicolon, comma, tab, newline, slash, plus,
    ampersand, space, or itself; `list` for JSON or Python lists; `none`: each is the name of one class. Without it
    labels that look like lists are refused."""


def fields_of(struct: type[Struct]) -> list[msgspec.structs.FieldInfo]:
    """Return the fields of options, those of the kind itself before those of all tables."""
    return sorted(msgspec.structs.fields(struct), key=lambda field: field.name not in struct.__annotations__)


COMMON = {field.name: field.type for field in fields_of(CommonOptions)}


class SourceModule(Protocol):
    """What a file under pipeline/sources offers; see `pipeline/raw/sample.py`."""

    LAYOUT: str
    Options: type[Any]

    def select(self, names: Sequence[str], options: Any) -> dict[str, str]:
        """Return which files belong to the data, as {name in the archive: given name}."""

    def describe(self, archive: tarfile.TarFile, options: Any) -> list[str]:
        """Return how the files will be read, in words."""

    def read(self, archive: tarfile.TarFile, options: Any) -> Iterator[RawSample]:
        """Yield the samples, ordered by sample_id."""


def source_of(kind: str) -> SourceModule:
    """Return the file that reads a kind of source.

    Args:
        kind: One of `fetching.source.KINDS`.
    """
    return cast("SourceModule", import_module(f"pipeline.sources.{kind}"))


def stated_options(kind: str, stated: Sequence[str]) -> dict[str, Any]:
    """Return options as they stand in data/source.json, from `name=value` as typed after `--set`.

    Raises:
        WronglyCalled: Names are unknown, or values are not of their type; every problem at once.
    """
    types = _option_types(kind)
    content: dict[str, Any] = {}
    problems = []
    for item in stated:
        name, equals, value = item.partition("=")
        if not equals:
            problems.append(f"--set {item} has no value. Expected NAME=VALUE. Received: {item}.")
        elif name in content:
            problems.append(
                f"--set {name} is there twice. Expected it once; its elements stand between commas."
            )
        elif get_origin(types.get(name)) in (tuple, list):
            try:
                content[name] = listed(value)
            except WronglyCalled as error:
                problems.append(f"--set {name}: {error}")
        else:
            content[name] = value
    problems += _option_problems(kind, content)
    if problems:
        raise WronglyCalled("\n".join(f"millrace init: {problem}" for problem in problems))
    return plain_options(kind, content)


def any_options(kinds: Iterable[str], stated: Sequence[str]) -> dict[str, Any]:
    """Return options as typed for a kind that nobody has named yet, each as the first kind that has it takes it.

    Raises:
        WronglyCalled: No kind has an option of this name, or it cannot take the value.
    """
    content: dict[str, Any] = {}
    for item in stated:
        name = item.partition("=")[0]
        kind = next((kind for kind in kinds if name in _option_types(kind)), None)
        if kind is None:
            raise WronglyCalled(
                f"millrace init: no kind has an option {name}. Expected one that `millrace init --options KIND` "
                f"prints. Received: --set {item}. Without it what fits is shown."
            )
        content |= stated_options(kind, [item])
    return content


def plain_options(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return options without those that are at their default.

    Raises:
        WronglyCalled: A value is not of its type.
    """
    # Not `to_builtins`: msgspec's `omit_defaults` keeps a default that was typed, since it is another object.
    made = msgspec.structs.asdict(options_of(kind, content)) | msgspec.structs.asdict(_common(content))
    defaults = msgspec.structs.asdict(source_of(kind).Options()) | msgspec.structs.asdict(CommonOptions())
    changed = {name: value for name, value in made.items() if defaults[name] != value}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}


def options_of(kind: str, content: Mapping[str, Any]) -> Struct:
    """Return the options of a source as its module takes them.

    Raises:
        WronglyCalled: Names are unknown, or values are not of their type; every problem at once.
    """
    problems = _option_problems(kind, content)
    if problems:
        raise WronglyCalled("\n".join(f"data/source.json: {problem}" for problem in problems))
    own = {name: value for name, value in content.items() if name not in COMMON}
    made: Struct = msgspec.convert(own, source_of(kind).Options, strict=False)
    return made


def common_options(content: Mapping[str, Any]) -> CommonOptions:
    """Return the options that every kind has, out of all options of a source, which `options_of` has checked.

    Raises:
        WronglyCalled: An option of the kind needs one of these beside it.
    """
    common = _common(content)
    if content.get("unlabelled") == "no_labels" and common.labels_separator in (None, ONE_CLASS):
        raise WronglyCalled(
            "unlabelled=no_labels is for a column of several labels, where an empty cell says none of them. Expected "
            "labels_separator beside it, such as --set labels_separator=pipe. Received: unlabelled=no_labels, and "
            f"labels_separator={common.labels_separator or 'nothing'}. Say what stands between labels, or leave rows "
            "without a class out: --set unlabelled=leave_out."
        )
    return common


def _common(content: Mapping[str, Any]) -> CommonOptions:
    own = {name: value for name, value in content.items() if name in COMMON}
    return msgspec.convert(own, CommonOptions, strict=False)


def option_names(kind: str) -> tuple[str, ...]:
    """Return what `--set` may name of a kind."""
    return tuple(_option_types(kind))


def _option_types(kind: str) -> dict[str, Any]:
    own = {field.name: field.type for field in fields_of(source_of(kind).Options)}
    return own | COMMON


def _option_problems(kind: str, content: Mapping[str, Any]) -> list[str]:
    """Return a message for every option that the kind does not know or cannot take."""
    types = _option_types(kind)
    problems = []
    for name, value in content.items():
        if name not in types:
            problems.append(
                f"option {name} is unknown. Expected one of kind {kind}: {', '.join(types)}. "
                f"Received: {name}={value}. "
                "Run `millrace init` again."
            )
            continue
        try:
            msgspec.convert(value, types[name], strict=False)
        except msgspec.ValidationError as error:
            problems.append(
                f"option {name} cannot be used. {_expected(types[name], error)} Received: {name}={value}. "
                f"Give another --set {name}= to `millrace init`."
            )
    return problems


def _expected(wanted: Any, error: msgspec.ValidationError) -> str:
    if get_origin(wanted) is Literal:
        return f"Expected {', '.join(map(str, get_args(wanted)))}."
    return f"{error}."
