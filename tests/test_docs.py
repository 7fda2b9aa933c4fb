"""The documents: every link leads somewhere, every command in them is understood, every exercise of the course is valid."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from docs import build as site
from docs.build import Page
from pipeline.checks.contradictions import contradictions
from pipeline.fetching.source import read_source
from pipeline.params.load import params_of
from pipeline.runtime.strict_yaml import yaml_content

ROOT = Path(__file__).resolve().parent.parent
COURSE = sorted((ROOT / "docs/course").glob("[0-9]*.md"))
WRITTEN = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def lines_of(path, program):
    """Return what is typed after a program's name in the blocks of a document, without comments."""
    text = "\n".join(BLOCK.findall(path.read_text())).replace("\\\n", " ")
    typed = [
        part.strip().removeprefix(".venv/bin/")
        for line in text.splitlines()
        for part in re.split(r"  +|\s#|&&", line)
    ]
    return [part.removeprefix(f"{program} ") for part in typed if part.startswith(f"{program} ")]


def test_the_site_has_no_dead_link_and_every_listed_page(tmp_path):
    """Built whole, offline: each page, its pictures beside it, formulas as MathML."""
    assert [] == site.build(tmp_path / "site")
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= len(WRITTEN) + 4
    loss = (tmp_path / "site/docs/course/03-losses.html").read_text()
    assert "<math" in loss
    assert "$" not in re.sub(r"<pre>.*?</pre>", "", loss, flags=re.DOTALL)
    assert (tmp_path / "site/docs/course/pictures/loss.png").is_file()
    assert [] == [
        path
        for path in pages
        if re.search(r'(?:src|href)="(?:https?:)?//[^"]+\.(?:js|css)', path.read_text())
    ]


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("gone.md", "leads nowhere"),
        ("../README.md#no-such-heading", "no such heading"),
        ("#nor-here", "no such heading"),
    ],
)
def test_a_dead_link_is_found(link, said, monkeypatch, tmp_path):
    """A page that is not there, and a heading that is not on it."""
    pages = [Page("README.md", "# Here\n"), Page("docs/one.md", f"# One\n\n[there]({link})\n")]
    monkeypatch.setattr(site, "_pages", lambda: pages)
    monkeypatch.setattr(site, "NAV", {})
    (problem,) = site.build(tmp_path / "site")
    assert problem.startswith(f"docs/one.md: {link}")
    assert said in problem


def test_a_page_of_the_list_that_is_gone_is_told(monkeypatch, tmp_path):
    """Whoever renames a document hears of it."""
    monkeypatch.setattr(site, "NAV", {"Begin": ("docs/renamed.md",)})
    assert site.build(tmp_path / "site") == ["docs/build.py lists docs/renamed.md, which does not exist"]


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
def test_every_exercise_of_the_course_is_a_valid_setting(path):
    """`dvc exp run -S key=value`: the key exists, and the value is taken without a contradiction."""
    for line in lines_of(path, "dvc exp run"):
        words = shlex.split(line)
        settings = [word for flag, word in zip(words[::2], words[1::2], strict=True) if flag == "-S"]
        assert 2 * len(settings) == len(words), line
        content = yaml_content((ROOT / "params.yaml").read_text(), "params.yaml")
        for setting in settings:
            key, _, value = setting.partition("=")
            *parents, name = key.split(".")
            place = content
            for parent in parents:
                place = place[parent]
            assert name in place, f"{path.name}: {key} is no key of params.yaml"
            place[name] = yaml_content(f"value: {value}", line)["value"]
        params = params_of(yaml.safe_dump(content, sort_keys=False))
        assert [] == contradictions(params, read_source()), line


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
def test_every_section_that_the_course_writes_is_valid(path):
    """A block of YAML replaces the section of params.yaml that has its name."""
    for block in re.findall(r"^```yaml\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
        content = yaml_content((ROOT / "params.yaml").read_text(), "params.yaml")
        section = yaml_content(block, path.name)
        assert set(section) <= set(content)
        params = params_of(yaml.safe_dump(content | section, sort_keys=False))
        assert [] == contradictions(params, read_source())


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
def test_a_page_of_the_course_has_all_its_parts(path):
    """A heading with its number, a table of files that exist, and something to try."""
    text = path.read_text()
    assert text.startswith(f"# {int(path.stem[:2])}. ")
    assert "**Try it.**" in text
    assert BLOCK.findall(text.partition("**Try it.**")[2])
    files = re.findall(r"`((?:pipeline|tests|docs)/[^`]+\.(?:py|md))`", text)
    assert len(files) >= 2
    assert [name for name in files if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_in_a_document_is_understood(path, capsys):
    """`millrace ...` in a block: the command and each of its options exist."""
    parser, _ = site.parsers()
    for line in lines_of(path, "millrace"):
        if not line or re.search(r"[\[\]|<>]|\.\.\.", line):
            continue  # a form to fill in, or a shell's business
        try:
            parser.parse_args(shlex.split(line))
        except SystemExit as ended:
            if ended.code:
                pytest.fail(f"millrace {line}: {capsys.readouterr().err}")


@pytest.mark.long
def test_every_picture_of_the_course_is_drawn_by_the_code_that_it_shows(tmp_path, monkeypatch):
    """All of them, and each page shows one that exists; here every network learns for one epoch."""
    import keras

    from docs.course import draw

    fit, fitted = keras.Model.fit, []

    def fit_once(model, *data, **settings):
        if not any(model is known for known in fitted):
            fitted.append(model)
            fit(model, *data, **settings | {"epochs": 1})

    monkeypatch.setattr(keras.Model, "fit", fit_once)
    monkeypatch.setattr(draw, "FOLDER", tmp_path)
    monkeypatch.setattr("sys.argv", ["draw.py"])
    draw.main()
    drawn = {picture.name for picture in tmp_path.glob("*.png")}
    shown = {
        name for path in COURSE for name in re.findall(r"\]\(pictures/([a-z]+\.png)\)", path.read_text())
    }
    assert 6 == len(fitted)
    assert drawn == shown == {picture.name for picture in (ROOT / "docs/course/pictures").glob("*.png")}
