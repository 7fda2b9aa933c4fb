"""The table that the suite judges."""

import numpy as np
import pandas as pd

from pipeline.duplicates.clusters import Duplicates
from pipeline.validation.facts import by_label, sample_facts


def facts(labels, contents, clusters):
    """Return the facts of samples with these labels, contents and clusters."""
    samples = pd.DataFrame({"row": range(len(labels)), "label": labels, "content_sha256": contents})
    copies = np.array([contents.count(content) - 1 for content in contents])
    near = np.array([clusters.count(cluster) for cluster in clusters]) - copies - 1
    duplicates = Duplicates(np.array(clusters, dtype=object), copies, near)
    return sample_facts(samples, {"mean": np.linspace(0, 1, len(labels))}, duplicates)


def test_classes_are_compared_with_the_largest():
    """Three hats and one shoe: sizes 3 and 1, ratios 1 and 3."""
    table = facts(["hat", "hat", "shoe", "hat"], list("abcd"), list("abcd"))
    assert table["class_samples"].tolist() == [3, 3, 1, 3]
    assert table["class_ratio"].tolist() == [1, 1, 3, 1]


def test_a_conflict_is_opened_once_and_marks_all():
    """One content under two labels marks its three samples and counts as one conflict."""
    table = facts(["hat", "shoe", "hat", "bag"], ["a", "a", "a", "b"], ["a", "a", "a", "b"])
    assert table["in_conflict"].tolist() == [1, 1, 1, 0]
    assert table["opens_conflict"].tolist() == [1, 0, 0, 0]
    assert table["has_exact_copy"].tolist() == [1, 1, 1, 0]
    assert table["near_conflict"].tolist() == [0, 0, 0, 0]


def test_near_copies_under_two_labels_are_told_apart_from_exact_ones():
    """Different contents in one cluster, different labels: a near conflict only."""
    table = facts(["hat", "shoe", "bag"], ["a", "b", "c"], ["a", "a", "c"])
    assert table["near_conflict"].tolist() == [1, 1, 0]
    assert table["in_conflict"].sum() == 0


def test_statistics_follow_the_row_of_the_payload():
    """A sample gets the statistics of its own image, also where rows are shuffled."""
    samples = pd.DataFrame({"row": [2, 0, 1], "label": ["a"] * 3, "content_sha256": list("abc")})
    duplicates = Duplicates(np.array(list("abc"), dtype=object), np.zeros(3, int), np.zeros(3, int))
    table = sample_facts(samples, {"mean": np.array([0.0, 0.1, 0.2])}, duplicates)
    assert table["mean"].tolist() == [0.2, 0.0, 0.1]


def test_several_labels_are_counted_one_by_one():
    """Labels on 3, 2 and no samples: the smallest of a sample counts, and no label at all is no small class."""
    cells = ['["hat", "shoe"]', '["hat"]', "[]", '["hat", "shoe"]']
    samples = pd.DataFrame({"row": range(4), "label": cells, "content_sha256": list("abcd")})
    duplicates = Duplicates(np.array(list("abcd"), dtype=object), np.zeros(4, int), np.zeros(4, int))
    table = sample_facts(samples, {}, duplicates, several=True)
    assert table["class_samples"].tolist() == [2, 3, 3, 2]
    assert table["class_ratio"].tolist() == [1.5, 1, 1, 1.5]
    assert by_label(table)["label"].value_counts().to_dict() == {"hat": 3, "shoe": 2}


def test_without_classes_there_is_nothing_to_compare():
    """Forecasting and anomalies have neither class sizes nor conflicts."""
    samples = pd.DataFrame({"row": [0, 1], "label": ["", ""], "content_sha256": ["a", "a"]})
    duplicates = Duplicates(np.array(["a", "a"], dtype=object), np.ones(2, int), np.zeros(2, int))
    table = sample_facts(samples, {}, duplicates, None)
    assert table["in_conflict"].sum() == 0
    assert not {"class_samples", "class_ratio"} & set(table.columns)


def test_equal_contents_with_different_targets_are_a_conflict():
    """Regression: one series under 1.0 and 2.0 is a conflict, near copies with near targets are none."""
    samples = pd.DataFrame(
        {"row": range(4), "label": [""] * 4, "target": [1.0, 2.0, 3.0, 3.1], "content_sha256": list("aabc")}
    )
    duplicates = Duplicates(
        np.array(list("aabb"), dtype=object), np.array([1, 1, 0, 0]), np.array([0, 0, 1, 1])
    )
    table = sample_facts(samples, {}, duplicates, "target")
    assert table["in_conflict"].tolist() == [1, 1, 0, 0]
    assert table["near_conflict"].tolist() == [0, 0, 0, 0]
