"""A model that a server answers with: its scorer, which version it is, and how long it takes for a record."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.monitoring.reference import reference_in
from pipeline.monitoring.rows import Answering
from pipeline.runtime.errors import StorageFailed
from pipeline.runtime.files import file_digest
from pipeline.runtime.paths import REFERENCE
from pipeline.serving.described import answer_schema, example_record, openapi, record_schema
from pipeline.serving.record import Record
from pipeline.serving.scorer import Refused, Scorer, papers_digest

LINEAGE = ("dvc.lock", "params.yaml", "source.json", "trained_on.parquet")
"""Papers of a version that say what it came from; a folder like models/best has the last one alone."""
TIMED = 5


@dataclass(frozen=True)
class Named:
    """Which model it is.

    Attributes:
        name: Of the registered model, or of the folder.
        version: Its number; "" for a folder.
        folder: Where its files lie.
        sha256: Of its `.keras` file, as the registry has it; "" for a folder.
    """

    name: str
    version: str
    folder: Path
    sha256: str = ""


@dataclass
class Followed:
    """What is known of the registry.

    Attributes:
        alias: What is followed, `digits@champion`; "" for nothing.
        heard: When the registry answered last, by `time.time`; 0 for never.
        problem: Why it does not, in words for anybody.
        refused: The last version that did not check, and why; {} for none.
    """

    alias: str = ""
    heard: float = 0.0
    problem: str = ""
    refused: dict[str, str] = field(default_factory=dict)


class Served:
    """A model that has given its golden answers, and an answer to the example.

    Attributes:
        named: Which one it is.
        scorer: Answers.
        source: Content of the source.json of its data, {} where nobody knows.
        digest: See `papers_digest`.
        seconds_per_record: Measured on the example, the quickest of some.
    """

    def __init__(self, named: Named, source: Mapping[str, Any]) -> None:
        """Load it.

        Raises:
            InputMissing, StorageFailed: See `Scorer`.
        """
        self.named, self.source = named, source
        self.scorer = Scorer(named.folder)
        self.digest = papers_digest(named.folder)
        self.lineage = {
            name: file_digest(named.folder / name, "sha256")
            for name in LINEAGE
            if (named.folder / name).is_file()
        }
        self.example: Record = example_record(self.scorer.state)
        self.example_answer = self._answer()
        self.seconds_per_record = min(self._timed() for _ in range(TIMED))

    def _answer(self) -> dict[str, Any]:
        (answer,) = self.scorer.answers([self.example])
        if isinstance(answer, Refused):
            raise StorageFailed(
                f"The model does not answer a record of the form that its state.json tells. Expected an answer. "
                f"Received: {' '.join(answer.problems)} Make it again: `dvc repro evaluate`."
            )
        return answer

    def _timed(self) -> float:
        begun = time.perf_counter()
        self._answer()
        return time.perf_counter() - begun

    @cached_property
    def headers(self) -> dict[str, str]:
        """Return what every reply says of the model."""
        return {"x-model-version": self.named.version or "folder", "x-model-digest": self.digest}

    @cached_property
    def logged(self) -> Answering:
        """Return the model as the log knows it."""
        named, scorer = self.named, self.scorer
        reference = reference_in(named.folder / REFERENCE) or {}
        return Answering(named.name, named.version, self.digest, scorer.state, scorer.card, reference)

    @cached_property
    def told(self) -> dict[str, Any]:
        """Return what `/model` says of it, as JSON content."""
        scorer = self.scorer
        card = {
            name: scorer.card[name]
            for name in ("candidate", "family", "test", "trained_at")
            if name in scorer.card
        }
        return {
            "name": self.named.name,
            "version": self.named.version or None,
            "digest": self.digest,
            "sha256": self.named.sha256 or None,
            "lineage": self.lineage,
            "task": scorer.task,
            "payload": scorer.state.get("payload", "image"),
            "card": card,
            "record": record_schema(scorer.state),
            "answer": answer_schema(scorer.state, self.example_answer),
            "milliseconds_per_record": round(1000 * self.seconds_per_record, 3),
        }

    def openapi(self, records: int) -> dict[str, Any]:
        """Return the OpenAPI document of a server that takes so many records in a request."""
        version = self.named.version
        return openapi(
            self.scorer.state, self.example_answer, title=self.named.name, version=version, records=records
        )
