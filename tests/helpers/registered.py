"""Registered versions made of a few bytes, without Keras: the registry does not look into a model."""

import json
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.tracking import registry
from pipeline.tracking.store import open_store
from tests.helpers.empty_store import put_store
from tests.helpers.synthetic_project import write_json

PAYLOAD_MD5 = "a" * 32
SPLIT_MD5 = "b" * 32
SOURCE_SHA256 = "5" * 64


def row_digest(name: str) -> str:
    """Return the content_sha256 of a sample called `name`."""
    import hashlib

    return hashlib.sha256(name.encode()).hexdigest()


def packed(folder: Path, content: bytes, rows: dict[str, list[str]]) -> Path:
    """Make the folder of a version whose model was trained on rows (split to names)."""
    (folder / "data").mkdir(parents=True)
    (folder / "data/model.keras").write_bytes(content)
    (folder / "MLmodel").write_text("flavors: {}\n")
    details = folder / "millrace"
    out = {"path": "data/interim/payload.npy", "hash": "md5", "md5": PAYLOAD_MD5}
    split = {"path": "data/split", "hash": "md5", "md5": f"{SPLIT_MD5}.dir"}
    write_json(details / "dvc.lock", {"schema": "2.0", "stages": {"split": {"deps": [out], "outs": [split]}}})
    write_json(details / "source.json", {"kind": "digits", "sha256": SOURCE_SHA256})
    named = [(row_digest(name), split) for split, names in rows.items() for name in names]
    table = {"content_sha256": [row[0] for row in named], "split": [row[1] for row in named]}
    pq.write_table(pa.table(table), details / "trained_on.parquet")
    return folder


def store_in(root: Path):
    """Return a new store in a folder."""
    return open_store(root, "digits")


@contextmanager
def new_store(root: Path):
    """Give a new store, whose project is the working directory; its models are bytes, which nothing loads."""
    put_store(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(registry, "check_in_fresh_process", lambda _folder: None)
        yield store_in(root)


def register(store, root: Path, content: bytes, rows=None, tags=None):
    """Make a version of model `digits` from bytes."""
    number = len(list(root.glob("packed-*")))
    folder = packed(root / f"packed-{number}", content, rows or {"train": ["one", "two"], "val": ["three"]})
    run = store.client.create_run(store.experiment_id)
    return registry.create_version(
        store, "digits", folder, run_id=run.info.run_id, tags=tags or {}, description="for a test"
    )


def decision(version, before: str, verdict="promoted"):
    """Return what the gate would have said."""
    return {
        "decision": verdict,
        "champion_before": before,
        "model_sha256": version.model_sha256,
        "key": "k",
        "reasons": ["It is better."],
    }


def make_champion(store, version, before: str = ""):
    """Promote a version as the register stage does."""
    made = decision(version, before)
    registry.record_decision(store, "digits", version, made)
    registry.apply_decision(store, "digits", version, made)


def sha(version_or_none) -> str:
    """Return the digest of a version, "" for none."""
    return version_or_none.model_sha256 if version_or_none else ""


def as_json(path: Path):
    """Return a JSON file's content."""
    return json.loads(path.read_text())
