"""Who was judged on the test set so far, by a stage or by `millrace compare`: each look makes it less a test.

`.millrace/test_ledger.jsonl` gets a line per use (`pipeline.runtime.files`). It is no output of a stage: two clones
that judge the same model write the same reports, whatever was judged before. What this machine knows and what the
registry knows are put together by the register stage (`pipeline.versions.seal`), so that the count survives a
fresh clone and another machine.

One model counts once, and so does one decision: the other candidates and the baselines are judged in the same
look, and none of their scores chooses anything. Where a baseline stands for a choice that test did not bear out
(docs/decisions/0025), two questions were asked of these rows, and both models count. A test set that grew a little is
not a new one: looks at all that share at least half of their rows (of the smaller one) count together.
"""

import hashlib
import heapq
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.runtime import paths
from pipeline.runtime.files import append_lines, damaged, parsed_lines, read_lines

LEDGER = paths.TEST_LEDGER
SKETCH_SIZE = 64
"""Rows that stand for all: those with the smallest hashes. The share of two sets is known to about 0.06."""
SAME_SHARE = 0.5


@dataclass(frozen=True)
class Holdout:
    """The rows that judge, as the ledger knows them.

    Attributes:
        digest: See `pipeline.evaluation.scoring.scored_digest`.
        num_rows: How many.
        sketch: Smallest hashes of rows (hex), ascending.
    """

    digest: str
    num_rows: int
    sketch: tuple[str, ...]

    @classmethod
    def of(cls, digest: str, row_keys: Iterable[str]) -> "Holdout":
        """Return rows that are told apart by these texts, one per row."""
        # As numbers: windows may be millions.
        hashes = np.fromiter(
            (int.from_bytes(hashlib.sha256(key.encode()).digest()[:6]) for key in row_keys), np.uint64
        )
        smallest = np.unique(hashes)[:SKETCH_SIZE].tolist()
        return cls(digest, len(hashes), tuple(f"{number:012x}" for number in smallest))

    def shared_with(self, other: "Holdout") -> float:
        """Return which share of the smaller set's rows is in both, estimated where they are many."""
        if self.digest == other.digest:
            return 1.0
        union = heapq.nsmallest(SKETCH_SIZE, {*self.sketch, *other.sketch})
        both = len(set(union) & set(self.sketch) & set(other.sketch)) / max(len(union), 1)
        # |A and B| / |A or B| = both, and |A or B| = |A| + |B| - |A and B|.
        common = both / (1 + both) * (self.num_rows + other.num_rows)
        return common / max(min(self.num_rows, other.num_rows), 1)


