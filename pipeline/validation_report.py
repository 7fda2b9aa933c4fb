"""The validation report: one HTML file that opens anywhere, offline, and has the same bytes for the same data."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from PIL import Image

from pipeline.suite_file import Outcome

THUMBNAIL_PX = 96
PIXELATED_BELOW_PX = 48
"""Images smaller than this are enlarged with their pixels visible instead of blurred."""
MAX_CLUSTERS = 24
MAX_PICTURES_PER_CLUSTER = 6
MAX_CLASSES_WITH_PICTURES = 40
PICTURES_PER_CLASS = 8
MAX_SIZES = 12
BINS = 40
SHOWN_ELSEWHERE = (
    "opens_conflict",
    "near_conflict",
    "has_exact_copy",
    "near_copies",
    "class_samples",
    "class_ratio",
)
"""Columns of the sample facts that have a gallery of their own, or stand among the classes."""


def validation_report(facts: pd.DataFrame, images: np.ndarray, outcomes: Sequence[Outcome]) -> str:
    """Return the report as HTML.

    Args:
        facts: One row per sample, as `sample_facts` returns it.
        images: Pixels, uint8, shape (num_samples, height, width, channels).
        outcomes: What became of each expectation.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    not_met = [outcome for outcome in outcomes if not outcome.success]
    short_classes = _short_classes(facts, not_met)
    return (
        environment.get_template("validation_report.html.j2").render(
            passed=not any(outcome.refuses for outcome in outcomes),
            verdict=_verdict(outcomes, images.shape),
            tiles=_tiles(facts),
            outcomes=outcomes,
            not_met=sorted(not_met, key=lambda outcome: not outcome.refuses),
            galleries=_galleries(facts, images, not_met),
            classes=_classes(facts, images, short_classes),
            classes_left_out=facts["label"].nunique() > MAX_CLASSES_WITH_PICTURES,
            charts=_charts(facts),
            sizes=_sizes(facts),
            pixelated=max(images.shape[1:3]) < PIXELATED_BELOW_PX,
            bounds=_bounds,
        )
        + "\n"
    )


def thumbnail(image: np.ndarray) -> str:
    """Return an image as the `src` of an `<img>`: PNG of at most 96 x 96 pixels inside the text.

    Args:
        image: Pixels, uint8, shape (height, width, 1 or 3).
    """
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    content = io.BytesIO()
    picture.save(content, format="PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode("ascii")


def _verdict(outcomes: Sequence[Outcome], shape: tuple[int, ...]) -> str:
    failed = sum(outcome.refuses for outcome in outcomes)
    warned = sum(not outcome.success for outcome in outcomes) - failed
    met = len(outcomes) - failed - warned
    kind = "grey" if shape[-1] == 1 else "colour"
    return (
        f"{met} of {len(outcomes)} expectations met, {failed} failed, {warned} with a warning. "
        f"{shape[0]:,} {kind} images of {shape[2]} x {shape[1]} pixels."
    )


def _tiles(facts: pd.DataFrame) -> list[dict[str, str]]:
    numbers = {
        "samples": len(facts),
        "classes": facts["label"].nunique(),
        "with an exact copy": int(facts["has_exact_copy"].sum()),
        "with a near copy": int((facts["near_copies"] > 0).sum()),
        "contents under two labels": int(facts["opens_conflict"].sum()),
        "blank": int((facts["standard_deviation"] == 0).sum()),
    }
    return [{"name": name, "value": f"{number:,}"} for name, number in numbers.items()]


def _galleries(facts: pd.DataFrame, images: np.ndarray, not_met: Sequence[Outcome]) -> list[dict[str, Any]]:
    conflict = facts["in_conflict"] == 1
    near = (facts["near_copies"] > 0) & (facts["near_conflict"] == 0)
    groups = [
        ("One content, two labels", facts[conflict], "content_sha256"),
        ("Near copies under different labels", facts[facts["near_conflict"] == 1], "cluster"),
        ("Exact copies", facts[(facts["exact_copies"] > 0) & ~conflict], "content_sha256"),
        ("Near copies", facts[near & ~conflict], "cluster"),
    ]
    galleries = [
        _gallery(title, [rows for _, rows in frame.groupby(key, sort=True)], images)
        for title, frame, key in groups
        if len(frame)
    ]
    galleries += [
        _gallery(
            f"Not met: {outcome.written.notes}",
            [failing.iloc[[place]] for place in range(len(failing))],
            images,
        )
        for outcome in _with_own_gallery(not_met)
        if len(failing := facts[facts["sample_id"].isin(outcome.failing)])
    ]
    return galleries


def _with_own_gallery(not_met: Sequence[Outcome]) -> list[Outcome]:
    """Return the first failure per column, where copies and class sizes do not show it already."""
    by_column = {outcome.written.kwargs.get("column"): outcome for outcome in reversed(not_met)}
    return [by_column[column] for column in by_column if column not in SHOWN_ELSEWHERE]


def _gallery(title: str, clusters: list[pd.DataFrame], images: np.ndarray) -> dict[str, Any]:
    samples = sum(len(cluster) for cluster in clusters)
    groups = f"{samples:,} samples"
    if samples > len(clusters):
        groups += f" in {len(clusters):,} group{'s' if len(clusters) > 1 else ''}"
    left_out = len(clusters) > MAX_CLUSTERS or any(
        len(cluster) > MAX_PICTURES_PER_CLUSTER for cluster in clusters
    )
    return {
        "title": title,
        "text": groups + (", some of them shown here." if left_out else "."),
        "clusters": [
            [
                {"source": thumbnail(images[row]), "label": label, "sample_id": sample_id}
                for row, label, sample_id in zip(
                    cluster["row"], cluster["label"], cluster["sample_id"], strict=True
                )
            ]
            for cluster in (cluster.head(MAX_PICTURES_PER_CLUSTER) for cluster in clusters[:MAX_CLUSTERS])
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


def _classes(facts: pd.DataFrame, images: np.ndarray, short: set[str]) -> list[dict[str, Any]]:
    counts = facts["label"].value_counts()
    classes = []
    for number, (label, members) in enumerate(facts.groupby("label", sort=True)):
        rows = members["row"].to_numpy()
        places = np.unique(np.linspace(0, len(rows) - 1, PICTURES_PER_CLASS).astype(int))
        with_pictures = number < MAX_CLASSES_WITH_PICTURES
        classes.append(
            {
                "label": label,
                "count": len(rows),
                "percent": round(100 * len(rows) / int(counts.max()), 2),
                "short": label in short,
                "pictures": [thumbnail(images[rows[place]]) for place in places] if with_pictures else [],
            }
        )
    return classes


def _charts(facts: pd.DataFrame) -> list[dict[str, Any]]:
    ranges = {
        "Brightness (mean, 0 black, 1 white)": ("mean", 1.0),
        "Contrast (standard deviation)": ("standard_deviation", 0.5),
        "Detail (entropy, bits)": ("entropy_bits", 8.0),
    }
    charts = []
    for title, (column, high) in ranges.items():
        counts, _ = np.histogram(facts[column].to_numpy(), bins=BINS, range=(0.0, high))
        heights = (100 * counts / max(1, int(counts.max()))).round(1)
        charts.append({"title": title, "bars": heights.tolist(), "low": "0", "high": f"{high:g}"})
    return charts


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
