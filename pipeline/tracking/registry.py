"""The model registry: versions that are complete before they exist, and aliases moved in a safe order.

MLflow accepts versions without files, makes the same version twice and moves an alias for anybody. So a
model's files are uploaded, downloaded again, compared and tried first; a version is found by the digest of
its model before one is made; and what was decided stands in its tags before a champion is made of it, which is the
business of `pipeline.tracking.champions`. The file is long because all of that is one transaction, whose order counts.
"""

import datetime as dt
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from mlflow.artifacts import download_artifacts
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline.runtime.addresses import shown
from pipeline.runtime.errors import Busy, InputMissing, StorageFailed
from pipeline.runtime.files import file_digest
from pipeline.runtime.processes import naming_us, run
from pipeline.tracking.champions import (
    PROMOTED,
    REFRESHED,
    aliases,
    ensure_model,
    promote,
    settle,
)
from pipeline.tracking.runs import HOST, PROCESS, STARTED, host_name, owner_tags, process_started
from pipeline.tracking.store import Store, is_outage, process_set_to

# --- Files that were sent to the artifact store: they arrived as they were, and the model in them works.

CHECK_TIMEOUT_SECONDS = 300


def invalid_parameter(message: str) -> MlflowException:
    """Return MLflow's own error for a mistake of the caller, which its server answers with 400."""
    return MlflowException.invalid_parameter_value(message)


def require_same_files(sent: Path, arrived: Path) -> None:
    """Compare the sha256 of every file of two folders.

    Raises:
        StorageFailed: They differ; says where.
    """
    expected, received = file_digests(sent), file_digests(arrived)
    different = sorted(
        name for name in expected.keys() | received.keys() if expected.get(name) != received.get(name)
    )
    if different:
        raise StorageFailed(
            f"The artifact store gave back other files than it was sent. Expected the same sha256. Received: "
            f"{', '.join(different)} differ. No model version was made. Check its disk and run `dvc repro` again."
        )


def check_in_fresh_process(
    folder: Path, advice: str = "No model version was made. Run `dvc repro --force evaluate`."
) -> None:
    """Load a packed model in a new process, which limits itself, and compare its answers with the golden ones.

    Args:
        folder: The packed model.
        advice: What did not happen therefore, and what to do.

    Raises:
        StorageFailed: It does not load, answers otherwise, or takes too much time or memory.
    """
    try:
        command = [sys.executable, "-m", "pipeline.evaluation.golden", str(folder)]
        answer = run(command, environment=naming_us(), seconds=CHECK_TIMEOUT_SECONDS)
    except TimeoutExpired as error:
        raise StorageFailed(
            f"The model did not answer in a fresh process. Expected the golden predictions within "
            f"{CHECK_TIMEOUT_SECONDS} s. Received: nothing. {advice}"
        ) from error
    if answer.code != 0:
        # Killed for its limits a process says nothing.
        said = answer.err.strip()[-500:] or f"it ended with {answer.code}, perhaps at its limits."
        raise StorageFailed(
            f"The model does not work in a fresh process: {said} Expected the golden predictions. {advice}"
        )


LOADED_NOTE = "registered_model_meta"
"""MLflow writes it beside a model in a local store whenever somebody loads the version: its name and number."""
LOADED_NOTE_KEYS = ("model_name: ", "model_version: ")


def file_digests(folder: Path) -> dict[str, str]:
    """Return path (relative, with slashes) to sha256 of every file below a folder, but for MLflow's own note."""
    return {
        path.relative_to(folder).as_posix(): file_digest(path, "sha256")
        for path in folder.rglob("*")
        if not path.is_dir() and not _is_loaded_note(path, folder)
    }


def _is_loaded_note(path: Path, folder: Path) -> bool:
    if path != folder / LOADED_NOTE or path.is_symlink():
        return False
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return all(line.startswith(LOADED_NOTE_KEYS) for line in lines)


# --- The model registry.

