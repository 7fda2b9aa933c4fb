"""Models that were taken back: by their content, so that the same bytes never become champion again.

A revocation is kept as champions are (see `champions`), as a write-once value of MLflow: the parameter
`revoked.<sha256>` of one run for the whole store. It hangs on no registered model, which a person may rename or delete
in the dashboard together with its versions and their tags.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlflow.exceptions import MlflowException

from pipeline.tracking.runs import find_or_create_run, find_runs
from pipeline.tracking.store import Store, experiment_called

EXPERIMENT = "millrace-champions"
"""Of the runs that hold what is written once."""
RECORD = "millrace.revocations"
"""Tag of the run that holds revocations."""
PREFIX = "revoked."
REVOKED = "millrace.revoked"
"""Tag of a version, and with a digest appended of the registered model: what people see of a revocation.

It counts as well: it is all there is of one that an earlier release made."""


def revoke(
    store: Store, name: str, number: int, model_sha256: str, *, reason: str, when: str, by: str
) -> None:
    """Take back a version, and its content for all time.

    Args:
        store: An opened store.
        name: Of the registered model.
        number: Of the version that is taken back.
        model_sha256: Of its model.
        reason: In the words of the person.
        when: ISO 8601, UTC.
        by: User and host.
    """
    content = {"by": by, "model_sha256": model_sha256, "reason": reason, "when": when}
    text = json.dumps(content, sort_keys=True)
    _write_down(store, {model_sha256: text})
    store.client.set_registered_model_tag(name, f"{REVOKED}.{model_sha256}", text)
    store.client.set_model_version_tag(name, str(number), REVOKED, text)


def revocation(store: Store, name: str, model_sha256: str) -> dict[str, Any] | None:
    """Return why a model must not become champion (keys by, model_sha256, reason, when), or None; reads only."""
    text = _tagged(store, name) | _written_down(store)
    return dict(json.loads(text[model_sha256])) if model_sha256 in text else None


def keep_revocations(store: Store, name: str) -> None:
    """Write down what only the tags of a model and of its versions say, so that it outlives them."""
    _write_down(store, _tagged(store, name))


def revocation_words(revoked: Mapping[str, Any]) -> str:
    """Return a sentence about a revocation."""
    return (
        f"The model with sha256 {revoked['model_sha256'][:12]} was revoked by {revoked['by']} on {revoked['when']}: "
        f"{revoked['reason']}"
    )


def _tagged(store: Store, name: str) -> dict[str, str]:
    """Return digest to revocation, as JSON, that tags of a registered model and of its versions say."""
    try:
        tags = store.client.get_registered_model(name).tags
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}
    found = {}
    for version in store.client.search_model_versions(f"name = '{name}'"):
        if REVOKED in version.tags and "model_sha256" in version.tags:
            found[version.tags["model_sha256"]] = version.tags[REVOKED]
    prefix = f"{REVOKED}."
    return found | {tag.removeprefix(prefix): text for tag, text in tags.items() if tag.startswith(prefix)}


def _written_down(store: Store) -> dict[str, str]:
    """Return digest to revocation, as JSON, of all runs of the record: two machines may have begun it at once.

    Deleted ones count, too.
    """
    experiment = store.client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return {}
    place = replace(store, experiment=EXPERIMENT, experiment_id=experiment.experiment_id)
    params = [run.data.params for run in find_runs(place, {RECORD: "true"}, deleted_too=True)]
    return {
        key.removeprefix(PREFIX): text
        for found in reversed(params)
        for key, text in found.items()
        if key.startswith(PREFIX)
    }


def _write_down(store: Store, found: Mapping[str, str]) -> None:
    """Add to the record what is not in it; what was said first stays."""
    new = found.keys() - _written_down(store).keys()
    if not new:
        return
    experiment_id = experiment_called(store, EXPERIMENT)
    place = replace(store, experiment=EXPERIMENT, experiment_id=experiment_id)
    run_id = find_or_create_run(place, {RECORD: "true"}, "revocations", {}).info.run_id
    store.client.set_terminated(run_id, status="FINISHED")
    for digest in sorted(new):
        try:
            store.client.log_param(run_id, f"{PREFIX}{digest}", found[digest])
        except MlflowException as error:
            # Another machine wrote it down in other words a moment ago.
            if error.error_code != "INVALID_PARAMETER_VALUE" or digest not in _written_down(store):
                raise
