"""Who is champion: a list that can only grow at its end, in the database of the store; the alias mirrors it.

MLflow moves an alias for anybody and knows no compare-and-swap. It does have a write-once value: a parameter of a
run, kept by a primary key of the database behind sqlite, PostgreSQL and an MLflow server alike. Each registered model
has a run of its own, and champion number n is its parameter `champion.<n>`. Who read n champions and wrote number
n + 1 has promoted; whoever else tried finds another value there and has lost. See docs/decisions/0016.

The champion is known once it is written; the aliases follow, `previous` first. What a crash leaves between the two,
`settle` finishes. An alias that a person moved by hand afterwards is respected: it becomes the next champion.
"""

import json
import uuid
from dataclasses import asdict, dataclass, replace
from typing import Any

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.runtime.errors import Busy, StorageFailed
from pipeline.tracking.revocations import EXPERIMENT, revocation
from pipeline.tracking.runs import delete_run, host_name
from pipeline.tracking.store import Store, experiment_called

CHAMPION, PREVIOUS = "champion", "previous"
LIST_RUN = "millrace.champions"
"""Tag of a registered model: the id of the run that holds its list."""
MODEL = "millrace.champions_of"
BY_HAND = "by hand"
PROMOTED, REFRESHED = "promoted", "promoted as not worse"
"""Reasons of the gate: better than the champion before it, and, in the mode for refreshes, not worse."""
ATTEMPTS = 8
MODEL_DESCRIPTION = (
    "The alias `champion` is the model to use, `previous` the one before it. The tag `millrace.decision` of a version "
    "says why it was promoted or refused. `millrace lineage` and `millrace rollback` know more."
)


@dataclass(frozen=True)
class Champion:
    """One entry of the list.

    Attributes:
        number: 1 for the first.
        version: Of the registered model; 0 where somebody removed the alias by hand.
        model_sha256: Digest of its file.
        before: The version that was champion before; 0 for none.
        by: Host, or `by hand`.
        reason: `promoted`, `promoted as not worse`, or what a person said.
        nonce: Tells one writer from another.
        mirrored: Whether the aliases were seen to agree.
    """

    number: int
    version: int
    model_sha256: str
    before: int
    by: str
    reason: str
    nonce: str
    mirrored: bool = False


def champions(store: Store, name: str) -> list[Champion]:
    """Return everything that was champion, oldest first; reads only.

    Raises:
        StorageFailed: The run that holds the list was deleted.
    """
    run_id = _list_run_id(store, name)
    return [] if run_id is None else _read(store, name, run_id)


def aliases(store: Store, name: str) -> dict[str, int]:
    """Return alias to version number.

    Asking MLflow for one alias cannot tell "there is none" from a malformed request, so all are read.
    """
    model = _registered_model(store, name)
    # A database gives whole numbers, a server text.
    return {alias: int(number) for alias, number in (model.aliases if model else {}).items()}


def settle(store: Store, name: str) -> Champion | None:
    """Return the champion, after finishing what a crash left and taking over what a person did by hand.

    Returns:
        None where there is no model, or none that is champion.

    Raises:
        Busy: Others move it all the time.
    """
    for _ in range(ATTEMPTS):
        listed = champions(store, name)
        last = listed[-1] if listed else None
        shown = aliases(store, name).get(CHAMPION, 0)
        if shown == (last.version if last else 0):
            if last and not last.mirrored:
                _note_mirrored(store, name, last)
            return last if last and last.version else None
        if last and not last.mirrored:
            _mirror(store, name)
            continue
        # Nobody of ours was in the middle of anything: a person moved or removed the alias.
        _append(store, name, listed, _taken_over(store, name, shown, last))
    raise _moved(name, "settled")


def promote(
    store: Store,
    name: str,
    *,
    expected: Champion | None,
    version: int,
    model_sha256: str,
    reason: str = PROMOTED,
) -> Champion:
    """Make a version champion if the champion is still the expected one, and let the aliases follow.

    Args:
        store: An opened store.
        name: Of the registered model, which exists.
        expected: What `settle` returned when the decision was based on it.
        version: The new champion.
        model_sha256: Digest of its file.
        reason: Why.

    Raises:
        Busy: Somebody else was faster, or took the version back; nothing was moved.
    """
    listed = champions(store, name)
    last = listed[-1] if listed else None
    if (last.number if last and last.version else 0) != (expected.number if expected else 0):
        raise _moved(name, f"version {version} was compared")
    # Whoever takes a model back writes it down before the list goes on, and the list was read before this.
    if revocation(store, name, model_sha256) is not None:
        raise _moved(name, f"version {version} was compared, and took that version back")
    before = last.version if last else 0
    entry = Champion(len(listed) + 1, version, model_sha256, before, host_name(), reason, uuid.uuid4().hex)
    if not _append(store, name, listed, entry):
        raise _moved(name, f"version {version} was compared")
    _mirror(store, name)
    return entry


