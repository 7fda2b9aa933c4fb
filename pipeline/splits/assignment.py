"""From the columns of the sample table to who is where, by each method of `split.method`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.splits import by_hash, split_presence
from pipeline.splits.by_time import Boundaries, Segment, segments_by_time, split_by_time

Columns = Mapping[str, list[Any]]
"""Columns of samples.parquet, and `cluster` of duplicates.parquet, in order of row."""


@dataclass(frozen=True)
class Assigned:
    """Who is where, and how it came about.

    Attributes:
        splits: Per sample; of series in segments `excluded` throughout, their segments say it.
        units: What was kept together, per sample.
        drawn: Share of each split that was drawn by hash.
        segments: Of series that windows slide over, else none.
        dates: `val_start` and `test_start` where times decided.
        redraw: Returns the splits for another salt, where hashes decided.
    """

    splits: np.ndarray
    units: list[str]
    drawn: dict[str, float] = field(default_factory=dict)
    segments: list[Segment] = field(default_factory=list)
    dates: dict[str, str] = field(default_factory=dict)
    redraw: Callable[[str], np.ndarray] | None = None


def assign_by_units(
    method: str, samples: Columns, *, val_share: float, test_share: float, salt: str
) -> Assigned:
    """Return the split by hash of clusters or groups, or as the source gives it.

    Args:
        method: `stratified`: copies stay together; `group`: groups and copies do; `given`: by the source, and
            samples whose copies or group stand nearer to judgement are excluded.
        samples: `cluster`, `group` and `given_split` of each sample.
        val_share: Expected share of val.
        test_share: Expected share of test.
        salt: Another salt draws another split.

    Raises:
        ValueError: The source has no groups, or gives no split.
    """
    clusters: list[str] = samples["cluster"]
    if method == "group" and not any(samples["group"]):
        raise ValueError(
            "split.method=group needs groups. Expected the name of a person, machine or document for each sample. "
            f"Received: none for all {len(clusters)} samples. Name their column with --set group=<column>, or set "
            "split.method: stratified."
        )
    shares = {"val_share": val_share, "test_share": test_share}
    drawn = {"val": val_share, "test": test_share, "train": 1 - val_share - test_share}
    units = clusters if method == "stratified" else by_hash.units_of(clusters, samples["group"])
    given = samples["given_split"]
    if method == "given":
        drawn = {name: drawn[name] for name in ("val", "test") if name not in given}

    def draw(salt: str) -> np.ndarray:
        if method == "given":
            return by_hash.assign_given(given, units, salt=salt, **shares)
        return by_hash.assign_by_hash(units, salt=salt, **shares)

    return Assigned(draw(salt), units, drawn, redraw=draw if drawn else None)


def assign_by_time(samples: Columns, boundaries: Boundaries, windows: tuple[int, int] | None) -> Assigned:
    """Return the split by time, of samples or of the steps of series.

    Args:
        samples: `cluster` and `time` of each sample; with windows also `length` and `step_seconds`.
        boundaries: Shares or dates.
        windows: Steps of history and steps ahead of a window; None where samples are whole.

    Raises:
        ValueError: Times are missing, or a split is too small.
    """
    clusters: list[str] = samples["cluster"]
    if windows is None:
        assigned, dates = split_by_time(samples["time"], boundaries)
        return Assigned(by_hash.without_copies(assigned, clusters), clusters, dates=dates)
    length, horizon = windows
    segments = segments_by_time(
        np.array(samples["length"], np.int64),
        samples["time"],
        np.array(samples["step_seconds"], np.float64),
        boundaries,
        # The first window of train has no earlier split to read its history from.
        (length + horizon, horizon or length),
    )
    nobody = np.full(len(clusters), by_hash.EXCLUDED, dtype=object)
    return Assigned(nobody, clusters, segments=segments)


def assignment_problems(
    method: str, samples: Columns, assigned: Assigned, *, salt: str, task: str
) -> list[str]:
    """Return why a split cannot be used, and another salt where one helps; empty if it can.

    Args:
        method: As in `split.method`.
        samples: `label` and `target` of each sample.
        assigned: The split.
        salt: The salt used.
        task: Classification asks for every class everywhere, regression for every range of targets.
    """
    if assigned.segments:
        return []  # their lengths are checked where series are cut
    grouped = method == "group"
    strata = _strata(method, samples, task)
    problems = split_presence.presence_problems(
        strata,
        assigned.units,
        assigned.splits,
        shares=assigned.drawn,
        noun="groups" if grouped else "contents",
    )

    def too_large(drawn: np.ndarray) -> list[str]:
        return split_presence.size_problems(assigned.units, drawn, shares=assigned.drawn) if grouped else []

    problems += too_large(assigned.splits)
    if not problems or assigned.redraw is None:
        return problems
    other = split_presence.working_salt(
        strata, assigned.redraw, salt=salt, accepts=lambda drawn: not too_large(drawn)
    )
    offer = f"With the data as it is, `split.salt: {other}` puts every class everywhere."
    return [*problems, offer] if other else problems


def _strata(method: str, samples: Columns, task: str) -> list[str]:
    targets = np.array(samples["target"], np.float64)
    if task == "classification":
        return split_presence.class_strata(samples["label"])
    # Times and groups may carry the target up or down; that each split has samples is all one can ask there.
    if method == "stratified" and np.isfinite(targets).all():
        return split_presence.target_strata(targets)
    return ["the data"] * len(targets)
