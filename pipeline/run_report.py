"""One page that tells the whole run: verdict, candidates, data and pictures in a single file that opens offline."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from pipeline import paths
from pipeline.artifacts import read_json
from pipeline.run_page import VERDICTS

METRICS = ("accuracy", "macro_f1", "log_loss")


def run_report(decision: Mapping[str, Any]) -> str:
    """Return the page of the run whose reports lie in the project.

    Args:
        decision: The content of reports/register/decision.json.

    Raises:
        FileNotFoundError: A report is missing; says which stage makes it.
    """
    rows = read_json(paths.EVALUATE_TABLES_DIR / "candidates.json", "evaluate")
    split = read_json(paths.SPLIT_SUMMARY, "split")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("run_report.html.j2").render(
        title=f"{decision['candidate']} {VERDICTS[decision['decision']]}",
        decision=decision,
        selection=read_json(paths.EVALUATE_TABLES_DIR / "selection.json", "evaluate"),
        tiles=_tiles(rows, split),
        metrics=METRICS,
        rows=sorted(rows, key=lambda row: -row["val"]["accuracy"]),
        data_line=_data_line(read_json(paths.VALIDATE_SUMMARY, "validate"), split),
        classes=sorted(split["classes"].items()),
        pictures=[_picture(path) for path in sorted(paths.EVALUATE_PICTURES_DIR.glob("*.png"))],
    )


def _tiles(rows: Sequence[Mapping[str, Any]], split: Mapping[str, Any]) -> list[tuple[str, str]]:
    (chosen,) = (row for row in rows if row["chosen"])
    accuracy = chosen["test"]["accuracy"]
    baseline = max(row["test"]["accuracy"]["value"] for row in rows if row["baseline"])
    return [
        (f"{accuracy['value']:.4f}", f"test accuracy ({accuracy['low']:.3f} to {accuracy['high']:.3f})"),
        (f"{baseline:.4f}", "test accuracy of the better baseline"),
        (f"{chosen['parameters']:,}", "parameters of the chosen model"),
        (f"{split['samples']['train']:,}", "samples to train on"),
        (f"{split['samples']['test']:,}", "samples to judge on"),
    ]


def _data_line(validation: Mapping[str, Any], split: Mapping[str, Any]) -> str:
    judged = validation["expectations"]
    excluded = split["samples"]["excluded"]
    return (
        f"{validation['samples']:,} samples; {judged['met']} of {judged['judged']} expectations met; split: "
        f"{split['method']}; {excluded} copies of test samples kept out of training and validation."
    )


def _picture(path: Path) -> tuple[str, str]:
    return path.stem.replace("_", " "), base64.b64encode(path.read_bytes()).decode()