def ensure_model(store: Store, name: str) -> None:
    """Make the registered model and the run of its list, unless they exist."""
    if _registered_model(store, name) is None:
        run_id = _new_list_run(store, name)
        try:
            # Model and tag come into being in one transaction: one list per model, whoever else tries.
            store.client.create_registered_model(name, {LIST_RUN: run_id}, MODEL_DESCRIPTION)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            if _list_run_id(store, name) != run_id:
                delete_run(store, run_id)
    if _list_run_id(store, name) is None:
        # A model from before there was a list, or made by another program.
        store.client.set_registered_model_tag(name, LIST_RUN, _new_list_run(store, name))


def _append(store: Store, name: str, listed: list[Champion], entry: Champion) -> bool:
    """Write the entry after those listed; return whether it is the one that stands there."""
    ensure_model(store, name)
    run_id = str(_list_run_id(store, name))
    content = {key: value for key, value in asdict(entry).items() if key not in ("number", "mirrored")}
    try:
        store.client.log_param(
            run_id, _key(len(listed) + 1), json.dumps(content, sort_keys=True, ensure_ascii=False)
        )
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
    return _read(store, name, run_id)[len(listed)].nonce == entry.nonce


def _mirror(store: Store, name: str) -> None:
    """Let the aliases follow the list: `previous` first, so that a crash leaves a champion and the way back."""
    for _ in range(ATTEMPTS):
        # Who slept since writing the entry must not move the aliases of those who went on meanwhile.
        entry = champions(store, name)[-1]
        if entry.before and entry.before != entry.version:
            store.client.set_registered_model_alias(name, PREVIOUS, str(entry.before))
        if entry.version:
            store.client.set_registered_model_alias(name, CHAMPION, str(entry.version))
        else:
            store.client.delete_registered_model_alias(name, CHAMPION)
        # Somebody faster may have gone on meanwhile; then this alias is of the past, and follows again.
        if champions(store, name)[-1].number == entry.number:
            _note_mirrored(store, name, entry)
            return
    raise _moved(name, "settled")


def _note_mirrored(store: Store, name: str, entry: Champion) -> None:
    store.client.log_param(str(_list_run_id(store, name)), f"{_key(entry.number)}.mirrored", "true")


def _taken_over(store: Store, name: str, shown: int, last: Champion | None) -> Champion:
    number, before = (last.number + 1, last.version) if last else (1, 0)
    sha256 = ""
    if shown:
        sha256 = store.client.get_model_version(name, str(shown)).tags.get("model_sha256", "")
    reason = f"the alias `{CHAMPION}` was {'moved' if shown else 'removed'} outside of Millrace"
    return Champion(number, shown, sha256, before, BY_HAND, reason, uuid.uuid4().hex)


def _read(store: Store, name: str, run_id: str) -> list[Champion]:
    try:
        run: Run = store.client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise _lost(name, run_id, "no such run") from error
    if run.info.lifecycle_stage != "active":
        raise _lost(name, run_id, f"a run that is {run.info.lifecycle_stage}")
    params = run.data.params
    entries: list[Champion] = []
    while (text := params.get(_key(len(entries) + 1))) is not None:
        number = len(entries) + 1
        content: dict[str, Any] = json.loads(text)
        mirrored = params.get(f"{_key(number)}.mirrored") == "true"
        entries.append(replace(Champion(number=number, **content), mirrored=mirrored))
    return entries


def _lost(name: str, run_id: str, received: str) -> StorageFailed:
    return StorageFailed(
        f"The list of champions of {name} is gone. Expected run {run_id} in the experiment {EXPERIMENT}. Received: "
        f"{received}. `mlflow runs restore --run-id {run_id}` brings a deleted one back; without it nothing is moved."
    )


def _moved(name: str, meanwhile: str) -> Busy:
    return Busy(
        f"Somebody else moved the alias `{CHAMPION}` of {name} while {meanwhile}. Expected the champion to stay. "
        "Nothing was moved here. Run `dvc repro` again, which compares anew."
    )


def _key(number: int) -> str:
    return f"champion.{number:06d}"


def _registered_model(store: Store, name: str) -> Any | None:
    try:
        return store.client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _list_run_id(store: Store, name: str) -> str | None:
    model = _registered_model(store, name)
    found = model.tags.get(LIST_RUN) if model else None
    return None if found is None else str(found)


def _new_list_run(store: Store, name: str) -> str:
    """Return a new run for the list; an empty one of that name may be another model's, which was renamed."""
    experiment_id = experiment_called(store, EXPERIMENT)
    made = store.client.create_run(experiment_id, tags={MODEL: name}, run_name=f"champions of {name}")
    store.client.set_terminated(made.info.run_id, status="FINISHED")
    return str(made.info.run_id)
