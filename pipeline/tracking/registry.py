"""The model registry: versions that are complete before they exist, and aliases moved in a safe order.

MLflow accepts versions without files, makes the same version twice and moves an alias for anybody. So a
model's files are uploaded, downloaded again, compared and tried first; a version is found by the digest of
its model before one is made; and what was decided stands in its tags before an alias moves.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline.artifacts import file_digest
from pipeline.runtime import Busy, StorageFailed
from pipeline.tracking.arrival import check_in_fresh_process, require_same_files
from pipeline.tracking.store import Store, is_outage

CHAMPION, PREVIOUS = "champion", "previous"
MODEL_SHA256 = "model_sha256"
DECISION = "millrace.decision"
APPLIED = "millrace.decision_applied"
MODEL_FILE = Path("data/model.keras")
"""Where MLflow's keras flavour keeps the model below the folder of a version."""
EXTRA_DIR = "millrace"
"""Folder beside the model: state of the features, settings, golden predictions, the card."""
MODEL_DESCRIPTION = (
    "The alias `champion` is the model to use, `previous` the one before it. The tag `millrace.decision` of a version "
    "says why it was promoted or refused."
)


@dataclass(frozen=True)
class Version:
    """One version of a registered model.

    Attributes:
        number: As the registry counts, from 1.
        model_sha256: Digest of the `.keras` file.
        model_id: Of the logged model that holds its files.
        tags: All its tags.
    """

    number: int
    model_sha256: str
    model_id: str
    tags: dict[str, str]


def find_version(store: Store, name: str, model_sha256: str) -> Version | None:
    """Return the oldest version of this very model, or None."""
    found = store.client.search_model_versions(
        f"name = '{name}' and tags.`{MODEL_SHA256}` = '{model_sha256}'"
    )
    return min((_version(item) for item in found), key=lambda version: version.number, default=None)


def champion_version(store: Store, name: str) -> Version | None:
    """Return the version that carries the alias `champion`, or None."""
    number = aliases(store, name).get(CHAMPION)
    return None if number is None else _version(store.client.get_model_version(name, str(number)))


def aliases(store: Store, name: str) -> dict[str, int]:
    """Return alias to version number.

    Asking MLflow for one alias cannot tell "there is none" from a malformed request, so all are read.
    """
    try:
        found = store.client.get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}
    # A database gives whole numbers, a server text.
    return {alias: int(number) for alias, number in found.items()}


def create_version(
    store: Store, name: str, folder: Path, *, run_id: str, tags: Mapping[str, str], description: str
) -> Version:
    """Upload a packed model, prove that what arrived works, and only then make a version of it.

    Args:
        store: An opened store.
        name: Of the registered model; made if it is new.
        folder: The packed model, see `pipeline.tracking.packing`.
        run_id: The run that made it.
        tags: For the version; the digest of the model is added.
        description: Markdown for the page of the version.

    Raises:
        StorageFailed: What came back differs from what was sent, or does not work.
    """
    digest = file_digest(folder / MODEL_FILE, "sha256")
    model_id = _logged_model_id(store, name, digest, run_id)
    store.client.log_model_artifacts(model_id, str(folder))
    with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
        arrived = download(store, model_id, Path(temporary))
        require_same_files(folder, arrived)
        check_in_fresh_process(arrived)
    store.client.finalize_logged_model(model_id, "READY")
    try:
        store.client.create_registered_model(name, description=MODEL_DESCRIPTION)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # A server resolves `models:/<id>` only if the id is given as well; sqlite does not mind.
    made = store.client.create_model_version(
        name,
        source=f"models:/{model_id}",
        run_id=run_id,
        tags={**tags, MODEL_SHA256: digest},
        description=description,
        model_id=model_id,
    )
    return find_version(store, name, digest) or _version(made)


def fetch_model(store: Store, version: Version, folder: Path) -> Path:
    """Download the files of a version and return their folder.

    Raises:
        StorageFailed: The model is missing, or is not the one that was registered.
        MlflowException: The server failed, which says nothing about the model.
        requests.RequestException: So did the way to it.
    """
    try:
        arrived = download(store, version.model_id, folder)
        digest = file_digest(arrived / MODEL_FILE, "sha256")
    except (OSError, MlflowException) as error:
        if is_outage(error):
            raise
        raise StorageFailed(
            f"The files of model version {version.number} cannot be read: {error}. Expected {MODEL_FILE} in the "
            "artifact store. Restore the store, or remove the alias `champion` in the registry."
        ) from error
    if digest != version.model_sha256:
        raise StorageFailed(
            f"The files of model version {version.number} are not those that were registered. Expected sha256 "
            f"{version.model_sha256}. Received: {digest}. Restore the artifact store from a copy."
        )
    return arrived


def download(store: Store, model_id: str, folder: Path) -> Path:
    """Download the files of a logged model into `folder` and return where they lie."""
    location = store.client.get_logged_model(model_id).artifact_location
    return Path(download_artifacts(artifact_uri=location, dst_path=str(folder), tracking_uri=store.uri))


def recorded_decision(version: Version) -> dict[str, Any] | None:
    """Return the last decision about a version, or None."""
    text = version.tags.get(DECISION)
    return None if text is None else dict(json.loads(text))


def record_decision(store: Store, name: str, version: Version, decision: Mapping[str, Any]) -> None:
    """Write a decision onto its version, before anything follows from it."""
    store.client.set_model_version_tag(name, str(version.number), APPLIED, "false")
    text = json.dumps(decision, sort_keys=True)
    store.client.set_model_version_tag(name, str(version.number), DECISION, text)


def apply_decision(store: Store, name: str, version: Version, decision: Mapping[str, Any]) -> None:
    """Do what was decided, in an order in which a crash leaves a champion and the way back.

    Args:
        store: An opened store; the caller holds its lock, because MLflow moves aliases for anybody.
        name: Of the registered model.
        version: What was decided about.
        decision: Content of decision.json.

    Raises:
        Busy: Another machine, which our lock does not reach, made another model champion meanwhile.
    """
    champion = champion_version(store, name)
    found = champion.model_sha256 if champion else ""
    if decision["decision"] == "promoted" and found != version.model_sha256:
        if found != decision["champion_before"]:
            raise Busy(
                f"Somebody else moved the alias `champion` of {name} while version {version.number} was compared. "
                f"Expected the champion it was compared with: {decision['champion_before'] or 'none'}. "
                f"Received: {found or 'none'}. Nothing was moved. Run `dvc repro` again, which compares anew."
            )
        if champion is not None:
            store.client.set_registered_model_alias(name, PREVIOUS, str(champion.number))
        store.client.set_registered_model_alias(name, CHAMPION, str(version.number))
    store.client.set_model_version_tag(name, str(version.number), APPLIED, "true")


def _logged_model_id(store: Store, name: str, digest: str, run_id: str) -> str:
    """Return a logged model for this file: the one that an interrupted attempt left, or a new one."""
    left = store.client.search_logged_models([store.experiment_id], f"tags.`{MODEL_SHA256}` = '{digest}'")
    for model in left:
        if model.name == name and model.status != "FAILED":
            return str(model.model_id)
    made = store.client.create_logged_model(
        store.experiment_id, name=name, source_run_id=run_id, tags={MODEL_SHA256: digest}
    )
    return str(made.model_id)


def _version(item: ModelVersion) -> Version:
    model_id = item.model_id or item.source.removeprefix("models:/")
    return Version(int(item.version), item.tags.get(MODEL_SHA256, ""), model_id, dict(item.tags))
