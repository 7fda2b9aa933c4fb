"""The verdict of validation in figures, as a list of samples, and as a message."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import pandas as pd

from pipeline.runtime import paths
from pipeline.validation.suite_file import Outcome


def summary_of(
    facts: pd.DataFrame,
    outcomes: Sequence[Outcome],
    columns: pd.DataFrame | None = None,
    column_outcomes: Sequence[Outcome] = (),
) -> dict[str, Any]:
    """Return the figures behind the verdict, ready for JSON; `passed` is the verdict.

    Args:
        facts: One row per sample, as `sample_facts` returns it.
        outcomes: What became of each expectation on samples.
        columns: One row per channel and side column, as `column_facts` returns it.
        column_outcomes: What became of each expectation on these.
    """
    every = [*outcomes, *column_outcomes]
    summary = {
        "passed": not any(outcome.refuses for outcome in every),
        "samples": len(facts),
        "expectations": {
            "judged": len(every),
            "met": sum(outcome.success for outcome in every),
            "failed": sum(outcome.refuses for outcome in every),
            "warnings": sum(not outcome.success and not outcome.refuses for outcome in every),
        },
        "duplicates": {
            "samples_with_exact_copy": int(facts["has_exact_copy"].sum()),
            "samples_with_near_copy": int((facts["near_copies"] > 0).sum()),
            "clusters": int(facts["cluster"].nunique()),
            "contents_under_two_labels": int(facts["opens_conflict"].sum()),
            "near_copies_under_two_labels": int(facts["near_conflict"].sum()),
        },
        "not_met": [_not_met(outcome) for outcome in every if not outcome.success],
    }
    return summary | blemishes(facts) | _classes(facts) | _columns(columns)


def blemishes(facts: pd.DataFrame) -> dict[str, int]:
    """Return how many samples have nothing to say, by what there is to count in this kind of data.

    Args:
        facts: One row per sample, with the statistics of images, texts or series.
    """
    found = {}
    if "standard_deviation" in facts:
        found["blank_images"] = int((facts["standard_deviation"] == 0).sum())
    if "empty" in facts:
        found["empty_texts"] = int((facts["empty"] == 1).sum())
    if "constant_share" in facts:
        found["constant_series"] = int((facts["constant_share"] == 1).sum())
        found["series_with_gaps"] = int((facts["missing_share"] > 0).sum())
    return found


def _classes(facts: pd.DataFrame) -> dict[str, Any]:
    if "class_ratio" not in facts:
        return {}
    classes = facts["label"].value_counts().sort_index()
    return {
        "classes": {str(label): int(count) for label, count in classes.items()},
        "class_ratio": round(float(facts["class_ratio"].max()), 6),
    }


def _columns(columns: pd.DataFrame | None) -> dict[str, Any]:
    if columns is None or columns.empty:
        return {}
    odd = ("constant", "looks_like_id")
    return {"columns": {name: columns.loc[columns[name] == 1, "column"].tolist() for name in odd}}


def _not_met(outcome: Outcome) -> dict[str, Any]:
    return {
        "demand": outcome.written.notes,
        "type": outcome.written.type,
        "column": outcome.written.kwargs.get("column", ""),
        "severity": outcome.written.severity,
        "observed": outcome.observed,
        "failing_samples": len(outcome.failing),
    }


def failing_csv(facts: pd.DataFrame, outcomes: Sequence[Outcome]) -> str:
    """Return one line of CSV per sample and expectation it breaks.

    Args:
        facts: One row per sample, with sample_id and label.
        outcomes: What became of each expectation.
    """
    labels = dict(zip(facts["sample_id"], facts["label"], strict=True))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["sample_id", "label", "severity", "column", "expectation", "demand"])
    for outcome in outcomes:
        written = outcome.written
        about = [written.severity, written.kwargs.get("column", ""), written.type, written.notes]
        writer.writerows([sample_id, labels[sample_id], *about] for sample_id in outcome.failing)
    return text.getvalue()


def refusal(outcomes: Sequence[Outcome], column_outcomes: Sequence[Outcome] = ()) -> str:
    """Return what failed as a table for the terminal, each demand with its fix.

    Args:
        outcomes: What became of each expectation on samples.
        column_outcomes: What became of each expectation on channels and side columns.
    """
    lines = [
        "The data is not fit for training. Expected every critical demand of the suite to be met. Received:"
    ]
    refused = [(outcome, "samples") for outcome in outcomes if outcome.refuses]
    refused += [(outcome, "columns") for outcome in column_outcomes if outcome.refuses]
    for outcome, noun in refused:
        number = f"{len(outcome.failing):,} {noun}" if outcome.failing else "table"
        first = f", first {outcome.failing[0]}" if outcome.failing else ""
        lines += [
            f"  {number:>14}  {outcome.written.notes}",
            f"  {'':>14}  measured: {outcome.measured}{first}. {outcome.written.fix}".rstrip(),
        ]
    return "\n".join([*lines, f"Look at {paths.VALIDATE_HTML}; {paths.VALIDATE_FAILING} names every sample."])
