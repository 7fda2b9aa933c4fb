"""A model version that carries what it came from: found by its content, or packed, proven and made."""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.inputs.record_columns import flat_columns
from pipeline.provenance.origin import (
    REQUIREMENTS_LOCK,
    commit_that_holds,
    digest_or_nothing,
    environment_digest,
    machine_facts,
)
from pipeline.provenance.state import PipelineState, split_digests
from pipeline.reports import dashboard
from pipeline.runtime import paths
from pipeline.runtime.files import file_digest, read_json

if TYPE_CHECKING:
    from pipeline.tracking.registry import Version
    from pipeline.tracking.store import Store


TRAINED_ON = paths.BEST_DIR / "trained_on.parquet"
"""One row per sample that the model was fitted on or chosen by; `evaluate` writes it."""
ORIGINS = (paths.DVC_LOCK, paths.PARAMS_YAML, paths.SOURCE_JSON)
COMMIT_TAGS = ("git.commit", "git.dirty", "dvc.lock.committed", "dvc.stages.sha256", "millrace.fingerprint")
"""Set anew once the origin of a version is committed, which was made before it was."""


def ensure_version(
    store: "Store", model_name: str, card: Mapping[str, Any], run_id: str, state: PipelineState
) -> "Version":
    """Return the version of models/best, made now unless an earlier attempt did.

    Args:
        store: An opened store; the caller holds its lock.
        model_name: In the registry.
        card: Content of models/best/card.json.
        run_id: The run of the chosen candidate.
        state: Of the pipeline.

    Raises:
        StorageFailed: What came back from the store differs, or does not work; or the files of the version that is
            there already are damaged or gone.
    """
    from pipeline.inference.keras_files import load_model
    from pipeline.tracking.packing import pack_model, pinned_requirements
    from pipeline.tracking.registry import create_version, fetch_model, set_tags, the_version

    model_path = paths.BEST_DIR / "model.keras"
    tags = sealed_tags(card["candidate"], state)
    found = the_version(store, model_name, file_digest(model_path, "sha256"))
    if found is not None:
        # Made long ago perhaps: nothing becomes champion whose files are not all there and whole.
        with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
            fetch_model(store, found, Path(temporary))
        if leads_back(tags) and not leads_back(found.tags):
            return set_tags(store, model_name, found, {name: tags[name] for name in COMMIT_TAGS})
        return found
    with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
        folder = Path(temporary) / "model"
        requirements = pinned_requirements(REQUIREMENTS_LOCK, sys.version_info[:2])
        origins = [path for path in ORIGINS if path.is_file()]
        columns = flat_columns(read_json(paths.BEST_DIR / "state.json", "evaluate"))
        pack_model(load_model(model_path), paths.BEST_DIR, folder, requirements, origins, columns=columns)
        return create_version(
            store,
            model_name,
            folder,
            run_id=run_id,
            tags=tags,
            description=dashboard.version_page(
                card,
                state.data,
                state.fingerprint,
                f"#/experiments/{store.experiment_id}/runs/{run_id}/artifacts/{paths.DECISION_PAGE.name}",
            ),
        )


def sealed_tags(candidate: str, state: PipelineState) -> dict[str, str]:
    """Return what a version says of its origin: code, data, parameters, environment, seeds, machine.

    The machine is the one that registers; `machine.trained_here` says whether it also trained.
    """
    settings = read_json(paths.BEST_DIR / "settings.json", "evaluate")
    members = sorted(settings.get("members", ()))
    here = {item.name: item.live is not None for item in state.candidates}
    trained = all(here.get(name, False) for name in members or [candidate])
    origin = {name: value for name, value in state.tags.items() if not name.startswith("mlflow.")}
    points = {item.name: item.point_tags for item in state.candidates}
    files = {f"data.md5.{path}": md5 for path, md5 in state.data_md5.items()}
    splits = {f"data.md5.{split}": md5 for split, md5 in split_digests().items()}
    return {
        **origin,
        **files,
        **splits,
        **points.get(candidate, {}),
        **({"members": ", ".join(members)} if members else {}),
        "candidate": candidate,
        "data.source.sha256": str(state.data["sha256"]),
        "environment.sha256": environment_digest(),
        "machine.facts": json.dumps(machine_facts(), sort_keys=True),
        "machine.trained_here": str(trained).lower(),
        "millrace.fingerprint": state.fingerprint,
        "seed": str(settings["seed"]),
        "threads": str(settings["threads"]),
        "train_rows.sha256": digest_or_nothing(TRAINED_ON),
    }


def complete_origin(store: "Store", model_name: str, version: "Version") -> "Version":
    """Return a version with the commit that holds what made it, where it was registered before there was one.

    The commit is looked for in the repository of the working directory. It is written onto the version and its runs
    where the store lets us write.
    """
    from pipeline.tracking.record import record_origin

    if leads_back(version.tags):
        return version
    commit = commit_that_holds(version.tags)
    if not commit:
        return version
    found = {"git.commit": commit, "git.dirty": "false", "dvc.lock.committed": "true"}
    return record_origin(store, model_name, version, found)


def leads_back(tags: Mapping[str, str]) -> bool:
    """Return whether the tags of a version name a commit that holds what made it."""
    return tags.get("git.dirty") == "false" and tags.get("dvc.lock.committed") == "true"
