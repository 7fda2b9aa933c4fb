"""The documents as a site of plain files: `make docs` writes it into site/, offline, and fails where a link is dead.

Every page is a Markdown file of the repository; the pages of reference are made of the code: the commands of their
parsers, the parameters of params.yaml, the families of their table. Formulas become MathML, which browsers draw
themselves; no page asks a network for anything.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import normpath
from urllib.parse import unquote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.anchors import anchors_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin

from pipeline.cli import COMMANDS, GROUPS, parsers
from pipeline.params.families import FAMILIES

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "site"
NAV = {
    "Begin": ("README.md", "docs/concepts.md", "docs/guides/own-data.md", "docs/guides/examples.md"),
    "Understand": (
        "docs/reading.md", "docs/guides/stages.md", "docs/combinations.md", "docs/formats.md", "docs/guides/gate.md",
        "docs/guides/lineage.md", "docs/guides/reproduce.md", "docs/guides/duplicates.md", "docs/guides/pretrained.md",
    ),
    "Use": (
        "docs/guides/models-out.md", "docs/guides/serving.md", "docs/guides/watching.md", "docs/guides/scale.md",
        "docs/guides/retraining.md", "docs/teams.md",
    ),
    "When something is wrong": (
        "docs/guides/exit-codes.md", "docs/upgrading.md", "docs/guides/security.md", "docs/guides/hostile-models.md",
        "docs/guides/wrong-passes.md",
    ),
    "The subject": (
        "docs/course/README.md",
        *sorted(f"docs/course/{path.name}" for path in (ROOT / "docs/course").glob("[0-9]*.md")),
    ),
    "Reference": ("reference/commands.md", "reference/params.md", "reference/families.md"),
    "Behind it": ("CONTRIBUTING.md", "docs/guides/walk.md", "docs/log.md", "CHANGELOG.md"),
}  # fmt: skip
"""What stands at the side, in this order; every other document is reached by links."""


@dataclass
class Page:
    """One document.

    Attributes:
        source: Where it stands in the repository, or would stand.
        text: Markdown.
        title: Its first heading.
        body: HTML.
        anchors: What may stand after # in a link to it.
        links: What it links to, as written.
    """

    source: str
    text: str
    title: str = ""
    body: str = ""
    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)

    @property
    def target(self) -> str:
        """Return its place in the site."""
        return "index.html" if self.source == "README.md" else self.source.removesuffix(".md") + ".html"


def build(site: Path = SITE) -> list[str]:
    """Write the site, and return what is wrong with it: dead links, pages of the list at the side that do not exist."""
    pages = {page.source: page for page in _pages()}
    problems = [
        f"docs/build.py lists {name}, which does not exist" for name in _listed() if name not in pages
    ]
    for page in pages.values():
        _render(page, pages)
    for page in pages.values():
        problems += [problem for link in page.links if (problem := _dead(page, link, pages))]
    shutil.rmtree(site, ignore_errors=True)
    environment = Environment(
        loader=FileSystemLoader(ROOT / "docs"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    template = environment.get_template("page.html.j2")
    for page in pages.values():
        path = site / page.target
        path.parent.mkdir(parents=True, exist_ok=True)
        nav = {
            heading: [(pages[name], _relative(page, pages[name].target)) for name in names if name in pages]
            for heading, names in NAV.items()
        }
        path.write_text(template.render(page=page, nav=nav), encoding="utf-8")
    for picture in (ROOT / "docs").rglob("*.png"):
        copy = site / picture.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, copy)
    return problems


def _listed() -> Iterator[str]:
    for names in NAV.values():
        yield from names


def _pages() -> Iterator[Page]:
    for path in [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]:
        yield Page(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    decisions = sorted((ROOT / "docs/decisions").glob("*.md"))
    titles = [
        (path.name, path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")) for path in decisions
    ]
    listed = "\n".join(f"- [{title}]({name})" for name, title in titles)
    yield Page("docs/decisions/index.md", f"# Decisions\n\n{listed}\n")
    yield Page("reference/commands.md", _commands())
    yield Page("reference/params.md", _params())
    yield Page("reference/families.md", _families())


# --- Pages made of the code.


def _commands() -> str:
    _whole, of_commands = parsers()
    examples = {name: example for group in GROUPS.values() for name, example in group.items()}
    parts = [
        f"## {name}\n\n```\nmillrace {examples[name]}\n```\n\n```text\n{of_commands[name].format_help()}\n```\n"
        for name in COMMANDS
    ]
    return "# Commands\n\nAs `millrace COMMAND --help` prints them.\n\n" + "\n".join(parts)


def _params() -> str:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    told = (
        "Every key of params.yaml, with what it means and may be; these values are the example of the digits."
    )
    return f"# Parameters\n\n{told}\n\n```yaml\n{text}```\n"


def _families() -> str:
    rows = [f"| `{name}` | {_first_line(name)} |" for name in sorted(FAMILIES)]
    told = "What each one makes a model of says [what works with what](../docs/combinations.md)."
    return "\n".join(["# Families", "", told, "", "| family | what it is |", "|---|---|", *rows, ""])


def _first_line(family: str) -> str:
    text = (ROOT / f"pipeline/models/{family}.py").read_text(encoding="utf-8")
    return text.partition('"""')[2].partition("\n")[0].removesuffix('"""').partition(": ")[2] or family


# --- Markdown to HTML.


def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.use(anchors_plugin, max_level=4, slug_func=slug)
    markdown.use(dollarmath_plugin, renderer=_formula, double_inline=True, allow_space=False)
    return markdown


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _formula(text: str, options: dict[str, bool]) -> str:
    return str(convert(text, display="block" if options["display_mode"] else "inline"))


def _render(page: Page, pages: dict[str, Page]) -> None:
    markdown = _markdown()
    tokens = markdown.parse(page.text)
    for token in _all(tokens):
        if token.type == "heading_open" and token.attrs.get("id"):
            page.anchors.add(str(token.attrs["id"]))
        if token.type == "link_open":
            link = str(token.attrs["href"])
            page.links.append(link)
            token.attrs["href"] = _href(page, link, pages)
        if token.type == "image":
            page.links.append(str(token.attrs["src"]))
    heading = next(
        (tokens[place + 1] for place, token in enumerate(tokens) if token.type == "heading_open"), None
    )
    page.title = heading.content if heading is not None else page.source
    body = markdown.renderer.render(tokens, markdown.options, {})
    # What scrolls can be reached by keys.
    page.body = body.replace("<pre>", '<pre tabindex="0">').replace("<table>", '<table tabindex="0">')


def _all(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _all(token.children or [])


# --- Links.


def _aim(page: Page, link: str) -> tuple[str, str]:
    """Return the place in the repository and the anchor that a link leads to."""
    path, _, anchor = link.partition("#")
    aim = normpath((Path(page.source).parent / unquote(path)).as_posix()) if path else page.source
    return aim, anchor


def _is_outside(link: str) -> bool:
    return bool(re.match(r"[a-z][a-z0-9+.-]*:", link))


def _page_at(aim: str, pages: dict[str, Page]) -> Page | None:
    return pages.get(aim) or pages.get(f"{aim}/index.md") or pages.get(f"{aim}/README.md")


def _href(page: Page, link: str, pages: dict[str, Page]) -> str:
    """Return the link within the site; one to a file that is no page is left to whoever has the repository."""
    if _is_outside(link):
        return link
    aim, anchor = _aim(page, link)
    found = _page_at(aim, pages)
    if found is None:
        return link
    return _relative(page, found.target) + (f"#{anchor}" if anchor else "")


def _relative(page: Page, target: str) -> str:
    return os.path.relpath(target, Path(page.target).parent or ".")


def _dead(page: Page, link: str, pages: dict[str, Page]) -> str:
    """Return what is wrong with a link, "" where it leads somewhere."""
    if _is_outside(link):
        return ""
    aim, anchor = _aim(page, link)
    found = _page_at(aim, pages)
    if found is None and not (ROOT / aim).exists():
        return f"{page.source}: {link} leads nowhere"
    if anchor and (found is None or anchor not in found.anchors):
        return f"{page.source}: {link}: there is no such heading in {aim}"
    return ""


def main() -> None:
    """Build the site; exit code 1 where something is wrong with it."""
    problems = build()
    print("\n".join(problems) or str(SITE / "index.html"))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
