"""What a thousand nights of retraining cost and leave: seconds per night and sizes, first and last hundred.

    python benchmarks/thousand_nights.py FOLDER [--nights 1000] [--new-data-every 2] [--clean-every 0 --keep 10]

FOLDER is new or empty. Real are: `retrain` with its journal, git (worktree, commits, pushes to a bare remote), the
comparison of rows and their drift, triggers, the registry's answer whether results were judged, the record of runs and
trials and the registry in an sqlite store of MLflow, champions, the ledger of the test set shared with the registry,
history and its page, notification by a command, status.json, DVC's cache as DVC lays it out, `millrace clean`.
Not real: the stages. Where a night finds no new data nothing is trained in life either; where it finds some, what
`refresh`, `dvc repro` and `dvc push` would leave is written instead (tests/e2e/simulated_month.py trains for a month),
a model is 100 kB of noise that the registry does not load, and the gate's answer is given: one in ten is promoted.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from pipeline.evaluation.ledger import Holdout, note_use, sentence
from pipeline.gate.uses import share_uses
from pipeline.provenance.origin import JUDGED, Committed, judged_digest
from pipeline.provenance.state import CandidateState, PipelineState
from pipeline.retraining.children import Children
from pipeline.retraining.retrain import Wishes, retrain
from pipeline.retraining.triggers import load_settings
from pipeline.runtime.files import content_key, file_digest, folder_bytes, write_json
from pipeline.runtime.processes import Answer
from pipeline.runtime.progress import Epoch
from pipeline.runtime.stage import exit_codes
from pipeline.runtime.strict_yaml import read_yaml
from pipeline.tracking import registry
from pipeline.tracking.champions import settle
from pipeline.tracking.record import record_pipeline
from pipeline.tracking.store import open_store, store_lock

ROOT = Path(__file__).resolve().parents[1]
MODEL, EXPERIMENT = "digits", "millrace-digits"
ROWS, NEW_ROWS, MODEL_BYTES, PROMOTED_EVERY = 400, 20, 100_000, 10
EPOCHS, TRIALS, CANDIDATES = 20, 4, ("cnn", "linear")
FIRST_NIGHT = np.datetime64("2026-01-01T02:30:00")
PLACES = (
    "mlflow.db",
    "mlartifacts",
    ".dvc/cache",
    ".git",
    ".millrace/sources",
    ".millrace/retrain/history.jsonl",
)
PLACES += (".millrace/retrain/history.html", ".millrace/test_ledger.jsonl", ".millrace")
DATA = ("data/interim/samples.parquet", "data/validate/statistics.parquet", "data/interim/payload.npy")


class Nights(Children):
    """Real git; what DVC and the stages would leave is written.

    Attributes:
        generation: How often the source has moved; the rows follow from it.
        seconds: Seconds per part of a night.
    """

    def __init__(self, project: Path) -> None:
        super().__init__(project, project / ".millrace/retrain/tree")
        self.generation = 0
        self.seconds: dict[str, float] = defaultdict(float)

    def millrace(self, *_arguments: str) -> None:
        """Refresh: the source holds the rows of this generation."""
        content = f"generation {self.generation}".encode() * 10_000
        archive = self.project / ".millrace/sources" / f"{hashlib.sha256(content).hexdigest()}.tar"
        if not archive.is_file():
            archive.parent.mkdir(parents=True, exist_ok=True)
            archive.write_bytes(content)
        source = {"kind": "image_folder", "location": {"path": "/somewhere"}, "sha256": archive.stem}
        write_json(
            self.tree / "data/source.json", source | {"bytes": len(content), "files": 1, "count": ROWS}
        )

    def dvc(self, *_arguments: str) -> Answer:
        """Push: the cache is the remote here."""
        return Answer(0, "", "")

    def repro(self, target: str) -> None:
        """Write what the stages would."""
        started = time.monotonic()
        {"validate": self._validate, "evaluate": self._evaluate, "register": self._register}[target]()
        self.seconds[target] += time.monotonic() - started

    def _validate(self) -> None:
        rows = np.arange(ROWS) + NEW_ROWS * self.generation
        digests = [hashlib.sha256(str(row).encode()).hexdigest() for row in rows]
        names = [f"s{row:06d}" for row in rows]
        samples = {"row": np.arange(ROWS), "sample_id": names, "content_sha256": digests, "label": rows % 3}
        noise = np.random.default_rng(rows).normal(size=ROWS)
        tables = {DATA[0]: pd.DataFrame(samples).astype({"label": str})}
        tables[DATA[1]] = pd.DataFrame({"sample_id": names, "brightness": noise})
        for name, table in tables.items():
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            table.to_parquet(self.tree / name)
        np.save(self.tree / DATA[2], noise.astype(np.float32))
        self._lock("fetch", ["data/source.json"], {"data/raw/source.tar": self._raw()})
        self._lock(
            "validate", ["data/raw/source.tar"], {name: (self.tree / name).read_bytes() for name in DATA}
        )

    def _evaluate(self) -> None:
        self._validate()
        model = np.random.default_rng(self.generation).bytes(MODEL_BYTES)
        best = self.tree / "models/best/model.keras"
        best.parent.mkdir(parents=True, exist_ok=True)
        best.write_bytes(model)
        for candidate in CANDIDATES:
            self._lock(
                f"tune@{candidate}", [DATA[0]], {f"models/tuned/{candidate}": model + candidate.encode()}
            )
        write_json(self.tree / "reports/evaluate/metrics.json", self._evaluation())
        self._lock(
            "evaluate", [f"models/tuned/{name}" for name in CANDIDATES], {"models/best/model.keras": model}
        )

    def _register(self) -> None:
        """As pipeline/stages/register.py does it, with the gate's answer given."""
        stages = yaml.safe_load((self.tree / "dvc.lock").read_text())["stages"]
        store = open_store(self.project, EXPERIMENT)
        with store_lock(store.uri, "record"):
            recorded = record_pipeline(store, self._state(stages))
            digest = file_digest(self.tree / "models/best/model.keras", "sha256")
            holdout = Holdout.of(content_key(self.generation), (str(row) for row in range(100)))
            note_use(holdout, digest, "register")
            version = registry.the_version(store, MODEL, digest) or self._version(store, recorded)
            champion = settle(store, MODEL)
            promoted = champion is None or self.generation % PROMOTED_EVERY == 0
            decision = {
                "candidate": CANDIDATES[0],
                "champion_before": champion.model_sha256 if champion else "",
                "decision": "promoted" if promoted else "refused",
                "key": content_key(digest),
                "model_sha256": digest,
                "reasons": ["It is better." if promoted else "It is not shown to be better."],
            }
            registry.record_decision(store, MODEL, version, decision)
            registry.apply_decision(store, MODEL, version, decision)
            registry.set_tags(store, MODEL, version, {JUDGED: judged_digest(stages)})
            share_uses(store, MODEL, version, holdout)
            sentence(holdout, digest)
        write_json(self.tree / "reports/register/decision.json", decision)
        last_run = {"model": {"name": MODEL, "version": version.number}}
        write_json(self.tree / ".millrace/last_run.json", last_run)

    def _version(self, store, recorded):
        packed = self.project / ".millrace/packed"
        shutil.rmtree(packed, ignore_errors=True)
        (packed / "data").mkdir(parents=True)
        shutil.copy(self.tree / "models/best/model.keras", packed / "data")
        (packed / "MLmodel").write_text("flavors: {}\n")
        (packed / "millrace").mkdir()
        for name in ("dvc.lock", "params.yaml", "data/source.json"):
            shutil.copy(self.tree / name, packed / "millrace")
        shutil.copy(self.tree / DATA[0], packed / "millrace/trained_on.parquet")
        commit = self.git("rev-parse", "HEAD").out.strip()
        source = json.loads((self.tree / "data/source.json").read_text())
        tags = {"git.commit": commit, "git.dirty": "false", "data.source.sha256": source["sha256"]}
        tags["millrace.fingerprint"] = self._fingerprint()
        run_id = recorded.candidate_run_ids[CANDIDATES[0]]
        return registry.create_version(store, MODEL, packed, run_id=run_id, tags=tags, description="a night")

    def _state(self, stages) -> PipelineState:
        history = tuple(
            Epoch(step, {"train/loss": 1 / step, "val/loss": 1.1 / step}) for step in range(1, EPOCHS + 1)
        )
        settings = {"model": {"units": [8]}, "training": {"learning_rate": 0.01}}
        trials = tuple(
            {
                "number": number,
                "state": "complete",
                "epochs": EPOCHS,
                "settings": settings,
                "metrics": {"val_loss": 0.1},
            }
            for number in range(TRIALS)
        )
        candidates = tuple(
            CandidateState(
                name=name,
                output_md5=stages[f"tune@{name}"]["outs"][0]["md5"],
                settings=settings,
                metrics={"best_epoch": EPOCHS, "val_loss": 0.1},
                epochs=history,
                trials=trials,
                live=None,
                test={"accuracy": 0.9},
                baseline_won=False,
            )
            for name in CANDIDATES
        )
        page = Path("reports/evaluate/report.html")
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("<p>a page</p>" * 1000)
        return PipelineState(
            fingerprint=self._fingerprint(),
            committed=Committed("none", "false", "true", ()),
            tags={"git.commit": self.git("rev-parse", "HEAD").out.strip()},
            params={"seed": 7},
            data={"kind": "image_folder"},
            data_md5={"data/split/split.parquet": "0" * 32},
            candidates=candidates,
            evaluation=self._evaluation(),
            report_paths=(page,),
        )

    def _evaluation(self) -> dict:
        return {"test": {"accuracy": 0.9 + self.generation * 1e-6}, "val": {"accuracy": 0.9}}

    def _fingerprint(self) -> str:
        return content_key(self.generation)

    def _raw(self) -> bytes:
        return f"generation {self.generation}".encode() * 10_000

    def _lock(self, stage: str, reads: list[str], wrote: dict[str, bytes]) -> None:
        """As DVC notes a stage: dvc.lock, the objects of the cache, the note of the run cache."""
        path = self.tree / "dvc.lock"
        content = yaml.safe_load(path.read_text()) if path.is_file() else {"schema": "2.0", "stages": {}}
        outs = {out["path"]: out["md5"] for one in content["stages"].values() for out in one["outs"]}
        deps = [{"path": name, "md5": outs.get(name) or file_digest(self.tree / name)} for name in reads]
        written = []
        for name, data in wrote.items():
            md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
            place = self.project / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            written.append({"path": name, "hash": "md5", "md5": md5})
        made = {"cmd": stage, "deps": deps, "outs": written}
        key = content_key(made)
        note = self.project / ".dvc/cache/runs" / key[:2] / key / content_key(written)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(yaml.safe_dump(made))
        content["stages"][stage] = made
        path.write_text(yaml.safe_dump(content))


