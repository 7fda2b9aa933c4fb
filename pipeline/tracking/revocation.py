"""Models that were taken back: marked by their content, so that the same bytes never become champion again."""

import json
from typing import Any

from mlflow.exceptions import MlflowException

from pipeline.tracking.champions import REVOKED
from pipeline.tracking.registry import MODEL_SHA256, Version, find_versions
from pipeline.tracking.store import Store


def revoke(store: Store, name: str, version: Version, *, reason: str, when: str, by: str) -> None:
    """Mark a version, and its content for all time.

    Args:
        store: An opened store.
        name: Of the registered model.
        version: The one that is taken back.
        reason: In the words of the person.
        when: ISO 8601, UTC.
        by: User and host.
    """
    content = {"by": by, "model_sha256": version.model_sha256, "reason": reason, "when": when}
    text = json.dumps(content, sort_keys=True)
    store.client.set_registered_model_tag(name, f"{REVOKED}.{version.model_sha256}", text)
    store.client.set_model_version_tag(name, str(version.number), REVOKED, text)


def revocation(store: Store, name: str, model_sha256: str) -> dict[str, Any] | None:
    """Return why a model must not become champion (keys by, model_sha256, reason, when), or None."""
    try:
        tags = store.client.get_registered_model(name).tags
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    texts = [tags.get(f"{REVOKED}.{model_sha256}")]
    texts += [version.tags.get(REVOKED) for version in find_versions(store, name, model_sha256)]
    return next((dict(json.loads(text)) for text in texts if text), None)


def in_words(revoked: dict[str, Any]) -> str:
    """Return a sentence about a revocation."""
    return (
        f"The model with sha256 {revoked[MODEL_SHA256][:12]} was revoked by {revoked['by']} on {revoked['when']}: "
        f"{revoked['reason']}"
    )
