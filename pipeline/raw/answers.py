"""Samples without an answer, and classes too rare to learn: refused, or left out by a policy that is counted.

Looked at where every source passes by, as in `pipeline/raw/spellings.py`: `pipeline/fetching/snapshot.py` counts,
data/source.json records what was left out, and the ingest stage leaves out the same.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pipeline.raw.sample import RawSample

ANSWERS = ("label", "target")
"""Options of kinds that read answers from columns."""


class Answered:
    """Passes on the samples that have an answer, where the source's options ask for that.

    Args:
        options: As in data/source.json; `unlabelled=leave_out` belongs to kinds whose answers stand in a column.

    Attributes:
        left_out: How many samples had none.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        asked = options.get("unlabelled") == "leave_out"
        self._asked = asked and any(options.get(name) for name in ANSWERS)
        self.left_out = 0

    def among(self, samples: Iterable[RawSample]) -> Iterator[RawSample]:
        """Yield those that have one."""
        for sample in samples:
            if self._asked and not sample.label and sample.labels is None and sample.target is None:
                self.left_out += 1
            else:
                yield sample


def rare_classes(counts: Mapping[tuple[str, str], int], least: int) -> dict[str, int]:
    """Return the classes that have too few samples.

    Args:
        counts: Samples per (given split or "", class).
        least: How many a class must have, over all splits.
    """
    totals: Counter[str] = Counter()
    for (_, label), count in counts.items():
        if label:
            totals[label] += count
    return {label: count for label, count in sorted(totals.items()) if count < least}


def without_classes(samples: Iterable[RawSample], rare: Collection[str]) -> Iterator[RawSample]:
    """Yield the samples of all other classes; of several labels the rare ones are taken off."""
    for sample in samples:
        if sample.labels is not None:
            yield replace(sample, labels=tuple(label for label in sample.labels if label not in rare))
        elif sample.label not in rare:
            yield sample
