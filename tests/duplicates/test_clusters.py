"""Clusters of copies, whatever the samples are."""

import numpy as np
import pytest

from pipeline.duplicates.clusters import Clusters, blocks, conflicting_contents, group_copies, no_near_pairs


def spread(number, pairs):
    """Return the connected components, found by handing the smaller label on until nothing changes."""
    label = list(range(number))
    before = None
    while before != label:
        before = list(label)
        for first, second in pairs:
            label[first] = label[second] = min(label[first], label[second])
    return {frozenset(item for item in range(number) if label[item] == one) for one in label}


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_connected_components(seed):
    """Joined in portions, items stand together as the smallest labels say that spread along all pairs."""
    random = np.random.default_rng(seed)
    pairs = random.integers(0, 60, (40, 2))
    groups = Clusters(60)
    for portion in np.split(pairs, [0, 3, 17]):
        groups.join(portion)
    found = {frozenset(np.flatnonzero(groups.labels == label).tolist()) for label in set(groups.labels)}
    assert spread(60, pairs.tolist()) == found
    assert len(groups.apart(pairs)) == 0


def test_pairs_inside_a_group_are_known_already():
    """After 0-1 and 1-2, the pair 0-2 is no news, 2-3 is."""
    groups = Clusters(4)
    groups.join(np.array([[0, 1], [1, 2]]))
    assert groups.apart(np.array([[0, 2], [2, 3]])).tolist() == [[2, 3]]


def test_clusters_are_named_by_their_smallest_content():
    """Near copies c and a stand under a; both samples of b are exact copies only."""
    found = group_copies(["c", "b", "a", "b"], lambda rows: np.array([[0, 2]]) if len(rows) == 3 else None)
    assert found.cluster.tolist() == ["a", "b", "a", "b"]
    assert found.exact_copies.tolist() == [0, 1, 0, 1]
    assert found.near_copies.tolist() == [1, 0, 1, 0]


def test_without_near_pairs_each_content_is_its_own_cluster():
    """Windowed series: only equal contents share a cluster."""
    assert group_copies(["b", "a", "b"], no_near_pairs).cluster.tolist() == ["b", "a", "b"]


def test_blocks_keep_the_limit():
    """Ranges follow each other to the end; only a place that is too large alone exceeds the limit."""
    sizes = np.array([3, 3, 9, 1, 1, 1, 5])
    found = list(blocks(sizes, 6))
    assert found == [(0, 2), (2, 3), (3, 6), (6, 7)]


def test_one_content_under_two_labels_is_a_conflict():
    """Only contents with different labels are named."""
    assert conflicting_contents(["a", "b", "a", "b", "c"], ["hat", "hat", "shoe", "hat", "bag"]) == ["a"]
