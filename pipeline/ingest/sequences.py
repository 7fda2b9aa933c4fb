"""Texts and series on their way into the canonical data set: laid end to end, in one pass."""

import hashlib
import math
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from pipeline.data.samples import TableFacts
from pipeline.ingest.writers import NpyWriter, Tally, Targets, in_order, npy_writer, sample_writer
from pipeline.raw.answers import UNLABELLED, has_answer
from pipeline.raw.label_sets import label_cell, labels_of
from pipeline.raw.sample import RawSample
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.files import write_json

Task = Literal["classification", "multilabel", "regression", "forecasting", "anomaly"]


class _Measured:
    """What the report says of lengths, and missing values; its size does not grow."""

    def __init__(self) -> None:
        self.shortest, self.longest, self.total = math.inf, 0, 0
        self.missing, self.gaps = 0, 0

    def add(self, sample: RawSample, length: int) -> None:
        self.shortest, self.longest = min(self.shortest, length), max(self.longest, length)
        self.total += length
        if sample.series is not None:
            missing = np.isnan(sample.series)
            self.missing += int(missing.sum())
            self.gaps += int(missing.all(axis=1).sum())

    def summary(self, facts: TableFacts) -> dict[str, Any]:
        """Return what the report says; `gaps` are steps without a value in any channel."""
        content: dict[str, Any] = {
            "length": {"shortest": int(self.shortest), "longest": self.longest, "total": self.total},
        }
        if facts.payload == "series":
            content |= {"channels": list(facts.channels), "missing_values": self.missing, "gaps": self.gaps}
        return content


def ingest_sequences(
    samples: Iterable[RawSample],
    *,
    num_samples: int | None,
    task: Task,
    max_rejected_share: float,
    limit_per_class: int | None = None,
    windowed: bool = False,
    labelled: bool = False,
    unlabelled: str = "fail",
) -> dict[str, Any]:
    """Write the canonical data set of texts or series; memory holds one sample, and rows of a group.

    Args:
        samples: Ordered by `sample_id`; all of them texts, or all of them series.
        num_samples: How many there must be; None where nobody knows: windows are cut out of recordings.
        task: As data.task; only classification asks for classes, only regression for targets.
        windowed: Whether windows are cut out of series, so that targets are among the channels.
        max_rejected_share: Share of the samples in [0, 1) that may be rejected.
        labelled: Whether every sample needs a class, as windows cut out of recordings do.
        unlabelled: What becomes of samples without an answer where they need one: `leave_out` counts them apart from
            those that are rejected; `reject` also asks samples that are no windows.
        limit_per_class: Classification only: keep the first so many of each class and given split; None: all.

    Returns:
        The content of reports/ingest/summary.json.

    Raises:
        DataRefused: Too much was rejected, channels differ, the number of samples is another, or the task
            asks for something that samples do not have.
    """
    tally, measured, targets = Tally(), _Measured(), Targets()
    limit = limit_per_class if task == "classification" else None
    with npy_writer(paths.PAYLOAD_NPY) as payload, sample_writer(paths.SAMPLES_PARQUET) as table:
        for sample in in_order(samples):
            lacking = (labelled or unlabelled == "reject") and not has_answer(sample)
            if not lacking and tally.has_enough(label_cell(sample), sample.split or "", limit):
                continue
            rejected = lacking and not labelled  # nobody read the rest of it
            reasons = [UNLABELLED] if rejected else _unusable(sample, task, labelled=labelled)
            if lacking and unlabelled == "leave_out" and "short" not in reasons:
                tally.leave_out(UNLABELLED)
                continue
            if reasons:
                tally.reject(reasons, sample.sample_id)
                continue
            if table.count == 0:
                table.facts = _facts(sample)
            start = payload.count
            content = _append(payload, sample, table.facts)
            length = payload.count - start
            table.append(_row(sample, content, table.count, start, length), sample.side)
            tally.keep(label_cell(sample), sample.split or "", (), labels_of(sample))
            measured.add(sample, length)
            targets.add(sample)
        tally.check(num_samples, max_rejected_share, classes=task == "classification")
        if task == "regression" and not windowed:
            targets.check(tally.kept)
        facts = table.facts
    summary = tally.summary({facts.payload: measured.summary(facts) | targets.summary()})
    write_json(paths.INGEST_REPORT, summary)
    return summary