MODEL_SHA256 = "model_sha256"
DECISION = "millrace.decision"
APPLIED = "millrace.decision_applied"
UNCOMMITTED = "millrace.uncommitted"
"""Tag of a version that became champion without a commit: why, in a person's words."""
MODEL_FILE = Path("data/model.keras")
"""Where MLflow's keras flavour keeps the model below the folder of a version."""
EXTRA_DIR = "millrace"
"""Folder beside the model: state of the features, settings, golden predictions, the card, and what it came from."""
FILES = "millrace.files"
"""Tag of a version: path to sha256 of all its files, as JSON."""


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


def registered_at(store: Store, name: str, version: Version) -> dt.datetime:
    """Return when a version was made, by the clock of the store, in UTC."""
    made = store.client.get_model_version(name, str(version.number)).creation_timestamp
    return dt.datetime.fromtimestamp(made / 1000, dt.UTC)


def the_version(store: Store, name: str, model_sha256: str) -> Version | None:
    """Return the oldest version of this very model, or None; those that lost a race against it are removed.

    Two machines, which no lock of ours reaches both, may make a version of one model at the same moment. The
    database numbers them; everybody takes the first, so nobody ever decided about another or gave it an alias.
    """
    found = find_versions(store, name, model_sha256)
    named = aliases(store, name).values() if len(found) > 1 else ()
    losers = [item for item in found[1:] if item.number not in named and DECISION not in item.tags]
    gone = {(name, item.number) for item in losers}
    for version in losers:
        with _others_may_be_faster():
            alone = _referrers(store, version.model_id) <= gone
            if alone and not of_another_registry(store, store.client.get_logged_model(version.model_id)):
                store.client.delete_logged_model(version.model_id)
        with _others_may_be_faster():
            store.client.delete_model_version(name, str(version.number))
    return found[0] if found else None


REGISTRY = "millrace.registry."
"""Tag of a logged model, with the registry appended that has a version of it."""
OWN_REGISTRY = f"{REGISTRY}own"
"""That of the tracking store itself, wherever it lies."""
LEAVING = "millrace.leaving"
"""Tag of a version that `millrace clean` is removing: what a kill leaves of it is no version any more."""


def registry_tag(store: Store) -> str:
    """Return the tag of the registry that is asked now."""
    address = os.environ.get("MLFLOW_REGISTRY_URI", "").strip()
    if address in ("", store.uri):
        return OWN_REGISTRY
    return REGISTRY + hashlib.sha256(shown(address).encode()).hexdigest()[:12]


def of_another_registry(store: Store, model: LoggedModel) -> bool:
    """Return whether a version elsewhere may refer to a logged model; nobody here can ask."""
    tags = {tag for tag in model.tags if tag.startswith(REGISTRY)} or {OWN_REGISTRY}
    return bool(tags - {registry_tag(store)})


def _referrers(store: Store, model_id: str) -> set[tuple[str, int]]:
    """Return name and number of every version whose files are those of a logged model, also under another name."""
    found = store.client.search_model_versions(f"source_path = 'models:/{model_id}'")
    return {(item.name, int(item.version)) for item in found}


@contextmanager
def _others_may_be_faster() -> Iterator[None]:
    """Pass over that somebody else removed the same thing a moment ago."""
    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def find_versions(store: Store, name: str, model_sha256: str) -> list[Version]:
    """Return all versions of this very model, oldest first."""
    found = store.client.search_model_versions(
        f"name = '{name}' and tags.`{MODEL_SHA256}` = '{model_sha256}'"
    )
    return _in_order(found)


def versions(store: Store, name: str) -> list[Version]:
    """Return all versions of a registered model, oldest first."""
    return _in_order(store.client.search_model_versions(f"name = '{name}'"))


def _in_order(found: Iterable[ModelVersion]) -> list[Version]:
    return sorted(
        (as_version(item) for item in found if LEAVING not in item.tags), key=lambda version: version.number
    )


