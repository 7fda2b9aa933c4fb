"""A second model that is asked what the first one has answered already, and whose answers nobody gets but the log.

What was answered goes into a queue once its reply has left; a thread passes it on to a process of its own, which the
kernel runs where nobody else wants the processor, and ends first where memory runs out. Whatever that process does, be
slow, fail, hang or die, costs answers of the shadow and no request: what does not fit into the queue is dropped.

The file is long since thread and process are one thing, seen from both ends.

`python -m pipeline.serving.shadow FOLDER` is that process: it answers what comes through the socket that is its input.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np

from pipeline.monitoring.log import PredictionLog
from pipeline.monitoring.rows import SHADOW, Answering
from pipeline.monitoring.rows import Request as Logged
from pipeline.runtime.errors import InputMissing, StorageFailed, UserError, say
from pipeline.runtime.files import read_json
from pipeline.runtime.processes import die_with_parent, naming_us
from pipeline.serving.batches import Answered, answered_together
from pipeline.serving.measured import Measured
from pipeline.serving.model_folder import Named
from pipeline.serving.record import Record
from pipeline.serving.scorer import Refused, Scorer, papers_digest
from pipeline.serving.served import Beside, Opened, Served, answering_in

WAITING_RECORDS = 2048
WAITING_BYTES = 64 << 20
"""What the queue holds at most."""
CHUNK_RECORDS = 32
"""Records that are asked together."""
TICK_SECONDS = 0.1
"""So often the queue is looked at: a thread that is woken for every request would cost each a switch."""
OPEN_SECONDS = 120.0
ANSWER_SECONDS = 60.0
"""Longest time to load, and to answer a chunk; then the process is ended."""
END_SECONDS = 5.0
"""How long the end of the server waits for the queue."""
FAILED_IN_A_ROW = 10
"""So many times without an answer, one after the other, and it is left out."""
NICE = 19
RECORDS = "millrace_shadow_records_total"
AGREED, DIFFERED, ANSWERED = "agreed", "differed", "answered"
DROPPED, PASSED_OVER, FAILED = "dropped", "passed over", "failed"
REFUSED = ("refused by both", "refused by the first alone", "refused by the shadow alone")
OUTCOMES = (AGREED, DIFFERED, ANSWERED, *REFUSED, DROPPED, PASSED_OVER, FAILED)
"""Answered are numbers, which agree more or less. Dropped is what had no room; passed over what waited for a model
that was left out meanwhile, or beside another first one, and what cannot be sent to another process."""


class NotPassedOnError(Exception):
    """A record that cannot be sent to another process: a number of a hundred digits, say."""


class Model(Opened, Protocol):
    """A model that is asked apart, see `Apart`."""

    @property
    def logged(self) -> Answering:
        """Return it as the log knows it."""

    def answers(self, requests: Sequence[Sequence[Record]]) -> list[Answered | Exception]:
        """Return the answers to some requests, or what kept the model from them."""

    def close(self) -> None:
        """Let go of it."""


class Offered(NamedTuple):
    """A request that the first model has answered.

    Attributes:
        first: That model.
        asked: The request with its answers.
        readable: Which of its records were read at all.
        log: Where the shadow's answers are written down; None for nowhere.
    """

    first: Served
    asked: Logged
    readable: Sequence[bool]
    log: PredictionLog | None


class Shadow(Beside[Model]):
    """The second model, what waits for it, and how its answers compare.

    Args:
        asked: See `Beside`.
        first: The model that answers.
        measured: Counts.
        alias: See `Beside`.
        opened: Loads a model.
    """

    role = SHADOW
    does = "answers in the shadow"

    def __init__(
        self,
        asked: str,
        first: Served,
        measured: Measured,
        alias: str = "",
        opened: Callable[[Named], Model] | None = None,
    ) -> None:
        super().__init__(asked, first, alias)
        self._measured, self._opened_by = measured, opened or Apart
        for outcome in OUTCOMES:  # from now on no counter is new, whichever thread counts
            measured.count(RECORDS, 0, outcome=outcome)
        self._to_open: deque[tuple[Named, Future[Model]]] = deque()
        self._waiting: deque[Offered] = deque()
        self._waiting_records = self._waiting_bytes = self._in_a_row = 0
        self._queue = threading.Lock()
        self._full = False
        self._ended = threading.Event()
        self._until = 0.0
        self._thread = threading.Thread(target=self._work, name="shadow-answers", daemon=True)
        self._thread.start()

    def offer(
        self, first: Served, asked: Logged, readable: Sequence[bool], log: PredictionLog | None
    ) -> None:
        """Let it answer a request, some time; where the queue is full it is dropped. See `Offered`."""
        records = len(asked.records)
        with self._queue:
            full = (
                self._waiting_records + records > WAITING_RECORDS
                or self._waiting_bytes + asked.held_bytes > WAITING_BYTES
            )
            if not full:
                self._waiting_records += records
                self._waiting_bytes += asked.held_bytes
                self._waiting.append(Offered(first, asked, readable, log))
                return
        self._measured.count(RECORDS, records, outcome=DROPPED)
        if not self._full:
            self._full, self.problem = True, "It is slower than the requests: some are dropped."
            said = f"serve: shadow {self.asked} is slower than the requests: records are dropped ({RECORDS})"
            say(said, file=sys.stderr)

    def _open(self, named: Named) -> Model:
        self._in_a_row, self._full = 0, False
        opened: Future[Model] = Future()
        self._to_open.append((named, opened))
        return opened.result()

    def _end(self, model: Model) -> None:
        model.close()

    def close(self) -> None:
        """Answer what waits, if that is quick, and let go of the model."""
        self._until = time.monotonic() + END_SECONDS
        self._ended.set()
        self._thread.join(END_SECONDS)
        if (model := self._opened) is not None:
            model.close()

    # --- In the thread.

    def _work(self) -> None:
        while True:
            ended = self._ended.wait(TICK_SECONDS)
            # Here, since Linux ends a process with the thread that started it, and this one lasts.
            while self._to_open and not ended:
                named, opened = self._to_open.popleft()
                try:
                    opened.set_result(self._opened_by(named))
                except Exception as error:  # noqa: BLE001  # for whoever asked for it
                    opened.set_exception(error)
            # Where requests never pause, the queue is never empty: another model is looked for in between.
            while (ended or not self._to_open) and (chunk := self._chunk()):
                if self._ended.is_set() and time.monotonic() > self._until:
                    break
                self._ask(chunk)
            if ended:
                return

    def _chunk(self) -> list[Offered]:
        chunk: list[Offered] = []
        records = 0
        with self._queue:
            while self._waiting and (
                not chunk or records + len(self._waiting[0].asked.records) <= CHUNK_RECORDS
            ):
                chunk.append(self._waiting.popleft())
                records += len(chunk[-1].asked.records)
                self._waiting_bytes -= chunk[-1].asked.held_bytes
            self._waiting_records -= records
        return chunk

    def _ask(self, chunk: Sequence[Offered]) -> None:
        model, digest = self.taking_part, self._first.digest
        if model is None:
            self._measured.count(RECORDS, sum(len(one.asked.records) for one in chunk), outcome=PASSED_OVER)
            return
        try:
            told = model.answers([_readable(one) for one in chunk])
        except Exception as error:  # noqa: BLE001  # it hangs, it died: the next chunk may have better luck
            records = sum(len(one.asked.records) for one in chunk)
            self._failed(model, records, chunk[0].asked.name, error)
            return
        for offered, said in zip(chunk, told, strict=True):
            records = len(offered.asked.records)
            if isinstance(said, NotPassedOnError) or offered.first.digest != digest:
                self._measured.count(RECORDS, records, outcome=PASSED_OVER)
            elif isinstance(said, Exception):
                self._failed(model, records, offered.asked.name, said)
            else:
                try:
                    self._take(model, offered, said)
                    self._in_a_row = 0
                except Exception as error:  # noqa: BLE001  # an answer of another form, say
                    self._failed(model, records, offered.asked.name, error)

    def _failed(self, model: Model, records: int, request: str, error: Exception) -> None:
        self._measured.count(RECORDS, records, outcome=FAILED)
        if model is not self.taking_part:
            return
        self._in_a_row += 1
        if self._in_a_row == 1:
            self.problem = f"It failed on request {request}."
            said = f"serve: shadow {model.named.called} failed on request {request}: {error!r}"
            say(said, file=sys.stderr)
        if self._in_a_row >= FAILED_IN_A_ROW:
            self._put(None, f"it failed {FAILED_IN_A_ROW} times in a row")

    def _take(self, model: Model, offered: Offered, said: Answered) -> None:
        """Count how far the answers of both agree, and write the second ones down."""
        first, left = offered.asked, iter(said.answers)
        unread = [Refused(tuple(problems)) for problems in first.problems]
        told = [next(left) if readable else unread[place] for place, readable in enumerate(offered.readable)]
        answers = [None if isinstance(one, Refused) else one for one in told]
        spec = first.model.spec
        deviations = dict(zip(spec.targets, spec.target_standard_deviation, strict=True))
        pairs = zip(first.answers, answers, offered.readable, strict=True)
        found = [outcome_of(one, other, deviations) for one, other, readable in pairs if readable]
        for outcome, apart in found:
            self._measured.count(RECORDS, outcome=outcome)
            if apart is not None:
                self._measured.observe("millrace_shadow_difference", apart)
        if offered.log is None:
            return
        row = first._replace(
            model=model.logged,
            milliseconds=None,
            answers=answers,
            problems=[one.problems if isinstance(one, Refused) else () for one in told],
            withheld=False,
            role=SHADOW,
            model_milliseconds=said.milliseconds,
        )
        try:
            offered.log.take(row)
        except Exception as error:  # noqa: BLE001  # what the log cannot take, it says
            offered.log.lose(len(answers), error)


def outcome_of(
    first: Mapping[str, Any] | None, second: Mapping[str, Any] | None, deviations: Mapping[str, float]
) -> tuple[str, float | None]:
    """Return which of `OUTCOMES` two answers are, None for a refusal; and how far apart, see `compared`."""
    if first is None or second is None:
        return REFUSED[0 if first is second else 1 if first is None else 2], None
    agreed, apart = compared(first, second, deviations)
    return ANSWERED if agreed is None else AGREED if agreed else DIFFERED, apart


def _readable(offered: Offered) -> list[Record]:
    pairs = zip(offered.asked.records, offered.readable, strict=True)
    return [record for record, readable in pairs if readable]


def compared(
    first: Mapping[str, Any], second: Mapping[str, Any], deviations: Mapping[str, float]
) -> tuple[bool | None, float | None]:
    """Return whether two answers to one record say the same, and how far apart they lie.

    Args:
        first: See `pipeline.serving.scorer`.
        second: Of the same task.
        deviations: Target to its standard deviation in training.

    Returns:
        None for numbers, which agree more or less; and the largest difference of a probability, of a value in standard
        deviations, or of a score, None where there is none.
    """
    if "probabilities" in first:
        one, other = first["probabilities"], second["probabilities"]
        differences = [abs(share - other.get(name, 0.0)) for name, share in one.items()]
        differences += [other[name] for name in other.keys() - one.keys()]
        same = (
            first["class"] == second["class"]
            if "class" in first
            else set(first["labels"]) == set(second["labels"])
        )
        return same, max(differences)
    if "values" in first:
        differences = [
            np.abs(np.subtract(first["values"][name], second["values"][name])).max() / deviation
            for name, deviation in deviations.items()
        ]
        return None, float(max(differences))
    if "score" in first and "score" in second:
        return first["alarm"] == second["alarm"], abs(first["score"] - second["score"])
    return None, None


# --- A process of its own.


class Apart:
    """A model in a process of its own, started anew where it has died.

    Attributes:
        named: Which one it is.
        digest: Of its papers.
        state, card: Content of its state.json and card.json.
    """

    def __init__(self, named: Named) -> None:
        """Start it.

        Raises:
            InputMissing, StorageFailed: It cannot be loaded, see `Scorer`.
            TimeoutError: It is not loaded in `OPEN_SECONDS`.
        """
        self.named = named
        self._closed, self._asking = False, threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None
        self.digest = self._started()
        self.state, self.card = (read_json(named.folder / name) for name in ("state.json", "card.json"))

    @cached_property
    def logged(self) -> Answering:
        """Return the model as the log knows it."""
        return answering_in(self.named, self.digest, self.state, self.card)

    def answers(self, requests: Sequence[Sequence[Record]]) -> list[Answered | Exception]:
        """Return the answers to some requests, or what kept the model from them.

        Raises:
            OSError, EOFError: The process hangs, or died; it is ended, and the next call starts another.
        """
        packed = [_packed(records) for records in requests]
        with self._asking:
            if self._link is None and self._started() != self.digest:
                self._stop()
                raise EOFError("its files changed since they were loaded")
            try:
                _send(self._link, [one for one in packed if isinstance(one, bytes)])
                told = iter(_receive(self._link))
            except (OSError, EOFError):
                self._stop()
                raise
        return [one if isinstance(one, Exception) else _unpacked(next(told)) for one in packed]

    def _started(self) -> str:
        """Start a process, and return the digest of the model that it has loaded."""
        if self._closed:
            raise EOFError("nothing is asked any more")
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "pipeline.serving.shadow", str(self.named.folder)]
            # A session of its own: Ctrl-C is for the server.
            self._child = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=naming_us(),
                start_new_session=True,
            )
        self._link = ours
        try:
            ours.settimeout(OPEN_SECONDS)
            told = _receive(ours)
            ours.settimeout(ANSWER_SECONDS)
        except (OSError, EOFError):
            self._stop()
            raise
        if "problem" in told:
            self._stop()
            kind = InputMissing if told["meaning"] == InputMissing.meaning else StorageFailed
            raise kind(told["problem"])
        return str(told["digest"])

    def _stop(self) -> None:
        link, child, self._link, self._child = self._link, self._child, None, None
        if child is not None:
            child.kill()
            child.wait()
        if link is not None:
            link.close()

    def close(self) -> None:
        """End the process, for good."""
        self._closed = True
        if (child := self._child) is not None:
            child.kill()  # whoever waits for it hears so
        with self._asking:
            self._stop()


def _packed(records: Sequence[Record]) -> bytes | Exception:
    try:
        return msgspec.msgpack.encode([dict(record) for record in records], enc_hook=_plain)
    except (TypeError, ValueError, OverflowError) as error:
        return NotPassedOnError(str(error))


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be sent.")


def _unpacked(told: Mapping[str, Any]) -> Answered | Exception:
    if "failed" in told:
        return RuntimeError(told["failed"])
    answers = [Refused(tuple(one["refused"])) if "refused" in one else one for one in told["answers"]]
    return Answered(answers, told["milliseconds"])


def _send(link: socket.socket | None, content: Any) -> None:
    if link is None:
        raise EOFError("nobody listens")
    body = msgspec.msgpack.encode(content)
    link.sendall(len(body).to_bytes(8, "big") + body)


def _receive(link: socket.socket | None) -> Any:
    if link is None:
        raise EOFError("nobody speaks")
    return msgspec.msgpack.decode(_exactly(link, int.from_bytes(_exactly(link, 8), "big")))


def _exactly(link: socket.socket, size: int) -> bytearray:
    held = bytearray(size)
    seen = memoryview(held)
    while seen:
        count = link.recv_into(seen)
        if not count:
            raise EOFError("the other process is gone")
        seen = seen[count:]
    return held


def serve_apart(folder: Path, link: socket.socket) -> None:
    """Load a model and answer what comes, until nobody asks any more.

    Args:
        folder: Like models/best.
        link: To whoever asks.
    """
    try:
        scorer = Scorer(folder)
        _send(link, {"digest": papers_digest(folder)})
    except Exception as error:  # noqa: BLE001  # whatever it is, the server tells it
        meaning = error.meaning if isinstance(error, UserError) else ""
        _send(link, {"problem": str(error) or repr(error), "meaning": meaning})
        return
    while True:
        try:
            requests = [msgspec.msgpack.decode(one) for one in _receive(link)]
        except (OSError, EOFError):
            return
        _send(link, [_told(one) for one in answered_together(scorer, requests)])


def _told(said: Answered | Exception) -> dict[str, Any]:
    if isinstance(said, Exception):
        return {"failed": repr(said)}
    answers = [{"refused": one.problems} if isinstance(one, Refused) else one for one in said.answers]
    return {"answers": answers, "milliseconds": said.milliseconds}


def main() -> None:
    """Answer for the server that started this process, behind everybody else."""
    die_with_parent()
    os.nice(NICE)
    with suppress(OSError):  # no Linux, or not allowed: the kernel chooses by size
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as link:
        serve_apart(Path(sys.argv[1]), link)


if __name__ == "__main__":
    main()
