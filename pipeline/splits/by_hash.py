"""Who trains, who chooses (val), who judges (test).

The place of a sample follows from a hash of its unit alone, and of nothing else in the data. A unit is what
must not be torn apart: a cluster of copies or, where samples belong to persons, machines or documents, a
group with all copies of its members (`units_of`). Therefore

- copies always stand together, also under different labels, and so do groups;
- order of rows, names and machine do not matter;
- new samples move no old one (except the copies of an old one, where one of the new copies becomes the
  smallest content of the cluster and so its name, and groups that a new sample joins into one unit);
- correcting a label does not move its sample from test to train.

It is stratified in expectation: every class gets the same shares, with the scatter of independent draws
(a class of 100 at `test_share` 0.2 gets 20 +- 4). Counting out exact shares class by class would scatter
less, but then every new sample could move an old one, and a test set that changes cannot be compared with.
What matters in the end, that no class is missing anywhere, is checked by `pipeline.splits.assignment`. Val from a
train set that the source gives is the exception: `pipeline.splits.by_rank` counts it out class by class.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

SPLITS = ("train", "val", "test")
EXCLUDED = "excluded"
"""Not used at all: a copy of a sample that the source has put into a split nearer to judgement."""


def units_of(clusters: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Return the unit of each sample: what is connected by clusters of copies and by groups.

    Args:
        clusters: Name of the cluster of copies each sample belongs to.
        groups: Name of its group, "" for none.

    Returns:
        The smallest group name of the unit, so that a new member moves nobody; of a unit without a group
        the name of its cluster.
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for cluster, group in zip(clusters, groups, strict=True):
        if group:
            first, second = sorted((root(f"c{cluster}"), root(f"g{group}")))
            parent[first] = second  # of two roots the greater stays; names are taken from the members below
    smallest: dict[str, str] = {}
    for group in sorted(set(groups) - {""}, reverse=True):
        smallest[root(f"g{group}")] = group
    return [smallest.get(root(f"c{cluster}"), cluster) for cluster in clusters]


def assign_by_hash(clusters: Sequence[str], *, salt: str, val_share: float, test_share: float) -> np.ndarray:
    """Return the split of each sample by the hash of its cluster.

    Args:
        clusters: Name of the cluster of copies each sample belongs to.
        salt: Another salt draws another split.
        val_share: Expected share of val, in [0, 1).
        test_share: Expected share of test, in [0, 1).

    Returns:
        `train`, `val` or `test`, shape (num_samples,).

    Raises:
        ValueError: The shares leave nothing to train on.
    """
    if min(val_share, test_share) < 0 or val_share + test_share >= 1:
        raise ValueError(
            "The shares must leave a train set. Expected val_share and test_share from 0 and a sum below 1. "
            f"Received: val_share={val_share}, test_share={test_share}."
        )
    split_of = {cluster: drawn_split(cluster, salt, val_share, test_share) for cluster in set(clusters)}
    return np.array([split_of[cluster] for cluster in clusters], dtype=object)


def without_copies(splits: np.ndarray, clusters: Sequence[str]) -> np.ndarray:
    """Return the splits with `excluded` for every sample whose cluster also stands nearer to judgement.

    Args:
        splits: `train`, `val`, `test` or `excluded`, shape (num_samples,).
        clusters: Name of the cluster (or unit) of each sample.
    """
    nearest = _nearest_to_judgement(clusters, splits)
    leaks = [split != nearest.get(cluster) for cluster, split in zip(clusters, splits, strict=True)]
    return np.where(leaks, EXCLUDED, splits)


def shared_clusters(clusters: Sequence[str], splits: np.ndarray) -> int:
    """Return how many clusters stand in more than one of train, val and test: 0, or there is a leak."""
    splits_of: dict[str, set[str]] = {}
    for cluster, split in zip(clusters, splits, strict=True):
        splits_of.setdefault(cluster, set()).add(split)
    return sum(len(found - {EXCLUDED}) > 1 for found in splits_of.values())


def class_counts(labels: Sequence[str], splits: np.ndarray) -> dict[str, dict[str, int]]:
    """Return the number of samples per class and split, `{label: {split: count}}`."""
    pairs = Counter(zip(labels, splits, strict=True))
    names = (*SPLITS, EXCLUDED) if EXCLUDED in splits else SPLITS
    return {label: {split: pairs[label, split] for split in names} for label in sorted(set(labels))}


def place_of(cluster: str, salt: str) -> float:
    """Return the place in [0, 1) that the hash of a cluster (or unit) gives it, the same on every machine."""
    digest = hashlib.sha256(f"{salt}|{cluster}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def drawn_split(cluster: str, salt: str, val_share: float, test_share: float) -> str:
    """Return the split that the place of a cluster (or unit) falls into: test first, then val, then train."""
    place = place_of(cluster, salt)
    if place < test_share:
        return "test"
    return "val" if place < test_share + val_share else "train"


def _nearest_to_judgement(clusters: Sequence[str], splits: np.ndarray) -> dict[str, str]:
    """Return for each cluster the split of its members that must stay clean: test before val before train."""
    nearest: dict[str, str] = {}
    for split in SPLITS:
        nearest.update(
            (cluster, split) for cluster, own in zip(clusters, splits, strict=True) if own == split
        )
    return nearest
