"""What is known of each sample before any training: the table that the suite judges, one row per sample."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.duplicates.clusters import Duplicates, conflicting_contents


def sample_facts(
    samples: pd.DataFrame,
    statistics: Mapping[str, np.ndarray],
    duplicates: Duplicates,
    answers: str | None = "label",
) -> pd.DataFrame:
    """Return the sample table with everything the suite judges beside it.

    Args:
        samples: As `read_samples` returns them.
        statistics: Arrays of one number per sample, in the order of the payload.
        duplicates: In the order of `samples`.
        answers: The column that models learn to predict, `label` or `target`; None if there is none.

    Returns:
        The columns of `samples` and: the statistics; `cluster`, `exact_copies`, `near_copies`; and, 0 or 1:
        `has_exact_copy`, `in_conflict` (content under several answers), `opens_conflict` (its first sample),
        `near_conflict` (cluster under several labels, content under one). For labels also `class_samples`:
        size of the sample's class, and `class_ratio`: largest class divided by that.
    """
    facts = samples.reset_index(drop=True)
    rows = facts["row"].to_numpy()
    names = [""] * len(facts) if answers is None else facts[answers].astype(str).tolist()
    conflicts = conflicting_contents(facts["content_sha256"].tolist(), names)
    in_conflict = facts["content_sha256"].isin(conflicts)
    # Near copies with nearly equal targets are as it should be.
    near_conflicts = conflicting_contents(duplicates.cluster.tolist(), names) if answers == "label" else []
    facts = facts.assign(
        **{name: values[rows] for name, values in statistics.items()},
        cluster=duplicates.cluster,
        exact_copies=duplicates.exact_copies,
        near_copies=duplicates.near_copies,
        has_exact_copy=(duplicates.exact_copies > 0).astype(int),
        in_conflict=in_conflict.astype(int),
        opens_conflict=(in_conflict & ~facts["content_sha256"].duplicated()).astype(int),
        near_conflict=(pd.Series(duplicates.cluster).isin(near_conflicts) & ~in_conflict).astype(int),
    )
    if answers == "label":
        class_samples = facts.groupby("label")["label"].transform("size")
        facts = facts.assign(class_samples=class_samples, class_ratio=class_samples.max() / class_samples)
    return facts
