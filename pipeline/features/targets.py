"""What the features stage fits on answers: the one list of classes, or the scale of a number."""

from collections import Counter
from typing import Any

import numpy as np

from pipeline.data.label_sets import label_counts
from pipeline.data.samples import SplitTable
from pipeline.preprocessing.statistics import exact_statistics
from pipeline.runtime.errors import DataRefused

TARGET = "target"
"""What the number is called that regression over whole samples predicts."""


def class_state(split: SplitTable) -> dict[str, Any]:
    """Return the classes of train in alphabetical order and the samples of each: the project's one class list.

    Raises:
        DataRefused: A class of val or test has no training sample.
    """
    counts = Counter(split.labels[split.splits == "train"].tolist())
    held_out = np.isin(split.splits.astype(str), ["val", "test"])
    unknown = sorted(set(split.labels[held_out]) - set(counts))
    if not counts or unknown:
        raise DataRefused(
            "Nothing to learn some classes from. Expected every class of val and test in train as well. "
            f"Received: {len(counts)} classes in train, not among them: {', '.join(unknown) or 'any'}. "
            "Add training samples of them, or remove them from the source."
        )
    classes = sorted(counts)
    return {"classes": classes, "class_counts": [counts[name] for name in classes]}


def label_state(split: SplitTable) -> dict[str, Any]:
    """Return the labels of train in alphabetical order, the samples of each, and how many samples there are.

    Raises:
        DataRefused: A label of val or test has no training sample, or one stands on all training samples.
    """
    train = split.labels[split.splits == "train"].tolist()
    counts = label_counts(train)
    held_out = np.isin(split.splits.astype(str), ["val", "test"])
    unknown = sorted(set(label_counts(split.labels[held_out].tolist())) - set(counts))
    if not counts or unknown:
        raise DataRefused(
            "Nothing to learn some labels from. Expected every label of val and test in train as well. "
            f"Received: {len(counts)} labels in train, not among them: {', '.join(unknown) or 'any'}. "
            "Add training samples of them, or remove them from the source."
        )
    everywhere = sorted(name for name, count in counts.items() if count == len(train))
    if everywhere:
        raise DataRefused(
            "Nothing to learn some labels from. Expected training samples with and without each label. Received: "
            f"on all {len(train):,} training samples: {', '.join(everywhere)}. Add samples without them, or remove "
            "these labels from the source."
        )
    classes = sorted(counts)
    return {
        "classes": classes,
        "class_counts": [counts[name] for name in classes],
        "train_samples": len(train),
    }


def target_state(split: SplitTable) -> dict[str, Any]:
    """Return mean and deviation of the target on train; the order of rows does not matter.

    Raises:
        DataRefused: A sample that is used has no target.
    """
    used = split.splits != "excluded"
    missing = split.rows[used & ~np.isfinite(split.targets)]
    if len(missing) or not used.any():
        raise DataRefused(
            "Regression needs a number for every sample. Expected finite targets. Received: none in "
            f"{len(missing)} of {int(used.sum())} samples, rows {missing[:5].tolist()}. Name the column with "
            "--set target=<column>, or remove those samples."
        )
    values = split.targets[split.splits == "train"][:, None]
    measured = exact_statistics(lambda: [values], 1)
    return {
        "target": {
            "names": [TARGET],
            "channels": [],
            "mean": measured.mean,
            "standard_deviation": measured.standard_deviation,
        }
    }
