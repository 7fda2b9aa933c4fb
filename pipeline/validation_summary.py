"""The verdict of validation in figures, as a list of samples, and as a message."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import pandas as pd

from pipeline import paths
from pipeline.suite_file import Outcome


def summary_of(facts: pd.DataFrame, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the figures behind the verdict, ready for JSON; `passed` is the verdict.

    Args:
        facts: One row per sample, as `sample_facts` returns it.
        outcomes: What became of each expectation.
    """
    classes = facts["label"].value_counts().sort_index()
    return {
        "passed": not any(outcome.refuses for outcome in outcomes),
        "samples": len(facts),
        "classes": {str(label): int(count) for label, count in classes.items()},
        "class_ratio": round(float(facts["class_ratio"].max()), 6),
        "expectations": {
            "judged": len(outcomes),
            "met": sum(outcome.success for outcome in outcomes),
            "failed": sum(outcome.refuses for outcome in outcomes),
            "warnings": sum(not outcome.success and not outcome.refuses for outcome in outcomes),
        },
        "duplicates": {
            "samples_with_exact_copy": int(facts["has_exact_copy"].sum()),
            "samples_with_near_copy": int((facts["near_copies"] > 0).sum()),
            "clusters": int(facts["cluster"].nunique()),
            "contents_under_two_labels": int(facts["opens_conflict"].sum()),
            "near_copies_under_two_labels": int(facts["near_conflict"].sum()),
        },
        "blank_images": int((facts["standard_deviation"] == 0).sum()),
        "not_met": [
            {
                "demand": outcome.written.notes,
                "type": outcome.written.type,
                "column": outcome.written.kwargs.get("column", ""),
                "severity": outcome.written.severity,
                "observed": outcome.observed,
                "failing_samples": len(outcome.failing),
            }
            for outcome in outcomes
            if not outcome.success
        ],
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


def refusal(outcomes: Sequence[Outcome]) -> str:
    """Return what failed as a table for the terminal, each demand with its fix."""
    lines = [
        "The data is not fit for training. Expected every critical demand of the suite to be met. Received:"
    ]
    for outcome in (outcome for outcome in outcomes if outcome.refuses):
        number = f"{len(outcome.failing):,} samples" if outcome.failing else "table"
        first = f", first {outcome.failing[0]}" if outcome.failing else ""
        lines += [
            f"  {number:>14}  {outcome.written.notes}",
            f"  {'':>14}  measured: {outcome.measured}{first}. {outcome.written.fix}".rstrip(),
        ]
    return "\n".join([*lines, f"Look at {paths.VALIDATE_HTML}; {paths.VALIDATE_FAILING} names every sample."])
