"""From the columns of the sample table to who is where, by each method of `split.method`."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.splits import by_hash, by_rank
from pipeline.splits.by_hash import EXCLUDED, SPLITS
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
        is_drawn: Per sample, whether it was drawn; None where hashes decided nothing.
        segments: Of series that windows slide over, else none.
        dates: `val_start` and `test_start` where times decided.
        redraw: Returns the splits for another salt, where hashes decided.
    """

    splits: np.ndarray
    units: list[str]
    drawn: dict[str, float] = field(default_factory=dict)
    is_drawn: np.ndarray | None = None
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
        samples: `cluster`, `group`, `given_split` and `label` of each sample; of several labels `labels`.
        val_share: Expected share of val; of a given train set the share of each class.
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
    is_drawn = np.ones(len(units), bool)
    if method == "given":
        drawn = {name: drawn[name] for name in ("val", "test") if name not in given}
        is_drawn = by_rank.is_drawn(given, units)
    classes = samples.get("labels") or [[label] if label else [] for label in samples["label"]]

    def draw(salt: str) -> np.ndarray:
        if method == "given":
            return by_rank.assign_given(given, units, classes, salt=salt, **shares)
        return by_hash.assign_by_hash(units, salt=salt, **shares)

    splits = draw(salt)
    return Assigned(splits, units, drawn, is_drawn, redraw=draw) if drawn else Assigned(splits, units)


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
        samples: `label` and `target` of each sample; task multilabel: `labels`, the names of all of its labels.
        assigned: The split.
        salt: The salt used.
        task: Classification asks for every class everywhere, multilabel for every label, regression for every range
            of targets.
    """
    if assigned.segments:
        return []  # their lengths are checked where series are cut
    grouped = method == "group"
    strata, of = _strata(method, samples, task)
    problems = presence_problems(
        strata,
        [assigned.units[row] for row in of.tolist()],
        assigned.splits[of],
        shares=assigned.drawn,
        noun="groups" if grouped else "contents",
        is_drawn=None if assigned.is_drawn is None else assigned.is_drawn[of],
    )

    def too_large(drawn: np.ndarray) -> list[str]:
        return size_problems(assigned.units, drawn, shares=assigned.drawn) if grouped else []

    problems += too_large(assigned.splits)
    if not problems or assigned.redraw is None:
        return problems

    def accepts(drawn: np.ndarray) -> bool:
        return not too_large(drawn) and keeps_shares(assigned, drawn)

    other = working_salt(strata, assigned.redraw, salt=salt, accepts=accepts, rows=of)
    offer = (
        f"With the data as it is, `split.salt: {other}` puts every class everywhere, and keeps the shares."
    )
    return [*problems, offer] if other else problems


def _strata(method: str, samples: Columns, task: str) -> tuple[list[str], np.ndarray]:
    """Return strata, and the row that each is of: of several labels a row stands for each of them."""
    rows = np.arange(len(samples["target"]))
    if task == "multilabel":
        pairs = [(row, label) for row, labels in enumerate(samples["labels"]) for label in labels]
        return [f"label {label!r}" for _, label in pairs], np.array([row for row, _ in pairs], np.int64)
    return _strata_of_rows(method, samples, task), rows


def _strata_of_rows(method: str, samples: Columns, task: str) -> list[str]:
    targets = np.array(samples["target"], np.float64)
    if task == "classification":
        return class_strata(samples["label"])
    # Times and groups may carry the target up or down; that each split has samples is all one can ask there.
    if method == "stratified" and np.isfinite(targets).all():
        return target_strata(targets)
    return ["the data"] * len(targets)


# --- Whether a split can be used: every class (or range of targets) is everywhere, and no group is too large.
#
# Every problem says the smallest number of samples that would mend it, and offers another salt where one
# works.

SALTS_TRIED = 200
ABSENCE_RISK = 0.001
"""How often a class may be missing somewhere by chance, where a number of samples is recommended."""
OVERSIZE = 1.5
"""A unit may fill its split half as large again as its share: draws of few units scatter that much anyway."""
SHARE_TOLERANCE = 0.1
"""Part of a share by which an offered salt may miss it, counted in units; one unit is always allowed."""
TARGET_BINS = 5
"""Quantile bins of regression targets; each must be everywhere, as a class must."""


def class_strata(labels: Sequence[str]) -> list[str]:
    """Return the stratum of each sample as messages name it: `class 'hat'`."""
    return [f"class {label!r}" for label in labels]


def target_strata(targets: np.ndarray) -> list[str]:
    """Return the quantile bin of each target as messages name it; equal targets are in one bin.

    Args:
        targets: Numbers, float64, shape (num_samples,), all finite.
    """
    edges = np.unique(np.quantile(targets, np.linspace(0, 1, TARGET_BINS + 1)))
    bins = np.clip(np.searchsorted(edges, targets, side="right") - 1, 0, max(len(edges) - 2, 0))
    highs = edges[1:] if len(edges) > 1 else edges
    return [f"the range of targets from {edges[place]:g} to {highs[place]:g}" for place in bins]


def presence_problems(
    strata: Sequence[str],
    units: Sequence[str],
    splits: np.ndarray,
    *,
    shares: Mapping[str, float],
    noun: str = "contents",
    is_drawn: np.ndarray | None = None,
) -> list[str]:
    """Return one message per stratum that is missing from a split; empty if every one is everywhere.

    Args:
        strata: What each sample must not be alone in, as messages name it.
        units: What of each sample is drawn: its cluster of copies, or its group.
        splits: As assigned.
        shares: Share of each split that was drawn by hash; splits that the source gave are not in it.
        noun: What units are called.
        is_drawn: Per sample, whether its unit is drawn and not placed by the source; None: all are.
    """
    present = {split: set(np.asarray(strata, dtype=object)[splits == split]) for split in SPLITS}
    missing = [
        (stratum, split)
        for stratum in sorted(set(strata))
        for split in SPLITS
        if stratum not in present[split]
    ]
    counted = splits != EXCLUDED
    if is_drawn is not None:
        counted &= is_drawn
    units_of: dict[str, set[str]] = {stratum: set() for stratum in strata}
    for stratum, unit, counts in zip(strata, units, counted.tolist(), strict=True):
        units_of[stratum].update([unit] if counts else [])
    return [
        f"{stratum} has no sample in {split}. Expected at least one. Received: "
        + (f"{len(units_of[stratum])} different {noun} to share out. " if split in shares else "none. ")
        + _presence_fix(split, len(units_of[stratum]), shares, noun)
        for stratum, split in missing
    ]


def size_problems(
    units: Sequence[str],
    splits: np.ndarray,
    *,
    shares: Mapping[str, float],
    sizes: Mapping[str, int] | None = None,
) -> list[str]:
    """Return one message per unit that is too large for the split it was drawn into.

    Args:
        units: What was drawn: the group of each sample, with all copies of its members.
        splits: As drawn.
        shares: Share of each split.
        sizes: Samples of each unit, where `units` does not name it once for each of them.
    """
    split_of = dict(zip(units, splits, strict=True))
    sizes = Counter(units) if sizes is None else sizes
    total = sum(sizes.values())
    problems = []
    for unit, count in sorted(sizes.items()):
        split = split_of[unit]
        if split in shares and count > OVERSIZE * shares[split] * total:
            share = count / total
            raised = (
                f"raise split.{split}_share to {share:.2f}" if split != "train" else "lower the other shares"
            )
            problems.append(
                f"group {unit!r} is larger than {split}, which it was drawn into. Expected at most "
                f"{int(OVERSIZE * shares[split] * total)} of {total} samples, {OVERSIZE:g} times the share "
                f"of {split}. Received: {count} samples. Add other groups: at least "
                f"{math.ceil(count / (OVERSIZE * shares[split]))} samples are needed in all; or {raised}, or set "
                "another split.salt."
            )
    return problems


def keeps_shares(assigned: Assigned, splits: np.ndarray) -> bool:
    """Return whether a draw gives each split its share of the drawn units, within `SHARE_TOLERANCE` or one unit.

    Args:
        assigned: Units, which of them are drawn, and the shares.
        splits: As drawn with another salt, shape (num_samples,).
    """
    drawn = np.ones(len(splits), bool) if assigned.is_drawn is None else assigned.is_drawn
    split_of = {assigned.units[row]: splits[row] for row in np.flatnonzero(drawn).tolist()}
    counts = Counter(split_of.values())
    wanted = {split: share * len(split_of) for split, share in assigned.drawn.items()}
    return all(abs(counts[split] - want) <= max(1, SHARE_TOLERANCE * want) for split, want in wanted.items())


def working_salt(
    strata: Sequence[str],
    draw: Callable[[str], np.ndarray],
    *,
    salt: str,
    accepts: Callable[[np.ndarray], bool] = lambda _splits: True,
    rows: np.ndarray | None = None,
) -> str | None:
    """Return the first of some salts under which every stratum is in every split, None if none is.

    Args:
        strata: What must be everywhere.
        draw: Returns the splits of all samples for a salt.
        salt: The one that does not work; the offered ones are made from it.
        accepts: What else is asked of the splits of all samples.
        rows: The sample that each stratum is of; None: there is one of each sample.
    """
    wanted = {(stratum, split) for stratum in set(strata) for split in SPLITS}
    for number in range(1, SALTS_TRIED + 1):
        candidate = f"{salt}-{number}"
        splits = draw(candidate)
        drawn = splits if rows is None else splits[rows]
        if wanted <= set(zip(strata, drawn.tolist(), strict=True)) and accepts(splits):
            return candidate
    return None


def salt_for_groups(
    members: Mapping[str, Mapping[str, int]], *, val_share: float, test_share: float, salt: str
) -> str | None:
    """Return a salt with which groups that nobody has split yet can be split, None if none is found.

    It is the given one where that will do; what stage split finds out later, copies that join groups, is not known.

    Args:
        members: Group to class to samples; class "" where there are none.
        val_share: Expected share of val.
        test_share: Expected share of test.
        salt: The one to begin with.
    """
    pairs = [(group, label) for group, held in sorted(members.items()) for label in sorted(held)]
    units = [group for group, _ in pairs]
    strata = [label for _, label in pairs]
    sizes = {group: sum(held.values()) for group, held in members.items() if held}
    drawn = {"val": val_share, "test": test_share, "train": 1 - val_share - test_share}
    assigned = Assigned(np.empty(0, object), units, drawn)

    def draw(salt: str) -> np.ndarray:
        return by_hash.assign_by_hash(units, salt=salt, val_share=val_share, test_share=test_share)

    def fits(splits: np.ndarray) -> bool:
        return not size_problems(units, splits, shares=drawn, sizes=sizes)

    first = draw(salt)
    if fits(first) and not presence_problems(strata, units, first, shares=drawn):
        return salt
    return working_salt(
        strata, draw, salt=salt, accepts=lambda splits: fits(splits) and keeps_shares(assigned, splits)
    )


def _presence_fix(split: str, num_units: int, shares: Mapping[str, float], noun: str) -> str:
    if split not in shares:
        return (
            f"Add samples of it to {split} in the source, move the dates of a split by time, or leave it out."
        )
    needed = 1 + sum(name in shares for name in ("val", "test"))
    if num_units < needed:
        return f"Add {needed - num_units} or more: at least {needed} are needed, one for each split."
    if split == "train":
        return "Add samples of it, or lower split.val_share and split.test_share."
    if shares[split] == 0:
        return f"Raise split.{split}_share above 0."
    enough = max(needed, math.ceil(math.log(ABSENCE_RISK) / math.log1p(-shares[split])))
    return (
        f"Bad luck of the draw; from {enough} {noun} on it happens less than once in a thousand draws. "
        f"Add samples of it, raise split.{split}_share, or set another split.salt."
    )


# --- Figures of a split for people and reports: sizes, classes, dates, and the audit of overlap.

NAMES = (*by_hash.SPLITS, by_hash.EXCLUDED)


def split_summary(method: str, samples: Columns, assigned: Assigned, task: str) -> dict[str, Any]:
    """Return the content of reports/split/summary.json.

    Args:
        method: As in `split.method`.
        samples: `label`, `given_split`, `group` and `cluster` of each sample.
        assigned: The split.
        task: What is asked of the data; only classification and multilabel have classes.

    Returns:
        `samples` counts lines of split.parquet, `steps` the steps of series that are cut (else it is empty),
        `shares` are of steps or samples, `dates` are what `split.val_start` and `test_start` would pin.
    """
    segments = assigned.segments
    counts = Counter([part.split for part in segments] if segments else assigned.splits.tolist())
    steps = _steps(segments)
    # Of what is cut, steps: an average over segments would say nothing.
    sizes = steps if segments else counts
    return {
        "method": method,
        "task": task,
        "samples": {name: counts[name] for name in NAMES},
        "steps": {name: steps[name] for name in NAMES} if segments else {},
        "shares": {name: round(sizes[name] / sum(sizes.values()), 6) for name in by_hash.SPLITS},
        "classes": {} if segments else _class_counts(samples, assigned.splits, task),
        "dates": assigned.dates,
        "overlap": _overlap(samples, assigned),
        "groups": len(set(samples["group"]) - {""}),
        "clusters": len(set(samples["cluster"])),
        "largest_cluster": max(Counter(samples["cluster"]).values()),
    }


def _class_counts(samples: Columns, splits: np.ndarray, task: str) -> dict[str, dict[str, int]]:
    if task == "classification":
        return by_hash.class_counts(samples["label"], splits)
    if task != "multilabel":
        return {}
    pairs = [
        (split, label) for split, labels in zip(splits, samples["labels"], strict=True) for label in labels
    ]
    return by_hash.class_counts(
        [label for _, label in pairs], np.array([split for split, _ in pairs], object)
    )


def _steps(segments: list[Segment]) -> Counter[str]:
    steps = Counter[str]()
    for part in segments:
        steps[part.split] += part.stop - part.start
    return steps


def _overlap(samples: Columns, assigned: Assigned) -> dict[str, Any]:
    """Return how many clusters (or groups) are torn, 0, and what was excluded so that none is."""
    left_out = assigned.splits == by_hash.EXCLUDED
    excluded = Counter(given for given, out in zip(samples["given_split"], left_out, strict=True) if out)
    return {
        "clusters_in_two_splits": by_hash.shared_clusters(assigned.units, assigned.splits),
        "excluded_copies_given_as": {
            name: 0 if assigned.segments else excluded[name] for name in by_hash.SPLITS
        },
    }
