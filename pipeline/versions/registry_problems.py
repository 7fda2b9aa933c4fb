"""Whether every registered version still has the files it was registered with, and one list says who is champion."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.runtime.stage import StorageFailed
from pipeline.tracking.champions import CHAMPION, aliases, champions
from pipeline.tracking.registry import FILES, fetch_model, versions
from pipeline.tracking.revocation import revocation
from pipeline.tracking.store import Store
from pipeline.versions.verify import UNCHECKED


def registry_problems(store: Store, name: str) -> Iterator[str]:
    """Yield what is wrong with a registered model and its versions.

    Raises:
        ServiceDown: The server failed, which says nothing about the models (by `service_errors` around this).
    """
    found = versions(store, name)
    if not found:
        yield f"{name}: {UNCHECKED}: the registry has no version of it. Run `dvc repro register`."
    for version in found:
        where = f"{name} version {version.number}"
        if not version.model_sha256:
            yield f"{where}: {UNCHECKED}: it has no tag model_sha256. Millrace did not make it; delete it."
            continue
        if FILES not in version.tags:
            yield f"{where}: {UNCHECKED} more than its model: it has no tag {FILES}. Register it anew."
        with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
            try:
                fetch_model(store, version, Path(temporary))
            except StorageFailed as error:
                yield f"{where}: {error}"
    yield from _champion_problems(store, name)


def _champion_problems(store: Store, name: str) -> Iterator[str]:
    try:
        listed = champions(store, name)
    except StorageFailed as error:
        yield f"{name}: {error}"
        return
    last = listed[-1].version if listed else 0
    shown = aliases(store, name).get(CHAMPION, 0)
    if shown != last:
        yield (
            f"{name}: the alias `{CHAMPION}` is not what the list of champions says. Expected version "
            f"{last or 'none'}. Received: {shown or 'none'}. Run `dvc repro --force --single-item register`."
        )
    revoked = revocation(store, name, listed[-1].model_sha256) if last else None
    if revoked is not None:
        yield (
            f"{name}: the champion is revoked ({revoked['reason']}). Expected another one. Received: version {last}. "
            "Run the `millrace rollback` again that was interrupted."
        )
