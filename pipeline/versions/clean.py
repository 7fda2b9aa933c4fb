"""Which data the versions that stay, and every former champion, need to be built again."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline.runtime import paths
from pipeline.runtime.errors import InputMissing, StorageFailed
from pipeline.runtime.leftovers import Named
from pipeline.runtime.strict_yaml import yaml_content
from pipeline.tracking.registry import MODEL_SHA256, Version, download_details, versions
from pipeline.tracking.store import Store

SOURCE_SHA256 = "data.source.sha256"


def named_by_versions(store: Store, name: str, kept: Sequence[Version]) -> Named:
    """Return the raw data that versions were made from: in DVC's cache, and in the store of archives.

    What other stages wrote is made anew by `millrace reproduce`, so it is not asked for. Of other registered models
    all versions count: they may be this project's under an earlier name.

    Args:
        store: An opened store.
        name: Of the registered model.
        kept: Its versions that stay.

    Raises:
        StorageFailed: The papers of one cannot be read, so that nobody knows what it needs.
    """
    wanted = list(kept)
    for model in store.client.search_registered_models(max_results=1000):
        if model.name != name:
            wanted += [item for item in versions(store, model.name) if MODEL_SHA256 in item.tags]
    md5s, sources = set(), set()
    for version in wanted:
        md5, sha256 = _raw_data(store, version)
        md5s.add(md5)
        sources |= {sha256, version.tags.get(SOURCE_SHA256, "")}
    return Named(frozenset(md5s), frozenset(sources))


def _raw_data(store: Store, version: Version) -> tuple[str, str]:
    """Return md5 and sha256 of the archive that a version was made from."""
    with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
        try:
            folder = download_details(store, version, Path(temporary))
            lock = yaml_content((folder / paths.DVC_LOCK.name).read_text(encoding="utf-8"), "its dvc.lock")
            source = json.loads((folder / paths.SOURCE_JSON.name).read_text(encoding="utf-8"))
        except (InputMissing, StorageFailed, OSError, ValueError) as error:
            raise StorageFailed(
                f"What version {version.number} was made from is not known: {error} Expected its dvc.lock and "
                "source.json in the artifact store. Nothing was removed. Restore the store, or delete that version in "
                "MLflow, and run it again."
            ) from error
    outs = lock.get("stages", {}).get("fetch", {}).get("outs", [])
    md5 = next((str(out["md5"]) for out in outs if out["path"] == paths.RAW_TAR.as_posix()), "")
    return md5, str(source.get("sha256", ""))
