"""A model that a server answers with: its scorer, which version it is, and how long it takes for a record.

And a second one beside it: what a shadow (`pipeline.serving.shadow`) and a canary have in common, and the canary.
"""

import sys
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pipeline.inputs.specs import output_spec
from pipeline.monitoring.log import is_sampled
from pipeline.monitoring.reference import reference_in
from pipeline.monitoring.rows import CANARY, Answering
from pipeline.runtime.errors import StorageFailed, UserError, say
from pipeline.runtime.files import file_digest
from pipeline.runtime.paths import REFERENCE
from pipeline.serving.described import answer_schema, example_record, openapi, record_schema
from pipeline.serving.measured import Measured
from pipeline.serving.model_folder import Named, source_of
from pipeline.serving.record import Record
from pipeline.serving.scorer import Refused, Scorer, papers_digest

LINEAGE = ("dvc.lock", "params.yaml", "source.json", "trained_on.parquet")
"""Papers of a version that say what it came from; a folder like models/best has the last one alone."""
TIMED = 5
FORGOTTEN = 0.02
"""Of how long a record took, with each batch that was quicker: a model is slow at once, and quick again by and by."""


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

    def told(self) -> dict[str, Any] | None:
        """Return what `/model` says of it, as JSON content; None where nothing is followed."""
        if not self.alias:
            return None
        seconds = round(time.time() - self.heard, 1) if self.heard else None
        return {
            "alias": self.alias,
            "seconds_since_heard": seconds,
            "problem": self.problem or None,
            "refused": self.refused or None,
        }


def answering_in(named: Named, digest: str, state: Mapping[str, Any], card: Mapping[str, Any]) -> Answering:
    """Return a model as the log knows it.

    Args:
        named: Which one it is.
        digest: See `papers_digest`.
        state: Content of its state.json.
        card: Content of its card.json.
    """
    reference = reference_in(named.folder / REFERENCE) or {}
    return Answering(named.name, named.version, digest, state, card, reference)


