"""What messages advise: every `--set NAME` is an option of the kind that says it, and can be followed."""

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from pipeline.fetching.source import KINDS
from pipeline.runtime.errors import UserError
from pipeline.sources.kinds import COMMON, fields_of, options_of, source_of, stated_options
from tests.helpers.archive_of import archive_of
from tests.helpers.mutations import mutations

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("sources", "formats", "raw", "checks", "ingest", "fetching")
NAMED = re.compile(r"--set '?(\w+)(?:=|\b)")
LIST = re.compile(r"--set \w+=(?:, \w+=)+")
TYPED = re.compile(r"--set ((?:'[^']*'|\"[^\"]*\"|[^\s;)'\"])+)")
OPTIONS = {kind: {field.name for field in fields_of(source_of(kind).Options)} | set(COMMON) for kind in KINDS}
OTHER_KIND = re.compile(r"--kind (\w+)((?: --set \w+=\w+)+)")
"""Advice to take another kind, whose options follow."""


@cache
def tree(module):
    """Return a module's syntax."""
    return ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))


@cache
def symbols(module):
    """Return what a module defines at its top: each name with its statement."""
    found = {}
    if not (ROOT / f"{module.replace('.', '/')}.py").is_file():
        return found
    for node in tree(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id: node for target in targets if isinstance(target, ast.Name)}
    return found


@cache
def imported(module):
    """Return what the names that a module imports from the product mean: (module, name), name "" for a module."""
    found = {}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pipeline"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                whole = (ROOT / f"{inner.replace('.', '/')}.py").is_file()
                found[alias.asname or alias.name] = (inner, "") if whole else (node.module, alias.name)
    return found


def reached(kind):
    """Return everything that the reader of a kind may use, as (module, name)."""
    todo = [(f"pipeline.sources.{kind}", name) for name in ("select", "describe", "read", "Options")]
    seen = set()
    while todo:
        module, name = todo.pop()
        if (module, name) in seen or name not in symbols(module):
            continue
        seen.add((module, name))
        for node in ast.walk(symbols(module)[name]):
            if isinstance(node, ast.Name):
                todo.append(imported(module).get(node.id, (module, node.id)))
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                inner, whole = imported(module).get(node.value.id, ("", "no"))
                todo += [(inner, node.attr)] if whole == "" else []
    return seen


def strings(node):
    """Return the texts below a statement, docstrings left out, with `{}` for what is filled in."""
    documents, parts = set(), set()
    for inner in ast.walk(node):
        for statement in (
            getattr(inner, "body", None) or [] if not isinstance(inner, ast.Lambda | ast.IfExp) else []
        ):
            if isinstance(statement, ast.Expr):
                documents.add(id(statement.value))
        if isinstance(inner, ast.JoinedStr):
            parts |= {id(value) for value in inner.values}
    for inner in ast.walk(node):
        if isinstance(inner, ast.JoinedStr):
            yield "".join(value.value if isinstance(value, ast.Constant) else "{}" for value in inner.values)
        elif (
            isinstance(inner, ast.Constant)
            and isinstance(inner.value, str)
            and id(inner) not in documents | parts
        ):
            yield inner.value


def advised(text):
    """Return the options of its own kind that a text names: `--set a=`, and all of `--set a=, b=, c=`."""
    text = OTHER_KIND.sub("", text)
    found = set(NAMED.findall(text))
    for several in LIST.findall(text):
        found |= set(re.findall(r"(\w+)=", several))
    return found - {"NAME"}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "digits"])
def test_every_option_in_a_message_of_a_kind_is_an_option_of_it(kind):
    """Also of what it shares with others: an advice that the command line refuses helps nobody."""
    used = reached(kind)
    assert len(used) > 8
    said = {
        (module, name, option)
        for module, name in used
        for text in strings(symbols(module)[name])
        for option in advised(text)
    }
    assert [] == sorted(place for place in said if place[2] not in OPTIONS[kind] | {"{}"})


def test_every_option_in_any_message_is_one_of_some_kind():
    """Of all rooms that speak of sources, whoever reaches them; where another kind is advised, of that one."""
    every, places = set().union(*OPTIONS.values()), 0
    for room in ROOMS:
        for path in sorted((ROOT / "pipeline" / room).glob("*.py")):
            for text in strings(ast.parse(path.read_text(encoding="utf-8"))):
                places += len(advised(text))
                assert advised(text) <= every | {"{}"}, (path, text)
                for kind, sets in OTHER_KIND.findall(text):
                    assert set(NAMED.findall(sets)) <= OPTIONS[kind], (path, text)
    assert places > 50