@dataclass(frozen=True)
class Use:
    """One model was judged.

    Attributes:
        holdout: On which rows.
        model_sha256: Digest of the model's file.
        by: Which stage or command opened the test set for it.
        when: ISO 8601, UTC.
        against: Digest of the champion that it was judged against once more, where it had been judged before that
            champion was; "" for a first use.
    """

    holdout: Holdout
    model_sha256: str
    by: str
    when: str
    against: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as a line of the ledger holds it; `use_of` reads it."""
        content = asdict(self)
        # The name in the files of earlier versions.
        judges, against = content.pop("holdout"), content.pop("against")
        return {"judges": judges, **content, **({"against": against} if against else {})}

    @property
    def key(self) -> tuple[str, str, str]:
        """What two notes of the same use have in common."""
        return self.holdout.digest, self.model_sha256, self.against


def use_of(content: Mapping[str, Any]) -> Use:
    """Return a use from its JSON.

    Raises:
        KeyError: It is none.
        TypeError: The same.
    """
    told = content["judges"]
    holdout = Holdout(str(told["digest"]), int(told["num_rows"]), tuple(told["sketch"]))
    against = str(content.get("against", ""))
    return Use(holdout, str(content["model_sha256"]), str(content["by"]), str(content["when"]), against)


def note_use(holdout: Holdout, model_sha256: str, by: str, path: Path = LEDGER, *, against: str = "") -> None:
    """Write down that a model is judged, before it is; the same model on the same rows counts once.

    Once for each champion: one that was refused, and is judged again after another was promoted, has another chance.

    Raises:
        OSError: It could not be written, so the test set must stay closed.
    """
    when = datetime.now(UTC).isoformat(timespec="microseconds")
    found = [Use(holdout, model_sha256, by, when)]
    models = [use.model_sha256 for use in uses(holdout, path)]
    if against in models and model_sha256 in models[: models.index(against)]:
        found.append(Use(holdout, model_sha256, by, when, against))
    add_uses(found, path)


def add_uses(found: Iterable[Use], path: Path = LEDGER) -> None:
    """Append uses that are not in the ledger yet, or only as later ones: another machine may have looked before.

    Raises:
        OSError: They could not be written.
        StorageFailed: A line of the ledger is damaged, so that it would count too few.
    """

    def new(content: bytes) -> list[dict[str, Any]]:
        known: dict[tuple[str, str, str], str] = {}
        for use in _parsed(parsed_lines(content, path), path):
            known[use.key] = min(use.when, known.get(use.key, use.when))
        by_time = sorted(
            found, key=lambda use: use.when, reverse=True
        )  # of two notes of one use the earliest stays
        news = {use.key: use for use in by_time if use.key not in known or use.when < known[use.key]}
        return [use.as_json() for use in news.values()]

    append_lines(path, new)


def all_uses(path: Path = LEDGER) -> list[Use]:
    """Return every use this machine knows of, in the order of the lines.

    Raises:
        StorageFailed: A line is damaged.
    """
    return _parsed(read_lines(path), path)


def uses(holdout: Holdout, path: Path = LEDGER) -> list[Use]:
    """Return the first use of every model on these rows, or on others of which half are the same; oldest first."""
    first: dict[str, Use] = {}
    for use in _on(holdout, path):
        first.setdefault(use.model_sha256, use)
    return list(first.values())


def judged_against(holdout: Holdout, champion_sha256: str, path: Path = LEDGER) -> list[str]:
    """Return the models that had a chance to replace a champion on these rows, the first chance first.

    Those that were judged after it for the first time, and those from before that were judged once more. All, where
    the champion was never judged on these rows.
    """
    found: dict[str, None] = {}
    reigns = champion_sha256 not in [use.model_sha256 for use in uses(holdout, path)]
    seen: set[str] = set()
    for use in _on(holdout, path):
        first = use.model_sha256 not in seen
        seen.add(use.model_sha256)
        if (reigns and first) or (champion_sha256 and use.against == champion_sha256):
            found.setdefault(use.model_sha256)
        reigns = reigns or use.model_sha256 == champion_sha256
    return list(found)


def _on(holdout: Holdout, path: Path) -> list[Use]:
    """Return all uses of these rows, or of others of which half are the same; oldest first."""
    found = sorted(all_uses(path), key=lambda use: use.when)
    return [use for use in found if holdout.shared_with(use.holdout) >= SAME_SHARE]


def sentence(holdout: Holdout, model_sha256: str, path: Path = LEDGER) -> str:
    """Return how used up the test set is, in words."""
    models = [use.model_sha256 for use in uses(holdout, path)]
    before = models.index(model_sha256) if model_sha256 in models else len(models)
    if not before:
        return "This model is the first that the test set has judged."
    many = f"{before} model" + ("s" if before > 1 else "")
    return (
        f"Look {before + 1} at the test set: it had judged {many} before this one (the {_ordinal(before + 1)}); each "
        "look makes it a little less a test, and the scores of models that it chose are chosen ones."
    )


def _ordinal(number: int) -> str:
    last = number % 10 if number % 100 not in (11, 12, 13) else 0
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(last, 'th') }"


def _parsed(records: list[dict[str, Any]], path: Path) -> list[Use]:
    found = []
    for number, record in enumerate(records, 1):
        try:
            found.append(use_of(record))
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(path, number, json.dumps(record).encode()) from error
    return found