def make_project(folder: Path) -> Path:
    """Make a committed project with a bare remote."""
    project, remote = folder / "project", folder / "remote.git"
    project.mkdir(parents=True)
    for name in ("params.yaml", ".gitignore", "requirements.lock"):
        shutil.copy(ROOT / name, project / name)
    settings = (
        (ROOT / "retrain.yaml")
        .read_text()
        .replace("command: null", "command: wc -c")
        .replace("rolling: false", "rolling: true")
    )
    (project / "retrain.yaml").write_text(settings)
    params = read_yaml(ROOT / "params.yaml")
    params["candidates"] = {name: params["candidates"][name] for name in CANDIDATES}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    stages = {name: {"cmd": "x"} for name in ("fetch", "validate", "evaluate", "register")}
    stages["tune"] = {"foreach": "${candidates}", "do": {"cmd": "x"}}
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    write_json(project / "data/source.json", {"kind": "image_folder", "count": 0})
    (project / ".dvc").mkdir()
    (project / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (project / ".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n")
    git = ["git", "-C", str(project), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (
        ["git", "init", "-q", "--bare", str(remote)],
        [*git, "init", "-q", "-b", "main"],
        [*git, "remote", "add", "origin", str(remote)],
        [*git, "add", "-A"],
        [*git, "commit", "-qm", "start"],
        [*git, "push", "-q", "-u", "origin", "main"],
    ):
        subprocess.run(command, check=True)
    return project


def sizes(project: Path) -> dict[str, int]:
    """Return the bytes below each place."""
    found = {name: folder_bytes(project / name) for name in PLACES}
    found["mlflow.db"] += folder_bytes(project / "mlflow.db-wal")
    found["all"] = folder_bytes(project)
    return found


def live_through(project: Path, options: argparse.Namespace) -> list[dict]:
    """Run the nights; return for each what it was and how many seconds it took."""
    os.chdir(project)
    registry.check_in_fresh_process = lambda *_arguments: None
    children, settings = Nights(project), load_settings()
    told = []
    for number in range(1, options.nights + 1):
        os.environ["MILLRACE_NOW"] = f"{FIRST_NIGHT + np.timedelta64(number, 'D')}+00:00"
        quiet = number > 1 and number % options.new_data_every != 0
        children.generation += not quiet
        parts = dict(children.seconds)
        started = time.monotonic()
        with exit_codes("retrain"):
            entry = retrain(children, settings, Wishes())
        night = {
            "seconds": time.monotonic() - started,
            "quiet": quiet,
            "outcome": entry["outcome"],
            "clean": 0.0,
        }
        night |= {part: children.seconds[part] - parts.get(part, 0.0) for part in children.seconds}
        assert (entry["outcome"] == "nothing_to_do") == quiet, entry
        if options.clean_every and number % options.clean_every == 0:
            started = time.monotonic()
            command = [sys.executable, "-m", "pipeline.cli", "clean", "--keep", str(options.keep)]
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            night["clean"] = time.monotonic() - started
        told.append(night)
        if number in (1, 100, options.nights - 100, options.nights):
            told[-1]["sizes"] = sizes(project)
    return told


def show(told: list[dict]) -> None:
    """Print seconds and sizes, first and last hundred."""
    many = min(100, len(told) // 2)
    for name, nights in ((f"first {many}", told[:many]), (f"last {many}", told[-many:])):
        for kind, chosen in (("quiet", True), ("with new data", False)):
            found = [night for night in nights if night["quiet"] == chosen]
            if found:
                register = np.mean([night.get("register", 0.0) for night in found])
                middle = np.median([night["seconds"] for night in found])
                print(
                    f"{name} nights, {kind:13}: {middle:.2f} s per night, of which register {register:.2f} s"
                )
    cleaned = [night["clean"] for night in told if night["clean"]]
    if cleaned:
        print(f"clean: {len(cleaned)} times, first {cleaned[0]:.1f} s, last {cleaned[-1]:.1f} s")
    measured = [(number, night["sizes"]) for number, night in enumerate(told, 1) if "sizes" in night]
    print(f"{'MB after night':36}" + "".join(f"{number:>10}" for number, _ in measured))
    for place in (*PLACES, "all"):
        print(f"{place:36}" + "".join(f"{found[place] / 1e6:10.2f}" for _, found in measured))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nights", type=int, default=1000)
    parser.add_argument("--new-data-every", type=int, default=2, help="nights; the others are quiet")
    parser.add_argument("--clean-every", type=int, default=0, help="nights; 0: never")
    parser.add_argument("--keep", type=int, default=10)
    options = parser.parse_args()
    for name in ("MLFLOW_TRACKING_URI", "MILLRACE_HOME", "MILLRACE_NOTIFY_URL", "DVC_ROOT"):
        os.environ.pop(name, None)
    show(live_through(make_project(options.folder.absolute()), options))


if __name__ == "__main__":
    main()
