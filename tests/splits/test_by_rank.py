"""Given splits: honoured, free of copies, and val counted out class by class."""

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.splits.by_hash import EXCLUDED, SPLITS, assign_by_hash, shared_clusters, units_of
from pipeline.splits.by_rank import assign_given, bounds, is_drawn, val_by_rank
from tests.splits.test_by_hash import SHARES, clusters_lists, names

shares = st.sampled_from([0.05, 0.1, 0.15, 0.2, 0.3, 0.4])
units_and_classes = st.dictionaries(
    st.text("abcdef0123456789", min_size=2, max_size=4), st.sampled_from("abc"), min_size=1, max_size=60
)


def given_of(given_split, clusters, classes=None, **shares):
    """Return the splits of samples of one class, or of these."""
    return assign_given(given_split, clusters, classes or [["hat"]] * len(clusters), **(SHARES | shares))


def val_of(class_of, share, salt="s"):
    """Return the units that are val, of units with one class each."""
    return val_by_rank({unit: [name] for unit, name in class_of.items()}, salt=salt, val_share=share)


def by_trial(class_of, share, salt="s"):
    """Return the same by trying every number of val units for every class: the nearest allowed to what hashes say."""
    val = set()
    for name in set(class_of.values()):
        own = [unit for unit in class_of if class_of[unit] == name]
        by_hash = assign_by_hash(own, salt=salt, val_share=share, test_share=0.0)
        own = [unit for unit, split in zip(own, by_hash, strict=True) if split == "val"] + [
            unit for unit, split in zip(own, by_hash, strict=True) if split != "val"
        ]
        hashed = int((by_hash == "val").sum())
        wanted = Fraction(str(share)) * len(own)
        allowed = [
            count
            for count in range(1, len(own))
            if abs(count - wanted) <= wanted / 10 + Fraction(1, 2) or (count == 1 and wanted < 1)
        ]
        if not allowed:
            continue
        count = min(allowed, key=lambda count: abs(count - hashed))
        # Whoever leaves val or joins it is next to the boundary: of each smaller val_share's val a part.
        inside = [unit for unit in own if sum(_before(other, unit, salt) for other in own) < count]
        val.update(inside)
    return val


def _before(other, unit, salt):
    """Return whether a unit is val at a share at which another is not yet."""
    low, high = Fraction(0), Fraction(1)
    for _ in range(70):
        middle = (low + high) / 2
        pair = assign_by_hash([other, unit], salt=salt, val_share=float(middle), test_share=0.0)
        if list(pair) == ["val", "train"]:
            return True
        if list(pair) == ["train", "val"]:
            return False
        low, high = (middle, high) if pair[0] == "train" else (low, middle)
        if high - low < Fraction(1, 2**60):
            break
    return False


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.text("abcdef", min_size=2, max_size=4), st.sampled_from("ab"), max_size=12), shares)
def test_val_is_what_trying_every_number_finds(class_of, share):
    """The number nearest to the draw that keeps the share, and those units that a smaller share would take first."""
    assert by_trial(class_of, share) == val_of(class_of, share)


@settings(deadline=None)
@given(units_and_classes, shares, st.text(max_size=3))
def test_every_class_of_two_units_trains_and_chooses(class_of, share, salt):
    """At least one unit each, and the share within a tenth or half a unit where that is more than one."""
    val = val_of(class_of, share, salt)
    for name, count in Counter(class_of.values()).items():
        chosen = sum(class_of[unit] == name for unit in val)
        assert (0 < chosen < count) if count > 1 else chosen == 0
        assert abs(chosen - share * count) <= max(0.1 * share * count + 0.5, 1) + 1e-9 or count == 1


@settings(deadline=None)
@given(units_and_classes, st.text("ghij", min_size=2, max_size=4), st.sampled_from("abcd"), shares)
def test_a_new_unit_moves_at_most_one_old_unit_of_its_class(class_of, unit, name, share):
    """And none at all of another class."""
    before, after = val_of(class_of, share), val_of(class_of | {unit: name}, share)
    moved = (before ^ after) - {unit}
    assert len(moved) <= 1
    assert {class_of[old] for old in moved} <= {name}


def test_where_the_draw_keeps_the_share_nobody_moves_however_much_comes():
    """Of 2,000 units that grow to 3,000 every old one stays, and all stand where their hash alone puts them."""
    units = names(3000)
    by_hash = assign_by_hash(units, salt="s", val_share=0.2, test_share=0.0)
    for count in (2000, 2500, 3000):
        val = val_of(dict.fromkeys(units[:count], "hat"), 0.2)
        assert val == {
            unit for unit, split in zip(units[:count], by_hash[:count], strict=True) if split == "val"
        }


