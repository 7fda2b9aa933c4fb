"""Splits: disjoint, exhaustive, the same in any order, stable under growth, safe against copies."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.splits.by_hash import (
    EXCLUDED,
    SPLITS,
    assign_by_hash,
    class_counts,
    shared_clusters,
    units_of,
)

SHARES = {"salt": "s", "val_share": 0.15, "test_share": 0.2}
clusters_lists = st.lists(st.text("abcdef0123456789", min_size=1, max_size=4), min_size=1, max_size=60)


def names(count, prefix=""):
    """Return that many different cluster names."""
    return [hashlib.sha256(f"{prefix}{number}".encode()).hexdigest() for number in range(count)]


def split_of(clusters, splits):
    """Return the split of each cluster."""
    return dict(zip(clusters, splits, strict=True))


@settings(deadline=None)
@given(clusters_lists, st.floats(0, 0.49), st.floats(0, 0.49), st.text(max_size=5))
def test_every_sample_gets_one_split(clusters, val_share, test_share, salt):
    """Splits are exhaustive and disjoint, for any shares and salt."""
    splits = assign_by_hash(clusters, salt=salt, val_share=val_share, test_share=test_share)
    assert len(clusters) == len(splits)
    assert set(splits) <= set(SPLITS)


@settings(deadline=None)
@given(clusters_lists)
def test_copies_stay_together(clusters):
    """All samples of a cluster stand in one split."""
    assert shared_clusters(clusters, assign_by_hash(clusters, **SHARES)) == 0


@settings(deadline=None)
@given(clusters_lists, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(clusters, random):
    """A shuffled table gives every sample the split it had."""
    order = list(range(len(clusters)))
    random.shuffle(order)
    straight = assign_by_hash(clusters, **SHARES)
    shuffled = assign_by_hash([clusters[place] for place in order], **SHARES)
    assert straight[order].tolist() == shuffled.tolist()


@settings(deadline=None)
@given(clusters_lists, clusters_lists)
def test_new_samples_move_no_old_one(old, new):
    """Growth leaves every old sample where it was, whatever comes."""
    before = split_of(old, assign_by_hash(old, **SHARES))
    after = split_of(old + new, assign_by_hash(old + new, **SHARES))
    assert before == {cluster: after[cluster] for cluster in before}


@settings(deadline=None)
@given(clusters_lists, st.floats(0.05, 0.3), st.floats(0.05, 0.15))
def test_a_larger_test_share_only_adds_to_test(clusters, test_share, more):
    """Raising test_share takes samples into test, and gives none of it back."""
    small = assign_by_hash(clusters, salt="s", val_share=0.1, test_share=test_share)
    large = assign_by_hash(clusters, salt="s", val_share=0.1, test_share=test_share + more)
    assert np.all(large[small == "test"] == "test")


def test_shares_are_met_class_by_class():
    """Every class of 3,000 gets 15 and 20 percent, within four standard deviations of a fair draw."""
    for label in "abc":
        counts = Counter(assign_by_hash(names(3000, label), **SHARES))
        for split, share in (("val", 0.15), ("test", 0.2)):
            assert abs(counts[split] - 3000 * share) < 4 * np.sqrt(3000 * share * (1 - share))


def test_the_draw_is_the_documented_one():
    """The first 8 bytes of sha256(salt|cluster), as a fraction, against the shares: on every machine, for ever."""
    for cluster in names(200):
        place = int(hashlib.sha256(f"s|{cluster}".encode()).hexdigest()[:16], 16) / 2**64
        expected = "test" if place < 0.2 else "val" if place < 0.35 else "train"
        assert [expected] == assign_by_hash([cluster], **SHARES).tolist()


def test_another_salt_draws_another_split():
    """The salt changes places."""
    clusters = names(200)
    assert (
        assign_by_hash(clusters, **SHARES).tolist()
        != assign_by_hash(clusters, **SHARES | {"salt": "t"}).tolist()
    )


@pytest.mark.parametrize(("val_share", "test_share"), [(0.5, 0.5), (-0.1, 0.2), (0.2, 1.0)])
def test_shares_that_leave_no_train_set_are_refused(val_share, test_share):
    """Shares must be at least 0 and add up to less than 1."""
    with pytest.raises(ValueError, match="must leave a train set"):
        assign_by_hash(["a"], salt="s", val_share=val_share, test_share=test_share)


groups_lists = st.lists(
    st.tuples(st.text("abcdef", min_size=1, max_size=2), st.sampled_from(["", "p1", "p2", "p3", "p4", "p5"])),
    min_size=1,
    max_size=40,
)


def connected(members):
    """Return which samples hang together, by walking from each one: a second way to find the units."""
    parts = []
    for start in range(len(members)):
        seen, waiting = {start}, [start]
        while waiting:
            cluster, group = members[waiting.pop()]
            near = {
                place
                for place, (other, other_group) in enumerate(members)
                if other == cluster or (group and other_group == group)
            }
            waiting += near - seen
            seen |= near
        parts.append(frozenset(seen))
    return parts


@settings(deadline=None)
@given(groups_lists)
def test_a_unit_is_what_clusters_and_groups_connect(members):
    """Two samples share a unit exactly if a chain of copies and group members leads from one to the other."""
    units = units_of(*zip(*members, strict=True))
    parts = connected(members)
    for first in range(len(members)):
        for second in range(len(members)):
            assert (parts[first] == parts[second]) == (units[first] == units[second])


def test_a_unit_is_named_by_its_first_group():
    """The smallest group name of what hangs together; without a group the cluster's name."""
    assert ["p1", "p1", "p1", "c"] == units_of(["a", "b", "b", "c"], ["p2", "p2", "p1", ""])


@settings(deadline=None)
@given(groups_lists, groups_lists)
def test_new_samples_of_known_groups_and_new_contents_move_no_old_one(old, more):
    """A person with more recordings stays where they are, as long as nothing joins two persons into one."""
    fresh = [(f"new{place}", group) for place, (_, group) in enumerate(more)]
    before = assign_by_hash(units_of(*zip(*old, strict=True)), **SHARES)
    after = assign_by_hash(units_of(*zip(*old, *fresh, strict=True)), **SHARES)
    assert before.tolist() == after[: len(old)].tolist()


@settings(deadline=None)
@given(groups_lists, st.randoms(use_true_random=False))
def test_units_do_not_depend_on_the_order_of_rows(members, random):
    """Shuffled rows have the units they had."""
    order = list(range(len(members)))
    random.shuffle(order)
    straight = units_of(*zip(*members, strict=True))
    assert [straight[place] for place in order] == units_of(
        *zip(*[members[place] for place in order], strict=True)
    )


def test_shared_clusters_are_counted():
    """A cluster in train and test is a leak; an excluded copy is none."""
    clusters = ["a", "a", "b", "b", "c"]
    splits = np.array(["train", "test", "train", EXCLUDED, "val"], dtype=object)
    assert shared_clusters(clusters, splits) == 1


def test_class_counts_are_complete():
    """Every class has a number for every split, also 0; `excluded` appears where there is one."""
    counts = class_counts(["hat", "hat", "shoe"], np.array(["train", "test", "train"], dtype=object))
    assert counts == {
        "hat": {"train": 1, "val": 0, "test": 1},
        "shoe": {"train": 1, "val": 0, "test": 0},
    }
    assert class_counts(["hat"], np.array([EXCLUDED], dtype=object))["hat"][EXCLUDED] == 1
