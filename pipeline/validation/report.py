"""The validation report: one HTML file that opens anywhere, offline, and has the same bytes for the same data."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.reports.html import Tiles, render
from pipeline.validation.exhibits import Show
from pipeline.validation.suite_file import Outcome
from pipeline.validation.validation_charts import charts_of, column_rows
from pipeline.validation.validation_summary import blemishes

MAX_CLUSTERS = 24
MAX_SHOWN_PER_CLUSTER = 6
MAX_CLASSES_WITH_EXAMPLES = 40
EXAMPLES_PER_CLASS = 8
TEXTS_PER_CLASS = 2
MAX_SIZES = 12
SHOWN_ELSEWHERE = (
    "opens_conflict",
    "near_conflict",
    "has_exact_copy",
    "near_copies",
    "class_samples",
    "class_ratio",
)
"""Columns of the sample facts that have a gallery of their own, or stand among the classes."""


def validation_report(
    facts: pd.DataFrame,
    show: Show,
    outcomes: Sequence[Outcome],
    *,
    description: str,
    columns: pd.DataFrame | None = None,
    column_outcomes: Sequence[Outcome] = (),
    pixelated: bool = False,
) -> str:
    """Return the report as HTML.

    Args:
        facts: One row per sample, as `sample_facts` returns it.
        show: How the sample of a row is shown, from `pipeline.validation.exhibits`.
        outcomes: What became of each expectation on samples.
        description: What the data is, in a few words.
        columns: One row per channel and side column, as `column_facts` returns it; None for none.
        column_outcomes: What became of each expectation on these.
        pixelated: Whether images are enlarged with their pixels visible instead of blurred.
    """
    every = [*outcomes, *column_outcomes]
    not_met = [outcome for outcome in outcomes if not outcome.success]
    has_classes = "class_samples" in facts
    return (
        render(
            "validation_report.html.j2",
            passed=not any(outcome.refuses for outcome in every),
            verdict=_verdict(every, description),
            tiles=_tiles(facts),
            outcomes=every,
            not_met=sorted(
                (outcome for outcome in every if not outcome.success), key=lambda outcome: not outcome.refuses
            ),
            galleries=_galleries(facts, show, not_met, has_classes=has_classes),
            classes=_classes(facts, show, _short_classes(facts, not_met)) if has_classes else [],
            classes_left_out=facts["label"].nunique() > MAX_CLASSES_WITH_EXAMPLES,
            charts=charts_of(facts),
            sizes=_sizes(facts) if "entropy_bits" in facts else [],
            columns=column_rows(columns),
            pixelated=pixelated,
            bounds=_bounds,
        )
        + "\n"
    )


def _verdict(outcomes: Sequence[Outcome], description: str) -> str:
    failed = sum(outcome.refuses for outcome in outcomes)
    warned = sum(not outcome.success for outcome in outcomes) - failed
    met = len(outcomes) - failed - warned
    return (
        f"{met} of {len(outcomes)} expectations met, {failed} failed, {warned} with a warning. {description}."
    )


def _tiles(facts: pd.DataFrame) -> Tiles:
    numbers = {"samples": len(facts)}
    if "class_samples" in facts:
        numbers["classes"] = facts["label"].nunique()
    numbers["with an exact copy"] = int(facts["has_exact_copy"].sum())
    numbers["with a near copy"] = int((facts["near_copies"] > 0).sum())
    if "class_samples" in facts:
        numbers["contents under two labels"] = int(facts["opens_conflict"].sum())
    numbers |= {name.replace("_", " "): number for name, number in blemishes(facts).items()}
    return [(f"{number:,}", name) for name, number in numbers.items()]


def _galleries(
    facts: pd.DataFrame, show: Show, not_met: Sequence[Outcome], *, has_classes: bool
) -> list[dict[str, Any]]:
    conflict = facts["in_conflict"] == 1
    near = (facts["near_copies"] > 0) & (facts["near_conflict"] == 0)
    groups = [
        (f"One content, two {'labels' if has_classes else 'targets'}", facts[conflict], "content_sha256"),
        ("Near copies under different labels", facts[facts["near_conflict"] == 1], "cluster"),
        ("Exact copies", facts[(facts["exact_copies"] > 0) & ~conflict], "content_sha256"),
        ("Near copies", facts[near & ~conflict], "cluster"),
    ]
    galleries = [
        _gallery(title, [rows for _, rows in frame.groupby(key, sort=True)], show)
        for title, frame, key in groups
        if len(frame)
    ]
    galleries += [
        _gallery(
            f"Not met: {outcome.written.notes}",
            [failing.iloc[[place]] for place in range(len(failing))],
            show,
        )
        for outcome in _with_own_gallery(not_met)
        if len(failing := facts[facts["sample_id"].isin(outcome.failing)])
    ]
    if not has_classes:
        places = np.unique(np.linspace(0, len(facts) - 1, MAX_CLUSTERS).astype(int))
        galleries.append(_gallery("Some samples", [facts.iloc[[place]] for place in places], show))
    return galleries


def _with_own_gallery(not_met: Sequence[Outcome]) -> list[Outcome]:
    """Return the first failure per column, where copies and class sizes do not show it already."""
    by_column = {outcome.written.kwargs.get("column"): outcome for outcome in reversed(not_met)}
    return [by_column[column] for column in by_column if column not in SHOWN_ELSEWHERE]


def _gallery(title: str, clusters: list[pd.DataFrame], show: Show) -> dict[str, Any]:
    samples = sum(len(cluster) for cluster in clusters)
    groups = f"{samples:,} samples"
    if samples > len(clusters):
        groups += f" in {len(clusters):,} group{'s' if len(clusters) > 1 else ''}"
    left_out = len(clusters) > MAX_CLUSTERS or any(
        len(cluster) > MAX_SHOWN_PER_CLUSTER for cluster in clusters
    )
    return {
        "title": title,
        "text": groups + (", some of them shown here." if left_out else "."),
        "clusters": [
            [
                {"shown": show(row), "label": label, "sample_id": sample_id}
                for row, label, sample_id in zip(
                    cluster["row"], cluster["label"], cluster["sample_id"], strict=True
                )
            ]
            for cluster in (cluster.head(MAX_SHOWN_PER_CLUSTER) for cluster in clusters[:MAX_CLUSTERS])
        ],
    }


def _short_classes(facts: pd.DataFrame, not_met: Sequence[Outcome]) -> set[str]:
    columns = ("class_samples", "class_ratio")
    failing = {
        sample_id
        for outcome in not_met
        if outcome.written.kwargs.get("column") in columns
        for sample_id in outcome.failing
    }
    return set(facts.loc[facts["sample_id"].isin(failing), "label"])


def _classes(facts: pd.DataFrame, show: Show, short: set[str]) -> list[dict[str, Any]]:
    counts = facts["label"].value_counts()
    examples = TEXTS_PER_CLASS if "characters" in facts else EXAMPLES_PER_CLASS
    classes = []
    for number, (label, members) in enumerate(facts.groupby("label", sort=True)):
        rows = members["row"].to_numpy()
        places = np.unique(np.linspace(0, len(rows) - 1, examples).astype(int))
        with_examples = number < MAX_CLASSES_WITH_EXAMPLES
        classes.append(
            {
                "label": label,
                "count": len(rows),
                "percent": round(100 * len(rows) / int(counts.max()), 2),
                "short": label in short,
                "examples": [show(rows[place]) for place in places] if with_examples else [],
            }
        )
    return classes


def _sizes(facts: pd.DataFrame) -> list[dict[str, Any]]:
    keys = ["width_original", "height_original", "mode_original"]
    counts = facts.groupby(keys).size().reset_index(name="count")
    counts = counts.sort_values(["count", *keys], ascending=[False, True, True, True])
    sizes = [
        {"name": f"{width} x {height} px, {mode}", "count": count}
        for width, height, mode, count in counts.head(MAX_SIZES).itertuples(index=False)
    ]
    rest = counts["count"].iloc[MAX_SIZES:]
    if len(rest):
        sizes.append({"name": f"{len(rest):,} other sizes", "count": int(rest.sum())})
    return sizes


def _bounds(outcome: Outcome) -> str:
    """Return the arguments of an expectation in a few words."""
    arguments = {key: value for key, value in outcome.written.kwargs.items() if key != "column"}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in arguments.items())
