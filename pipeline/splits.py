"""Who trains, who chooses (val), who judges (test).

The place of a sample follows from a hash of its cluster alone, that is of its own pixels and those of its
copies, and of nothing else in the data. Therefore

- copies always stand together, also under different labels;
- order of rows, names and machine do not matter;
- new samples move no old one (except the copies of an old one, where one of the new copies becomes the
  smallest content of the cluster and so its name);
- correcting a label does not move its sample from test to train.

It is stratified in expectation: every class gets the same shares, with the scatter of independent draws
(a class of 100 at `test_share` 0.2 gets 20 +- 4). Counting out exact shares class by class would scatter
less, but then every new sample could move an old one, and a test set that changes cannot be compared with.
What matters in the end, that no class is missing anywhere, is checked by `presence_problems`.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

SPLITS = ("train", "val", "test")
EXCLUDED = "excluded"
"""Not used at all: a copy of a sample that the source has put into a split nearer to judgement."""

SALTS_TRIED = 200
ABSENCE_RISK = 0.001
"""How often a class may be missing somewhere by chance, where a number of samples is recommended."""


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
    split_of = {cluster: _draw(cluster, salt, val_share, test_share) for cluster in set(clusters)}
    return np.array([split_of[cluster] for cluster in clusters], dtype=object)


def assign_given(
    given: Sequence[str], clusters: Sequence[str], *, salt: str, val_share: float, test_share: float
) -> np.ndarray:
    """Return the split that the source gives, without what would leak between its parts.

    A test or val set that the source does not have is drawn by hash from its train set. A copy of a test
    sample is excluded from val and train, a copy of a val sample from train.

    Args:
        given: `train`, `val` or `test` per sample.
        clusters: Name of the cluster of copies each sample belongs to.
        salt: Another salt draws another val set.
        val_share: Expected share of val among the given train samples, where val is not given.
        test_share: The same for test.

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
    drawn = assign_by_hash(
        clusters,
        salt=salt,
        val_share=0.0 if sizes["val"] else val_share,
        test_share=0.0 if sizes["test"] else test_share,
    )
    splits = np.where(np.asarray(given, dtype=object) == "train", drawn, np.asarray(given, dtype=object))
    nearest = _nearest_to_judgement(clusters, splits)
    leaks = [split != nearest[cluster] for cluster, split in zip(clusters, splits, strict=True)]
    return np.where(leaks, EXCLUDED, splits)


def presence_problems(
    labels: Sequence[str],
    clusters: Sequence[str],
    splits: np.ndarray,
    *,
    shares: dict[str, float],
    salt: str,
) -> list[str]:
    """Return one message per class that is missing from a split; empty if every class is everywhere.

    Args:
        labels: Class of each sample.
        clusters: Cluster of each sample.
        splits: As assigned.
        shares: Share of each split that was drawn by hash; splits that the source gave are not in it.
        salt: The salt used, to offer another one that works.
    """
    present = {split: set(np.asarray(labels, dtype=object)[splits == split]) for split in SPLITS}
    missing = [
        (label, split) for label in sorted(set(labels)) for split in SPLITS if label not in present[split]
    ]
    if not missing:
        return []
    clusters_of: dict[str, set[str]] = {}
    for label, cluster, split in zip(labels, clusters, splits, strict=True):
        clusters_of.setdefault(label, set()).update([cluster] if split != EXCLUDED else [])
    problems = [
        f"class {label!r} has no sample in {split}. Expected at least one. "
        f"Received: {len(clusters_of[label])} different contents to share out. "
        f"{_presence_fix(split, len(clusters_of[label]), shares)}"
        for label, split in missing
    ]
    if all(split in shares for _, split in missing):
        other = _working_salt(labels, clusters, shares, salt)
        problems += (
            [f"With the data as it is, `split.salt: {other}` puts every class everywhere."] if other else []
        )
    return problems


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


def _draw(cluster: str, salt: str, val_share: float, test_share: float) -> str:
    digest = hashlib.sha256(f"{salt}|{cluster}".encode()).digest()
    place = int.from_bytes(digest[:8]) / 2**64
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


def _presence_fix(split: str, num_clusters: int, shares: dict[str, float]) -> str:
    if split not in shares:
        return f"Add samples of it to {split} in the source, or leave the class out."
    needed = 1 + sum(name in shares for name in ("val", "test"))
    if num_clusters < needed:
        return f"Add {needed - num_clusters} or more: at least {needed} are needed, one for each split."
    enough = max(needed, math.ceil(math.log(ABSENCE_RISK) / math.log1p(-shares[split])))
    return (
        f"Bad luck of the draw; from {enough} contents on it happens less than once in a thousand draws. "
        f"Add samples of it, raise split.{split}_share, or set another split.salt."
        if split != "train"
        else "Add samples of it, or lower split.val_share and split.test_share."
    )


def _working_salt(
    labels: Sequence[str], clusters: Sequence[str], shares: dict[str, float], salt: str
) -> str | None:
    """Return the first of some salts under which every class is in every split, None if none is.

    Tried for splits drawn wholly by hash only: the classes of given splits do not depend on the salt alone.
    """
    if set(shares) != set(SPLITS):
        return None
    pairs = sorted(set(zip(labels, clusters, strict=True)))
    wanted = {(label, split) for label in set(labels) for split in SPLITS}
    for number in range(1, SALTS_TRIED + 1):
        candidate = f"{salt}-{number}"
        found = {
            (label, _draw(cluster, candidate, shares["val"], shares["test"])) for label, cluster in pairs
        }
        if found == wanted:
            return candidate
    return None
