"""What became of every sample while it was ingested: the counts behind reports/ingest/summary.json."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pipeline.runtime.stage import DataRefused
from pipeline.sources.sample import RawSample

MAX_EXAMPLES = 10
"""Rejected samples that the report names, per reason."""


class Tally:
    """Counts samples kept, rejected and converted; its size does not depend on how many there are."""

    def __init__(self) -> None:
        self.kept = 0
        self.num_rejected = 0
        self.num_beyond_limit = 0
        self._per_class_and_split: Counter[tuple[str, str]] = Counter()
        self._classes: Counter[str] = Counter()
        self._splits: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._converted: Counter[str] = Counter()
        self._examples: defaultdict[str, list[str]] = defaultdict(list)

    def has_enough(self, label: str, split: str, limit: int | None) -> bool:
        """Tell whether `limit` samples of this class and given split are kept already, and count the one left out."""
        full = limit is not None and self._per_class_and_split[label, split] >= limit
        self.num_beyond_limit += full
        return full

    def keep(self, label: str, split: str, converted: Iterable[str]) -> None:
        """Count a sample that is in the data set, and what had to be converted for that."""
        self.kept += 1
        self._classes[label] += 1
        self._splits[split] += 1
        self._per_class_and_split[label, split] += 1
        self._converted.update(converted)

    def reject(self, reasons: Sequence[str], sample_id: str) -> None:
        """Count a sample that is left out; one sample may have several reasons."""
        self.num_rejected += 1
        self._rejected.update(reasons)
        for reason in reasons:
            if len(self._examples[reason]) < MAX_EXAMPLES:
                self._examples[reason].append(sample_id)

    def check(self, num_samples: int, max_rejected_share: float, *, classes: bool = True) -> None:
        """Refuse a data set that lost too much on its way.

        Raises:
            DataRefused: Fewer or more samples than announced, too many rejected, or too few classes.
        """
        read = self.kept + self.num_rejected + self.num_beyond_limit
        if read != num_samples:
            raise DataRefused(
                "The archive and data/source.json disagree on the number of samples. Expected "
                f"{num_samples:,}. Received: {read:,}. Run `millrace refresh`."
            )
        looked_at = self.kept + self.num_rejected
        if self.num_rejected > max_rejected_share * looked_at:
            examples = "; ".join(
                f"{reason}: {', '.join(ids[:3])}" for reason, ids in sorted(self._examples.items())
            )
            raise DataRefused(
                "Too many samples were rejected. Expected at most "
                f"data.max_rejected_share={max_rejected_share:g} of {looked_at:,}. Received: {self.num_rejected:,} "
                f"({dict(sorted(self._rejected.items()))}), such as {examples}. "
                "Repair the files, change data.policy, or raise the limit in params.yaml."
            )
        if classes and len(self._classes) < 2:
            raise DataRefused(
                "A classifier needs at least 2 classes with usable samples. Expected 2 or more. "
                f"Received: {dict(self._classes)}. Check data.policy in params.yaml and the data."
            )

    def summary(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return the report's content.

        Args:
            payload: What to say of the samples themselves, by their kind.
        """
        return {
            "read": self.kept + self.num_rejected + self.num_beyond_limit,
            "beyond_limit": self.num_beyond_limit,
            "kept": self.kept,
            "num_rejected": self.num_rejected,
            "rejected": dict(self._rejected),
            "rejected_examples": dict(self._examples),
            "converted": dict(self._converted),
            "classes": dict(self._classes),
            "given_splits": {split or "none": count for split, count in self._splits.items()},
            **payload,
        }


def in_order(samples: Iterable[RawSample]) -> Iterator[RawSample]:
    """Pass samples on; the table is written in one pass, so their order is the table's order."""
    previous = ""
    for sample in samples:
        if sample.sample_id <= previous:
            raise ValueError(
                "A source yields samples out of order or twice. Expected sample_id to rise. "
                f"Received: {sample.sample_id} after {previous}. Sort in the source's `read`."
            )
        previous = sample.sample_id
        yield sample
