"""A model card: what a model that leaves the house says of itself, in Markdown, from what travels with it.

After Mitchell et al., "Model Cards for Model Reporting" (2019): details, intended use, evaluation data, metrics with
their uncertainty, caveats.

Names out of somebody's data (classes, columns, channels, models) may hold anything. Each stands here as code, behind a
fence longer than its own backticks, or as words whose signs are written as numbers (`&#124;`), which no reader of
Markdown takes for more than the sign: a `|` of a table would end a cell in code as well.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.metrics.names import format_value, metric_words, said_from
from pipeline.runtime.errors import visible

JsonObject = Mapping[str, Any]


def model_card(manifest: JsonObject, card: JsonObject, record: JsonObject) -> str:
    """Return the card.

    Args:
        manifest: Of the bundle: `model`, `formats`, `tensors`, `origin`, `licence`.
        card: Content of card.json.
        record: JSON Schema of what it reads.
    """
    model = manifest["model"]
    version = f" version {_name(model['version'])}" if model["version"] else ""
    lines = [
        f"# {_name(model['name'])}{version}",
        "",
        f"{_family(model['family'], card.get('members', ()))} for {model['task']}, trained and judged by Millrace.",
        "",
    ]
    if card.get("classes"):
        lines += [f"Classes: {', '.join(map(_code, card['classes']))}.", ""]
    lines += [*_metrics(card), *_reads(record), *_formats(manifest), *_origin(manifest)]
    given = manifest["licence"]
    licence = _name(given) if given else "none was given; ask whoever gave you the file"
    return "\n".join([*lines, "## Licence", "", f"{licence}.", ""])


# --- Names out of somebody's data.

PLAIN = re.compile(r"(?!(?i:.*www\.))[^\W_]+([ ._-][^\W_]+)*")
"""Nothing that any Markdown would read; a `www.` is a link to some."""
SIGNS = re.compile(r"[^\w\s,;:.()'\"/?%-]|[:.](?=\S)|(?<![^\W_])_|_(?![^\W_])")
"""What may be read as Markdown or HTML in the middle of a line."""


def _line(text: object) -> str:
    """Return a text on one line, control characters as their codes."""
    return visible(" ".join(str(text).split()))


def _name(text: object) -> str:
    """Return a name in a sentence: as it is where nothing in it can be read as Markdown, else as code."""
    return _line(text) if PLAIN.fullmatch(_line(text)) else _code(text)


def _code(text: object) -> str:
    """Return a name as code."""
    plain = _line(text) or " "
    fence = "`" * (1 + max(map(len, re.findall("`+", plain)), default=0))
    return f"{fence} {plain} {fence}" if "`" in plain else f"{fence}{plain}{fence}"


def _words(text: object) -> str:
    """Return what stands in the middle of a line, with every sign that means something as its number."""
    return SIGNS.sub(lambda found: f"&#{ord(found[0])};", _line(text))


def _cell(text: object) -> str:
    """Return a name in a cell of a table: as code, or with a `|` as words."""
    return _words(text) if "|" in str(text) else _code(text)


def _family(name: str, members: Sequence[str]) -> str:
    article = "An" if name in ("autoencoder", "ensemble") else "A"
    return f"{article} {_name(name)}" + (f" of {', '.join(map(_name, members))}" if members else "")


def _metrics(card: JsonObject) -> list[str]:
    confidence = card.get("confidence", 0.95)
    heading = f"## Test set: {card['test_rows']} rows" if "test_rows" in card else "## Test set"
    lines = [heading, "", f"| metric | value | {confidence:.0%} interval |", "|---|---|---|"]
    for name, found in sorted((card.get("test") or {}).items()):
        chosen = " (chosen by it)" if name == card.get("select_by") else ""
        interval = f"{format_value(found['low'])} to {format_value(found['high'])}"
        lines.append(
            f"| {_words(metric_words(name))}{chosen} | {format_value(found['value'])} | {interval} |"
        )
    lines.append("")
    point = dict(card.get("operating_point") or {})
    if "positive_class" in point:
        point["positive_class"] = _name(point["positive_class"])
    if said := said_from(point):
        lines += [f"It says {said}.", ""]
    told = "These rows are of the data that it was trained on, split off before training. On other data expect less."
    return [*lines, told, ""]


def _reads(record: JsonObject) -> list[str]:
    lines = ["## What it reads", "", "| field | needed | what it is |", "|---|---|---|"]
    for name, field in record["properties"].items():
        needed = "yes" if name in record["required"] else "no"
        beside = ", ".join(map(_cell, field.get("properties", {})))
        what = _words(field.get("description", field.get("type", "")))
        told = "; ".join(part for part in (what, beside) if part)
        lines.append(f"| {_cell(name)} | {needed} | {told} |")
    return [*lines, "", "`schema.json` has it as JSON Schema, with an example.", ""]


ALONE = (
    "`millrace predict` and `millrace serve` answer from `model.onnx` and the papers beside it. Whoever runs a format "
    "alone feeds these arrays, of any number of samples:"
)
PAPERS = "`state.json` says how a record becomes them, and `golden.npz` holds some with their answers."
SCALED = "What comes out is to scale: times `standard_deviation`, plus `mean` of `target` in state.json."
OUTPUTS = {
    "classification": (
        "What comes out are probabilities in the order of `classes` in card.json; one column is that of the second of "
        "two classes."
    ),
    "multilabel": "What comes out are probabilities in the order of `classes` in card.json, each label for itself.",
    "regression": SCALED,
    "forecasting": SCALED,
    "anomaly": "What comes out is the input as the model gives it back; the mean squared error to it is the error.",
}
"""By task, what the model itself gives, before it is put into words."""
MIRRORED = (
    " Answers that were judged are means of those for the image and for the mirrored image; what else is read beside "
    "the image stays as it is."
)


def _formats(manifest: JsonObject) -> list[str]:
    said = OUTPUTS[manifest["model"]["task"]] + (MIRRORED if manifest["model"]["mirrored"] else "")
    lines = [
        "## Files",
        "",
        "| format | file | bytes | largest difference from Keras, golden answers | test rows |",
    ]
    lines.append("|---|---|---|---|---|")
    for name, made in manifest["formats"].items():
        proofs = [
            "not compared: the test set is not here"
            if made[rows] is None
            else f"{made[rows]['largest']:.2g} in {made[rows]['rows']} rows"
            for rows in ("golden", "test")
        ]
        lines.append(
            f"| {_words(name)} | {_cell(made['file'])} | {made['bytes']:,} | {proofs[0]} | {proofs[1]} |"
        )
    tensors = [
        f"| {_cell(name)} | {_words(kind['dtype'])} | {', '.join(map(str, ('samples', *kind['shape'])))} |"
        for name, kind in manifest["tensors"].items()
    ]
    return [
        *lines,
        "",
        ALONE,
        "",
        "| input | type | shape |",
        "|---|---|---|",
        *tensors,
        "",
        f"{PAPERS} {said}",
        "",
    ]


def _origin(manifest: JsonObject) -> list[str]:
    if not manifest["origin"]:
        return []
    lines = ["## Origin", "", "| | |", "|---|---|"]
    for name, value in sorted(manifest["origin"].items()):
        lines.append(f"| {_line(name) if PLAIN.fullmatch(_line(name)) else _cell(name)} | {_cell(value)} |")
    return [*lines, ""]
