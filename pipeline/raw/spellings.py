"""One spelling per class, group and category of a source, whatever kind it is.

Looked at where every source passes by, so that a new kind cannot forget it: `pipeline/fetching/snapshot.py` counts and
refuses or decides which spelling stands for all, data/source.json records it, the ingest stage reads it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from pipeline.formats.names import by_key, class_key, difference, twins
from pipeline.raw.label_sets import labels_of
from pipeline.raw.sample import RawSample
from pipeline.runtime.errors import DataRefused

Joined = Mapping[str, Mapping[str, str]]
"""`label`, `group` or `side NAME` to {spelling: the one that stands for it}."""
MOST_SHOWN = 20


class Spellings:
    """Counts the names of samples that pass."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def watched(self, samples: Iterable[RawSample]) -> Iterator[RawSample]:
        """Pass samples on."""
        for sample in samples:
            for role, name in _names(sample):
                self._counts[role][name] += 1
            yield sample

    def check(self) -> None:
        """Refuse names that are one to every reader.

        Raises:
            DataRefused: With all spellings, how often they occur, and in what they differ.
        """
        lines = []
        for role, counts in sorted(self._counts.items()):
            for names in twins(counts):
                spelt = ", ".join(f"{name!a} ({counts[name]:,} samples)" for name in names)
                lines.append(f"  {role}: {spelt}; they differ in: {difference(names)}")
        if not lines:
            return
        more = [f"  and {len(lines) - MOST_SHOWN} more"] if len(lines) > MOST_SHOWN else []
        head = "Names that are one to every reader are spelt in several ways. Expected one spelling each. Received:"
        fix = (
            "Correct the source, or give to `millrace init`: --set join_labels=true, which reads them as one, or "
            "--set join_labels=false, which keeps them apart. Either is recorded in data/source.json."
        )
        raise DataRefused("\n".join([head, *lines[:MOST_SHOWN], *more, fix]))

    def joined(self, before: Joined) -> dict[str, dict[str, str]]:
        """Return which spelling stands for which others: the one that did before, or else the most frequent.

        Args:
            before: What data/source.json says, so that a class does not change its name from one night to the next.
        """
        found: dict[str, dict[str, str]] = {}
        for role, counts in self._counts.items():
            kept = {class_key(name): name for name in before.get(role, {}).values()}
            named: dict[str, str] = {}
            for key, names in by_key(counts).items():
                chosen = kept.get(key) or max(names, key=counts.__getitem__)
                named |= {name: chosen for name in names if name != chosen}
            if named:
                found[role] = named
        return found


def joined_samples(samples: Iterable[RawSample], joined: Joined) -> Iterator[RawSample]:
    """Pass samples on with one spelling per name."""
    if not joined:
        yield from samples
        return
    for sample in samples:
        side = {
            name: joined.get(f"side {name}", {}).get(value, value) if isinstance(value, str) else value
            for name, value in sample.side.items()
        }
        label, group = joined.get("label", {}), joined.get("group", {})
        steps = sample.step_labels
        if steps is not None:
            steps = replace(steps, names=tuple(label.get(name, name) for name in steps.names))
        several = sample.labels
        if several is not None:
            several = tuple(sorted({label.get(name, name) for name in several}))
        yield replace(
            sample,
            step_labels=steps,
            label=label.get(sample.label, sample.label),
            group=group.get(sample.group, sample.group),
            side=side,
            labels=several,
        )


def _names(sample: RawSample) -> Iterator[tuple[str, str]]:
    for label in labels_of(sample):
        yield "label", label
    if sample.step_labels is not None:
        for code in np.unique(sample.step_labels.codes):
            if code >= 0:
                yield "label", sample.step_labels.names[code]
    if sample.group:
        yield "group", sample.group
    for name, value in sample.side.items():
        if isinstance(value, str) and value:
            yield f"side {name}", value
