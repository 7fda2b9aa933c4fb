"""What of the record nothing needs any more: found, and taken out of MLflow for good.

MLflow only hides what is deleted, and `mlflow gc` takes every experiment with it that a person ever deleted, also
where single runs are named. So rows and files are removed here, one after the other. A server keeps both until
`mlflow gc` runs there.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from pipeline.runtime.files import folder_bytes
from pipeline.runtime.paths import SQLITE, sqlite_path
from pipeline.tracking import runs
from pipeline.tracking.champions import aliases, champions
from pipeline.tracking.databases import ARTIFACTS
from pipeline.tracking.record import FINGERPRINT
from pipeline.tracking.registry import (
    DECISION,
    LEAVING,
    MODEL_SHA256,
    Version,
    as_version,
    of_another_registry,
    versions,
)
from pipeline.tracking.runs import HOST, KIND, LIVE_ID, PARENT, PROCESS, STARTED, host_name, process_started
from pipeline.tracking.store import Store

PAGE = 500
RUNNING, DELETED = "RUNNING", "deleted"
LONGEST_TAG = 200
"""Characters of a tag that may stay on a removed version: MLflow keeps its row for ever."""


@dataclass(frozen=True)
class Excess:
    """What of a record may go.

    Attributes:
        kept: Versions that stay, oldest first.
        versions: Versions that go.
        runs: Families of runs, each with the children before their parents.
        models: Ids of logged models, with those of `versions`.
    """

    kept: list[Version]
    versions: list[Version]
    runs: list[list[Run]]
    models: list[str]


def find_excess(store: Store, name: str, keep: int, present: set[str], live_ids: set[str]) -> Excess:
    """Return what may go where the newest `keep` versions and states stay.

    Whatever was champion stays too, and what has an alias, was never judged, or belongs to another registered model.
    Runs stay with the version that they made; runs that are not of a pipeline are nobody's business here.

    Args:
        store: An opened store; the caller holds its lock.
        name: Of the registered model.
        keep: At least 1.
        present: Digests of the models that working trees have now; their versions stay.
        live_ids: Names of the trainings whose live logs are still there.

    Raises:
        StorageFailed: The list of champions is gone, so nobody knows what was one.
    """
    runs.sweep(store)
    crowned = champions(store, name)
    numbers = {item.version for item in crowned} | set(aliases(store, name).values())
    found = versions(store, name)
    newest = {item.number for item in found[-keep:]}
    kept = [
        item
        for item in found
        if item.number in newest | numbers or item.model_sha256 in present or DECISION not in item.tags
    ]
    staying = {item.number for item in kept}
    gone = [item for item in found if item.number not in staying]
    everything = list(_pages(lambda token: store.client.search_model_versions("", PAGE, page_token=token)))
    # A kill left these half removed.
    gone += [as_version(item) for item in everything if item.name == name and LEAVING in item.tags]
    others = [item for item in everything if item.name != name or int(item.version) in staying]
    referred = {item.model_id or item.source.removeprefix("models:/") for item in others}
    contents = {item.model_sha256 for item in crowned}
    fingerprints = {item.tags.get(FINGERPRINT, "") for item in others}
    families = _excess_runs(store, keep, fingerprints, {str(item.run_id) for item in others}, live_ids)
    models = {
        item.model_id for item in gone if item.model_id not in referred and _is_ours(store, item.model_id)
    }
    return Excess(kept, gone, families, sorted(models | set(_excess_models(store, referred, contents))))


def remove_version(store: Store, name: str, version: Version) -> None:
    """Delete a version. MLflow keeps its row and number; what its tags said at length goes."""
    store.client.set_model_version_tag(name, str(version.number), LEAVING, "true")
    for tag, text in version.tags.items():
        if len(text) > LONGEST_TAG:
            store.client.delete_model_version_tag(name, str(version.number), tag)
    store.client.delete_model_version(name, str(version.number))


def database_of(store: Store) -> SqlAlchemyStore | None:
    """Return the database itself, which removes rows for good; None behind a server."""
    if store.uri.startswith("http"):
        return None
    location = store.client.get_experiment(store.experiment_id).artifact_location
    return SqlAlchemyStore(store.uri, location)


def remove_model(store: Store, database: SqlAlchemyStore | None, model_id: str) -> int:
    """Delete a logged model with its files and return how many bytes that freed on this machine."""
    location = store.client.get_logged_model(model_id).artifact_location
    if database is None:
        store.client.delete_logged_model(model_id)
        return 0
    freed = _remove_artifacts(store, location)
    database._hard_delete_logged_model(model_id)  # noqa: SLF001  # what `mlflow gc` calls
    return freed


def remove_run(store: Store, database: SqlAlchemyStore | None, run: Run) -> int:
    """Delete a run with its files and return how many bytes that freed on this machine."""
    if run.info.lifecycle_stage != DELETED:
        runs.delete_run(store, run.info.run_id)
    if database is None:
        return 0
    freed = _remove_artifacts(store, run.info.artifact_uri)
    database._hard_delete_run(run.info.run_id)  # noqa: SLF001  # what `mlflow gc` calls
    return freed


def compact(store: Store) -> str:
    """Give the room of removed rows back to the disk; return why that was not possible, or ""."""
    if not store.uri.startswith(SQLITE):
        return ""
    try:
        with closing(sqlite3.connect(sqlite_path(store.uri), timeout=5)) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.OperationalError as error:
        return f"{sqlite_path(store.uri)} keeps its size: {error}; the next call tries again"
    return ""


def local_folder(store: Store, uri: str) -> Path | None:
    """Return the folder of artifacts on this disk, None where they are elsewhere.

    Of an sqlite store only what lies beside it counts as its own: a copied project still names the places of the
    original, whose files are none of ours.
    """
    if not store.uri.startswith(SQLITE) or urlsplit(uri).scheme not in ("", "file"):
        return None
    own = (sqlite_path(store.uri).parent / ARTIFACTS).resolve()
    folder = Path(unquote(urlsplit(uri).path) if uri.startswith("file:") else uri).resolve()
    return folder if folder.is_relative_to(own) and folder != own else None


def _excess_runs(
    store: Store, keep: int, fingerprints: set[str], run_ids: set[str], live_ids: set[str]
) -> list[list[Run]]:
    parents = sorted(_runs_of_kind(store, "pipeline"), key=lambda run: run.info.start_time)
    active = [run for run in parents if run.info.lifecycle_stage != DELETED]
    staying = {run.info.run_id for run in active[-keep:]} | _parents_of(store, run_ids)
    seen = {run.data.tags.get(FINGERPRINT) for run in active}
    for run in parents:
        fingerprint = run.data.tags.get(FINGERPRINT)
        # A deleted one may come back (`mlflow runs restore`) where there is no other of a version that stays.
        if fingerprint in fingerprints and (run.info.lifecycle_stage != DELETED or fingerprint not in seen):
            staying.add(run.info.run_id)
    families = [_family(store, run) for run in parents if run.info.run_id not in staying]
    families += [
        [run]
        for run in _runs_of_kind(store, "training")
        if PARENT not in run.data.tags and run.data.tags.get(LIVE_ID) not in live_ids
    ]
    return [family for family in families if all(run.info.status != RUNNING for run in family)]


def _family(store: Store, run: Run) -> list[Run]:
    children = runs.find_runs(store, {PARENT: run.info.run_id}, deleted_too=True)
    return [*(member for child in children for member in _family(store, child)), run]


def _parents_of(store: Store, run_ids: set[str]) -> set[str]:
    found = set()
    for run_id in run_ids:
        try:
            found.add(store.client.get_run(run_id).data.tags.get(PARENT, ""))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
    return found


def _excess_models(store: Store, referred: set[str], contents: set[str]) -> list[str]:
    """Return logged models of ours that no version refers to and that never was champion."""

    def ask(token: str | None) -> Any:
        return store.client.search_logged_models(
            [store.experiment_id], f"tags.`{MODEL_SHA256}` != ''", max_results=PAGE, page_token=token
        )

    excess = []
    for model in _pages(ask):
        pid = int(model.tags.get(PROCESS, "0"))
        # Of another machine nobody here knows whether it is still uploading; what is READY has its version or lost it.
        here = model.tags.get(HOST) == host_name()
        uploading = process_started(pid) == model.tags.get(STARTED) if here else model.status != "READY"
        kept = model.model_id in referred or model.tags[MODEL_SHA256] in contents
        if not kept and not uploading and not of_another_registry(store, model):
            excess.append(str(model.model_id))
    return excess


def _is_ours(store: Store, model_id: str) -> bool:
    """Return whether a logged model is there, and no other registry may need it."""
    try:
        return not of_another_registry(store, store.client.get_logged_model(model_id))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False  # somebody deleted it in the dashboard


def _runs_of_kind(store: Store, kind: str) -> list[Run]:
    condition = f"tags.`{KIND}` = '{kind}'"
    ask = store.client.search_runs
    return list(
        _pages(
            lambda token: ask([store.experiment_id], condition, ViewType.ALL, PAGE, page_token=token),
        )
    )


def _pages(ask: Callable[[str | None], Any]) -> Iterator[Any]:
    token = None
    while True:
        page: Sequence[Any] = ask(token)
        yield from page
        token = getattr(page, "token", None)
        if not token:
            return


def _remove_artifacts(store: Store, uri: str) -> int:
    folder = local_folder(store, uri)
    if folder is None:
        if urlsplit(uri).scheme not in ("", "file"):
            get_artifact_repository(uri).delete_artifacts()
        return 0
    freed = folder_bytes(folder)
    get_artifact_repository(uri).delete_artifacts()
    try:
        folder.parent.rmdir()  # MLflow's own folder around `artifacts`
    except OSError:
        return freed
    return freed
