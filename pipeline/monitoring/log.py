"""The prediction log of a server: whole Parquet files in a folder, by a thread that keeps no request waiting.

    FOLDER/models/DIGEST.json                             the model that answered: its card, its reference
    FOLDER/2026-11-29/part-2026-11-29T041554.123Z-*.parquet    rows of one model in one role

What stands in a row says `pipeline.monitoring.rows`.

What is asked goes into a queue; the thread measures it a few records at a time, and lets the event loop have its turn
in between. A part is written beside, fsynced and renamed: there are whole parts or none, also after `kill -9`, which
costs the rows that were not yet written. Names hold chance, so several processes may share a folder. Where the disk is
slow the queue fills, and where it is full a part cannot be written: such rows are dropped and counted, and requests
are answered as ever.
"""

import datetime as dt
import hashlib
import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq

from pipeline.monitoring.rows import Answering, Request, rows_of, table_of
from pipeline.runtime.errors import NotPermitted, say
from pipeline.runtime.files import atomic_path, write_text

PART_ROWS = 10_000
PART_BYTES = 32 << 20
"""A part is written once it would hold so many rows, or bytes as JSON."""
WAITING_ROWS = 20_000
WAITING_BYTES = 128 << 20
"""What the queue holds at most; beyond it rows are dropped."""
TICK_SECONDS = 0.25
"""So often the queue is looked at."""
CHUNK_ROWS = 32
"""Rows that are measured before the event loop has its turn."""
TURN_SECONDS = 0.0005
END_SECONDS = 20
"""How long the end of the server waits for the last part."""
LEFTOVER_SECONDS = 3600
"""Drafts of parts that are older were left by a process that was killed."""
WRITTEN, DROPPED_QUEUE, DROPPED_ERROR = "written", "dropped: queue full", "dropped: not written"
OUTCOMES = (WRITTEN, DROPPED_QUEUE, DROPPED_ERROR)
KEPT_OF_STATE = ("payload", "task", "classes", "class_counts", "train_samples", "target")
PRIVATE, PRIVATE_FOLDER = 0o600, 0o700
Noted = Callable[[str, int], None]


def is_sampled(name: str, share: float) -> bool:
    """Return whether a request is of the sample: by a hash of its id, so that all of its records are, or none."""
    return share >= 1 or int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") < share * 2.0**64


