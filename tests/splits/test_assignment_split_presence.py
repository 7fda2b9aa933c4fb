"""Presence: every class and range of targets is everywhere, no group is too large, messages name what is needed."""

import hashlib

import numpy as np
import pytest

from pipeline.splits.assignment import (
    assign_by_units,
    assignment_problems,
    class_strata,
    presence_problems,
    salt_for_groups,
    size_problems,
    target_strata,
    working_salt,
)
from pipeline.splits.by_hash import assign_by_hash
from pipeline.splits.by_rank import assign_given

SHARES = {"train": 0.65, "val": 0.15, "test": 0.2}


def names(count):
    """Return that many different names."""
    return [hashlib.sha256(f"{number}".encode()).hexdigest() for number in range(count)]


def presence(labels, clusters, splits, drawn=("train", "val", "test")):
    """Return the presence problems of these splits."""
    shares = {"train": 0.65, "val": 0.15, "test": 0.2}
    return presence_problems(
        class_strata(labels),
        clusters,
        np.array(splits, dtype=object),
        shares={name: shares[name] for name in drawn},
    )


def test_classes_that_are_everywhere_are_no_problem():
    """One sample in each split is enough."""
    assert presence(["hat"] * 3, names(3), ["train", "val", "test"]) == []


def test_a_class_of_two_contents_names_how_many_are_missing():
    """Three splits need three different contents; copies do not count."""
    problems = presence(["hat"] * 4, ["a", "a", "a", "b"], ["train", "train", "train", "test"])
    assert "class 'hat' has no sample in val" in problems[0]
    assert "2 different contents" in problems[0]
    assert "Add 1 or more: at least 3 are needed" in problems[0]
    assert len(problems) == 1


def test_bad_luck_names_the_number_that_makes_it_rare():
    """At a share of 0.15, 43 draws miss a class less than once in a thousand times: 0.85 ** 43 < 0.001."""
    assert 0.85**43 < 0.001 < 0.85**42
    problems = presence(["hat"] * 10, names(10), ["train"] * 9 + ["test"])
    assert "from 43 contents on" in problems[0]


def test_another_salt_that_works_is_found():
    """The offered salt puts every class everywhere."""
    labels, clusters = ["hat"] * 10 + ["shoe"] * 10, names(20)
    shares = {"val_share": 0.15, "test_share": 0.2}
    offered = working_salt(labels, lambda salt: assign_by_hash(clusters, salt=salt, **shares), salt="s")
    splits = assign_by_hash(clusters, salt=offered, val_share=0.15, test_share=0.2)
    assert offered != "s"
    assert presence(labels, clusters, splits) == []


def columns(labels, given=None):
    """Return the columns that a split by units reads; every sample is its own content."""
    empty = [""] * len(labels)
    return {"cluster": names(len(labels)), "group": empty, "given_split": given or empty, "label": labels, "target": [0.0] * len(labels)}  # fmt: skip


def test_only_what_is_drawn_is_counted():
    """Two series train and 500 judge: what can be shared out are two; of one there is one to add."""
    labels = ["hat"] * 40 + ["shoe"] + ["hat", "shoe"] * 250
    samples = columns(labels, ["train"] * 41 + ["test"] * 500)
    assigned = assign_by_units("given", samples, val_share=0.2, test_share=0.2, salt="s")
    problems = assignment_problems("given", samples, assigned, salt="s", task="classification")
    assert "class 'shoe' has no sample in val" in problems[0]
    assert "Received: 1 different contents to share out. Add 1 or more: at least 2 are needed" in problems[0]
    assert len(problems) == 1


def test_an_offered_salt_keeps_the_shares():
    """Of fifty salts that fail, every one that is offered in return gives each split its share within a tenth."""
    labels = ["hat"] * 90 + ["shoe"] * 10
    samples = columns(labels)
    shares, offers = {"val_share": 0.15, "test_share": 0.2}, 0
    for number in range(50):
        assigned = assign_by_units("stratified", samples, **shares, salt=f"{number}")
        problems = assignment_problems(
            "stratified", samples, assigned, salt=f"{number}", task="classification"
        )
        if problems and "split.salt: " in problems[-1]:
            offered = problems[-1].split("split.salt: ")[1].split("`")[0]
            splits = assign_by_units("stratified", samples, **shares, salt=offered).splits
            assert 13.5 <= (splits == "val").sum() <= 16.5
            assert 18 <= (splits == "test").sum() <= 22
            assert presence(labels, samples["cluster"], splits) == []
            offers += 1
    assert offers > 5


def test_no_salt_is_offered_where_the_source_decides():
    """With a given test set that lacks a class no salt helps."""
    labels, given = ["hat"] * 8 + ["shoe"], ["train"] * 4 + ["test"] * 4 + ["train"]

    def draw(salt):
        return assign_given(
            given, names(9), [[label] for label in labels], salt=salt, val_share=0.2, test_share=0.2
        )

    assert working_salt(labels, draw, salt="s") is None


