"""Pages that open anywhere, offline: one file each, the same bytes for the same values."""

import base64
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Tiles = list[tuple[str, str]]
"""Large numbers on top of a page, each with what it counts."""
Told = Mapping[str, tuple[str, str]]
"""Name of a picture's file, without its end, to its title and a sentence on how it is read; the first matters most."""


@dataclass(frozen=True)
class Picture:
    """A picture on a page.

    Attributes:
        title: What it shows.
        told: How it is read, a sentence or two; "" where the title says it.
        content: The PNG file, base64.
    """

    title: str
    told: str
    content: str


@dataclass(frozen=True)
class Fact:
    """One line at the foot of a page: which model, which data.

    Attributes:
        term: `model`, `data`, `commit`.
        text: Its value in words.
        link: Where more of it is told; "" for nowhere.
    """

    term: str
    text: str
    link: str = ""


def render(template: str, *, facts: Sequence[Fact] = (), **values: Any) -> str:
    """Return a template of `pipeline/reports/templates` with these values; those that end in `.html.j2` are escaped.

    Args:
        template: Its name.
        facts: What stands at the foot of a page.
        values: What the template asks for.

    Raises:
        jinja2.UndefinedError: The template asks for a value that is not given.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.reports"),
        autoescape=template.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(values, facts=facts)


def pictures(folder: Path, told: Told) -> list[Picture]:
    """Return every PNG file of a folder: those that are told first, in that order, then the others by name."""
    order = list(told)
    last = len(order)
    paths = sorted(
        folder.glob("*.png"),
        key=lambda path: (order.index(path.stem) if path.stem in told else last, path.name),
    )
    return [
        Picture(
            *told.get(path.stem, (path.stem.replace("_", " ").capitalize(), "")),
            base64.b64encode(path.read_bytes()).decode(),
        )
        for path in paths
    ]


def made_fact(at: dt.datetime) -> Fact:
    """Return when a page was made that is no result of a stage: those are the same whenever they are made."""
    return Fact("made", f"{at:%Y-%m-%d %H:%M} UTC")


def data_fact(source: Mapping[str, Any]) -> Fact:
    """Return which data a page is of.

    Args:
        source: Content of data/source.json.
    """
    return Fact("data", f"{source['kind']}, {source['count']:,} samples, sha256 {str(source['sha256'])[:12]}")
