"""The looks at the test set in the registry, so that every machine counts those of all; see `evaluation.ledger`."""

import itertools
import json
from collections.abc import Sequence

from pipeline.evaluation.ledger import SAME_SHARE, Holdout, Use, add_uses, all_uses, use_of
from pipeline.tracking.registry import Version
from pipeline.tracking.runs import host_name
from pipeline.tracking.store import Store

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
    recorded: dict[tuple[str, str, str], Use] = {}
    own: list[Use] = []
    own_tag = f"{TEST_USES}.{host_name()}"
    for item in store.client.search_model_versions(f"name = '{name}'"):
        for tag, text in item.tags.items():
            found = _uses_of(text) if tag.startswith(TEST_USES) else []
            recorded |= {use.key: use for use in found}
            if (int(item.version), tag) == (version.number, own_tag):
                own = found
    add_uses(recorded.values())
    kept: list[Use] = list(own)
    for use in all_uses():
        is_new = use.key not in recorded
        if is_new and holdout.shared_with(use.holdout) >= SAME_SHARE and len(_text([*kept, use])) <= LONGEST:
            kept.append(use)
    if len(kept) > len(own):
        store.client.set_model_version_tag(name, str(version.number), own_tag, _text(kept))


def carry_uses(store: Store, name: str, leaving: Sequence[Version], kept: Sequence[Version]) -> None:
    """Bring what versions know of the test set to versions that stay, before they are removed.

    Args:
        store: An opened store.
        name: Of the registered model.
        leaving: The versions that will be removed.
        kept: The others, at least one.
    """
    known = {use.key for version in kept for use in uses_on(version)}
    found = {use.key: use for version in leaving for use in uses_on(version)}
    waiting = [use for key, use in found.items() if key not in known]
    taken = set(kept[0].tags)
    while waiting:
        number = next(n for n in itertools.count(1) if f"{TEST_USES}.kept.{n}" not in taken)
        taken.add(f"{TEST_USES}.kept.{number}")
        part: list[Use] = []
        while waiting and len(_text([*part, waiting[0]])) <= LONGEST:
            part.append(waiting.pop(0))
        store.client.set_model_version_tag(
            name, str(kept[0].number), f"{TEST_USES}.kept.{number}", _text(part)
        )


def uses_on(version: Version) -> list[Use]:
    """Return the looks at the test set that stand on a version."""
    return [use for tag, text in version.tags.items() if tag.startswith(TEST_USES) for use in _uses_of(text)]


def _text(found: list[Use]) -> str:
    return json.dumps([use.as_json() for use in found], sort_keys=True, separators=(",", ":"))


def _uses_of(text: str) -> list[Use]:
    try:
        return [use_of(entry) for entry in json.loads(text)]
    except (ValueError, KeyError, TypeError):  # somebody edited the tag
        return []
