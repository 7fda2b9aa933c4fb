"""One batch per turn of the event loop, and a worker thread for what would hold the loop up.

Below about two milliseconds a record HTTP costs more than the model, and a thread would only add a switch: what came
in during one turn of the loop is answered together at its end, without waiting for more. What takes longer (large
models, hand-made image features, many records, large files) goes to one worker thread, which takes all that waits.
How long a record takes is measured as it is answered: an example may be quicker than what people send.
docs/decisions/0030 has the figures.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple, Protocol

from pipeline.serving.record import Record
from pipeline.serving.scorer import Answer, Refused, Scorer

LOOP_SECONDS = 0.002
"""Longest time of one record that is answered on the loop."""
TURN_SECONDS = 0.020
"""Longest time of one request that is."""
WORKER_RECORDS = 512
"""The worker takes requests until they hold so many."""
Answers = list[Answer | Refused]


class Served(Protocol):
    """A model that answers, see `pipeline.serving.served`."""

    scorer: Scorer
    seconds_per_record: float

    def took(self, seconds: float) -> None:
        """Take note of how long a record took."""


class Answered(NamedTuple):
    """What is said to the records of one request.

    Attributes:
        answers: To each, in order.
        milliseconds: Processor time for each record; what was answered together shares it evenly.
    """

    answers: Answers
    milliseconds: float


class _Asked(NamedTuple):
    served: Served
    records: Sequence[Record]
    heavy: bool
    future: "asyncio.Future[Answered]"

    def takes_long(self) -> bool:
        """Return whether it would hold the loop up."""
        seconds = self.served.seconds_per_record
        return self.heavy or seconds > LOOP_SECONDS or seconds * len(self.records) > TURN_SECONDS


class Batches:
    """Answers for requests that wait, several together.

    Args:
        noted: Is told the number of records of each batch.
    """

    def __init__(self, noted: Callable[[int], None]) -> None:
        self._noted = noted
        self._turn: list[_Asked] = []
        self._queue: list[_Asked] = []
        self._worker = ThreadPoolExecutor(1, "answers")
        self._working: asyncio.Task[None] | None = None

    async def answers(self, served: Served, records: Sequence[Record], *, heavy: bool = False) -> Answered:
        """Return an answer for each record, all by one model.

        Args:
            served: The model.
            records: Of one request.
            heavy: They are larger than usual, whatever their number.
        """
        asked = _Asked(served, records, heavy, asyncio.get_running_loop().create_future())
        self._put(asked)
        return await asked.future

    def _put(self, asked: _Asked) -> None:
        loop = asyncio.get_running_loop()
        if asked.takes_long():
            self._queue.append(asked)
            if self._working is None:
                self._working = loop.create_task(self._work())
        else:
            if not self._turn:
                loop.call_soon(self._end_turn)
            self._turn.append(asked)

    def _end_turn(self) -> None:
        waiting, self._turn = [asked for asked in self._turn if not asked.future.done()], []
        if not waiting:
            return
        # A turn is no longer than one large request: the others take the next one, or the worker.
        batch = next(_batches(waiting, lambda served: max(1, int(TURN_SECONDS / served.seconds_per_record))))
        self._noted(sum(len(asked.records) for asked in batch))
        _tell(batch, *_answered_batch(batch))
        for asked in waiting[len(batch) :]:
            self._put(asked)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._queue:
                batch = next(_batches(self._queue, lambda _served: WORKER_RECORDS))
                del self._queue[: len(batch)]
                # Whoever was told that it takes too long is gone.
                batch = [asked for asked in batch if not asked.future.done()]
                if batch:
                    self._noted(sum(len(asked.records) for asked in batch))
                    _tell(batch, *await loop.run_in_executor(self._worker, _answered_batch, batch))
        finally:
            self._working = None

    def close(self) -> None:
        """Let the worker end."""
        self._worker.shutdown(wait=False, cancel_futures=True)


def _batches(waiting: Sequence[_Asked], most: Callable[[Served], int]) -> Iterator[list[_Asked]]:
    """Yield requests in order, neighbours of one model together: a swap may lie between two."""
    batch: list[_Asked] = []
    for asked in waiting:
        held = sum(len(one.records) for one in batch)
        if batch and (batch[0].served is not asked.served or held + len(asked.records) > most(asked.served)):
            yield batch
            batch = []
        batch.append(asked)
    if batch:
        yield batch


def answered_together(scorer: Scorer, requests: Sequence[Sequence[Record]]) -> list[Answered | Exception]:
    """Return the answers for the records of each request; one that brings the model down does so for itself alone."""
    begun = time.thread_time()
    try:
        found = iter(scorer.answers([record for records in requests for record in records]))
        told = [list(islice(found, len(records))) for records in requests]
    except Exception as error:  # noqa: BLE001  # whatever it is, the request that brought it is answered by it
        if len(requests) == 1:
            return [error]
        return [answered_together(scorer, [records])[0] for records in requests]
    each = 1000 * (time.thread_time() - begun) / max(1, sum(map(len, requests)))
    return [Answered(answers, each) for answers in told]


def _answered_batch(batch: Sequence[_Asked]) -> tuple[list[Answered | Exception], float]:
    """Return what is said to each, and the processor time for a record in seconds."""
    begun = time.thread_time()
    told = answered_together(batch[0].served.scorer, [asked.records for asked in batch])
    return told, (time.thread_time() - begun) / max(1, sum(len(asked.records) for asked in batch))


def _tell(batch: Sequence[_Asked], answers: Sequence[Answered | Exception], seconds: float) -> None:
    if not any(asked.heavy for asked in batch):
        batch[0].served.took(seconds)
    for asked, answer in zip(batch, answers, strict=True):
        if asked.future.done():
            continue
        if isinstance(answer, Exception):
            asked.future.set_exception(answer)
        else:
            asked.future.set_result(answer)
