"""Single runs: found by what they are, filled so that filling again changes nothing.

MLflow gives each run a random id and would happily keep ten runs of the same thing. Here a run is found
by its tags. Two machines that make the same run at once see each other's at a second look, and both keep
the oldest.
"""

import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import LifecycleStage, Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException

from pipeline.runtime.progress import Epoch, LiveTrace
from pipeline.tracking.store import Store

# --- Which process owns a running run, and the end of runs whose owner is gone.
#
# SIGTERM and kill -9 leave a run RUNNING for ever. A run therefore carries the host, number and start of the
# process that feeds it, and whoever opens the store next on that host closes the runs of the dead.

HOST, PROCESS, STARTED = "millrace.host", "millrace.pid", "millrace.process_started"


def owner_tags(pid: int) -> dict[str, str]:
    """Return the tags that name a process of this machine."""
    return {HOST: host_name(), PROCESS: str(pid), STARTED: process_started(pid)}


def host_name() -> str:
    """Return the name of this machine, with the start of its id where Linux has one: names repeat."""
    machine_id = Path("/etc/machine-id")
    suffix = f"-{machine_id.read_text().strip()[:8]}" if machine_id.is_file() else ""
    return platform.node() + suffix


def process_started(pid: int) -> str:
    """Return boot and start tick of a process, or "" if there is none.

    Numbers of processes are given again; together with this value they are unique.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    state, *fields = status.rpartition(")")[2].split()
    # Field 22 of proc(5), counted from 1; the state after the name in brackets is field 3.
    return "" if state == "Z" else f"{boot}:{fields[18]}"


def sweep(store: Store) -> list[str]:
    """Close the running runs of this host whose process is gone.

    Returns:
        The ids of the closed runs.
    """
    running = store.client.search_runs(
        [store.experiment_id], f"attributes.status = 'RUNNING' and tags.`{HOST}` = '{host_name()}'"
    )
    closed = []
    for run in running:
        tags = run.data.tags
        if process_started(int(tags.get(PROCESS, "0"))) != tags.get(STARTED):
            store.client.set_terminated(run.info.run_id, status="KILLED")
            closed.append(run.info.run_id)
    return closed


# --- Single runs.

COMPLETE = "millrace.complete"
PARENT = "mlflow.parentRunId"
MAX_BATCH_METRICS = 1000
MAX_BATCH_PARAMS = 100
MAX_PARAM_CHARACTERS = 500
"""MLflow takes more, but the page of a run does not get better by it."""


def find_run(store: Store, tags: Mapping[str, str]) -> Run | None:
    """Return the oldest run that has all these tags, or None."""
    runs = find_runs(store, tags)
    return runs[0] if runs else None


def find_runs(store: Store, tags: Mapping[str, str], *, deleted_too: bool = False) -> list[Run]:
    """Return the runs that have all these tags, oldest first."""
    condition = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    view = ViewType.ALL if deleted_too else ViewType.ACTIVE_ONLY
    runs = store.client.search_runs([store.experiment_id], condition, view)
    return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))


def find_or_create_run(
    store: Store,
    identity: Mapping[str, str],
    name: str,
    tags: Mapping[str, str],
    start_time: int | None = None,
) -> Run:
    """Return the one run with these identifying tags; a new one belongs to this process.

    Args:
        store: Where to look.
        identity: Tags that together name exactly one run.
        name: Shown in the runs table.
        tags: More tags for a new run.
        start_time: Milliseconds since 1970, of a new run; None for now.
    """
    found = find_run(store, identity)
    if found is not None:
        return found
    made = store.client.create_run(
        store.experiment_id,
        start_time=start_time,
        tags={**owner_tags(os.getpid()), **tags, **identity},
        run_name=name,
    )
    oldest = find_run(store, identity) or made
    if oldest.info.run_id != made.info.run_id:
        delete_run(store, made.info.run_id)
    return oldest


def delete_run(store: Store, run_id: str) -> None:
    """Delete a run; that another machine deleted it before is as good."""
    try:
        store.client.delete_run(run_id)
    except MlflowException:
        if store.client.get_run(run_id).info.lifecycle_stage != LifecycleStage.DELETED:
            raise


def send_epochs(store: Store, run: Run, epochs: Iterable[Epoch]) -> None:
    """Send metrics; values that are there already are recognised by their time stamps and not doubled.

    Epochs without a time stamp get one that follows from the start of the run: a second per epoch.
    """
    metrics = [
        Metric(name, value, epoch.timestamp or run.info.start_time + 1000 * epoch.step, epoch.step)
        for epoch in epochs
        for name, value in sorted(epoch.metrics.items())
    ]
    for start in range(0, len(metrics), MAX_BATCH_METRICS):
        store.client.log_batch(run.info.run_id, metrics=metrics[start : start + MAX_BATCH_METRICS])


def send_params(store: Store, run: Run, params: Mapping[str, Any]) -> None:
    """Send parameters, nested ones under dotted names; the same values may be sent again."""
    flat = [Param(name, str(value)[:MAX_PARAM_CHARACTERS]) for name, value in flattened(params)]
    for start in range(0, len(flat), MAX_BATCH_PARAMS):
        store.client.log_batch(run.info.run_id, params=flat[start : start + MAX_BATCH_PARAMS])


def send_tags(store: Store, run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags in one call."""
    store.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])


def complete(store: Store, run: Run, end_time: int | None = None) -> None:
    """End a run as finished, and note that nothing is missing in it."""
    store.client.set_terminated(run.info.run_id, status="FINISHED", end_time=end_time)
    store.client.set_tag(run.info.run_id, COMPLETE, "true")


def is_complete(run: Run) -> bool:
    """Return whether a run was filled to its end before."""
    return bool(run.data.tags.get(COMPLETE) == "true" and run.info.status == "FINISHED")


def flattened(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted name and value of every leaf of nested dicts."""
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


# --- The run of a training that is going on: made once, found again after every interruption.

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
