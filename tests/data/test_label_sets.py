"""Sets of labels as cells, as counts and as a matrix."""

import numpy as np
import pytest
from sklearn.preprocessing import MultiLabelBinarizer

from pipeline.data.label_sets import as_cell, label_counts, label_matrix, labels_in

SETS = [["login", "billing"], [], ['délai, "x"'], ["billing", "billing"], ["a|b", "login"]]


@pytest.mark.parametrize("labels", SETS)
def test_a_cell_holds_each_label_once_and_gives_them_back(labels):
    """Order and repetitions do not matter; commas, quotes and accents come back as they were."""
    assert sorted(set(labels)) == labels_in(as_cell(labels))
    assert as_cell(labels) == as_cell(labels[::-1] * 2)


def test_no_label_is_a_cell_that_says_so():
    """`[]`, which is not the empty cell of a task without classes."""
    assert "[]" == as_cell([])


@pytest.mark.parametrize("cell", ["", "billing", '{"a": 1}', "[1]"])
def test_what_is_no_cell_is_named(cell):
    """Labels of a single class are not taken for sets."""
    with pytest.raises(ValueError, match="Expected a JSON list of names"):
        labels_in(cell)


def test_the_matrix_is_that_of_scikit_learn():
    """One column per label in the order of the classes."""
    cells = [as_cell(labels) for labels in SETS]
    binarizer = MultiLabelBinarizer().fit(SETS)
    matrix = label_matrix(cells, binarizer.classes_.tolist())
    assert np.uint8 == matrix.dtype
    assert binarizer.transform(SETS).tolist() == matrix.tolist()
    assert dict(zip(binarizer.classes_, matrix.sum(axis=0).tolist(), strict=True)) == label_counts(cells)


def test_a_label_that_nobody_learnt_is_named():
    """As a class without training samples is."""
    with pytest.raises(ValueError, match=r"Received: \['login'\]"):
        label_matrix([as_cell(["billing", "login"])], ["billing"])
