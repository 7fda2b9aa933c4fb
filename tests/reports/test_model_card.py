"""What a model card says is what travels with the model; names out of somebody's data stay text."""

import re

import pytest
from markdown_it import MarkdownIt

from pipeline.reports.model_card import OUTPUTS, model_card
from pipeline.runtime.errors import visible

MADE = {
    "file": "model.onnx",
    "bytes": 12_345,
    "golden": {"rows": 16, "largest": 1.25e-7, "share": 1e-7},
    "test": None,
}
MANIFEST = {
    "model": {"name": "spam", "version": "4", "family": "rnn", "task": "classification", "mirrored": False},
    "formats": {"onnx": MADE},
    "tensors": {"inputs": {"dtype": "int32", "shape": [40]}},
    "origin": {"git.commit": "0123abcd"},
    "licence": None,
}
CARD = {
    "classes": ["ham", "`<b>spam`\n# owned"],
    "confidence": 0.9,
    "operating_point": {"positive_class": "spam", "threshold": 0.25},
    "select_by": "positive_f1",
    "test": {"positive_f1": {"value": 0.9, "low": 0.85, "high": 0.95}},
    "test_rows": 1142,
}
RECORD = {
    "properties": {
        "text": {"type": "string"},
        "side": {"type": "object", "properties": {"age": {}}, "description": "what is left out is missing"},
    },
    "required": ["text"],
}


def test_a_card_tells_scores_with_intervals_what_it_reads_and_how_formats_were_proven():
    """Each number as it stands in card.json and the manifest."""
    card = model_card(MANIFEST, CARD, RECORD)
    for line in (
        "# spam version 4",
        "## Test set: 1142 rows",
        "| metric | value | 90% interval |",
        "| positive F1 (chosen by it) | 0.9000 | 0.8500 to 0.9500 |",
        "It says spam from 0.2500 on.",
        "| `text` | yes | string |",
        "| `side` | no | what is left out is missing; `age` |",
        "| onnx | `model.onnx` | 12,345 | 1.2e-07 in 16 rows | not compared: the test set is not here |",
        "| `inputs` | int32 | samples, 40 |",
        "| git.commit | `0123abcd` |",
        "none was given; ask whoever gave you the file.",
    ):
        assert line in card.splitlines()


@pytest.mark.parametrize(
    ("family", "members", "said"),
    [
        ("rnn", [], "A rnn for classification"),
        ("autoencoder", [], "An autoencoder for classification"),
        ("ensemble", ["cnn", "*shapes*"], "An ensemble of cnn, `*shapes*` for classification"),
    ],
)
def test_a_card_says_what_the_model_is(family, members, said):
    """Its family, and whose answers an ensemble averages."""
    manifest = {**MANIFEST, "model": {**MANIFEST["model"], "family": family}}
    card = {**CARD, "members": members} if members else CARD
    assert f"{said}, trained and judged by Millrace." in model_card(manifest, card, RECORD).splitlines()


def test_a_name_of_a_class_is_no_markdown():
    """Backticks, tags and line breaks in it stay text."""
    (line,) = [line for line in model_card(MANIFEST, CARD, RECORD).splitlines() if line.startswith("Classes")]
    assert "Classes: `ham`, `` `<b>spam` # owned ``." == line


@pytest.mark.parametrize("task", OUTPUTS)
def test_every_task_says_what_comes_out_of_a_format(task):
    """And that mirrored images count, where they do."""
    model = MANIFEST["model"] | {"task": task}
    plain = model_card(MANIFEST | {"model": model}, CARD, RECORD)
    assert OUTPUTS[task] in plain
    assert "mirrored" not in plain
    assert "mirrored image" in model_card(MANIFEST | {"model": model | {"mirrored": True}}, CARD, RECORD)


# --- Names that would like to be more, read by another program: markdown-it, which follows CommonMark, with tables.

