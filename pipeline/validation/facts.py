"""What is known of each sample before any training: the table that the suite judges, one row per sample."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.label_sets import label_counts, labels_in
from pipeline.data.samples import SIDE_PREFIX
from pipeline.duplicates.clusters import Duplicates, conflicting_contents
from pipeline.formats.names import twins
from pipeline.runtime import paths
from pipeline.runtime.files import csv_text
from pipeline.validation.far_out import Ends
from pipeline.validation.profile import ChannelSums
from pipeline.validation.series import significant
from pipeline.validation.suites import ExpectationResult, WrittenExpectation

# --- What is known of each column beside the samples: channels of series and side features, one row per column.

MIN_IDS = 20
"""Values that must all differ before a column is suspected of holding ids."""
COLUMNS = (
    "column",
    "kind",
    "values",
    "missing_share",
    "minimum",
    "mean",
    "maximum",
    "constant",
    "looks_like_id",
    "twins",
    "constant_target",
    "far_out",
)
NARROW_RANGE = 64 / 255
"""What 14 bits reach of a 16-bit range, as uint8 keeps it; 12 bits reach 16 / 255."""


def column_facts(
    samples: pd.DataFrame,
    side: Mapping[str, str],
    channels: Sequence[str] = (),
    sums: ChannelSums | None = None,
    targets: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the table that the suite of columns judges, one row per channel and side column.

    Args:
        samples: As `read_samples` returns them, with a column `side.<name>` per side feature.
        side: What each side feature is, `number` or `category`, by name.
        channels: Names of the channels of series.
        sums: What is known of these, from `series_statistics`.
        targets: Channels that are predicted.

    Returns:
        `column`, `kind` (`channel`, `number` or `category`); `values`: different values, NaN for channels;
        `missing_share`; `minimum`, `mean`, `maximum`: NaN for categories; and, 0 or 1: `constant` (no two
        different values), `looks_like_id` (a side column of at least 20 categories or whole numbers, all
        different), `constant_target` (constant, and to be predicted). `twins`: values of a category that read like
        another one. `far_out`: values far outside all others that repeat exactly.
    """
    rows = [] if sums is None else _channel_rows(channels, sums, set(targets))
    rows += [_side_row(name, kind, samples[SIDE_PREFIX + name]) for name, kind in side.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _channel_rows(channels: Sequence[str], sums: ChannelSums, targets: set[str]) -> list[dict[str, Any]]:
    constant, means = sums.constant(), significant(sums.means())
    return [
        {
            "column": name,
            "kind": "channel",
            "values": np.nan,
            "missing_share": float(
                significant(1 - (sums.known + sums.infinite) / max(sums.steps, 1))[number]
            ),
            "minimum": _finite(sums.minimum[number]),
            "mean": float(means[number]),
            "maximum": _finite(sums.maximum[number]),
            "constant": int(constant[number]),
            "looks_like_id": 0,
            "twins": 0,
            "constant_target": int(constant[number] and name in targets),
            "far_out": len(sums.ends[number].repeated_far_out()),
        }
        for number, name in enumerate(channels)
    ]


def _side_row(name: str, kind: str, values: "pd.Series[Any]") -> dict[str, Any]:
    known = values.dropna()
    different = int(known.nunique())
    numbers = known.to_numpy(np.float64) if kind == "number" else np.empty(0)
    ends = Ends()
    ends.add(numbers)
    whole = kind == "category" or bool((numbers == np.rint(numbers)).all())
    return {
        "column": SIDE_PREFIX + name,
        "kind": kind,
        "values": different,
        "missing_share": float(significant(np.array(values.isna().mean()))),
        "minimum": float(significant(numbers.min())) if len(numbers) else np.nan,
        "mean": float(significant(numbers.mean())) if len(numbers) else np.nan,
        "maximum": float(significant(numbers.max())) if len(numbers) else np.nan,
        "constant": int(different < 2),
        "looks_like_id": int(whole and different == len(known) >= MIN_IDS),
        "twins": sum(map(len, twins(known.astype(str)))) if kind == "category" else 0,
        "constant_target": 0,
        "far_out": len(ends.repeated_far_out()),
    }


def _finite(value: float) -> float:
    return float(significant(np.array(value))) if np.isfinite(value) else float("nan")


# --- What is known of each sample before any training.


def sample_facts(
    samples: pd.DataFrame,
    statistics: Mapping[str, np.ndarray],
    duplicates: Duplicates,
    answers: str | None = "label",
    *,
    several: bool = False,
) -> pd.DataFrame:
    """Return the sample table with everything the suite judges beside it.

    Args:
        samples: As `read_samples` returns them.
        statistics: Arrays of one number per sample, in the order of the payload.
        duplicates: In the order of `samples`.
        answers: The column that models learn to predict, `label` or `target`; None if there is none.
        several: Whether a label is a set of labels, see `pipeline.data.label_sets`.

    Returns:
        The columns of `samples` and: the statistics; `cluster`, `exact_copies`, `near_copies`; and, 0 or 1:
        `has_exact_copy`, `in_conflict` (content under several answers), `opens_conflict` (its first sample),
        `near_conflict` (cluster under several labels, content under one). For labels also `class_samples`:
        size of the sample's class, `class_ratio`: largest class divided by that, and `label_twin` (0 or 1): another
        label reads like it; of several labels the smallest class and a doubtful one count, and `labels` has their
        names. For images `narrow_range` (0 or 1): of more than 8 bits, of which no image of the data set uses more
        than a quarter.
    """
    facts = samples.reset_index(drop=True)
    rows = facts["row"].to_numpy()
    names = [""] * len(facts) if answers is None else facts[answers].astype(str).tolist()
    conflicts = conflicting_contents(facts["content_sha256"].tolist(), names)
    in_conflict = facts["content_sha256"].isin(conflicts)
    # Near copies with nearly equal targets are as it should be.
    near_conflicts = conflicting_contents(duplicates.cluster.tolist(), names) if answers == "label" else []
    facts = facts.assign(
        **{name: values[rows] for name, values in statistics.items()},
        cluster=duplicates.cluster,
        exact_copies=duplicates.exact_copies,
        near_copies=duplicates.near_copies,
        has_exact_copy=(duplicates.exact_copies > 0).astype(int),
        in_conflict=in_conflict.astype(int),
        opens_conflict=(in_conflict & ~facts["content_sha256"].duplicated()).astype(int),
        near_conflict=(pd.Series(duplicates.cluster).isin(near_conflicts) & ~in_conflict).astype(int),
    )
    if answers == "label":
        facts = facts.assign(**(_of_sets(facts["label"]) if several else _of_classes(facts["label"])))
    if "entropy_bits" in statistics:
        facts = facts.assign(narrow_range=_narrow_range(facts))
    return facts


def _of_classes(labels: "pd.Series[Any]") -> dict[str, Any]:
    class_samples = labels.groupby(labels).transform("size")
    doubtful = labels.isin(chain.from_iterable(twins(labels.astype(str)))).astype(int)
    ratio = class_samples.max() / class_samples
    return {"class_samples": class_samples, "class_ratio": ratio, "label_twin": doubtful}


def _of_sets(cells: "pd.Series[Any]") -> dict[str, Any]:
    """Return the same of samples with several labels, and those as a column `labels`; none at all is no small class."""
    sets = [labels_in(cell) for cell in cells]
    counts = label_counts(cells)
    largest = max(counts.values(), default=len(sets))
    doubtful = set(chain.from_iterable(twins(counts)))
    smallest = np.array(
        [min((counts[label] for label in labels), default=largest) for labels in sets], np.int64
    )
    return {
        "class_samples": smallest,
        "class_ratio": largest / smallest,
        "label_twin": [int(not doubtful.isdisjoint(labels)) for labels in sets],
        "labels": sets,
    }


def by_label(facts: pd.DataFrame) -> pd.DataFrame:
    """Return one row per sample and label of it, the label in `label`; the facts as they are where each has one."""
    if "labels" not in facts:
        return facts
    return facts.assign(label=facts["labels"]).explode("label").dropna(subset=["label"])


def _narrow_range(facts: pd.DataFrame) -> "pd.Series[int]":
    """Return which images were scaled down from a range that none of them fills: cameras write 12 bits into 16."""
    deep = facts["mode_original"].astype(str).str.startswith("I")
    narrow = bool((facts.loc[deep, "maximum"] <= NARROW_RANGE).all())
    return (deep & narrow).astype(int)


# --- The verdict of validation in figures, as a list of samples, and as a message.


def summary_of(
    facts: pd.DataFrame,
    outcomes: Sequence[ExpectationResult],
    columns: pd.DataFrame | None = None,
    column_outcomes: Sequence[ExpectationResult] = (),
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
    classes = by_label(facts)["label"].value_counts().sort_index()
    return {
        "classes": {str(label): int(count) for label, count in classes.items()},
        "class_ratio": round(float(facts["class_ratio"].max()), 6),
    }


def _columns(columns: pd.DataFrame | None) -> dict[str, Any]:
    if columns is None or columns.empty:
        return {}
    odd = ("constant", "looks_like_id", "far_out")
    return {"columns": {name: columns.loc[columns[name] > 0, "column"].tolist() for name in odd}}


def _not_met(outcome: ExpectationResult) -> dict[str, Any]:
    return {
        "demand": outcome.written.notes,
        "type": outcome.written.type,
        "column": outcome.written.kwargs.get("column", ""),
        "severity": outcome.written.severity,
        "observed": outcome.observed,
        "failing_samples": len(outcome.failing),
    }


def failing_csv(facts: pd.DataFrame, outcomes: Sequence[ExpectationResult]) -> str:
    """Return one line of CSV per sample and expectation it breaks.

    Args:
        facts: One row per sample, with sample_id and label.
        outcomes: What became of each expectation.
    """
    labels = dict(zip(facts["sample_id"], facts["label"], strict=True))
    rows = []
    for outcome in outcomes:
        written = outcome.written
        about = [written.severity, written.kwargs.get("column", ""), written.type, written.notes]
        rows += [[sample_id, labels[sample_id], *about] for sample_id in outcome.failing]
    return csv_text(["sample_id", "label", "severity", "column", "expectation", "demand"], rows)


def _allowed(written: WrittenExpectation) -> str:
    """Return the bounds of what is measured of a whole column, so that nobody has to look up what was set."""
    words = {"min_value": "at least", "max_value": "at most"}
    bounds = {} if "_values_" in written.type else written.kwargs
    told = [f"{word} {bounds[name]}" for name, word in words.items() if bounds.get(name) is not None]
    return f", allowed: {' and '.join(told)}" if told else ""


def validation_refusal(
    outcomes: Sequence[ExpectationResult], column_outcomes: Sequence[ExpectationResult] = ()
) -> str:
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
            f"  {'':>14}  measured: {outcome.measured}{_allowed(outcome.written)}{first}. "
            f"{outcome.written.fix}".rstrip(),
        ]
    return "\n".join([*lines, f"Look at {paths.VALIDATE_HTML}; {paths.VALIDATE_FAILING} names every sample."])
