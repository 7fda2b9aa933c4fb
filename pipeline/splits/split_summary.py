"""Figures of a split for people and reports: sizes, classes, dates, and the audit of overlap."""

from collections import Counter
from typing import Any

from pipeline.splits import by_hash
from pipeline.splits.assignment import Assigned, Columns
from pipeline.splits.by_time import Segment

NAMES = (*by_hash.SPLITS, by_hash.EXCLUDED)


def split_summary(method: str, samples: Columns, assigned: Assigned, task: str) -> dict[str, Any]:
    """Return the content of reports/split/summary.json.

    Args:
        method: As in `split.method`.
        samples: `label`, `given_split`, `group` and `cluster` of each sample.
        assigned: The split.
        task: What is asked of the data; only classification has classes.

    Returns:
        `samples` counts lines of split.parquet, `steps` the steps of series that are cut (else it is empty),
        `shares` are of steps or samples, `dates` are what `split.val_start` and `test_start` would pin.
    """
    segments = assigned.segments
    counts = Counter([part.split for part in segments] if segments else assigned.splits.tolist())
    steps = _steps(segments)
    # Of what is cut, steps: an average over segments would say nothing.
    sizes = steps if segments else counts
    return {
        "method": method,
        "task": task,
        "samples": {name: counts[name] for name in NAMES},
        "steps": {name: steps[name] for name in NAMES} if segments else {},
        "shares": {name: round(sizes[name] / sum(sizes.values()), 6) for name in by_hash.SPLITS},
        "classes": {}
        if segments or task != "classification"
        else by_hash.class_counts(samples["label"], assigned.splits),
        "dates": assigned.dates,
        "overlap": _overlap(samples, assigned),
        "groups": len(set(samples["group"]) - {""}),
        "clusters": len(set(samples["cluster"])),
        "largest_cluster": max(Counter(samples["cluster"]).values()),
    }


def _steps(segments: list[Segment]) -> Counter[str]:
    steps = Counter[str]()
    for part in segments:
        steps[part.split] += part.stop - part.start
    return steps


def _overlap(samples: Columns, assigned: Assigned) -> dict[str, Any]:
    """Return how many clusters (or groups) are torn, 0, and what was excluded so that none is."""
    left_out = assigned.splits == by_hash.EXCLUDED
    excluded = Counter(given for given, out in zip(samples["given_split"], left_out, strict=True) if out)
    return {
        "clusters_in_two_splits": by_hash.shared_clusters(assigned.units, assigned.splits),
        "excluded_copies_given_as": {
            name: 0 if assigned.segments else excluded[name] for name in by_hash.SPLITS
        },
    }
