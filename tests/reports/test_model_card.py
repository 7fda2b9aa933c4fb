"""What a model card says is what travels with the model; names out of somebody's data stay text."""

import pytest

from pipeline.reports.model_card import OUTPUTS, model_card

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
