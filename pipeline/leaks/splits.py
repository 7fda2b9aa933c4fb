"""Splits that are none: no test set (L1.1), groups (L3.2) or times (L3.1) on both sides."""

import numpy as np

from pipeline.leaks.findings import Finding
from pipeline.leaks.leak_data import USED, LeakData
from pipeline.splits.by_time import iso_time, seconds_since_1970


def empty_split_findings(data: LeakData) -> list[Finding]:
    """Return a finding if train, val or test has nothing in it."""
    present = set(data.split.splits[data.split.stops > data.split.starts])
    missing = [split for split in USED if split not in present]
    if not missing:
        return []
    problem = (
        f"{' and '.join(missing)} is empty. Expected samples that train, others that choose, and others that judge. "
        f"Received: {', '.join(sorted(present)) or 'nothing'}."
    )
    fix = "Raise split.val_share and split.test_share, or give the missing part in the source."
    return [Finding("no-test-set", "L1.1", problem, fix)]


def group_findings(data: LeakData) -> list[Finding]:
    """Return a finding if a person, machine or document stands in more than one of train, val and test."""
    if data.cut:
        return []
    splits_of: dict[str, set[str]] = {}
    for group, split in zip(data.groups, data.split_of, strict=True):
        if group and split != "excluded":
            splits_of.setdefault(group, set()).add(split)
    torn = {group for group, splits in splits_of.items() if len(splits) > 1}
    if not torn:
        return []
    rows = np.array([row for row, group in enumerate(data.groups) if group in torn])
    rows = rows[data.split_of[rows] != "excluded"]
    problem = (
        f"{len(torn)} groups stand in more than one split ({', '.join(sorted(torn)[:5])}). Expected every group in "
        f"one. Received: split.method={data.method}."
    )
    return [Finding("group-overlap", "L3.2", problem, "Set split.method: group.", data.ids(rows))]


def time_findings(data: LeakData) -> list[Finding]:
    """Return a finding if something that trains or chooses is not earlier than all that judges.

    Looked at where split.method is time, and where the source says when each sample was made. The beginnings
    of recordings are no such thing: twenty machines may well be recorded at the same hour.
    """
    if data.cut:
        return _segments_in_disorder(data) or _series_at_once(data)
    seconds = _times_that_order(data)
    if seconds is None:
        return []
    test = data.split_of == "test"
    late = _not_before(seconds, np.isin(data.split_of.astype(str), ["train", "val"]), test)
    if data.method == "time":
        late |= _not_before(seconds, data.split_of == "train", data.split_of == "val")
    if not late.any():
        return []
    judge = "test" if test.any() else "val"
    problem = (
        f"{int(late.sum())} samples train or choose and are not earlier than the first that judges. Expected train "
        f"before val before test. Received: {judge} from {iso_time(seconds[data.split_of == judge].min())} on, the "
        f"others up to {iso_time(seconds[late].max())}."
    )
    fix = "Set split.method: time."
    return [Finding("time-overlap", "L3.1", problem, fix, data.ids(np.flatnonzero(late)))]


def _times_that_order(data: LeakData) -> np.ndarray | None:
    """Return the time of each sample in seconds, None where there are none that say which came first."""
    recorded = data.kind == "series" and bool((data.samples.step_seconds > 0).any())
    if data.method != "time" and (recorded or not all(data.samples.times)):
        return None
    try:
        seconds = seconds_since_1970(data.samples.times)
    except ValueError:
        return None  # no times in the sense of ISO 8601; split.method=time refuses them
    return seconds if len(np.unique(seconds)) > 1 else None


def _not_before(seconds: np.ndarray, earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
    """Return which of the samples that should be earlier are not before all that should be later."""
    first = seconds[later].min(initial=np.inf)
    late: np.ndarray = earlier & (seconds >= first)
    return late


def _segments_in_disorder(data: LeakData) -> list[Finding]:
    """Return a finding if segments of one series overlap, or one that trains lies after one that judges."""
    wrong = []
    places = {split: place for place, split in enumerate(USED)}
    split = data.split
    for row in np.unique(split.rows):
        own = np.flatnonzero(split.rows == row)
        own = own[np.argsort(split.starts[own], kind="stable")]
        overlap = bool((split.starts[own][1:] < split.stops[own][:-1]).any())
        order = [places[name] for name in split.splits[own] if name in places]
        if overlap or order != sorted(order):
            wrong.append(row)
    if not wrong:
        return []
    problem = (
        f"{len(wrong)} series have segments that overlap or are out of order. Expected train before val before test. "
        "Received: see data/split/split.parquet."
    )
    return [Finding("time-overlap", "L3.1", problem, "Run `dvc repro split`.", data.ids(np.array(wrong)))]


def _series_at_once(data: LeakData) -> list[Finding]:
    """Return a finding if one series trains on a time at which another is judged already.

    Anomalies are asked of each series by itself; forecasts of one shop know the weather of all.
    """
    steps = data.samples.step_seconds
    if data.task == "anomaly" or len(data.samples) < 2 or (steps <= 0).any() or not all(data.samples.times):
        return []
    begins, rows = seconds_since_1970(data.samples.times), data.split.rows
    # A tenth of a step off, so that floating point does not make equal times unequal.
    starts = begins[rows] + (data.split.starts - 0.1) * steps[rows]
    lasts = begins[rows] + (data.split.stops - 1) * steps[rows]
    train, judged = data.split.splits == "train", np.isin(data.split.splits.astype(str), ["val", "test"])
    if not train.any() or not judged.any():
        return []
    first = starts[judged].min()
    late = rows[train & (lasts >= first)]
    if not len(late):
        return []
    problem = (
        f"{len(late)} series train on times at which another chooses or judges already. Expected all training steps "
        f"before {iso_time(first)}. Received: training steps up to {iso_time(lasts[train].max())}."
    )
    fix = "Set split.val_start and split.test_start, which cut all series at the same time."
    return [Finding("time-overlap", "L3.1", problem, fix, data.ids(late))]
