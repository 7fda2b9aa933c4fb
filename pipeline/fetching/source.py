"""`data/source.json`: what the data is, in git, so that every clone works on the same bytes.

Written by `millrace init` and `millrace refresh` only, after a complete, verified read.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from pipeline.runtime import paths
from pipeline.runtime.addresses import shown
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.files import read_json, write_json
from pipeline.runtime.strict_yaml import convert

# --- The option by which commands that read data limit how much of it they take.


def add_size_limit(parser: argparse.ArgumentParser) -> None:
    """Add `--max-gib`, of downloads and of what archives unpack to."""
    text = "largest download, and largest unpacked archive, in GiB (default: 20)"
    parser.add_argument("--max-gib", type=float, default=20.0, help=text)


def max_bytes(options: argparse.Namespace) -> int:
    """Return the limit in bytes."""
    return int(options.max_gib * 2**30)


# --- `data/source.json`.

Payload = Literal["image", "text", "series"]
KINDS: dict[str, Payload] = {
    "digits": "image",
    "idx": "image",
    "image_folder": "image",
    "image_table": "image",
    "image_arrays": "image",
    "text_table": "text",
    "text_lines": "text",
    "series_archive": "series",
    "series_arrays": "series",
    "series_files": "series",
    "series_rows": "series",
    "series_table": "series",
}
"""Every kind of source to what its samples are; a new one is a file of that name in `pipeline/sources`, and a row."""
if TYPE_CHECKING:
    Kind = str
else:
    Kind = Literal[tuple(KINDS)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
IsoDate = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class Location(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Where the original files are: a path, or a URL with the digest of the file behind it."""

    path: str | None = None
    """Folder, archive or single file; relative to the project's root, or absolute."""
    url: str | None = None
    """http or https, without a password: this file is committed."""
    sha256: Sha256 | None = None
    """Of the file behind `url`; of a moving one, as it was when it was last read."""
    moving: bool = False
    """The file behind `url` is replaced from time to time; `millrace refresh` downloads it again."""


Span = tuple[int, int, int]
"""Smallest, middle and largest."""