def version_numbered(store: Store, name: str, number: int) -> Version:
    """Return a version by its number.

    Raises:
        InputMissing: There is no such model or version.
    """
    try:
        return as_version(store.client.get_model_version(name, str(number)))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        known = ", ".join(str(version.number) for version in versions(store, name)) or "none"
        raise InputMissing(
            f"There is no such model version. Expected one of {name}: {known}. Received: {name}/{number}."
        ) from error


def champion_version(store: Store, name: str) -> Version | None:
    """Return the champion, or None; finishes what a crash left, see `champions.settle`."""
    champion = settle(store, name)
    return None if champion is None else version_numbered(store, name, champion.version)


def create_version(
    store: Store, name: str, folder: Path, *, run_id: str, tags: Mapping[str, str], description: str
) -> Version:
    """Upload a packed model, prove that what arrived works, and only then make a version of it.

    Args:
        store: An opened store.
        name: Of the registered model; made if it is new.
        folder: The packed model, see `pipeline.tracking.registry`.
        run_id: The run that made it.
        tags: For the version; the digest of the model is added.
        description: Markdown for the page of the version.

    Raises:
        StorageFailed: What came back differs from what was sent, or does not work.
    """
    digest = file_digest(folder / MODEL_FILE, "sha256")
    sealed = _sealed_before(store, name, digest, folder)
    model_id, files = sealed or _upload(store, name, digest, folder, run_id)
    store.client.set_logged_model_tags(model_id, {registry_tag(store): "true"})
    ensure_model(store, name)
    if (faster := the_version(store, name, digest)) is not None:
        if sealed is None and faster.model_id != model_id:
            store.client.delete_logged_model(model_id)
        return faster
    # A server resolves `models:/<id>` only if the id is given as well; sqlite does not mind.
    with process_set_to(store.uri):
        made = store.client.create_model_version(
            name,
            source=f"models:/{model_id}",
            run_id=run_id,
            tags={**tags, MODEL_SHA256: digest, FILES: json.dumps(files, sort_keys=True)},
            description=description,
            model_id=model_id,
        )
    return the_version(store, name, digest) or as_version(made)


# A logged model holds the files of a version. It is PENDING while they are sent and looked at, and READY ever after: a
# version may refer to it then, in this registry or in another (MLFLOW_REGISTRY_URI), under this name or one that
# somebody gave it since. What is READY is therefore never written again; only what it holds may be used once more.


def _upload(store: Store, name: str, digest: str, folder: Path, run_id: str) -> tuple[str, dict[str, str]]:
    """Send a packed model, prove that what arrived works, and seal it; return its id and the digests of its files.

    Raises:
        StorageFailed: What came back differs from what was sent, or does not work.
    """
    model_id = _place_for_upload(store, name, digest, run_id)
    store.client.log_model_artifacts(model_id, str(folder))
    try:
        with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
            arrived = download_files(store, model_id, Path(temporary))
            require_same_files(folder, arrived)
            check_in_fresh_process(arrived)
    except StorageFailed:
        # The next attempt begins in a place of its own: what an earlier one left here may be in the way for ever.
        store.client.finalize_logged_model(model_id, "FAILED")
        raise
    store.client.finalize_logged_model(model_id, "READY")
    return model_id, file_digests(folder)


def _place_for_upload(store: Store, name: str, digest: str, run_id: str) -> str:
    """Return a logged model for this file: the one in whose upload an attempt of ours died, or a new one."""
    for model in _left_here(store, name, digest, "PENDING"):
        store.client.set_logged_model_tags(model.model_id, owner_tags(os.getpid()))
        return str(model.model_id)
    made = store.client.create_logged_model(
        store.experiment_id,
        name=name,
        source_run_id=run_id,
        tags={MODEL_SHA256: digest, **owner_tags(os.getpid())},
    )
    return str(made.model_id)


