"""The validation report: one HTML file that opens anywhere, offline, and has the same bytes for the same data."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.reports.html import Fact, Tiles, render
from pipeline.runtime.files import content_key
from pipeline.validation.facts import blemishes, by_label
from pipeline.validation.profile import Show
from pipeline.validation.suites import ExpectationResult

# --- Histograms of the statistics of samples, and the table of columns, as the validation report shows them.

BINS = 40
TAIL = 0.995
"""A histogram of open range ends at this quantile; what lies beyond is counted in its last bar."""
FIXED_CHARTS = {
    "Brightness (mean, 0 black, 1 white)": ("mean", 1.0),
    "Contrast (standard deviation)": ("standard_deviation", 0.5),
    "Detail (entropy, bits)": ("entropy_bits", 8.0),
}
"""Of images: title, column and largest value; the smallest is 0."""
OPEN_CHARTS = {
    "characters": {
        "Length (characters)": "characters",
        "Words": "words",
        "Digits and signs (share)": "non_letter_share",
    },
    "steps": {
        "Length (steps)": "steps",
        "Mean of all channels": "mean",
        "Missing values (share)": "missing_share",
    },
}
"""Of texts and series, known by a column that only they have: title and column; the range follows from the data."""


def charts_of(facts: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the histograms that fit the kind of data, and one of the targets where there are any.

    Args:
        facts: One row per sample, with the statistics of images, texts or series.

    Returns:
        Per chart `title`, `bars` (heights 0 to 100, none if all samples measure the same), and the ends of the
        axis in words, `low` and `high`.
    """
    charts = []
    if "entropy_bits" in facts:
        charts += [
            _chart(title, facts[column].to_numpy(), 0.0, high)
            for title, (column, high) in FIXED_CHARTS.items()
        ]
    for mark, titles in OPEN_CHARTS.items():
        if mark in facts:
            charts += [_open_chart(title, facts[column]) for title, column in titles.items()]
    if "target" in facts and facts["target"].notna().any():
        charts.append(_open_chart("Target", facts["target"]))
    return charts


def column_rows(columns: pd.DataFrame | None) -> list[dict[str, str]]:
    """Return the table of channels and side columns in words.

    Args:
        columns: As `column_facts` returns it; None for none.
    """
    if columns is None:
        return []
    return [
        {
            "column": str(row["column"]),
            "kind": str(row["kind"]),
            "values": _words(row["values"], ",.0f"),
            "missing": f"{row['missing_share']:.2%}",
            "range": f"{_words(row['minimum'])} \N{HORIZONTAL ELLIPSIS} {_words(row['maximum'])}"
            if pd.notna(row["minimum"])
            else "",
            "mean": _words(row["mean"]),
            "remark": ", ".join(
                words
                for key, words in (
                    ("constant", "constant"),
                    ("looks_like_id", "all values different"),
                    ("far_out", "an end of the range repeats, far from all others"),
                )
                if row[key]
            ),
        }
        for row in columns.to_dict("records")
    ]


def _words(number: float, form: str = ",.6g") -> str:
    return format(number, form) if pd.notna(number) else ""


