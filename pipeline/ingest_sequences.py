"""Texts and series on their way into the canonical data set: laid end to end, in one pass."""

import hashlib
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.artifacts import write_json
from pipeline.ingest_tally import Tally, in_order
from pipeline.runtime import DataRefused
from pipeline.sample_table import NpyWriter, TableFacts, npy_writer, sample_writer
from pipeline.sources.raw_sample import RawSample


class _Measured:
    """What the report says of lengths, missing values and targets."""

    def __init__(self) -> None:
        self.shortest, self.longest, self.total = math.inf, 0, 0
        self.missing = 0
        self.targets: list[float] = []

    def add(self, sample: RawSample, length: int) -> None:
        self.shortest, self.longest = min(self.shortest, length), max(self.longest, length)
        self.total += length
        if sample.series is not None:
            self.missing += int(np.isnan(sample.series).sum())
        if sample.target is not None:
            self.targets.append(sample.target)

    def summary(self) -> dict[str, Any]:
        content: dict[str, Any] = {
            "length": {"shortest": int(self.shortest), "longest": self.longest, "total": self.total},
            "missing_values": self.missing,
        }
        if self.targets:
            content["target"] = {
                "lowest": min(self.targets),
                "mean": math.fsum(self.targets) / len(self.targets),
                "highest": max(self.targets),
            }
        return content


def ingest_sequences(
    samples: Iterable[RawSample],
    *,
    num_samples: int,
    task: str,
    max_rejected_share: float,
    limit_per_class: int | None = None,
) -> dict[str, Any]:
    """Write the canonical data set of texts or series; memory holds one sample and the targets.

    Args:
        samples: Ordered by `sample_id`; all of them texts, or all of them series.
        num_samples: How many there must be.
        task: As data.task; only classification asks for classes, only regression for targets.
        max_rejected_share: Share of the samples in [0, 1) that may be rejected.
        limit_per_class: Keep the first so many of each class and given split; None: all.

    Returns:
        The content of reports/ingest/summary.json.

    Raises:
        DataRefused: Too much was rejected, channels differ, the number of samples is another, or the task
            asks for something that samples do not have.
    """
    tally, measured = Tally(), _Measured()
    with npy_writer(paths.PAYLOAD_NPY) as payload, sample_writer(paths.SAMPLES_PARQUET) as table:
        for sample in in_order(samples):
            if tally.has_enough(sample.label, sample.split or "", limit_per_class):
                continue
            if sample.text is not None and not sample.text.strip():
                tally.reject(["empty"], sample.sample_id)
                continue
            if task == "regression" and sample.target is not None and not math.isfinite(sample.target):
                tally.reject(["target"], sample.sample_id)
                continue
            if table.count == 0:
                table.facts = _facts(sample)
            start = payload.count
            content = _append(payload, sample, table.facts)
            length = payload.count - start
            table.append(_row(sample, content, table.count, start, length), sample.side)
            tally.keep(sample.label, sample.split or "", ())
            measured.add(sample, length)
        tally.check(num_samples, max_rejected_share, classes=task == "classification")
        facts = table.facts
    summary = tally.summary({facts.payload: measured.summary() | {"channels": list(facts.channels)}})
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
            length = summary[kind]["length"]
            parts.append(f"{kind} of {length['shortest']:,} to {length['longest']:,} {unit}")
    if summary.get("series", {}).get("channels"):
        parts.append(f"channels {', '.join(summary['series']['channels'])}")
        parts.append(f"{summary['series']['missing_values']:,} missing values")
    return ", ".join(parts)


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
            f"{sample.sample_id} and the first series differ in having labelled anomalies. Expected all or none."
        )
    if sample.anomalies is None:
        return np.ascontiguousarray(sample.series, np.float32)
    return np.column_stack([sample.series, sample.anomalies]).astype(np.float32)


def _row(sample: RawSample, content: np.ndarray, row: int, start: int, length: int) -> dict[str, Any]:
    shape = "x".join(map(str, content.shape))
    return {
        "sample_id": sample.sample_id,
        "label": sample.label,
        "given_split": sample.split or "",
        "group": sample.group,
        "time": sample.time,
        "content_sha256": hashlib.sha256(f"{shape}:".encode() + content.tobytes()).hexdigest(),
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
