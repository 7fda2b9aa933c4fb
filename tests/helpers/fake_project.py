"""A project whose stages cost nothing, so that a retrain can be interrupted at every step in seconds.

git is real; what dvc and the stages would do is written by `FakeChildren`.
"""

import hashlib
import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import msgspec

from pipeline.provenance.origin import JUDGED, judged_digest
from pipeline.retraining.children import Children
from pipeline.retraining.triggers import load_settings
from pipeline.runtime.errors import ProgramFailed
from pipeline.runtime.files import file_digest
from pipeline.runtime.paths import tracking_uri
from pipeline.runtime.processes import PIPE, Answer, run

HERE = Path(__file__).resolve().parents[2]
DVC_YAML = "stages:\n  evaluate: {cmd: x}\n  register: {cmd: y}\n"
STEPS = (
    "edits",
    "prepare",
    "refresh",
    "look",
    "drift",
    "train",
    "dvc push",
    "commit",
    "git push",
    "register",
)


def git(folder, *arguments):
    """Run git and return what it says."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def make_project(folder):
    """Make a committed project with data of 100 rows and without results."""
    folder.mkdir()
    files = {
        "dvc.yaml": DVC_YAML,
        "params.yaml": "seed: 7\n",
        "pipeline/code.py": "pass\n",
        "data/source.json": source(100),
        "retrain.yaml": (HERE / "retrain.yaml").read_text().replace("publish: none", "publish: push"),
        ".gitignore": "/.millrace/\n/data/*\n!/data/source.json\n/reports/register/\n/*.db\n",
        ".dvc/config": "",
        ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    return folder


def source(count):
    """Return data/source.json of so many rows."""
    return json.dumps({"count": count, "seen": "2026-02-28"})


class FakeChildren(Children):
    """Real git, pretended stages.

    Args:
        project: Absolute folder of the project.

    Attributes:
        rows: How many the source has now.
        calls: What was run, in order.
        fail: What to raise instead of running: `refresh`, `validate`, `evaluate`, `register` or `push`.
        verdict: What register decides.
        verdict_of_drift: What `examined_by_count` says.
        meanwhile: Called right before the git push.
        reigned: Whether the model was champion before register ran.
    """

    def __init__(self, project):
        super().__init__(project, project / ".millrace/retrain/tree")
        self.rows = 100
        self.calls = []
        self.fail = {}
        self.verdict = "promoted"
        self.verdict_of_drift = "none"
        self.meanwhile = lambda: None
        self.reigned = False

    def git(self, *arguments, check=True, folder=None):
        """Run git, and let others act right before a push."""
        if arguments[0] == "push":
            self.meanwhile()
            self._raise("git push")
        return super().git(*arguments, check=check, folder=folder)

    def millrace(self, *arguments):
        """Refresh: the source has so many rows now."""
        self.calls.append(arguments[0])
        self._raise(arguments[0])
        (self.tree / "data/source.json").write_text(source(self.rows))

    def repro(self, target):
        """Write what the stages would."""
        self.calls.append(target)
        self._raise(target)
        if target == "validate":
            self._validate()
        elif target == "evaluate":
            self._evaluate()
        elif target == "register":
            self._register()

    def dvc(self, *arguments):
        """Push data."""
        self.calls.append(f"dvc {arguments[0]}")
        self._raise(f"dvc {arguments[0]}")
        return Answer(0, "", "")

    def _run(self, command, folder, *, capture=False):
        """Run git as a child of this process: a group of its own, which test_children.py is about, forks all of it."""
        out = PIPE if capture else None
        return run(command, folder=folder, environment=self.environment(), out=out)

    def _raise(self, what):
        if what in self.fail:
            raise self.fail[what]

    def _validate(self):
        """As dvc does it, in the lock."""
        lock = self.tree / "dvc.lock"
        stages = json.loads(lock.read_text())["stages"] if lock.exists() else {}
        read = {"path": "data/source.json", "md5": file_digest(self.tree / "data/source.json")}
        lock.write_text(json.dumps({"stages": stages | {"validate": {"deps": [read]}}}))

    def _evaluate(self):
        self._validate()
        names = ("data/source.json", "pipeline/code.py")
        dependencies = [{"path": name, "md5": file_digest(self.tree / name)} for name in names]
        stage = {"deps": dependencies, "params": {"params.yaml": {"seed": 7}}}
        lock = self.tree / "dvc.lock"
        stages = json.loads(lock.read_text())["stages"]
        lock.write_text(json.dumps({"stages": stages | {"evaluate": stage}}))

    def _register(self):
        content = (self.tree / "dvc.lock").read_bytes()
        decision = {
            "decision": self.verdict,
            "reasons": ["because."],
            "candidate": "cnn",
            "model_sha256": hashlib.sha256(content).hexdigest(),
        }
        reports = self.tree / "reports/register"
        reports.mkdir(parents=True, exist_ok=True)
        (reports / "decision.json").write_text(json.dumps(decision))
        (self.tree / ".millrace").mkdir(exist_ok=True)
        self._tag_as_judged()
        last_run = {"model": {"name": "m", "version": 1}, "reigned": self.reigned}
        (self.tree / ".millrace/last_run.json").write_text(json.dumps(last_run))

    def _tag_as_judged(self):
        """As `register` does it, in MLflow's table."""
        stages = json.loads((self.tree / "dvc.lock").read_text())["stages"]
        path = Path(tracking_uri(self.project).removeprefix("sqlite:///"))
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(
                "create table if not exists model_version_tags (name text, version int, key text, value text)"
            )
            connection.execute(
                "insert into model_version_tags values ('', 1, ?, ?)", (JUDGED, judged_digest(stages))
            )
            connection.commit()


def examined_by_count(children, _bounds, _accepted):
    """Compare rows by how many there are: what `examined` does with real ones has tests of its own."""
    before = json.loads(git(children.tree, "show", "HEAD:data/source.json"))["count"]
    children.repro("validate")
    lost = max(0, before - children.rows)
    found = {"new_rows": max(0, children.rows - before), "lost_rows": lost, "lost_share": lost / before}
    return {**found, "verdict": children.verdict_of_drift, "skipped": [], "findings": []}


def failing(code, message="no"):
    """Return what a stage with that exit code raises."""
    return ProgramFailed(message, code, "test")


def settings():
    """Return the settings of the project's own retrain.yaml, but that results are pushed where there is a remote."""
    return msgspec.structs.replace(load_settings(HERE / "retrain.yaml"), publish="push")