def described(summary: dict[str, Any]) -> str:
    """Return what was ingested, in words, from the content of the report."""
    classes = [name for name in summary["classes"] if name]
    parts = [f"{len(classes)} classes"] if classes else []
    if "image" in summary:
        parts.append(f"images {'x'.join(map(str, summary['image']['shape']))}")
    for kind, unit in (("text", "bytes"), ("series", "steps")):
        if kind in summary:
            shortest, longest = summary[kind]["length"]["shortest"], summary[kind]["length"]["longest"]
            span = f"{shortest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
            parts.append(f"{kind} of {span} {unit}")
    if "series" in summary:
        series = summary["series"]
        parts.append(f"channels {', '.join(series['channels'])}")
        parts.append(f"{series['missing_values']:,} missing values, {series['gaps']:,} steps without any")
    return ", ".join(parts)


def _unusable(sample: RawSample, task: Task, *, labelled: bool) -> list[str]:
    """Return why a sample cannot be used: `empty`, `short`, `unlabelled`, `target`, or nothing."""
    if labelled and sample.series is not None and not len(sample.series):
        return ["short"]
    if labelled and sample.series is not None:
        empty = bool(np.isnan(sample.series).all())
        return ["empty"] * empty + [UNLABELLED] * (not sample.label)
    empty = sample.series is not None and not sample.series.size
    empty = empty or (sample.text is not None and not sample.text.strip())
    no_target = task == "regression" and sample.target is not None and not math.isfinite(sample.target)
    return ["empty"] * empty + ["target"] * no_target


def _facts(sample: RawSample) -> TableFacts:
    if sample.text is not None:
        return TableFacts("text")
    return TableFacts("series", tuple(sample.channels), has_anomalies=sample.anomalies is not None)


def _append(payload: NpyWriter, sample: RawSample, facts: TableFacts) -> np.ndarray:
    """Write one sample to the payload and return what was written."""
    if facts.payload == "text":
        content = np.frombuffer((sample.text or "").encode(), np.uint8)
    else:
        content = _steps(sample, facts)
    payload.extend(content)
    return content


def _steps(sample: RawSample, facts: TableFacts) -> np.ndarray:
    if sample.series is None or tuple(sample.channels) != facts.channels:
        raise DataRefused(
            f"{sample.sample_id} has other channels than the first series. Expected {list(facts.channels)}. "
            f"Received: {list(sample.channels)}. Bring all series to the same columns."
        )
    if (sample.anomalies is not None) != facts.has_anomalies:
        raise DataRefused(
            f"{sample.sample_id} and the first series differ in having labelled anomalies. Expected all or none. "
            f"Received: {'some' if facts.has_anomalies else 'none'} in the first. Label all series."
        )
    if sample.anomalies is None:
        return np.ascontiguousarray(sample.series, np.float32)
    steps, channels = sample.series.shape
    labelled = np.empty((steps, channels + 1), np.float32)
    labelled[:, :-1], labelled[:, -1] = sample.series, sample.anomalies
    return labelled


def _row(sample: RawSample, content: np.ndarray, row: int, start: int, length: int) -> dict[str, Any]:
    # The shape belongs to the content, as it does for images. Hashed in place: a series may be long.
    digest = hashlib.sha256(f"{'x'.join(map(str, content.shape))}:".encode())
    digest.update(content.data)
    return {
        "sample_id": sample.sample_id,
        "label": label_cell(sample),
        "given_split": sample.split or "",
        "group": sample.group,
        "time": sample.time,
        "content_sha256": digest.hexdigest(),
        "height_original": 0,
        "width_original": 0,
        "mode_original": "",
        "oddities": "",
        "row": row,
        "target": math.nan if sample.target is None else sample.target,
        "start": start,
        "length": length,
        "step_seconds": sample.step_seconds,
    }