class Facts(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What the complete reading found: `check` compares params.yaml with it before anything costs time."""

    splits: dict[str, int] = {}
    """Samples per given split; {} where the source gives none."""
    classes: dict[str, int] = {}
    """Samples per class; {} where there are none, or more than `MOST_CLASSES`."""
    num_classes: int = 0
    step_classes: dict[str, int] = {}
    """Steps per class, of recordings whose steps have one; {} where they are more than `MOST_CLASSES`."""
    targets: int = 0
    """Samples with a number that regression predicts."""
    groups: int = 0
    """Different persons, machines or documents."""
    few_groups: dict[str, int] = {}
    """Classes of samples that fewer than three groups have, with their number."""
    times: int = 0
    """Samples with a time."""
    side: dict[str, Literal["number", "category"]] = {}
    channels: list[str] = []
    """Names of the channels of series."""
    image_channels: list[int] = []
    """1 for grey files, 3 for colour; both where they are mixed."""
    height: Span | None = None
    """Pixels."""
    width: Span | None = None
    """Pixels."""
    length: Span | None = None
    """Steps of series, words of texts."""
    step_seconds: float = 0.0
    """Shortest time from one step to the next; 0 without time stamps."""
    anomalies: int = 0
    """Steps that are labelled as not normal."""
    copies: int = 0
    """Texts that stand there more than once, each time; 0 where there are too many texts to tell."""


MOST_CLASSES = 1000
PARTS = 3
"""Train, val and test: a split by group needs as many groups of each class."""


class Source(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What data/source.json says."""

    kind: Kind
    """The file under pipeline/sources that reads it."""
    location: Literal["bundled"] | Location
    """`bundled`: comes with an installed package."""
    sha256: Sha256
    """Of data/raw/source.tar."""
    bytes: Annotated[int, Meta(ge=1)]
    """Size of data/raw/source.tar."""
    files: Annotated[int, Meta(ge=1)]
    """Members of data/raw/source.tar."""
    count: Annotated[int, Meta(ge=1)]
    """Samples in them."""
    options: dict[str, str | int | float | bool | list[str]] = {}
    """How the files are read, where that is not the default; see `Options` in the file of the kind."""
    left_out: dict[str, int] = {}
    """Files beside the data that nobody reads, counted by folder and suffix: {"hat/*.txt": 3}."""
    joined: dict[str, dict[str, str]] = {}
    """Names that are read as another one, where `join_labels` asks for it; see `pipeline.raw.spellings`."""
    unlabelled: int = 0
    """Samples without an answer, not among `count`: left out, or for stage ingest to reject, as `unlabelled` says."""
    rare: dict[str, int] = {}
    """Classes that were left out, with their samples, where `least_per_class` asks for it."""
    image_size: tuple[int, int] | None = None
    """Height and width in pixels, where the source knows them without decoding and all are equal."""
    facts: Facts | None = None
    """None: bundled data, or a file from before they were kept."""
    seen: IsoDate | None = None
    """Day on which these bytes were first read; bundled data has none."""

    @property
    def several_labels(self) -> bool:
        """Return whether a sample may have several labels: by a separator, or one column for each."""
        return self.options.get("labels_separator", "none") != "none" or bool(
            self.options.get("label_columns")
        )


def read_source(path: Path = paths.SOURCE_JSON) -> Source:
    """Return the content of data/source.json.

    Raises:
        ParamsError: It does not say all it should, or contradicts itself; every problem at once.
        FileNotFoundError: There is none.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist. Expected it to say what the data is. "
            "Run `millrace init --kind digits`, or `millrace init --kind image_folder --path FOLDER`."
        )
    try:
        content: Any = read_json(path)
    except ValueError as error:
        raise ParamsError([f"{path}: not valid JSON. {error}. Run `millrace init` again."]) from error
    source = convert(content, Source, str(path))
    problems = location_problems(source.kind, source.location)
    if problems:
        raise ParamsError([f"{path}: {problem}" for problem in problems])
    return source


def write_source(source: Source, path: Path = paths.SOURCE_JSON) -> None:
    """Write data/source.json, all or nothing."""
    write_json(path, msgspec.to_builtins(source))


def stored_tar(sha256: str) -> Path:
    """Return where this machine keeps the archive with that digest, whether it has it or not."""
    return paths.home_dir() / paths.STATE_DIR / "sources" / f"{sha256}.tar"


def location_problems(kind: str, location: Literal["bundled"] | Location) -> list[str]:
    """Return a message for everything about the location that cannot work."""
    if kind == "digits" or location == "bundled":
        return [] if (kind, location) == ("digits", "bundled") else [_bundled_message(kind, location)]
    problems = []
    if (location.path is None) == (location.url is None):
        problems.append(
            f"location needs either path or url. Expected one of them. Received: path={location.path}, "
            f"url={_shown(location.url)}. Give --path or --url."
        )
    if location.moving and location.url is None:
        problems.append(
            "only a url can be moving; a path is read again by every refresh anyway. Expected a url. Received: "
            f"path={location.path}, moving=true. Leave --moving out."
        )
    if (location.url is None) != (location.sha256 is None) and not (location.moving and location.url):
        problems.append(
            "a url and the sha256 of the file behind it belong together. Expected both or none. Received: "
            f"url={_shown(location.url)}, sha256={location.sha256}. Add --sha256 (from the publisher's page), or "
            "--moving if the file is replaced from time to time."
        )
    if location.url is not None:
        problems += _url_problems(location.url)
    return problems


def _shown(url: str | None) -> str | None:
    return None if url is None else shown(url)


def _bundled_message(kind: str, location: Literal["bundled"] | Location) -> str:
    place = location if location == "bundled" else f"path={location.path}, url={_shown(location.url)}"
    return (
        "kind digits and location bundled belong together. Expected kind=digits with location=bundled, or "
        f"another kind with a path or url. Received: kind={kind}, location: {place}. "
        "Run `millrace init` again."
    )


def _url_problems(url: str) -> list[str]:
    parts = urlsplit(url)
    problems = []
    if parts.scheme not in ("http", "https") or not parts.hostname:
        problems.append(
            f"a url must be http or https. Received: url={shown(url)}. Use --path for a file on this machine."
        )
    if parts.username or parts.password:
        problems.append(
            "a url must not hold a user name or password, because data/source.json is committed. "
            f"Received: a url with them at {parts.hostname}. Download the file yourself and give --path."
        )
    return problems
