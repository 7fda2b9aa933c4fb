"""One page that tells the whole run: verdict, candidates, data and pictures in a single file that opens offline."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.metrics.names import in_words, shown
from pipeline.reports.html import Tiles, pictures, render
from pipeline.reports.run_page import VERDICTS, best_first
from pipeline.runtime import paths
from pipeline.runtime.files import read_json

MOST_METRICS = 3
"""Columns of the table of candidates; the rest stands on the terminal and in MLflow."""


def run_report(decision: Mapping[str, Any], looks: str = "") -> str:
    """Return the page of the run whose reports lie in the project.

    Args:
        decision: The content of reports/register/decision.json.
        looks: How often the test set was used, see `pipeline.evaluation.ledger.sentence`.

    Raises:
        FileNotFoundError: A report is missing; says which stage makes it.
    """
    rows = read_json(paths.EVALUATE_TABLES_DIR / "candidates.json", "evaluate")
    selection = read_json(paths.EVALUATE_TABLES_DIR / "selection.json", "evaluate")
    split = read_json(paths.SPLIT_SUMMARY, "split")
    return render(
        "run_report.html.j2",
        title=f"{decision['candidate']} {VERDICTS[decision['decision']]}",
        decision=decision,
        looks=looks,
        selection=selection,
        tiles=_tiles(rows, split, selection["primary"]),
        select_by=selection["select_by"],
        metrics=_metrics(rows, selection["primary"]["name"]),
        words=in_words,
        shown=shown,
        rows=best_first(rows, selection["select_by"]),
        data_line=_data_line(read_json(paths.VALIDATE_SUMMARY, "validate"), split),
        classes=sorted(split.get("classes", {}).items()),
        pictures=pictures(paths.EVALUATE_PICTURES_DIR),
    )


def _metrics(rows: Sequence[Mapping[str, Any]], primary: str) -> list[str]:
    """Return which test metrics stand in the table: the primary one, and the first others that all have."""
    shared = [name for name in rows[0]["test"] if all(name in row["test"] for row in rows)]
    others = [name for name in shared if name != primary]
    # One number that counts answers and one that weighs them, where there are such.
    preferred = [name for name in ("macro_f1", "log_loss") if name in others]
    return [primary, *dict.fromkeys([*preferred, *others])][:MOST_METRICS]


def _tiles(rows: Sequence[Mapping[str, Any]], split: Mapping[str, Any], primary: Mapping[str, Any]) -> Tiles:
    (chosen,) = (row for row in rows if row["chosen"])
    name, words = primary["name"], in_words(primary["name"])
    score = chosen["test"][name]
    baselines = best_first([row for row in rows if row["baseline"]], name, "test")
    baseline = [
        (shown(row["test"][name]["value"]), f"test {words} of the better baseline") for row in baselines
    ]
    return [
        (shown(score["value"]), f"test {words} ({shown(score['low'], 3)} to {shown(score['high'], 3)})"),
        *baseline[:1],
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
