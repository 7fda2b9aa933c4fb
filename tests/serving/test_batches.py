"""What waits is answered together, by the model it began with, and nobody falls with another one."""

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest

from pipeline.serving.batches import Batches


class Model:
    """Answers a record by itself and its name; notes batches, and the thread."""

    def __init__(self, name, seconds=0.0001):
        self.name, self.seconds_per_record, self.scorer = name, seconds, SimpleNamespace(answers=self.answers)
        self.batches, self.threads = [], []

    def took(self, seconds):
        self.seconds_per_record = max(seconds, (self.seconds_per_record + seconds) / 2)

    def answers(self, records):
        self.batches.append(list(records))
        self.threads.append(threading.current_thread())
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
    assert [threading.main_thread()] == model.threads


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


def busy(seconds):
    """Use the processor."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_a_model_that_was_quick_on_its_example_and_is_slow_on_real_records_leaves_the_loop():
    """From its first slow record on; once it has been quick for a while it comes back. What is heavy tells nothing."""
    model = Model("a")
    plain = model.answers
    model.scorer.answers = lambda records: busy(0.03 * records.count("slow")) or plain(records)

    async def ask():
        batches = Batches(lambda _count: None)
        await batches.answers(model, ["slow"], heavy=True)
        await batches.answers(model, ["slow"])
        for _ in range(12):
            await batches.answers(model, ["quick"])

    asyncio.run(ask())
    on_loop = [thread is threading.main_thread() for thread in model.threads]
    assert [False, True, False, False, True] == [*on_loop[:4], on_loop[-1]]


def test_a_request_that_brings_a_slow_model_down_was_slow_all_the_same():
    """Else one that fails after a second would do so on the loop, again and again."""
    model = Model("a")
    model.scorer.answers = lambda _records: busy(0.03) or 1 / 0
    (told,) = together((model, [1], {}))
    assert isinstance(told, ZeroDivisionError)
    assert model.seconds_per_record > 0.02


def test_between_two_batches_of_a_turn_the_loop_goes_on():
    """Many requests at once are several turns, in their order."""
    model, seen = Model("a"), []
    model.took = lambda _seconds: None

    async def ask():
        batches = Batches(lambda _count: None)
        waiting = [asyncio.create_task(batches.answers(model, [number] * 150)) for number in range(3)]
        for _ in range(5):
            await asyncio.sleep(0)
            seen.append(len(model.batches))
        await asyncio.gather(*waiting)

    asyncio.run(ask())
    assert {0, 1, 2, 3} >= {*seen} >= {1, 2}
    assert [0, 1, 2] == [batch[0] for batch in model.batches]


def test_who_left_before_the_turn_is_not_answered():
    """Told that it takes too long, say; where all have left the model is not asked."""
    model = Model("a")

    async def ask(left, others):
        batches = Batches(lambda _count: None)
        waiting = [asyncio.create_task(batches.answers(model, [number])) for number in left + others]
        await asyncio.sleep(0)
        for task in waiting[: len(left)]:
            task.cancel()
        return await asyncio.gather(*waiting[len(left) :])

    assert [("a", 2)] == asyncio.run(ask([1], [2]))[0].answers
    asyncio.run(ask([3, 4], []))
    assert [[2]] == model.batches