class PredictionLog:
    """Takes requests that were answered, and writes them down in a thread of its own.

    Args:
        folder: Where; made if it is not there.
        noted: Is told what became of how many rows, by `OUTCOMES`.
        share: Of the requests that are written down, (0, 1].
        keep_records: Whether texts and columns beside are kept as they came.
        seconds: A part is written that long after its first row.

    Raises:
        NotPermitted: Nothing can be written there.
    """

    def __init__(
        self,
        folder: Path,
        noted: Noted = lambda _outcome, _count: None,
        *,
        share: float = 1.0,
        keep_records: bool = False,
        seconds: float = 60.0,
    ) -> None:
        self.folder, self._noted, self._share = folder, noted, share
        self._keep_records, self._seconds = keep_records, seconds
        for outcome in OUTCOMES:  # from now on no counter is new, whichever thread counts
            noted(outcome, 0)
        self._known: set[str] = set()
        self._waiting: deque[Request] = deque()
        self._waiting_rows = self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._held: dict[tuple[str, str], tuple[Answering, list[int], list[bytes]]] = {}
        self._rows = self._bytes = 0
        self._first = 0.0
        self._failing = self._full = False
        self._ended = threading.Event()
        try:
            folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
            (folder / "models").mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
            with atomic_path(folder / f".writable-{os.getpid()}") as draft:
                draft.write_bytes(b"")
            (folder / f".writable-{os.getpid()}").unlink()
        except OSError as error:
            raise NotPermitted(
                f"The log cannot be written. Expected a folder for --log that this process may write to. Received: "
                f"{folder}: {error.strerror}. Name another one, or change its owner."
            ) from error
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    def wants(self, name: str) -> bool:
        """Return whether a request of this id is written down."""
        return is_sampled(name, self._share)

    def take(self, request: Request) -> None:
        """Write down a request, some time; where the queue is full it is dropped."""
        rows = len(request.records)
        with self._lock:
            full = (
                self._waiting_rows + rows > WAITING_ROWS
                or self._waiting_bytes + request.held_bytes > WAITING_BYTES
            )
            if not full:
                self._waiting_rows += rows
                self._waiting_bytes += request.held_bytes
        if not full:
            self._full = False
            self._waiting.append(request)
            return
        if not self._full:
            said = "serve: the log is slower than the requests: rows are dropped (millrace_log_rows_total)"
            say(said, file=sys.stderr)
        self._full = True
        self._noted(DROPPED_QUEUE, rows)

    def lose(self, rows: int, error: Exception) -> None:
        """Count rows that cannot be written down, and say why, once."""
        self._noted(DROPPED_ERROR, rows)
        if not self._failing:
            said = f"serve: the log cannot be written, rows are dropped (millrace_log_rows_total): {error}"
            say(said, file=sys.stderr)
        self._failing = True

    def close(self) -> None:
        """Write what waits, and end the thread."""
        self._ended.set()
        self._thread.join(END_SECONDS)
        if self._thread.is_alive():
            say(
                f"serve: the log was not written to its end in {END_SECONDS} s; rows are lost",
                file=sys.stderr,
            )

    # --- In the thread.

    def _work(self) -> None:
        self._remove_leftovers()
        while True:
            ended = self._ended.wait(TICK_SECONDS)
            while chunk := self._chunk():
                self._measure(chunk)
                if self._rows >= PART_ROWS or self._bytes >= PART_BYTES:
                    self._write()
                time.sleep(TURN_SECONDS)
            if self._rows and (ended or time.monotonic() - self._first >= self._seconds):
                self._write()
            if ended and not self._waiting:
                return

    def _chunk(self) -> list[Request]:
        chunk: list[Request] = []
        rows = 0
        while self._waiting and (not chunk or rows + len(self._waiting[0].records) <= CHUNK_ROWS):
            chunk.append(self._waiting.popleft())
            rows += len(chunk[-1].records)
        with self._lock:
            self._waiting_rows -= rows
            self._waiting_bytes -= sum(request.held_bytes for request in chunk)
        return chunk

    def _measure(self, chunk: Sequence[Request]) -> None:
        for whose, together in groupby(chunk, key=lambda request: (request.model.digest, request.role)):
            requests = list(together)
            try:
                rows = rows_of(requests, keep_records=self._keep_records)
                lines = msgspec.json.Encoder().encode_lines(rows)
            except Exception as error:  # noqa: BLE001  # a bug of ours must not end the log, let alone the server
                self.lose(sum(len(request.records) for request in requests), error)
                continue
            if not self._rows:
                self._first = time.monotonic()
            model = requests[0].model
            _, counts, held = self._held.setdefault(whose, (model, [], []))
            counts.append(len(rows))
            held.append(lines)
            self._rows += len(rows)
            self._bytes += len(lines)

    def _write(self) -> None:
        written, self._held, self._rows, self._bytes = self._held, {}, 0, 0
        for (_digest, role), (model, counts, lines) in written.items():
            rows = sum(counts)
            try:
                self._write_model(model)
                table = table_of(model, b"".join(lines), keep_records=self._keep_records, role=role)
                with atomic_path(self._next_part(), mode=PRIVATE) as draft:
                    pq.write_table(table, draft, compression="zstd")
            except Exception as error:  # noqa: BLE001  # a full disk has many names
                self.lose(rows, error)
            else:
                self._noted(WRITTEN, rows)
                if self._failing:
                    say("serve: the log is written again", file=sys.stderr)
                self._failing = False

    def _write_model(self, model: Answering) -> None:
        """Write down who answered, once: what `millrace watch` needs of it."""
        path = self.folder / "models" / f"{model.digest}.json"
        if model.digest not in self._known and not path.is_file():
            write_text(path, json.dumps(as_paper(model), sort_keys=True, allow_nan=False) + "\n", PRIVATE)
        self._known.add(model.digest)

    def _next_part(self) -> Path:
        now = dt.datetime.now(dt.UTC)
        day = self.folder / f"{now:%Y-%m-%d}"
        day.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        return (
            day / f"part-{now:%Y-%m-%dT%H%M%S}.{now.microsecond // 1000:03d}Z-{os.urandom(8).hex()}.parquet"
        )

    def _remove_leftovers(self) -> None:
        for draft in self.folder.glob("[0-9]*/.part-*"):
            try:
                if time.time() - draft.stat().st_mtime > LEFTOVER_SECONDS:
                    draft.unlink()
            except OSError:  # somebody else removed it, or may
                continue


def as_paper(model: Answering) -> dict[str, Any]:
    """Return what is written down of a model; of its state, only what says which answers and columns there are."""
    state = dict(model.state)
    kept = {name: state[name] for name in KEPT_OF_STATE if name in state}
    if "windows" in state:
        kept["windows"] = {
            name: state["windows"][name]
            for name in ("length", "horizon", "stride")
            if name in state["windows"]
        }
    if "series" in state:
        kept["series"] = {"channels": state["series"]["channels"]}
    return {
        "name": model.name,
        "version": model.version,
        "digest": model.digest,
        "state": kept,
        "card": dict(model.card),
        "reference": model.reference,
    }
