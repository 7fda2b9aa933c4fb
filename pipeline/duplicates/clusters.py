"""Clusters of copies, whatever the samples are: who stands together, and how that is found without all pairs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

CHUNK_VALUES = 1 << 22
"""Array elements worked on at once."""


@dataclass(frozen=True)
class Duplicates:
    """What stands more than once; all arrays have one entry per sample.

    Attributes:
        cluster: Smallest content hash among all samples connected by exact or near duplication.
        exact_copies: Other samples with the same content.
        near_copies: Other samples of the cluster with another content.
    """

    cluster: np.ndarray
    exact_copies: np.ndarray
    near_copies: np.ndarray


class Clusters:
    """Items that grow together: items connected by pairs, however many pairs lie between them."""

    def __init__(self, number: int) -> None:
        self.labels = np.arange(number)
        """The group of each item, int64, shape (number,)."""

    def apart(self, pairs: np.ndarray) -> np.ndarray:
        """Return the pairs, shape (num_pairs, 2), whose items are not in one group yet."""
        still: np.ndarray = pairs[self.labels[pairs[:, 0]] != self.labels[pairs[:, 1]]]
        return still

    def join(self, pairs: np.ndarray) -> None:
        """Put the two items of each pair, shape (num_pairs, 2), into one group."""
        if len(pairs):
            number = int(self.labels.max()) + 1
            first, second = self.labels[pairs[:, 0]], self.labels[pairs[:, 1]]
            edges = coo_array((np.ones(len(pairs), bool), (first, second)), shape=(number, number))
            merged = connected_components(edges, directed=False)[1]
            self.labels = merged[self.labels].astype(np.int64)


def group_copies(content: Sequence[str], near_pairs: Callable[[np.ndarray], np.ndarray]) -> Duplicates:
    """Return copies and clusters of copies.

    Args:
        content: Hash of the canonical content of each sample.
        near_pairs: Takes the row of the first sample of each different content, int64, shape (num_contents,);
            returns pairs of places in it, shape (num_pairs, 2), that connect all near duplicates.
    """
    # Contents are compared instead of samples: a thousand black images are one content, not a million pairs.
    # They come sorted, so the first content of a cluster is the smallest.
    contents, first_rows, content_of_row, copies = np.unique(
        np.asarray(content, dtype=np.str_), return_index=True, return_inverse=True, return_counts=True
    )
    groups = Clusters(len(contents))
    groups.join(near_pairs(first_rows))
    size = np.bincount(groups.labels, weights=copies, minlength=len(contents)).astype(np.int64)
    smallest = np.full(len(contents), len(contents))
    np.minimum.at(smallest, groups.labels, np.arange(len(contents)))
    group_of_row = groups.labels[content_of_row]
    return Duplicates(
        cluster=contents[smallest[group_of_row]].astype(object),
        exact_copies=copies[content_of_row] - 1,
        near_copies=size[group_of_row] - copies[content_of_row],
    )


def no_near_pairs(rows: np.ndarray) -> np.ndarray:
    """Return no pairs: for data of which only exact copies count. See `group_copies`."""
    return np.empty((0, 2), rows.dtype)


def conflicting_contents(content: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Return the contents that stand under more than one label, sorted."""
    labels_of: dict[str, set[str]] = {}
    for key, label in zip(content, labels, strict=True):
        labels_of.setdefault(key, set()).add(label)
    return sorted(key for key, names in labels_of.items() if len(names) > 1)


def equal_key_pairs(keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the row numbers of all pairs with equal keys, each pair once, in blocks of limited size.

    Args:
        keys: Shape (num_keys,).

    Yields:
        First and second row of each pair, int64, shape (num_pairs,) each.
    """
    order = np.argsort(keys, kind="stable")
    in_order = keys[order]
    end = np.searchsorted(in_order, in_order, side="right")
    partners = end - np.arange(len(keys)) - 1  # pairs in which a place stands first
    for start, stop in blocks(partners):
        count = partners[start:stop]
        place = np.repeat(np.arange(start, stop), count)
        offset = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
        yield order[place], order[place + 1 + offset]


def blocks(sizes: np.ndarray, limit: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield ranges (start, stop) of places, in order, whose sizes add up to about `limit`.

    Args:
        sizes: Not negative, shape (num_places,).
        limit: Sum that a range of more than one place does not exceed; None for `CHUNK_VALUES`.
    """
    limit = CHUNK_VALUES if limit is None else limit
    total = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = total[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(total, before + limit, side="right")))
        yield start, stop
        start = stop