def test_ranges_of_targets_are_the_quantiles_of_numpy():
    """Five bins with a fifth of the samples each; their edges are in the name."""
    targets = np.arange(100.0)
    strata = target_strata(targets)
    assert [20] * 5 == [strata.count(name) for name in dict.fromkeys(strata)]
    low, high = np.quantile(targets, [0.2, 0.4])
    assert f"the range of targets from {low:g} to {high:g}" == strata[20]


def test_equal_targets_are_one_range():
    """Ties are never in two bins, and a constant target is one bin."""
    assert len(set(target_strata(np.full(10, 3.0)))) == 1
    strata = target_strata(np.array([0.0] * 50 + [1.0, 2.0, 3.0]))
    assert len(set(strata[:50])) == 1


def test_a_group_larger_than_its_split_is_refused_with_the_number_needed():
    """60 of 100 samples in a test split of 20 percent: at most 30 fit, so 60 / (1.5 * 0.2) = 200 are needed."""
    units = ["big"] * 60 + names(40)
    splits = np.array(["test"] * 60 + ["train"] * 40, dtype=object)
    (problem,) = size_problems(units, splits, shares=SHARES)
    assert "group 'big' is larger than test" in problem
    assert "at most 30 of 100 samples" in problem
    assert "Received: 60 samples" in problem
    assert "at least 200 samples are needed" in problem


def test_a_group_that_fits_its_split_is_no_problem():
    """60 of 100 samples are welcome in a train set of 65 percent."""
    units = ["big"] * 60 + names(40)
    splits = np.array(["train"] * 60 + ["test"] * 20 + ["val"] * 20, dtype=object)
    assert size_problems(units, splits, shares=SHARES) == []


def test_a_class_missing_from_a_given_test_set_is_refused_with_its_own_fix():
    """No salt helps where the source decides."""
    labels = ["hat", "shoe", "hat", "shoe", "hat"]
    problems = presence(labels, names(5), ["train", "train", "val", "val", "test"], drawn=("val",))
    assert len(problems) == 1
    assert "class 'shoe' has no sample in test" in problems[0]
    assert "Add samples of it to test in the source" in problems[0]


def test_a_class_that_only_judges_is_refused():
    """A class without training samples cannot be learned."""
    problems = presence(["hat", "hat", "hat", "shoe"], names(4), ["train", "val", "test", "test"])
    assert any("'shoe' has no sample in train" in problem for problem in problems)


def test_a_share_of_zero_is_named_as_the_reason():
    """Nothing is drawn into a split without a share."""
    (problem,) = presence_problems(
        ["class 'hat'"] * 5, names(5), np.array(["train"] * 4 + ["test"], dtype=object), shares={"val": 0.0}
    )
    assert "Raise split.val_share above 0" in problem


def drawn_by(salt, members, share):
    """Return what stage split finds wrong when it splits these groups."""
    rows = [
        (group, label)
        for group, held in members.items()
        for label, count in held.items()
        for _ in range(count)
    ]
    samples = {
        "cluster": names(len(rows)),
        "group": [group for group, _ in rows],
        "label": [label for _, label in rows],
        "given_split": [""] * len(rows),
        "target": [float("nan")] * len(rows),
    }
    assigned = assign_by_units("group", samples, val_share=share, test_share=share, salt=salt)
    return assignment_problems("group", samples, assigned, salt=salt, task="classification")


@pytest.mark.parametrize("number", range(3, 16))
@pytest.mark.parametrize("share", [0.2, 0.3])
def test_a_salt_that_is_found_for_few_groups_is_one_that_the_split_takes(number, share):
    """Groups of many sizes, of which some lack a class; where the first salt will do it stays."""
    generator = np.random.default_rng(number)
    for _ in range(5):
        members = {
            f"person {one}": {
                label: int(generator.integers(1, 9)) for label in ("sit", "run", "walk")[: 2 + one % 2]
            }
            for one in range(number)
        }
        found = salt_for_groups(members, val_share=share, test_share=share, salt="millrace")
        if found is not None:
            assert [] == drawn_by(found, members, share)
        if not drawn_by("millrace", members, share):
            assert "millrace" == found


def test_three_equal_groups_cannot_be_split_by_fifths():
    """Each is a third, more than half as much again as a fifth; of quarters a salt is found."""
    members = {name: {"sit": 5, "run": 5} for name in "abc"}
    assert salt_for_groups(members, val_share=0.2, test_share=0.2, salt="millrace") is None
    found = salt_for_groups(members, val_share=0.25, test_share=0.25, salt="millrace")
    assert [] == drawn_by(found, members, 0.25)
