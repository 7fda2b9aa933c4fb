"""Validation samples from a train set that the source gives: class by class, by rank of hash.

Whoever brings a test set often brings a small train set: of 12 series of a class and `val_share` 0.2 independent
draws leave none for validation in one of 14 cases, and of seven classes one is missing in four of ten. So each class
gives its share of units to val, within a tenth and rounded to whole units: at least one, and never its last.

The hash still says who: the units of a class are sorted by the place that `by_hash` draws for them, and the first so
many are val. Where independent draws meet the share within a tenth they are left alone, which is so for all but a
few classes of a thousand units or more. A new unit therefore moves nobody in such a class, and in a smaller one at
most one old unit of its own class, the one next to the boundary. What may move is val alone: it chooses among
candidates of one run, while a test set must stay comparable from run to run and is drawn by `by_hash` only.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.splits.by_hash import SPLITS, assign_by_hash, place_of, without_copies

TOLERANCE = 0.1
"""Part of its share of val by which a class may miss it before units next to the boundary change sides."""


def assign_given(
    given: Sequence[str],
    clusters: Sequence[str],
    classes: Sequence[Sequence[str]],
    *,
    salt: str,
    val_share: float,
    test_share: float,
) -> np.ndarray:
    """Return the split that the source gives, without what would leak between its parts.

    A test set that the source does not have is drawn by hash from its train set, a val set by rank. A copy of a
    test sample is excluded from val and train, a copy of a val sample from train.

    Args:
        given: `train`, `val` or `test` per sample.
        clusters: Name of the cluster of copies each sample belongs to.
        classes: Of each sample, none where it has no class.
        salt: Another salt draws another val set.
        val_share: Share of val among the given train samples, where val is not given.
        test_share: Expected share of test, in the same way.

    Returns:
        `train`, `val`, `test` or `excluded`, shape (num_samples,).

    Raises:
        ValueError: A sample has no given split, or nothing is given to train on.
    """
    sizes = Counter(given)
    unknown = sorted(set(sizes) - set(SPLITS))
    if unknown or not sizes["train"]:
        raise ValueError(
            "split.method=given needs a source that says for every sample where it belongs. Expected train, val or "
            f"test for each, and at least one in train. Received: {dict(sorted(sizes.items()))}. "
            "Set split.method: stratified, or put every sample below train/, val/ or test/."
        )
    val_share = 0.0 if sizes["val"] else val_share
    test_share = 0.0 if sizes["test"] else test_share
    by_hash = assign_by_hash(clusters, salt=salt, val_share=val_share, test_share=test_share)
    classes_of: dict[str, list[str]] = {}
    for row in np.flatnonzero(is_drawn(given, clusters)).tolist():
        classes_of.setdefault(clusters[row], []).extend(classes[row])
    val = val_by_rank(classes_of, salt=salt, val_share=val_share, test_share=test_share)
    chosen = np.where([cluster in val for cluster in clusters], "val", "train").astype(object)
    splits = np.asarray(given, dtype=object)
    splits = np.where(splits != "train", splits, np.where(by_hash == "test", by_hash, chosen))
    return without_copies(splits, clusters)


def is_drawn(given: Sequence[str], clusters: Sequence[str]) -> np.ndarray:
    """Return for each sample whether its place is drawn: the source gives its whole cluster (or unit) to train.

    Args:
        given: `train`, `val` or `test` per sample.
        clusters: Name of the cluster of copies each sample belongs to.
    """
    judging = {cluster for cluster, own in zip(clusters, given, strict=True) if own != "train"}
    return np.array([cluster not in judging for cluster in clusters], bool)


def val_by_rank(
    classes_of: Mapping[str, Sequence[str]], *, salt: str, val_share: float, test_share: float = 0.0
) -> set[str]:
    """Return the units that are val.

    Args:
        classes_of: Unit to the classes of its samples, none where samples have no class. A unit of several counts
            for the rarest of them, by number of units and then by name.
        salt: Another salt draws another val set.
        val_share: Share of val among these units, in [0, 1).
        test_share: Share of places that belong to test; units that stand there are left out.
    """
    frequency = Counter(name for names in classes_of.values() for name in set(names))
    ranked: dict[str, list[tuple[float, str]]] = {}
    for unit, names in classes_of.items():
        place = place_of(unit, salt)
        if place >= test_share:
            rarest = min(names, key=lambda name: (frequency[name], name), default="")
            ranked.setdefault(rarest, []).append((place, unit))
    val = set[str]()
    for units in ranked.values():
        drawn = sum(place < test_share + val_share for place, _ in units)
        least, most = bounds(len(units), val_share / (1 - test_share))
        val.update(unit for _, unit in sorted(units)[: min(max(drawn, least), most)])
    return val


def bounds(num_units: int, share: float) -> tuple[int, int]:
    """Return the smallest and the largest number of units of a class that may be val.

    Args:
        num_units: Units of the class.
        share: Share of val among them, in [0, 1).
    """
    if not share or num_units < 2:
        return 0, 0
    wanted = share * num_units
    least, most = (math.floor(wanted * factor + 0.5) for factor in (1 - TOLERANCE, 1 + TOLERANCE))
    return min(max(1, least), num_units - 1), min(max(1, most), num_units - 1)
