"""The documents: every link leads somewhere, every command in them is understood, every exercise of the course is valid."""

import argparse
import importlib.util
import re
import shlex
import shutil
from contextlib import chdir
from pathlib import Path

import pytest
import yaml

from docs import build as site
from docs.build import Page
from pipeline import cli
from pipeline.checks.contradictions import contradictions
from pipeline.fetching.source import read_source
from pipeline.params.load import params_of
from pipeline.runtime.strict_yaml import yaml_content
from tests.helpers.registration import make_ready_project, run_register

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
    """`millrace ...` in a block, as the real parser takes it: command, options and values; [what may be left out] too."""
    parser, _ = site.parsers()
    for line in lines_of(path, "millrace"):
        if re.search(r"[|<>]", line):
            continue  # a shell's business
        try:
            parser.parse_args(shlex.split(line.replace("[", "").replace("]", "")))
        except SystemExit as ended:
            if ended.code:
                pytest.fail(f"millrace {line}: {capsys.readouterr().err}")


def options_of(parser):
    """Return the options of a command and of what may follow it (`weights add`)."""
    found = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {option for one in action.choices.values() for option in options_of(one)}
    return found


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_option_that_a_sentence_names_exists(path):
    """`millrace retrain --restart` within a sentence: there is such a command, and it has that option."""
    _, of_commands = site.parsers()
    for command, rest in re.findall(r"`millrace ([a-z]\w*)([^`\n]*)`", path.read_text()):
        assert command in of_commands, f"{path.name}: millrace {command}"
        known = options_of(of_commands[command])
        for option in re.findall(r"(?<!\S)\[?(--[a-z][a-z0-9-]*)", rest):
            assert option in known, f"{path.name}: millrace {command} {option}"


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_of_the_tools_beside_it_is_understood(path):
    """`dvc`, by DVC's own parser, with stages that exist; targets of make; modules and files of Python."""
    from dvc.cli.parser import get_main_parser

    inline = re.findall(r"`((?:dvc|make|python) [^`\n]+)`", path.read_text())
    typed = {tool: lines_of(path, tool) for tool in ("dvc", "make", "python")}
    for tool in typed:
        typed[tool] += [line.removeprefix(f"{tool} ") for line in inline if line.startswith(f"{tool} ")]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    stages = yaml_content((ROOT / "dvc.yaml").read_text(), "dvc.yaml")["stages"].keys()
    for line in typed["dvc"]:
        if line.endswith((" -S", " add", " --local")) or "COMMAND" in line:
            continue  # the beginning of one
        asked = get_main_parser().parse_args(shlex.split(line))
        if asked.cmd == "repro":
            assert {target.partition("@")[0] for target in asked.targets or ()} <= stages, line
    for line in typed["make"]:
        assert line.split()[0] in targets, line
    for line in typed["python"]:
        words = line.split()
        if words[0] == "-m":
            assert importlib.util.find_spec(words[1]), line
        elif words[0].endswith(".py"):
            assert (ROOT / words[0]).is_file(), line


CHEAP = ("report", "lineage", "history", "compare", "clean", "schedule show", "weights list")
"""Commands that look and change nothing, or only say what they would."""


def cheap_lines():
    """Return what the README and the guides tell people to type of them, without what may be left out."""
    lines = {line for path in WRITTEN for line in lines_of(path, "millrace") if line.startswith(CHEAP)}
    return sorted({re.sub(r" \[.*?\]", "", line) for line in lines})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project with a champion."""
    root = make_ready_project(tmp_path_factory.mktemp("docs") / "project")
    for name in ("params.yaml", "retrain.yaml"):
        shutil.copy(ROOT / name, root / name)
    with chdir(root):
        run_register(uncommitted="")
    return root


@pytest.mark.parametrize("line", cheap_lines())
def test_a_command_that_only_looks_runs_as_it_is_written(finished, line, capsys):
    """In a project with a champion it ends well, and says something."""
    with chdir(finished):
        cli.main(shlex.split(line))
    assert capsys.readouterr().out.strip()


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
