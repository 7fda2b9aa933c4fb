"""A project with a past: nights that each left data, a commit, runs, files in DVC's cache and a version, in real stores.

Nothing is trained: a model is a few bytes, and the registry does not look into it.
"""

import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from pipeline.evaluation.ledger import Holdout, Use
from pipeline.tracking import registry, runs
from pipeline.tracking.champions import aliases
from pipeline.tracking.record import FINGERPRINT
from pipeline.tracking.store import open_store
from tests.helpers.dvc_objects import put_object, sha256
from tests.helpers.rebuilt_project import git

ROOT = Path(__file__).resolve().parents[2]
MODEL, EXPERIMENT = "digits", "millrace-digits"


def start(root: Path) -> Path:
    """Make a committed project without results."""
    for name in ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, root / name)
    (root / ".dvc").mkdir()
    (root / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (root / ".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "code")
    return root


def raw(number: int) -> bytes:
    """Return the raw data of a night."""
    return f"raw data of night {number}".encode()


def night(root: Path, number: int, *, verdict: str, store=None) -> int:
    """Live through one night with new data; return the version that it made.

    Args:
        root: The project, which is the working directory.
        number: Of the night.
        verdict: What the gate said: `promoted` or `refused`.
        store: An opened one, or None to open it.
    """
    store = store or open_store(root, EXPERIMENT)
    archive = root / ".millrace/sources" / f"{sha256(raw(number))}.tar"
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.write_bytes(raw(number))
    source = {"kind": "image_folder", "location": {"path": "/gone"}, "sha256": archive.stem}
    (root / "data").mkdir(exist_ok=True)
    (root / "data/source.json").write_text(json.dumps(source | {"bytes": 9, "files": 1, "count": 1}))
    model = f"model of night {number}".encode()
    members = [{"md5": put_object(root, model), "relpath": "model.keras"}]
    folder = put_object(root, json.dumps(members).encode(), ".dir")
    outs = {"data/raw/source.tar": put_object(root, raw(number)), "models/best": folder}
    stages = {
        "fetch": {
            "outs": [{"path": "data/raw/source.tar", "hash": "md5", "md5": outs["data/raw/source.tar"]}]
        },
        "evaluate": {"outs": [{"path": "models/best", "hash": "md5", "md5": folder}]},
    }
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    note = root / ".dvc/cache/runs" / folder[:2] / sha256(model) / sha256(raw(number))
    note.parent.mkdir(parents=True)
    note.write_text(yaml.safe_dump({"cmd": "x", **stages["evaluate"]}))
    git(root, "add", "-A")
    git(root, "commit", "-qm", f"night {number}")
    return _register(root, store, number, model, verdict)


def _register(root: Path, store, number: int, model: bytes, verdict: str) -> int:
    fingerprint = sha256(model)
    parent = runs.find_or_create_run(
        store, {FINGERPRINT: fingerprint, runs.KIND: "pipeline"}, f"n{number}", {}
    )
    child = runs.find_or_create_run(
        store, {runs.PARENT: parent.info.run_id, runs.KIND: "candidate"}, "cnn", {runs.CANDIDATE: "cnn"}
    )
    trial = runs.find_or_create_run(store, {runs.PARENT: child.info.run_id, "millrace.trial": "0"}, "t", {})
    for run in (trial, child, parent):
        store.client.log_text(run.info.run_id, f"page of night {number}", "report.html")
        runs.complete(store, run)
    packed = _packed(root, number, model)
    tags = {
        FINGERPRINT: fingerprint,
        "data.source.sha256": sha256(raw(number)),
        "git.commit": git(root, "rev-parse", "HEAD"),
        "git.dirty": "false",
        # As `share_uses` writes it: this machine's looks, on the version that was looked at.
        "millrace.test_uses.somewhere": json.dumps([look(number, model).as_json()]),
    }
    made = registry.create_version(
        store, MODEL, packed, run_id=child.info.run_id, tags=tags, description="night"
    )
    shutil.rmtree(packed)
    champion = aliases(store, MODEL).get("champion")
    before = registry.version_numbered(store, MODEL, champion).model_sha256 if champion else ""
    said = {"decision": verdict, "champion_before": before, "model_sha256": made.model_sha256, "key": "k"}
    decision = said | {"reasons": ["It is better." if verdict == "promoted" else "It is not."]}
    registry.record_decision(store, MODEL, made, decision)
    registry.apply_decision(store, MODEL, made, decision)
    return made.number


def look(number: int, model: bytes) -> Use:
    """Return the look at the test set that a night was."""
    holdout = Holdout("d" * 64, 100, tuple(f"{row:012x}" for row in range(64)))
    return Use(holdout, sha256(model), "register", f"2026-01-01T00:{number % 60:02d}:00")


def _packed(root: Path, number: int, model: bytes) -> Path:
    folder = root / f".packed-{number}"
    (folder / "data").mkdir(parents=True)
    (folder / "data/model.keras").write_bytes(model)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "millrace").mkdir()
    for name in ("dvc.lock", "params.yaml", "data/source.json"):
        shutil.copy(root / name, folder / "millrace")
    rows = {"content_sha256": [sha256(f"row {number}".encode())], "split": ["train"]}
    pq.write_table(pa.table(rows), folder / "millrace/trained_on.parquet")
    return folder


def leave_behind(root: Path) -> dict[str, Path]:
    """Leave what kills, old candidates and a scheduler leave; return it by name."""
    left = {
        "incoming": root / ".millrace/incoming/source.tar",
        "checkpoint of a former candidate": root / ".millrace/train/former/k1/state.npz",
        "older checkpoint": root / ".millrace/train/cnn/k1/state.npz",
        "newest checkpoint": root / ".millrace/train/cnn/k2/state.npz",
        "live log of a former candidate": root / ".millrace/live/former.jsonl",
        "live log": root / ".millrace/live/cnn.follower.log",
        "cron log": root / ".millrace/retrain/cron.log",
        "history": root / ".millrace/retrain/history.jsonl",
        "ledger": root / ".millrace/test_ledger.jsonl",
        "audit": root / ".millrace/audit.jsonl",
        "fetched copy of a model that went": root / ".millrace/fetched/c0ffee/state.json",
    }
    for when, path in enumerate(left.values()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "{}\n" if path.suffix == ".jsonl" else "line\n" * (300_000 if "cron" in path.name else 1)
        )
        os.utime(path.parent, (when, when))
    git(root, "worktree", "add", "-q", "--detach", ".millrace/reproduce/1", "HEAD")
    return left | {"worktree": root / ".millrace/reproduce/1"}