def test_the_scan_sees_what_it_should():
    """A name that is no option, in each form in which advice is given, is found."""
    source = 'def f(x):\n    """--set document="""\n    return f"--set a={x}" + "Name it: --set b=, c=, d=." + "--set \'e=1\'"\n'
    found = set().union(*map(advised, strings(ast.parse(source))))
    assert {"a", "b", "c", "d", "e"} == found


# --- Followed literally.

TEXTS = b"text,label,n\nhello you,a,1\nand you,b,2\nnobody,a,3\n"
STAMPS = (
    b"time,id,x,y\n2024-01-01,b,1,2\n2024-01-02,b,3,\n2024-01-01,a,5,6\n2024-01-03,a,7,8\n2024-01-04,a,7,8\n"
)
ROWS = b"who,a,b,class\nann,1,-2.5,up\nben,3,4,down\ncid,5,6,up\n"
SERIES = b"a,b\n1,2\n3,4\n5,6\n"
LABELS = b"path,label,n\n1,a,1\n2,b,2\n"
CASES = {
    "text_table": ({"a.csv": TEXTS}, {"label": "label", "side": ["n"]}, "a.csv"),
    "text_lines": ({"a.txt": b"a\tx y\nb\tz\n"}, {"separator": "tab"}, "a.txt"),
    "series_table": ({"a.csv": STAMPS}, {"id": "id"}, "a.csv"),
    "series_rows": ({"a.csv": ROWS}, {"label": "class", "id": "who"}, "a.csv"),
    "series_files": ({"x/1.csv": SERIES, "y/1.csv": SERIES}, {}, "x/1.csv"),
    "image_table": (
        {"t.csv": LABELS, "1.png": b"1", "2.png": b"2"},
        {"label": "label", "side": ["n"]},
        "t.csv",
    ),
}
BEGUN = {
    "decimals": lambda text: text.replace(b",", b";").replace(b"1", b"1,5"),
    "header": lambda text: text.partition(b"\n")[2],
    "preamble": lambda text: b"device 7\nmade of steel\n" + text,
    "units": lambda text: text.partition(b"\n")[0] + b"\n" + b"V,V,V\n" + text.partition(b"\n")[2],
    "utf-16-le": lambda text: text.decode().encode("utf-16-le"),
    "cp1251": lambda text: text.replace(b"a", b"\xef\xf0\xe8\xe2\xe5\xf2\x81"),
    "dates": lambda text: text.replace(b"2024-01-0", b"0"),
    "json": lambda text: b'[{"text": "x", "label": "a"}]',
    "tabs": lambda text: text.replace(b",", b"\t\t"),
    "blank": lambda text: text + b"\n,,\n,,\n" + text[-9:],
    "same": lambda text: text + text,
}
STEPS = 3


def refusal(kind, files, options):
    """Return why files are refused, "" where they are read; whatever is no refusal is a traceback."""
    try:
        struct = options_of(kind, options)
        source = source_of(kind)
        chosen = source.select(sorted(files), struct)
        with archive_of({name: files[given] for name, given in chosen.items()}) as archive:
            source.describe(archive, struct)
            for _ in source.read(archive, struct):
                pass
    except UserError as error:
        return str(error)
    return ""


def follow(kind, files, options, steps=STEPS):
    """Do what a refusal says, then what the next one says, and so on; return how often something was followed."""
    message, followed = refusal(kind, files, options), 0
    for typed in TYPED.findall(message):
        try:
            (item, *_) = shlex.split(typed.rstrip(".,:;")) or [""]
        except ValueError:  # a quote that belongs to the sentence
            continue
        name, equals, value = item.partition("=")
        if not equals or not value or name in options or name == "NAME" or not steps:
            continue
        try:
            stated = stated_options(kind, [item])
        except UserError as error:
            assert "is unknown" not in str(error), (kind, message)  # noqa: PT017
            continue
        followed += 1 + follow(kind, files, options | stated, steps - 1)
    return followed


@pytest.mark.parametrize("kind", CASES)
def test_advice_that_is_followed_literally_never_ends_in_a_traceback(kind):
    """Of files that begin in odd ways, and of damaged ones; three pieces of advice deep."""
    files, options, name = CASES[kind]
    assert refusal(kind, files, options) == ""
    odd = [change(files[name]) for change in BEGUN.values()]
    followed = sum(
        follow(kind, files | {name: content}, options)
        for content in [*odd, *mutations(files[name], 60, seed=3)]
    )
    assert followed
