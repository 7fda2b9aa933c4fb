"""A model version that carries what it came from: found by its content, or packed, proven and made."""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.evaluation.ledger import SAME_SHARE, Holdout, Use, add_uses, all_uses, use_of
from pipeline.provenance.origin import REQUIREMENTS_LOCK, digest_or_nothing, environment_digest, machine_facts
from pipeline.provenance.state import PipelineState, split_digests
from pipeline.reports import run
from pipeline.runtime import paths
from pipeline.runtime.files import file_digest, read_json
from pipeline.tracking.registry import Version
from pipeline.tracking.runs import host_name
from pipeline.tracking.store import Store

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
    from pipeline.tracking.registry import (
        create_version,
        fetch_model,
        pack_model,
        pinned_requirements,
        set_tags,
        the_version,
    )

    model_path = paths.BEST_DIR / "model.keras"
    tags = sealed_tags(card["candidate"], state)
    found = the_version(store, model_name, file_digest(model_path, "sha256"))
    if found is not None:
        # Made long ago perhaps: nothing becomes champion whose files are not all there and whole.
        with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
            fetch_model(store, found, Path(temporary))
        if _leads_back(tags) and not _leads_back(found.tags):
            return set_tags(store, model_name, found, {name: tags[name] for name in COMMIT_TAGS})
        return found
    with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
        folder = Path(temporary) / "model"
        requirements = pinned_requirements(REQUIREMENTS_LOCK, sys.version_info[:2])
        origins = [path for path in ORIGINS if path.is_file()]
        pack_model(load_model(model_path), paths.BEST_DIR, folder, requirements, origins)
        return create_version(
            store,
            model_name,
            folder,
            run_id=run_id,
            tags=tags,
            description=run.version_page(card["candidate"], run.test_score(card), state.fingerprint),
        )


def sealed_tags(candidate: str, state: PipelineState) -> dict[str, str]:
    """Return what a version says of its origin: code, data, parameters, environment, seeds, machine.

    The machine is the one that registers; `machine.trained_here` says whether it also trained.
    """
    settings = read_json(paths.BEST_DIR / "settings.json", "evaluate")
    trained = next((item.live is not None for item in state.candidates if item.name == candidate), False)
    origin = {name: value for name, value in state.tags.items() if not name.startswith("mlflow.")}
    files = {f"data.md5.{path}": md5 for path, md5 in state.data_md5.items()}
    splits = {f"data.md5.{split}": md5 for split, md5 in split_digests().items()}
    return {
        **origin,
        **files,
        **splits,
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


def _leads_back(tags: Mapping[str, str]) -> bool:
    return tags.get("git.dirty") == "false" and tags.get("dvc.lock.committed") == "true"


TEST_USES = "millrace.test_uses"
"""Tags of versions: this, and the name of a machine appended."""
LONGEST = 90_000
"""Characters of a tag; MLflow takes 100,000. What does not fit goes with a later version."""


def share_uses(store: Store, name: str, version: Version, holdout: Holdout) -> None:
    """Bring the ledger of this machine and that of the registry to the same content about some rows.

    Args:
        store: An opened store.
        name: Of the registered model.
        version: Gets what the registry does not know yet.
        holdout: The rows; this machine may also have judged on those of another data set.
    """
    recorded: dict[tuple[str, str], Use] = {}
    own: list[Use] = []
    own_tag = f"{TEST_USES}.{host_name()}"
    for item in store.client.search_model_versions(f"name = '{name}'"):
        for tag, text in item.tags.items():
            found = _uses_of(text) if tag.startswith(TEST_USES) else []
            recorded |= {(use.holdout.digest, use.model_sha256): use for use in found}
            if (int(item.version), tag) == (version.number, own_tag):
                own = found
    add_uses(recorded.values())
    kept: list[Use] = list(own)
    for use in all_uses():
        is_new = (use.holdout.digest, use.model_sha256) not in recorded
        if is_new and holdout.shared_with(use.holdout) >= SAME_SHARE and len(_text([*kept, use])) <= LONGEST:
            kept.append(use)
    if len(kept) > len(own):
        store.client.set_model_version_tag(name, str(version.number), own_tag, _text(kept))


def _text(found: list[Use]) -> str:
    return json.dumps([use.as_json() for use in found], sort_keys=True, separators=(",", ":"))


def _uses_of(text: str) -> list[Use]:
    try:
        return [use_of(entry) for entry in json.loads(text)]
    except (ValueError, KeyError, TypeError):  # somebody edited the tag
        return []