@pytest.mark.parametrize(
    ("units", "share", "expected"),
    [(1, 0.2, (0, 0)), (2, 0.2, (1, 1)), (12, 0.2, (2, 3)), (2, 0.9, (1, 1)), (100, 0.15, (14, 17)), (50, 0.0, (0, 0))],
)  # fmt: skip
def test_bounds_worked_by_hand(units, share, expected):
    """0.9 and 1.1 times 2.4 are 2.16 and 2.64, so 2 or 3; of 15 they are 13.5 and 16.5; a last unit never goes."""
    assert expected == bounds(units, share)


def test_a_unit_of_several_classes_counts_for_the_rarest():
    """Two persons do the rare thing: one of them chooses, though the common one has many others."""
    classes_of = {f"p{number}": ["common"] for number in range(40)}
    classes_of |= {"p0": ["common", "rare"], "p1": ["rare", "common", "common"]}
    for salt in "abcdefgh":
        val = val_by_rank(classes_of, salt=salt, val_share=0.2)
        assert 1 == len(val & {"p0", "p1"})


def test_no_class_is_missing_from_val_of_a_small_archive():
    """Seven classes of twelve series, whatever the salt: independent draws miss one in four of ten."""
    labels = [[f"class {number % 7}"] for number in range(84)] + [["class 0"]] * 500
    split, clusters = ["train"] * 84 + ["test"] * 500, names(584)
    for number in range(50):
        splits = assign_given(split, clusters, labels, salt=f"{number}", val_share=0.2, test_share=0.2)
        found = Counter(label[0] for label, own in zip(labels, splits, strict=True) if own == "val")
        assert 7 == len(found)
        assert {2, 3} >= set(found.values())


def test_what_is_drawn_is_what_the_source_leaves_to_train():
    """A train sample whose copy judges is not drawn, and neither is the copy."""
    assert [True, False, False, False] == is_drawn(
        ["train", "train", "test", "val"], ["a", "b", "b", "c"]
    ).tolist()


def test_a_given_split_is_honoured():
    """With train, val and test given, nothing is drawn."""
    given_split = ["train", "val", "test", "train"]
    assert given_split == given_of(given_split, names(4)).tolist()


def test_a_missing_val_set_is_drawn_from_train():
    """Only given train samples may become val; test stays as given."""
    given_split = ["train"] * 400 + ["test"] * 100
    splits = given_of(given_split, names(500))
    assert set(splits[400:]) == {"test"}
    assert set(splits[:400]) == {"train", "val"}
    assert 54 <= Counter(splits)["val"] <= 66  # 60, within a tenth


def test_a_missing_test_set_is_drawn_from_train():
    """A source with train and val only gets a test set by hash."""
    given_split = ["train"] * 400 + ["val"] * 100
    splits = given_of(given_split, names(500))
    assert set(splits[400:]) == {"val"}
    assert set(splits[:400]) == {"train", "test"}


def test_copies_across_given_splits_are_excluded_towards_train():
    """A copy of a test sample leaves val and train, a copy of a val sample leaves train."""
    given_split = ["train", "val", "test", "train", "val", "train", "test", "test"]
    clusters = ["a", "a", "a", "b", "b", "c", "d", "d"]
    expected = [EXCLUDED, EXCLUDED, "test", EXCLUDED, "val", "train", "test", "test"]
    splits = given_of(given_split, clusters)
    assert expected == splits.tolist()
    assert shared_clusters(clusters, splits) == 0


@settings(deadline=None)
@given(st.data(), clusters_lists)
def test_given_splits_never_share_a_cluster(data, clusters):
    """Whatever the source gives, the used parts are disjoint in content and keep their names."""
    given_split = data.draw(
        st.lists(st.sampled_from(SPLITS), min_size=len(clusters), max_size=len(clusters)).filter(
            lambda drawn: "train" in drawn
        )
    )
    splits = given_of(given_split, clusters)
    assert shared_clusters(clusters, splits) == 0
    for own, given_name in zip(splits, given_split, strict=True):
        assert given_name == "train" or own in (given_name, EXCLUDED)
    if "test" in given_split:
        assert [name == "test" for name in given_split] == (splits == "test").tolist()


@pytest.mark.parametrize("given_split", [["train", ""], ["test", "val"], ["train", "dev"]])
def test_an_incomplete_given_split_is_refused(given_split):
    """Every sample needs a known split, and somebody must train."""
    with pytest.raises(ValueError, match=r"split\.method=given needs a source") as error:
        given_of(given_split, names(2))
    assert "Received: {" in str(error.value)


def test_members_of_a_judging_group_leave_train_of_a_given_split():
    """A given test sample of a person takes that person's other samples out of train."""
    units = units_of(["a", "b", "c", "d"], ["p1", "p1", "p2", ""])
    assert [EXCLUDED, "test", "train", "train"] == given_of(
        ["train", "test", "train", "train"], units, val_share=0.0, test_share=0.0
    ).tolist()
