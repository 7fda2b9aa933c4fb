"""A finished pipeline made of small files, for tests of what comes after it."""

import json
import shutil
from pathlib import Path

import numpy as np

HERE = Path(__file__).parents[2]
HISTORY = [
    {"epoch": 1, "loss": 0.9, "accuracy": 0.5, "val_loss": 0.8, "val_accuracy": 0.6, "learning_rate": 0.01},
    {"epoch": 2, "loss": 0.5, "accuracy": 0.7, "val_loss": 0.6, "val_accuracy": 0.75, "learning_rate": 0.005},
    {
        "epoch": 3,
        "loss": 0.3,
        "accuracy": 0.9,
        "val_loss": 0.5,
        "val_accuracy": 0.8125,
        "learning_rate": 0.001,
    },
]
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d4944415478da63fccf"
    "c0500f0004850180840a9d510000000049454e44ae426082"
)


def write_json(path: Path, content: object) -> None:
    """Write a JSON file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def make_project(root: Path, candidates: tuple[str, ...] = ("cnn", "linear")) -> Path:
    """Make the files of a finished pipeline below `root`, without models and data."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "dvc.yaml").write_text("stages: {}\n")
    (root / "params.yaml").write_text(
        "seed: 7\nthreads: 2\n"
        "candidates:\n" + "".join(f"  {name}:\n    family: {name}\n" for name in candidates)
    )
    shutil.copy(HERE / "requirements.lock", root / "requirements.lock")
    write_json(
        root / "data/source.json",
        {"kind": "digits", "location": "bundled", "sha256": "5" * 64, "bytes": 9, "files": 1, "count": 100},
    )
    for name in candidates:
        for folder in (root / "models/baseline" / name, root / "models/tuned" / name):
            write_json(folder / "history.json", {"epochs": HISTORY})
            write_json(
                folder / "metrics.json",
                {"best_epoch": 3, "epochs": 3, "parameters": 650, "val_accuracy": 0.8125, "val_loss": 0.5},
            )
            write_json(
                folder / "settings.json",
                {
                    "family": name,
                    "model": {"units": [8]},
                    "training": {"learning_rate": 0.01},
                    "seed": 7,
                    "threads": 2,
                },
            )
        write_json(root / "models/tuned" / name / "trials.json", trials(name))
    write_json(
        root / "reports/evaluate/metrics.json",
        {
            "test": {"accuracy": 0.9, "log_loss": 0.4},
            "val": {"accuracy": 0.8125},
            "baselines": {"linear": {"test_accuracy": 0.7}},
        },
    )
    interval = {"value": 0.9, "low": 0.85, "high": 0.95}
    rows = [
        {
            "candidate": name,
            "family": name,
            "parameters": 650,
            "refit": False,
            "trials": 0,
            "baseline": name in ("linear", "majority"),
            "chosen": name == candidates[0],
            "baseline_val": {"accuracy": 0.8125},
            "val": {"accuracy": 0.8125},
            "test": {"accuracy": interval, "macro_f1": interval, "log_loss": interval},
        }
        for name in candidates
    ]
    write_json(
        root / "reports/evaluate/tables/selection.json",
        {
            "primary": {"name": "accuracy", "higher_is_better": True},
            "reason": f"{candidates[0]} is best.",
            "select_by": "accuracy",
            "chosen_by": "validation",
            "sentence": "Chosen by 20 validation rows.",
            "warnings": [],
        },
    )
    write_json(
        root / "reports/split/summary.json",
        {
            "method": "stratified",
            "samples": {"train": 60, "val": 20, "test": 20, "excluded": 0},
            "classes": {"a": {"train": 60, "val": 20, "test": 20}},
        },
    )
    write_json(
        root / "reports/validate/summary.json",
        {"samples": 100, "expectations": {"judged": 32, "met": 32, "failed": 0, "warnings": 0}},
    )
    write_json(root / "reports/evaluate/tables/candidates.json", rows)
    (root / "reports/evaluate/pictures").mkdir(parents=True)
    (root / "reports/evaluate/pictures/confusion.png").write_bytes(PNG)
    (root / "reports/validate/report.html").write_text("<h1>All good</h1>")
    write_lock(root, candidates)
    return root


def trials(candidate: str) -> list[dict]:
    """Return two trials for the network and none beside the baseline for others."""
    baseline = {
        "number": 0,
        "settings": {},
        "state": "complete",
        "metrics": {"val_loss": 0.5},
        "epochs": 3,
        "error": "",
    }
    other = {**baseline, "number": 1, "settings": {"model.dropout": 0.2}, "metrics": {"val_loss": 0.55}}
    return [baseline, other] if candidate == "cnn" else [baseline]


def write_lock(root: Path, candidates: tuple[str, ...], change: str = "") -> None:
    """Write a dvc.lock as DVC would; another `change` stands for other content."""

    def out(path: str, letter: str) -> dict:
        return {"path": path, "hash": "md5", "md5": (letter * 32)[:32]}

    stages = {
        "ingest": {"outs": [out("data/interim/payload.npy", "1"), out("data/interim/samples.parquet", "2")]},
        "split": {"outs": [out("data/split/split.parquet", "3")]},
        **{
            f"tune@{name}": {
                "outs": [{"path": f"models/tuned/{name}", "md5": (change + name).ljust(32, "0") + ".dir"}]
            }
            for name in candidates
        },
        "register": {"outs": [out("reports/register/decision.json", "9")]},
    }
    (root / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": stages}))


def write_live_log(root: Path, candidate: str, live_id: str, *, epochs: int = 3, ended: bool = True) -> Path:
    """Write the live log of a training that started at 1,700,000,000,000 ms, an epoch every 2,500 ms."""
    started = 1_700_000_000_000
    lines = [{"live_id": live_id, "candidate": candidate, "inputs_key": "k", "started": started}]
    for logs in HISTORY[:epochs]:
        metrics = {name: value for name, value in logs.items() if name != "epoch"}
        lines.append(
            {"epoch": logs["epoch"], "timestamp": started + 2500 * logs["epoch"], "metrics": metrics}
        )
    if ended:
        lines.append({"end": "FINISHED", "timestamp": started + 9000})
    path = root / ".millrace/live" / f"{candidate}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def probabilities(num_rows: int, num_classes: int, seed: int) -> np.ndarray:
    """Return rows that add up to 1."""
    values = np.random.default_rng(seed).random((num_rows, num_classes)).astype(np.float32)
    return values / values.sum(axis=1, keepdims=True)
