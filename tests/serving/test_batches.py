"""What waits is answered together, by the model it began with, and nobody falls with another one."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from pipeline.serving.batches import Batches


class Model:
    """Answers a record by itself and its name; notes batches, and the thread."""

    def __init__(self, name, seconds=0.0001):
        self.name, self.seconds_per_record, self.scorer = name, seconds, SimpleNamespace(answers=self.answers)
        self.batches, self.threads = [], set()

    def answers(self, records):
        self.batches.append(list(records))
        self.threads.add(threading.current_thread())
        if "poison" in records:
            raise ZeroDivisionError
        return [(self.name, record) for record in records]


def together(*asked):
    """Ask in one turn of a loop; each is a model, records and further arguments."""

    async def ask():
        batches = Batches(lambda _count: None)
        waiting = [batches.answers(model, records, **more) for model, records, more in asked]
        return await asyncio.gather(*waiting, return_exceptions=True)

    return [one if isinstance(one, Exception) else one.answers for one in asyncio.run(ask())]


def test_one_turn_of_the_loop_is_one_batch():
    """Three requests, one call of the model, each its own answers, on the loop's thread."""
    model = Model("a")
    answers = together((model, [1, 2], {}), (model, [3], {}), (model, [4], {}))
    assert [[("a", 1), ("a", 2)], [("a", 3)], [("a", 4)]] == answers
    assert [[1, 2, 3, 4]] == model.batches
    assert {threading.main_thread()} == model.threads


def test_a_swap_between_two_requests_parts_them():
    """No batch mixes models."""
    old, new = Model("old"), Model("new")
    assert [[("old", 1)], [("new", 2)], [("new", 3)]] == together(
        (old, [1], {}), (new, [2], {}), (new, [3], {})
    )
    assert ([[1]], [[2, 3]]) == (old.batches, new.batches)


@pytest.mark.parametrize("heavy", [{}, {"heavy": True}])
def test_a_request_that_brings_the_model_down_does_so_alone(heavy):
    """The others of its batch are asked again without it."""
    model = Model("a")
    first, second, third = together((model, [1], heavy), (model, ["poison"], heavy), (model, [3], heavy))
    assert ([("a", 1)], [("a", 3)]) == (first, third)
    assert isinstance(second, ZeroDivisionError)


@pytest.mark.parametrize(
    ("seconds", "count", "more"), [(0.01, 1, {}), (0.001, 30, {}), (0.0001, 1, {"heavy": True})]
)
def test_what_would_hold_up_the_loop_goes_to_a_thread(seconds, count, more):
    """A slow model, many records, a large body."""
    model = Model("a", seconds)
    assert [[("a", number) for number in range(count)]] == together((model, range(count), more))
    assert threading.main_thread() not in model.threads


def test_the_worker_takes_all_that_waits():
    """While it answers one request others come in: they are its next batch; who left is left out."""
    model, begun, go_on = Model("a", 1.0), threading.Event(), threading.Event()
    plain = model.answers

    def slow(records):
        begun.set()
        go_on.wait(10)
        return plain(records)

    model.scorer.answers = slow

    async def ask():
        batches = Batches(lambda _count: None)
        first = asyncio.create_task(batches.answers(model, [1]))
        await asyncio.to_thread(begun.wait, 10)
        others = [asyncio.create_task(batches.answers(model, [number])) for number in (2, 3, 4)]
        await asyncio.sleep(0)
        others[1].cancel()
        await asyncio.sleep(0)
        go_on.set()
        return await asyncio.gather(first, others[0], others[2])

    assert [[("a", 1)], [("a", 2)], [("a", 4)]] == [one.answers for one in asyncio.run(ask())]
    assert [[1], [2, 4]] == model.batches
