"""Single runs: found by what they are, filled so that filling again changes nothing.

MLflow gives each run a random id and would happily keep ten runs of the same thing. Here a run is found
by its tags. Two machines that make the same run at once see each other's at a second look, and both keep
the oldest.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mlflow.entities import LifecycleStage, Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException

from pipeline.runtime.progress import Epoch
from pipeline.tracking.owners import owner_tags
from pipeline.tracking.store import Store

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
