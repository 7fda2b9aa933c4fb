"""Copies across splits: what stands in train and again, exactly or nearly, where it is judged (leak L1.4).

Contents are hashed anew from the payload; that ingest and validate have looked for copies before is not
relied on. Series that are cut by time have no copies across splits: their segments are other steps.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from pipeline.leaks.findings import Finding
from pipeline.leaks.leak_data import LeakData

FIX = "Run `dvc repro validate`, so that copies are in one cluster and stay together, or remove them from the source."


def exact_copy_findings(data: LeakData) -> list[Finding]:
    """Return a finding if one content stands in two of train, val and test.

    Args:
        data: Samples and payload; texts, series and images alike.
    """
    if data.cut:
        return []
    used = np.flatnonzero(data.split_of != "excluded")
    rows = _across(_contents(data, used), data.split_of[used], used)
    if not len(rows):
        return []
    problem = (
        f"{len(rows)} samples have the same content as one in another split. Expected every content in one split. "
        f"Received: {_by_split(data, rows)}."
    )
    return [Finding("exact-copies", "L1.4", problem, FIX, data.ids(rows))]


def near_copy_findings(
    data: LeakData, text_similarity: float | None, series_distance: float | None
) -> list[Finding]:
    """Return a finding if near duplicates stand in two of train, val and test.

    Args:
        data: Samples and payload. Copies of images are taken from `validate` (its hashes are of the pixels,
            and comparing all again would cost as much again); texts and series are compared anew.
        text_similarity: From which Jaccard similarity of shingles two texts are near duplicates.
        series_distance: Up to which distance of their shapes two series are.
    """
    if data.cut:
        return []
    used = np.flatnonzero(data.split_of != "excluded")
    contents = _contents(data, used)
    keys = [data.clusters[row] for row in used]
    found = set(_across(keys, data.split_of[used], used).tolist())
    if data.kind == "text" and text_similarity is not None:
        from pipeline.duplicates.texts import find_text_duplicates

        near = find_text_duplicates(
            contents, [data.text(row) for row in used.tolist()], text_similarity
        ).cluster
        found |= set(_across(near.tolist(), data.split_of[used], used).tolist())
    elif data.kind == "series" and series_distance is not None:
        from pipeline.duplicates.series import find_series_duplicates

        width = len(data.samples.channels)
        parts = [data.part(row)[:, :width] for row in used.tolist()]
        near = find_series_duplicates(contents, parts, series_distance).cluster
        found |= set(_across(near.tolist(), data.split_of[used], used).tolist())
    rows = np.array(sorted(found - set(_across(contents, data.split_of[used], used).tolist())), np.int64)
    if not len(rows):
        return []
    problem = (
        f"{len(rows)} samples are nearly the same as one in another split. Expected near duplicates in one split. "
        f"Received: {_by_split(data, rows)}."
    )
    return [Finding("near-copies", "L1.4", problem, FIX, data.ids(rows))]


def _contents(data: LeakData, rows: np.ndarray) -> list[str]:
    """Return a hash of each sample; of one shape only if shape and bytes are the same."""
    contents = []
    for row in rows.tolist():
        part = np.ascontiguousarray(data.part(row))
        contents.append(hashlib.sha256(f"{part.shape}|".encode() + part.tobytes()).hexdigest())
    return contents


def _across(keys: Sequence[str], split_of: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the rows whose key stands in more than one split, ascending."""
    splits_of: dict[str, set[str]] = {}
    for key, split in zip(keys, split_of, strict=True):
        splits_of.setdefault(key, set()).add(split)
    return rows[[len(splits_of[key]) > 1 for key in keys]] if len(rows) else rows


def _by_split(data: LeakData, rows: np.ndarray) -> str:
    names, counts = np.unique(data.split_of[rows].astype(str), return_counts=True)
    return ", ".join(f"{count} in {name}" for name, count in zip(names, counts, strict=True))
