"""Samples without an answer, and classes too rare to learn: refused, rejected or left out by a policy that is counted.

Looked at where every source passes by, as in `pipeline/raw/spellings.py`: `pipeline/fetching/snapshot.py` counts,
data/source.json records it, and the ingest stage leaves out the same, or rejects it up to data.max_rejected_share.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pipeline.raw.sample import RawSample
from pipeline.runtime.errors import DataRefused

ANSWERS = ("label", "label_columns", "target")
"""Options of kinds that read answers from columns."""
OF_ARRAYS = ("image_arrays", "series_arrays")
"""Kinds whose answers are found without being named."""
UNLABELLED = "unlabelled"
"""The reason that reports/ingest/summary.json names."""
MANY_CLASSES = 10
"""From so many on, most of which have one sample and all two or fewer on average, they are no classes."""
WITH_PATHS = ("image_folder", "text_lines", "series_files")
"""Kinds with an option that says where in the path a class stands."""


class Answered:
    """Passes on the samples that have an answer, where the source's options ask for that.

    Args:
        options: As in data/source.json. Of kinds whose answers stand in a column, a sample without one is left out
            by `unlabelled=leave_out`; a series that nobody named an answer for needs none.
        kind: Of the source.
        rejecting: Whether those that `unlabelled=reject` is about are passed on, to be rejected.

    Attributes:
        unlabelled: How many there were, under `reject` and `leave_out`.
    """

    def __init__(self, options: Mapping[str, Any], kind: str = "", *, rejecting: bool = False) -> None:
        asked = kind in OF_ARRAYS or any(options.get(name) for name in ANSWERS)
        policy = options.get("unlabelled", "fail") if asked else "fail"
        self._looks, self._passes = policy != "fail", rejecting and policy == "reject"
        self.unlabelled = 0

    def among(self, samples: Iterable[RawSample]) -> Iterator[RawSample]:
        """Yield those that have one."""
        for sample in samples:
            without = self._looks and not has_answer(sample)
            self.unlabelled += without
            if not without or self._passes:
                yield sample


def has_answer(sample: RawSample) -> bool:
    """Tell whether a sample has a class, a set of classes (also an empty one) or a number to predict."""
    return bool(sample.label) or sample.labels is not None or sample.target is not None


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


def refuse_single(kind: str, counts: Mapping[str, int]) -> None:
    """Refuse classes of which most have one sample.

    Args:
        kind: Of the source.
        counts: Class to its samples, without those that `least_per_class` leaves out.

    Raises:
        DataRefused: They look like names of samples.
    """
    samples = sum(counts.values())
    single = sum(count == 1 for count in counts.values())
    if len(counts) < MANY_CLASSES or samples > 2 * len(counts) or 2 * single <= len(counts):
        return
    path = " If paths say the class, --set label= says where." if kind in WITH_PATHS else ""
    raise DataRefused(
        f"The classes look like names of samples. Expected several samples of each. Received: {len(counts):,} classes "
        f"of {samples:,} samples, {single:,} of them with one, such as {min(counts)!r}. Name what says the "
        f"class.{path} If these are classes, leave out what is rare: --set least_per_class=2."
    )