def unlike(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """Return in words why two models cannot answer the same records in the same form; "" if they can.

    Args:
        first: Content of the state.json of one.
        second: The same of the other.
    """
    one, other = output_spec(first), output_spec(second)
    if one.task != other.task:
        return f"its task is {other.task}, not {one.task}"
    if (one.targets, one.horizon) != (other.targets, other.horizon):
        return "it answers other targets, or other steps ahead"
    forms = [_form(state) for state in (first, second)]
    differing = sorted(
        name for name in forms[0].keys() | forms[1].keys() if forms[0].get(name) != forms[1].get(name)
    )
    return f"it reads other records: {', '.join(differing)}" if differing else ""


def _form(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record must hold, by field; the size of an image is none of it, for files are made to fit."""
    schema = record_schema(state)
    fields: dict[str, Any] = {
        name: {key: value for key, value in told.items() if key != "examples"}
        | {"needed": name in schema["required"]}
        for name, told in schema["properties"].items()
    }
    fields.get("image", {}).pop("description", None)
    return fields


class Served:
    """A model that has given its golden answers, and an answer to the example.

    Attributes:
        named: Which one it is.
        scorer: Answers.
        source: Content of the source.json of its data, {} where nobody knows.
        digest: See `papers_digest`.
        seconds_per_record: Processor time of the example (the quickest of some), or more: measured as it answers.
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
        self.seconds_per_record = self._example_seconds = min(self._timed() for _ in range(TIMED))

    def _answer(self) -> dict[str, Any]:
        (answer,) = self.scorer.answers([self.example])
        if isinstance(answer, Refused):
            raise StorageFailed(
                f"The model does not answer a record of the form that its state.json tells. Expected an answer. "
                f"Received: {' '.join(answer.problems)} Make it again: `dvc repro evaluate`."
            )
        return answer

    def _timed(self) -> float:
        begun = time.thread_time()
        self._answer()
        return time.thread_time() - begun

    def took(self, seconds: float) -> None:
        """Take note of how long a record took as it was answered, in seconds of the processor."""
        before = self.seconds_per_record
        self.seconds_per_record = max(seconds, before + FORGOTTEN * (seconds - before), self._example_seconds)

    @property
    def state(self) -> Mapping[str, Any]:
        """Return the content of its state.json."""
        state: Mapping[str, Any] = self.scorer.state
        return state

    @cached_property
    def headers(self) -> dict[str, str]:
        """Return what every reply says of the model."""
        return {"x-model-version": self.named.version or "folder", "x-model-digest": self.digest}

    @cached_property
    def logged(self) -> Answering:
        """Return the model as the log knows it."""
        return answering_in(self.named, self.digest, self.state, self.scorer.card)

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
            "milliseconds_per_record": round(1000 * self._example_seconds, 3),
        }

    def openapi(self, records: int) -> dict[str, Any]:
        """Return the OpenAPI document of a server that takes so many records in a request."""
        version = self.named.version
        return openapi(
            self.scorer.state, self.example_answer, title=self.named.name, version=version, records=records
        )


# --- A second model beside the one that answers.


NOT_YET = "it is not loaded yet"
AWAY = "the registry cannot be asked, which is tried again; the server's log tells why"


class Opened(Protocol):
    """A model that was loaded, and has given its golden answers."""

    named: Named
    digest: str

    @property
    def state(self) -> Mapping[str, Any]:
        """Return the content of its state.json."""


Second = TypeVar("Second", bound=Opened)


class Beside(ABC, Generic[Second]):
    """A second model beside the one that answers. Where it cannot take part it is left out, and that is told.

    Args:
        asked: What a person called it: `digits@challenger`, `digits/7`, or the name of a folder.
        first: The model that answers.
        alias: `asked`, if it is one that is followed.

    Attributes:
        followed: What is known of the registry.
        taking_part: The model; None while it is left out.
        left_out: Why it is, in words for anybody; "" while it takes part.
        problem: What else is to be known of it, in words for anybody.
    """

    role: ClassVar[str]
    does: str
    """What it does while it takes part."""

    def __init__(self, asked: str, first: Served, alias: str = "") -> None:
        self.asked, self._first = asked, first
        self.followed = Followed(alias)
        self.taking_part: Second | None = None
        self._opened: Second | None = None
        self._named: Named | None = None  # the last that was tried
        self._why = self.left_out = NOT_YET
        self.problem = self._last_problem = ""
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    @abstractmethod
    def _open(self, named: Named) -> Second:
        """Load a model, and let it give its golden answers."""

    @abstractmethod
    def _end(self, model: Second) -> None:
        """Let go of a model that takes part no more."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything: the server ends."""

    def start(self, work: Callable[[], None]) -> None:
        """Load a model, or listen to what is announced, in a thread that ends with the process."""
        self._begin(work, self.role)

    def _begin(self, work: Callable[[], None], name: str) -> None:
        self._threads.append(threading.Thread(target=work, name=name, daemon=True))
        self._threads[-1].start()

    def hear(self, line: Mapping[str, Any]) -> None:
        """Do what a line asks for, see `pipeline.versions.announced`."""
        followed, present = self.followed, self._opened.named if self._opened else None
        if "problem" not in line:
            followed.heard, followed.problem, self._last_problem = time.time(), "", ""
            if "folder" in line and (named := Named.of(line)) != present:
                self.become(named)
            return
        problem, version = line["problem"], line.get("version")
        if line.get("gone"):
            followed.heard, followed.refused = time.time(), {}
            self._put(None, f"there is no {self.asked}", problem)
        elif version:
            followed.heard = time.time()
            if present and present.version == version:
                return  # it is here: the child was started anew, and cannot fetch it once more
            self._refuse(version, f"the files of version {version} are damaged or cannot be fetched", problem)
        else:
            if problem != self._last_problem:
                say(f"serve: {self.role} {self.asked}: {problem}", file=sys.stderr)
            self._last_problem = problem
            followed.problem = "The registry cannot be asked; the server's log tells why."
            if self._why == NOT_YET:
                self._put(None, AWAY)

    def become(self, named: Named) -> None:
        """Let this version take part, if it checks."""
        self._named = named
        try:
            opened = self._open(named)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with it, the model that answers goes on
            self.lack(error, named.version)
            return
        self.followed.refused = {}
        self._put(opened)

    def lack(self, error: Exception, version: str = "") -> None:
        """Leave it out: a model could not be loaded."""
        kind = error.meaning if isinstance(error, UserError) else "cannot be loaded"
        why = f"it does not give its golden answers, or a file is damaged or missing ({kind})"
        self._refuse(version, why, str(error) or repr(error))

    def _refuse(self, version: str, why: str, detail: str) -> None:
        self.followed.refused = {"version": version, "why": f"{why}; the server's log tells more"}
        self._put(None, why, detail)

    def first_is(self, first: Served) -> None:
        """Take note that another model answers now."""
        with self._lock:
            self._first = first
            self._settle()

    def _put(self, opened: Second | None, why: str = "", detail: str = "") -> None:
        with self._lock:
            before, self._opened, self._why = self._opened, opened, why
            self.problem = ""
            self._settle(detail)
        if before is not None:
            self._end(before)

    def _settle(self, detail: str = "") -> None:
        """Let it take part or not, and tell what changed; `detail` is for the server's log alone."""
        opened, before = self._opened, (self.taking_part, self.left_out)
        why = self._why if opened is None else self._why_not(opened)
        self.taking_part, self.left_out = (None, why) if why else (opened, "")
        if (self.taking_part, self.left_out) == before:
            return
        named = opened.named if opened else self._named
        called = named.called if named else self.asked
        because = f"{why}: {detail}" if detail else why
        said = f"{self.role} {called} is left out: {because}" if why else f"{called} {self.does}"
        say(f"serve: {said}", file=sys.stderr)

    def _why_not(self, opened: Second) -> str:
        if opened.digest == self._first.digest:
            return "it is the model that answers"
        try:
            return unlike(self._first.state, opened.state)
        except Exception as error:  # noqa: BLE001  # of papers that nobody foresaw; the first one must be followed
            return f"it cannot be compared: {error!r}"

    def told(self) -> dict[str, Any]:
        """Return what `/model` says of it, as JSON content."""
        labels = self.labels()
        return {
            "asked": self.asked,
            "name": labels["model"],
            "version": labels["version"] or None,
            "digest": labels["digest"] or None,
            "left_out": self.left_out or None,
            "problem": self.problem or None,
            "following": self.followed.told(),
        }

    def labels(self) -> dict[str, str]:
        """Return what `/metrics` calls it."""
        opened = self._opened
        named = opened.named if opened else self._named
        return {
            "role": self.role,
            "model": named.name if named else self.asked,
            "version": named.version if named else "",
            "digest": opened.digest if opened else "",
        }


# --- A canary: a second model that answers a share of the clients.

CLIENT = "x-client-id"
"""Header that says who asks; without it the id of the request counts, of which each may fall to another side."""
GOLDEN_SECONDS = 60.0
"""So often it gives its golden answers again, and at once after it failed."""
END_SECONDS = 10.0
"""For a thread to end what it is at, when the server ends: it may load a model."""
FAILED_IN_A_ROW = 10
"""So many requests that it could not answer, one after the other, and it is left out."""


def is_of_canary(key: str, share: float) -> bool:
    """Return whether a client is of the share that the canary answers.

    Salted: the log takes its sample by a hash of the request's id, which would hold the canary's requests alone.
    """
    return is_sampled(f"canary {key}", share)


class Canary(Beside[Served]):
    """A second model that answers a share of the clients; all others, and all where it fails, are the first one's.

    Which clients is a hash of their key alone: the same on every server and after every restart, whatever versions both
    sides have, and a larger share holds everybody of a smaller one. A reply is of one model, whole.

    Args:
        asked: See `Beside`.
        first: The model that answers the others.
        share: Of the clients, (0, 1).
        measured: Counts its requests.
        alias: See `Beside`.
    """

    role = CANARY

    def __init__(self, asked: str, first: Served, share: float, measured: Measured, alias: str = "") -> None:
        super().__init__(asked, first, alias)
        self.share, self._measured = share, measured
        self.does = f"answers a share of {share:g} of the clients"
        self._in_a_row = 0
        self._look, self._ended = threading.Event(), threading.Event()
        self._begin(self._look_again, "golden")

    def answering(self, headers: Mapping[str, str], request: str) -> Served | None:
        """Return the model if it answers this client.

        Args:
            headers: Of the request.
            request: Its id.
        """
        model = self.taking_part
        if model is None:
            return None
        return model if is_of_canary(headers.get(CLIENT) or request, self.share) else None

    def answered(self) -> None:
        """Take note of a request that it has answered."""
        self._in_a_row = 0
        self._measured.count("millrace_canary_requests_total", outcome="answered")

    def failed(self, model: Served, request: str, error: Exception) -> None:
        """Take note of a request that it could not answer; after some in a row it is left out."""
        slow = isinstance(error, TimeoutError)
        self._measured.count("millrace_canary_requests_total", outcome="too slow" if slow else "failed")
        told = "was too slow" if slow else "failed"
        detail = "" if slow else "\n" + "".join(traceback.format_exception(error))
        say(f"serve: canary {model.named.called} {told}: request {request}{detail}", file=sys.stderr)
        if model is not self.taking_part:
            return
        self._in_a_row += 1
        if self._in_a_row >= FAILED_IN_A_ROW:
            self._put(None, f"it failed on {FAILED_IN_A_ROW} requests in a row")
        else:
            self.problem = f"It {'was too slow' if slow else 'failed'} on request {request}."
            self._look.set()

    def _open(self, named: Named) -> Served:
        self._in_a_row = 0
        return Served(named, source_of(named.folder))

    def _end(self, model: Served) -> None:
        """Nothing to do: requests that began with it hold on to it."""

    def close(self) -> None:
        """Wait for its threads: Python ends with one that a model computes in by aborting the process."""
        self._ended.set()
        self._look.set()
        for thread in self._threads:
            thread.join(END_SECONDS)

    def _look_again(self) -> None:
        while True:
            self._look.wait(GOLDEN_SECONDS)
            self._look.clear()
            if self._ended.is_set():
                return
            self.look()

    def look(self) -> None:
        """Let it give its golden answers once more; without them it is left out."""
        model = self._opened
        if model is None:
            return
        try:
            golden = model.scorer.gives_golden_answers()
        except Exception as error:  # noqa: BLE001  # what could not be checked is not fine
            say(f"serve: canary {model.named.called} cannot be checked: {error}", file=sys.stderr)
            golden = False
        if not golden and model is self._opened:
            self._put(None, "it no longer gives its golden answers")
