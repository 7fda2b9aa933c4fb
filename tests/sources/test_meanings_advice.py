"""What messages advise: every `--set NAME` is an option of the kind that says it, and can be followed."""

import ast
import csv
import glob
import io
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from pipeline.fetching.source import KINDS
from pipeline.formats.problems import typed_in
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


ONLY_WITH = {
    ("pipeline.formats.times", "CLOCK_FIX"): "clock",
    ("pipeline.formats.times", "format_problem"): "clock",
}
"""What is said only where an option was given, which not every kind has that shares the code."""


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
        if (
            isinstance(inner, ast.Call)
            and getattr(inner.func, "id", "") in ("to_set", "to_list")
            and isinstance(inner.args[0], ast.Constant)
        ):
            yield f"--set {inner.args[0].value}=X"
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
        if ONLY_WITH.get((module, name), "ignore") in OPTIONS[kind]
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


# --- Typed into a shell.

WORDS = {"seconds(step)", "' --set off_grid=nearest' * off_grid", "codec", "unit", "zone", "word", "between", "stated",
         "rule", "found.separator", "dialect.preamble", "low", "high", "part", "option", "name", "item"}  # fmt: skip
"""What is filled in behind `--set NAME=` and is a word of ours, or a number; names of others go by `to_set`."""


def test_what_others_have_named_reaches_a_shell_whole():
    """Over all builders of advice: a column `Betrag (€)` stood bare behind `--set categorical=`."""
    bare, places = [], 0
    for room in ROOMS:
        for path in sorted((ROOT / "pipeline" / room).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("to_set", "to_list"):
                    places += 1
                text = ""
                for value in node.values if isinstance(node, ast.JoinedStr) else ():
                    if isinstance(value, ast.Constant):
                        text += value.value
                        continue
                    filled = ast.unparse(value.value)
                    if re.search(r"--set '?\w+=\S*$", text) and filled not in WORDS:
                        bare.append((path.name, filled))
                    if re.search(r"--path $", text) and not filled.startswith("in_a_shell("):
                        bare.append((path.name, filled))
                    text += "\0"
    assert [] == bare
    assert places > 12


ODD = [
    "Betrag (€)",
    "O'Brien",
    'the "b" size',
    "größe, netto",
    "$HOME `x` \\",
    "x;y & z",
    "#1",
    "[1] *?",
    "{a}",
    "~ !",
]


def table_of(*rows):
    """Return a CSV."""
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue().encode()


def npz(**arrays):
    """Return arrays in a file."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


BUILDERS = {
    "categories": lambda odd: (
        "text_table", {"a.csv": table_of(["text", "label", odd], *[[f"t {n}", "ab"[n % 2], f"{n}.362,85"] for n in range(1, 30)])},
        {"label": "label", "side": [odd]}, {"categorical": [odd]}),
    "numbers and words": lambda odd: (
        "text_table", {"a.csv": table_of(["text", "label", odd], *[["t", "a", word] for word in ("1", "2", "x")])},
        {"label": "label", "side": [odd]}, {"categorical": [odd]}),
    "unlabelled folders": lambda odd: (
        "image_folder", {**{f"train/{c}/1.jpg": b"" for c in "ab"}, f"{odd}/1.jpg": b"", "test/a/1.jpg": b""},
        {}, {"ignore": [glob.escape(odd)]}),
    "patterns of files": lambda odd: (
        "image_folder", {f"{c} {odd}_{n}.jpg": b"" for c in ("cat", "dog") for n in range(3)}, {}, {"label": None}),
    "prefixes": lambda odd: (
        "image_table", {"t.csv": table_of(["path", "label"], *[[f"/home/{odd}/{n}.png", "ab"[n % 2]] for n in range(4)]),
                        **{f"{n}.png": b"" for n in range(4)}}, {"label": "label"}, {"prefix": f"/home/{odd}/"}),
    "arrays": lambda odd: ("series_arrays", {"a.npz": npz(**{f"{odd} 1": np.ones((3, 4)), f"{odd} 2": np.ones(3)})}, {},
                           {"x": f"{odd} 1", "y": f"{odd} 2"}),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("builder", BUILDERS)
def test_odd_names_come_back_from_a_shell_as_they_are(builder, odd):
    """And each is the option that was meant."""
    kind, files, options, meant = BUILDERS[builder](odd)
    message = refusal(kind, files, options)
    said = dict(pair for pairs in typed_in(message) for pair in pairs)
    for name, value in meant.items():
        assert name in said, message
        stated = stated_options(kind, [f"{name}={said[name]}"])
        assert value in (None, stated[name])
        *_, line = [typed for typed in TYPED.findall(message) if typed.startswith(f"{name}=")]
        ran = subprocess.run(
            ["bash", "-c", f"printf '%s\\0' {line.rstrip('.')}"],
            capture_output=True,
            check=True,
            encoding="utf-8",
        )
        assert [f"{name}={said[name]}", ""] == ran.stdout.split("\0")


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
STEPS = 2


def refusal(kind, files, options):
    """Return why files are refused, "" where they are read; whatever is no refusal is a traceback."""
    try:
        struct = options_of(kind, options)
        source = source_of(kind)
        chosen = source.select(sorted(files), struct)
        packed = {name: files[given] for name, given in chosen.items()}
        with archive_of(packed) as archive:
            source.describe(archive, struct)
        with archive_of(packed) as archive:
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
    """Of files that begin in odd ways, and of damaged ones; two pieces of advice deep."""
    files, options, name = CASES[kind]
    assert refusal(kind, files, options) == ""
    odd = [change(files[name]) for change in BEGUN.values()]
    followed = sum(
        follow(kind, files | {name: content}, options)
        for content in [*odd, *mutations(files[name], 25, seed=3)]
    )
    assert followed