def _open_chart(title: str, column: "pd.Series[Any]") -> dict[str, Any]:
    values = column.to_numpy(np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return {"title": title, "bars": [], "low": "unknown", "high": ""}
    low, high = float(values.min()), float(values.max())
    if low == high:
        return {"title": title, "bars": [], "low": _words(low, ",.6g"), "high": ""}
    end = float(np.quantile(values, TAIL, method="higher"))
    if end - low >= (high - low) / 2 or end == low:
        end = high  # no tail worth cutting
    chart = _chart(title, np.minimum(values, end), low, end)
    return chart | ({"high": f"{end:,.6g} and more"} if end < high else {})


def _chart(title: str, values: np.ndarray, low: float, high: float) -> dict[str, Any]:
    counts, _ = np.histogram(values, bins=BINS, range=(low, high))
    heights = (100 * counts / max(1, int(counts.max()))).round(1)
    return {"title": title, "bars": heights.tolist(), "low": f"{low:,.6g}", "high": f"{high:,.6g}"}


# --- The validation report.

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
    outcomes: Sequence[ExpectationResult],
    *,
    description: str,
    columns: pd.DataFrame | None = None,
    column_outcomes: Sequence[ExpectationResult] = (),
    pixelated: bool = False,
) -> str:
    """Return the report as HTML.

    Args:
        facts: One row per sample, as `sample_facts` returns it.
        show: How the sample of a row is shown, from `pipeline.validation.profile`.
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
            facts=[
                Fact("data", f"{description}; sha256 over all contents {_digest(facts)}"),
                Fact("page", "the run that this data led to", "../register/report.html"),
            ],
            passed=not any(outcome.refuses for outcome in every),
            verdict=_verdict(every, description),
            tiles=_tiles(facts),
            outcomes=every,
            not_met=sorted(
                (outcome for outcome in every if not outcome.success), key=lambda outcome: not outcome.refuses
            ),
            galleries=_galleries(facts, show, not_met, has_classes=has_classes),
            classes=_classes(facts, show, _short_classes(facts, not_met)) if has_classes else [],
            classes_left_out=by_label(facts)["label"].nunique() > MAX_CLASSES_WITH_EXAMPLES,
            charts=charts_of(facts),
            sizes=_sizes(facts) if "entropy_bits" in facts else [],
            columns=column_rows(columns),
            pixelated=pixelated,
            bounds=_bounds,
        )
        + "\n"
    )


def _digest(facts: pd.DataFrame) -> str:
    return content_key(sorted(facts["content_sha256"]))[:12]


def _verdict(outcomes: Sequence[ExpectationResult], description: str) -> str:
    failed = sum(outcome.refuses for outcome in outcomes)
    warned = sum(not outcome.success for outcome in outcomes) - failed
    met = len(outcomes) - failed - warned
    return (
        f"{met} of {len(outcomes)} expectations met, {failed} failed, {warned} with a warning. {description}."
    )


def _tiles(facts: pd.DataFrame) -> Tiles:
    numbers = {"samples": len(facts)}
    if "class_samples" in facts:
        numbers["classes"] = by_label(facts)["label"].nunique()
    numbers["with an exact copy"] = int(facts["has_exact_copy"].sum())
    numbers["with a near copy"] = int((facts["near_copies"] > 0).sum())
    if "class_samples" in facts:
        numbers["contents under two labels"] = int(facts["opens_conflict"].sum())
    numbers |= {name.replace("_", " "): number for name, number in blemishes(facts).items()}
    return [(f"{number:,}", name) for name, number in numbers.items()]


def _galleries(
    facts: pd.DataFrame, show: Show, not_met: Sequence[ExpectationResult], *, has_classes: bool
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


def _with_own_gallery(not_met: Sequence[ExpectationResult]) -> list[ExpectationResult]:
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


def _short_classes(facts: pd.DataFrame, not_met: Sequence[ExpectationResult]) -> set[str]:
    columns = ("class_samples", "class_ratio")
    failing = {
        sample_id
        for outcome in not_met
        if outcome.written.kwargs.get("column") in columns
        for sample_id in outcome.failing
    }
    if "labels" in facts:
        # A sample that fails has a small label beside large ones.
        counts = by_label(facts)["label"].value_counts()
        small = facts.loc[facts["sample_id"].isin(failing), "class_samples"]
        return set(counts.index[counts.isin(small)])
    return set(facts.loc[facts["sample_id"].isin(failing), "label"])


def _classes(facts: pd.DataFrame, show: Show, short: set[str]) -> list[dict[str, Any]]:
    facts = by_label(facts)
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


def _bounds(outcome: ExpectationResult) -> str:
    """Return the arguments of an expectation in a few words."""
    arguments = {key: value for key, value in outcome.written.kwargs.items() if key != "column"}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in arguments.items())
