"""Pages that open anywhere, offline: one file each, the same bytes for the same values."""

import base64
from pathlib import Path
from typing import Any

Tiles = list[tuple[str, str]]
"""Large numbers on top of a page, each with what it counts: `tiles.html.j2`."""


def render(template: str, **values: Any) -> str:
    """Return a template of `pipeline/reports/templates` with these values; those that end in `.html.j2` are escaped.

    Raises:
        jinja2.UndefinedError: The template asks for a value that is not given.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.reports"),
        autoescape=template.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(values)


def pictures(folder: Path) -> list[tuple[str, str]]:
    """Return title and content (base64) of every PNG file in a folder."""
    return [
        (path.stem.replace("_", " "), base64.b64encode(path.read_bytes()).decode())
        for path in sorted(folder.glob("*.png"))
    ]