def _sealed_before(store: Store, name: str, digest: str, folder: Path) -> tuple[str, dict[str, str]] | None:
    """Return what an attempt of ours sealed before it died, or of a version that was deleted since; None if nothing.

    It is used as it is, if it holds what would be sent now and no version here refers to it.
    """
    for model in _left_here(store, name, digest, "READY"):
        if _referrers(store, model.model_id):
            continue
        with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
            try:
                arrived = download_files(store, model.model_id, Path(temporary))
                alike = _lasting(arrived) == _lasting(folder)
            except (OSError, MlflowException) as error:
                if is_outage(error):
                    raise
                continue
            if alike:
                check_in_fresh_process(arrived)
                store.client.set_logged_model_tags(model.model_id, owner_tags(os.getpid()))
                return str(model.model_id), file_digests(arrived)
    return None


def _lasting(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Return what a packed model says whenever it is packed: digests, and MLmodel without time of day and random id."""
    digests = file_digests(folder)
    digests.pop("MLmodel", None)
    lines = (folder / "MLmodel").read_text(encoding="utf-8").splitlines()
    return digests, [line for line in lines if not line.startswith(("model_uuid:", "utc_time_created:"))]


def _left_here(store: Store, name: str, digest: str, status: str) -> Iterator[LoggedModel]:
    """Yield logged models of this file that a process of this machine made and nobody works on any more.

    One that another process works on is never shared: of two uploads the later one counts, and a version would promise
    the digests of the earlier one.
    """
    left = store.client.search_logged_models(
        [store.experiment_id], f"tags.`{MODEL_SHA256}` = '{digest}' and tags.`{HOST}` = '{host_name()}'"
    )
    for model in left:
        pid = int(model.tags[PROCESS])
        alive = pid != os.getpid() and process_started(pid) == model.tags[STARTED]
        if model.name == name and model.status == status and not alive:
            yield model


def set_tags(store: Store, name: str, version: Version, tags: Mapping[str, str]) -> Version:
    """Set tags of a version and return it as it is then."""
    for tag, value in tags.items():
        store.client.set_model_version_tag(name, str(version.number), tag, value)
    return version_numbered(store, name, version.number)


def fetch_model(store: Store, version: Version, folder: Path) -> Path:
    """Download the files of a version and return their folder.

    Raises:
        StorageFailed: The model is missing, or its files are not those that were registered, all of them and no other.
        MlflowException: The server failed, which says nothing about the model.
        requests.RequestException: So did the way to it.
    """
    try:
        arrived = download_files(store, version.model_id, folder)
        received = file_digests(arrived)
    except (OSError, MlflowException) as error:
        if is_outage(error):
            raise
        raise StorageFailed(
            f"The files of model version {version.number} cannot be read: {error}. Expected {MODEL_FILE} in the "
            "artifact store. Restore the store, or remove the alias `champion` in the registry."
        ) from error
    # The tag that revocations and champions are found by counts, should another say otherwise.
    expected = {**json.loads(version.tags.get(FILES, "{}")), MODEL_FILE.as_posix(): version.model_sha256}
    _require_registered(version, expected, received)
    return arrived


def _require_registered(version: Version, expected: Mapping[str, str], received: Mapping[str, str]) -> None:
    """Compare the files of a version, or some of them, with those that its tags list.

    Raises:
        StorageFailed: One differs, is gone, or was added.
    """
    different = sorted(name for name, digest in expected.items() if received.get(name) != digest)
    # A version of an earlier release lists none.
    added = sorted(received.keys() - expected.keys()) if FILES in version.tags else []
    told = [f"{', '.join(different)} differ or are gone"] if different else []
    told += [f"{', '.join(added)} were added"] if added else []
    if told:
        raise StorageFailed(
            f"The files of model version {version.number} are not those that were registered. Expected the sha256 in "
            f"its tags, of the model {version.model_sha256}. Received: {'; '.join(told)}. "
            "Restore the artifact store from a copy."
        )


def download_files(store: Store, model_id: str, folder: Path) -> Path:
    """Download the files of a logged model into `folder` and return where they lie."""
    location = store.client.get_logged_model(model_id).artifact_location
    return Path(download_artifacts(artifact_uri=location, dst_path=str(folder), tracking_uri=store.uri))


def download_details(store: Store, version: Version, folder: Path) -> Path:
    """Download what travels with a model, not the model, and return the folder.

    Raises:
        InputMissing: The version's files cannot be read.
        StorageFailed: They are not those that were registered.
    """
    try:
        location = store.client.get_logged_model(version.model_id).artifact_location
        uri = f"{location.rstrip('/')}/{EXTRA_DIR}"
        arrived = download_artifacts(artifact_uri=uri, dst_path=str(folder), tracking_uri=store.uri)
    except (OSError, MlflowException) as error:
        if is_outage(error):
            raise
        raise InputMissing(
            f"The papers of model version {version.number} cannot be read: {error}. Expected {EXTRA_DIR}/ in the "
            "artifact store. Restore it from a copy."
        ) from error
    papers = f"{EXTRA_DIR}/"
    listed = json.loads(version.tags.get(FILES, "{}"))
    expected = {name: digest for name, digest in listed.items() if name.startswith(papers)}
    received = {f"{papers}{name}": digest for name, digest in file_digests(Path(arrived)).items()}
    _require_registered(version, expected, received)
    return Path(arrived)


def recorded_decision(version: Version) -> dict[str, Any] | None:
    """Return the last decision about a version, or None."""
    text = version.tags.get(DECISION)
    return None if text is None else dict(json.loads(text))


def applied_promotion(version: Version) -> dict[str, Any] | None:
    """Return the recorded decision if the version was promoted by it, and it was carried out; else None."""
    recorded = recorded_decision(version)
    promoted = recorded is not None and recorded["decision"] == "promoted"
    return recorded if promoted and version.tags.get(APPLIED) == "true" else None


def mode_of(decision: Mapping[str, Any]) -> str:
    """Return the mode of the gate a decision was made in, as `register.mode` has it; "" if it does not say."""
    return str(decision.get("rules", {}).get("mode", ""))


def record_decision(store: Store, name: str, version: Version, decision: Mapping[str, Any]) -> None:
    """Write a decision onto its version, before anything follows from it.

    That it was held or is unchanged does not take the place of a promotion that was carried out: what the version
    became champion by stays on record.
    """
    # Another machine may have promoted it since the version was read.
    now = version_numbered(store, name, version.number)
    if decision["decision"] in ("held", "unchanged") and applied_promotion(now):
        return
    tags = {APPLIED: "false", DECISION: json.dumps(decision, sort_keys=True)}
    if "uncommitted" in decision:
        tags[UNCOMMITTED] = str(decision["uncommitted"])
    for tag, value in tags.items():
        store.client.set_model_version_tag(name, str(version.number), tag, value)


def apply_decision(store: Store, name: str, version: Version, decision: Mapping[str, Any]) -> None:
    """Do what was decided, if the champion is still the one it was decided against.

    Args:
        store: An opened store; the caller holds its lock.
        name: Of the registered model.
        version: What was decided about.
        decision: Content of decision.json.

    Raises:
        Busy: Another machine, which our lock does not reach, or a person made another model champion meanwhile.
    """
    champion = settle(store, name)
    found = champion.model_sha256 if champion else ""
    if decision["decision"] == "promoted" and found != version.model_sha256:
        if found != decision["champion_before"]:
            raise Busy(
                f"Somebody else moved the alias `champion` of {name} while version {version.number} was compared. "
                f"Expected the champion it was compared with: {decision['champion_before'] or 'none'}. "
                f"Received: {found or 'none'}. Nothing was moved. Run `dvc repro` again, which compares anew."
            )
        promote(
            store,
            name,
            expected=champion,
            version=version.number,
            model_sha256=version.model_sha256,
            reason=REFRESHED if found and mode_of(decision) == "non_inferiority" else PROMOTED,
        )
    store.client.set_model_version_tag(name, str(version.number), APPLIED, "true")


def as_version(item: ModelVersion) -> Version:
    """Return what MLflow says of a version."""
    model_id = item.model_id or item.source.removeprefix("models:/")
    return Version(int(item.version), item.tags.get(MODEL_SHA256, ""), model_id, dict(item.tags))
