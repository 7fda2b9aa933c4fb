"""What is fitted on answers: of several labels their list and how many training samples have each."""

import numpy as np
import pytest

from pipeline.data.label_sets import as_cell
from pipeline.data.samples import SplitTable
from pipeline.features.targets import label_state
from pipeline.runtime.errors import DataRefused


def table(train, held_out=()):
    """Return a split of samples with these sets of labels."""
    cells = [as_cell(labels) for labels in (*train, *held_out)]
    count = len(cells)
    splits = np.array(["train"] * len(train) + ["test"] * len(held_out), dtype=object)
    nothing = np.zeros(count, np.int64)
    names = np.array([str(row) for row in range(count)], dtype=object)
    labels = np.array(cells, dtype=object)
    return SplitTable(names, np.arange(count), splits, labels, np.full(count, np.nan), nothing, nothing)


def test_labels_are_counted_one_by_one():
    """Sorted names, the training samples of each, and all of them; test samples do not count."""
    state = label_state(table([["b", "a"], ["a"], []], [["b"]]))
    assert {"classes": ["a", "b"], "class_counts": [2, 1], "train_samples": 3} == state


def test_a_label_that_only_test_knows_is_refused():
    """Nothing could be learnt of it."""
    with pytest.raises(DataRefused, match="not among them: b"):
        label_state(table([["a"], []], [["b"]]))


def test_a_label_on_every_training_sample_is_refused():
    """Nothing could be learnt of when it does not apply."""
    with pytest.raises(DataRefused, match="on all 2 training samples: a"):
        label_state(table([["a"], ["a", "b"]]))
