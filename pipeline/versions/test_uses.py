"""The ledger of the test set in the registry: every version carries what each machine knew that registered it.

Each machine has a tag of its own and writes no other's, so that nothing is lost when several register one version
at once; the union of all is the ledger.
"""

import json

from pipeline.evaluation.ledger import SAME_SHARE, Judges, Use, add_uses, all_uses, use_of
from pipeline.tracking.owners import host_name
from pipeline.tracking.registry import Version
from pipeline.tracking.store import Store

TEST_USES = "millrace.test_uses"
"""Tags of versions: this, and the name of a machine appended."""
LONGEST = 90_000
"""Characters of a tag; MLflow takes 100,000. What does not fit goes with a later version."""


def share_uses(store: Store, name: str, version: Version, judges: Judges) -> None:
    """Bring the ledger of this machine and that of the registry to the same content about some rows.

    Args:
        store: An opened store.
        name: Of the registered model.
        version: Gets what the registry does not know yet.
        judges: The rows; this machine may also have judged on those of another data set.
    """
    recorded: dict[tuple[str, str], Use] = {}
    own: list[Use] = []
    own_tag = f"{TEST_USES}.{host_name()}"
    for item in store.client.search_model_versions(f"name = '{name}'"):
        for tag, text in item.tags.items():
            found = _uses_of(text) if tag.startswith(TEST_USES) else []
            recorded |= {(use.judges.digest, use.model_sha256): use for use in found}
            if (int(item.version), tag) == (version.number, own_tag):
                own = found
    add_uses(recorded.values())
    kept: list[Use] = list(own)
    for use in all_uses():
        is_new = (use.judges.digest, use.model_sha256) not in recorded
        if is_new and judges.shared_with(use.judges) >= SAME_SHARE and len(_text([*kept, use])) <= LONGEST:
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
