"""A model card: what a model that leaves the house says of itself, in Markdown, from what travels with it.

After Mitchell et al., "Model Cards for Model Reporting" (2019): details, intended use, evaluation data, metrics with
their uncertainty, caveats.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.metrics.names import format_value, metric_words, said_from

JsonObject = Mapping[str, Any]


def model_card(manifest: JsonObject, card: JsonObject, record: JsonObject) -> str:
    """Return the card.

    Args:
        manifest: Of the bundle: `model`, `formats`, `tensors`, `origin`, `licence`.
        card: Content of card.json.
        record: JSON Schema of what it reads.
    """
    model = manifest["model"]
    title = f"{model['name']} version {model['version']}" if model["version"] else model["name"]
    lines = [
        f"# {title}",
        "",
        f"A {model['family']} for {model['task']}, trained and judged by Millrace.",
        "",
    ]
    if card.get("classes"):
        lines += [f"Classes: {', '.join(map(_code, card['classes']))}.", ""]
    lines += [*_metrics(card), *_reads(record), *_formats(manifest), *_origin(manifest)]
    licence = manifest["licence"] or "none was given; ask whoever gave you the file"
    return "\n".join([*lines, "## Licence", "", f"{licence}.", ""])


def _code(text: object) -> str:
    """Return a name out of somebody's data so that Markdown cannot read it as anything else."""
    plain = " ".join(str(text).split())
    fence = "``" if "`" in plain else "`"
    return f"{fence} {plain} {fence}" if "`" in plain else f"{fence}{plain}{fence}"


def _metrics(card: JsonObject) -> list[str]:
    confidence = card.get("confidence", 0.95)
    heading = f"## Test set: {card['test_rows']} rows" if "test_rows" in card else "## Test set"
    lines = [heading, "", f"| metric | value | {confidence:.0%} interval |", "|---|---|---|"]
    for name, found in sorted((card.get("test") or {}).items()):
        chosen = " (chosen by it)" if name == card.get("select_by") else ""
        interval = f"{format_value(found['low'])} to {format_value(found['high'])}"
        lines.append(f"| {metric_words(name)}{chosen} | {format_value(found['value'])} | {interval} |")
    lines.append("")
    if said := said_from(card.get("operating_point") or {}):
        lines += [f"It says {said}.", ""]
    told = "These rows are of the data that it was trained on, split off before training. On other data expect less."
    return [*lines, told, ""]


def _reads(record: JsonObject) -> list[str]:
    lines = ["## What it reads", "", "| field | needed | what it is |", "|---|---|---|"]
    for name, field in record["properties"].items():
        needed = "yes" if name in record["required"] else "no"
        beside = ", ".join(map(_code, field.get("properties", {})))
        told = "; ".join(part for part in (field.get("description", field.get("type", "")), beside) if part)
        lines.append(f"| `{name}` | {needed} | {told} |")
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
MIRRORED = " Answers that were judged are means of those for the image and for the mirrored image."


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
        lines.append(f"| {name} | `{made['file']}` | {made['bytes']:,} | {proofs[0]} | {proofs[1]} |")
    tensors = [
        f"| `{name}` | {kind['dtype']} | {', '.join(map(str, ('samples', *kind['shape'])))} |"
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
    return [*lines, *(f"| {name} | `{value}` |" for name, value in sorted(manifest["origin"].items())), ""]
