"""The run of a training that is going on: made once, found again after every interruption."""

from mlflow.entities import Run

from pipeline.runtime.progress import LiveTrace
from pipeline.tracking.owners import owner_tags
from pipeline.tracking.runs import COMPLETE, find_or_create_run, send_tags
from pipeline.tracking.store import Store

LIVE_ID = "millrace.live_id"
CANDIDATE = "millrace.candidate"
KIND = "millrace.kind"


def live_run(store: Store, candidate: str, trace: LiveTrace) -> Run:
    """Return the run of a live log, made on first use.

    Args:
        store: Where the run is.
        candidate: Name of the candidate.
        trace: Its live log; the run starts when the training did.
    """
    tags = {CANDIDATE: candidate, KIND: "training"}
    return find_or_create_run(store, {LIVE_ID: trace.live_id}, candidate, tags, trace.started)


def adopt(store: Store, run: Run, pid: int) -> None:
    """Say that a process feeds this run from now on, unless the record was completed meanwhile."""
    if COMPLETE not in run.data.tags:
        send_tags(store, run.info.run_id, owner_tags(pid))
        store.client.update_run(run.info.run_id, status="RUNNING")


def end_live_run(store: Store, run: Run, status: str, end_time: int) -> None:
    """End a run as its live log says, `FINISHED` or `FAILED`, unless the record was completed meanwhile."""
    if COMPLETE not in run.data.tags:
        store.client.set_terminated(run.info.run_id, status=status, end_time=end_time)