HOSTILE = [
    "`<b>x</b>`",
    "``` x",
    "a`` b ``` c",
    "`",
    "x|y",
    "x\\|y",
    "x`|`y",
    "| x | y |",
    "x\\",
    "x\n# owned",
    "x\r\n\r\n- y\n\n---",
    "x\u2028# y",
    "# owned",
    "- x",
    "1. x",
    "---",
    "<script>alert(1)</script>",
    "<!-- x",
    "</td></tr></table><h1>x",
    "<https://example.org>",
    "https://example.org",
    "www.example.org",
    "[x](https://example.org)",
    "![x](y.png)",
    "*x* _y_ **z**",
    "_x_",
    "~~x~~",
    "&lt;b&gt; &amp;",
    "x\x00\x1b[31m\u202ey",
    "Groesse, g/l (20 %)",
    "",
]


def tokens(card):
    """Return what markdown-it reads, with HTML allowed and links made of addresses that stand free."""
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    return reader.parse(card)


def outline(card):
    """Return the kinds of all blocks in order, and the kinds of all that stands in lines."""
    read = tokens(card)
    return [(token.type, token.tag) for token in read], {
        child.type for token in read for child in token.children or ()
    }


def shown(card):
    """Return the texts of all lines as a reader sees them."""
    return ["".join(child.content for child in token.children) for token in tokens(card) if token.children]


def named(name, other):
    """Return a card with a name at every place that holds one; `other` where two must differ."""
    manifest = {
        **MANIFEST,
        "model": {**MANIFEST["model"], "name": name or "x", "version": name or "1", "family": name},
        "formats": {"onnx": {**MADE, "file": name}, f"{other}": MADE},
        "tensors": {name: {"dtype": name, "shape": [40]}, other: {"dtype": "int32", "shape": [1]}},
        "origin": {"git.commit": name, f"z{name}": "0"},
        "licence": name or "x",
    }
    point = {"positive_class": name, "threshold": 0.25}
    card = {
        **CARD,
        "classes": [name, other],
        "operating_point": point,
        "test": {name: CARD["test"]["positive_f1"]},
    }
    told = {
        "type": "array",
        "description": f"steps, each a list of {name}, {other}; null where a value is missing",
    }
    record = {
        "properties": {
            name: told,
            other: {"type": "object", "properties": {name: {}, other: {}}, "description": name},
        },
        "required": [name],
    }
    return model_card(manifest, card, record)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_is_read_as_anything_else_at_any_place(name):
    """The blocks, rows and cells of a card with plain names; lines hold text and code alone; and every name is shown."""
    blocks, inside = outline(named(name, "plain"))
    expected, _ = outline(named("harmless", "plain"))
    assert expected == blocks
    assert inside <= {"text", "code_inline", "text_special"}
    line = visible(" ".join(name.split()))
    texts = shown(named(name, "plain"))
    if line:
        assert f"{line} version {line}" == texts[0]
        assert f"A {line} for classification, trained and judged by Millrace." == texts[1]
    assert f"Classes: {line or ' '}, plain." in texts
    assert f"It says {line or ' '} from 0.2500 on." in texts
    assert f"steps, each a list of {line}, plain; null where a value is missing" in texts
    assert "; ".join(filter(None, [line, f"{line or ' '}, plain"])) in texts
    assert "int32" in texts
    if line:  # a field, a file, an input and its type, an origin, and a metric, whose `_` are blanks
        assert 5 <= texts.count(line)
        assert " ".join(line.replace("_", " ").split()) in texts


@pytest.mark.parametrize(
    "name", ["https://example.org", "www.example.org", "WWW.example.org", "x.www.example.org"]
)
def test_an_address_is_no_link_where_readers_make_links_of_them(name):
    """As on GitHub: outside of code no address stands as it is."""
    outside = [
        child.content
        for token in tokens(named(name, "plain"))
        for child in token.children or ()
        if child.type == "text"
    ]
    assert name not in re.sub("`[^`]*`", "", named(name, "plain"))
    assert any(name in text for text in outside)
