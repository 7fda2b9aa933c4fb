"""Processes that promote at the same moment, each as if on a machine of its own."""

import multiprocessing

from pipeline.runtime.errors import Busy
from pipeline.tracking import registry
from tests.helpers.registered import decision, store_in


def promote_from_a_process(root, number, sha256, ready, start, answers):
    """Promote one version as soon as all are ready; without the lock of this machine, like another machine."""
    store = store_in(root)
    version = registry.version_numbered(store, "digits", number)
    ready.release()
    start.wait(120)
    try:
        registry.apply_decision(store, "digits", version, decision(version, sha256))
        answers.put((number, "won"))
    except Busy:
        answers.put((number, "lost"))


def race(root, versions, before):
    """Let a process per version promote it at the same moment; return number to outcome."""
    context = multiprocessing.get_context("spawn")
    ready, start, answers = context.Semaphore(0), context.Event(), context.Queue()
    workers = [
        context.Process(
            target=promote_from_a_process, args=(root, item.number, before, ready, start, answers)
        )
        for item in versions
    ]
    for worker in workers:
        worker.start()
    for _ in workers:
        assert ready.acquire(timeout=120)
    start.set()
    outcome = dict(answers.get(timeout=120) for _ in workers)
    for worker in workers:
        worker.join(60)
    return outcome
