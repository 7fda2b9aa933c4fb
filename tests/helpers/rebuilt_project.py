"""A small git repository with a version that was made in it, without training or MLflow."""

import hashlib
import json
import subprocess
from pathlib import Path

import yaml

from pipeline.tracking.registry import Version
from pipeline.versions.comparison import Origin

FILES = {
    "dvc.yaml": "stages: {}\n",
    "params.yaml": "seed: 7\ntraining: {epochs: 2}\n",
    "pipeline/stages/train.py": "print('train')\n",
    "requirements.lock": "numpy==0.1 \\\n    --hash=sha256:00\n",
    ".gitignore": "/.millrace/\n/data/raw/\n",
    ".dvc/config": "",
}


def git(root, *arguments):
    """Run git in a repository and return what it prints."""
    name = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", *name, *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def write(root, files):
    """Write texts by path below a folder."""
    for name, content in files.items():
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def md5(text):
    """Return what DVC records for a file of that text."""
    return hashlib.md5(text.encode()).hexdigest()


def source(location="bundled", sha256="0" * 64, kind="digits"):
    """Return the text of a data/source.json."""
    content = {"kind": kind, "location": location, "sha256": sha256, "bytes": 5, "files": 1, "count": 1}
    return json.dumps(content)


def stages():
    """Return what dvc.lock recorded for FILES: fetch, then train, then evaluate."""

    def item(path, text):
        return {"path": path, "hash": "md5", "md5": md5(text), "size": len(text)}

    train = {
        "deps": [
            item("data/raw/source.tar", "raw"),
            item("pipeline/stages/train.py", FILES["pipeline/stages/train.py"]),
            item("requirements.lock", FILES["requirements.lock"]),
        ],
        "params": {"params.yaml": {"seed": 7, "training.epochs": 2}},
        "outs": [item("models/tuned/cnn", "cnn")],
    }
    evaluate = {"deps": [item("models/tuned/cnn", "cnn")], "outs": [item("models/best", "best")]}
    return {
        "evaluate": evaluate,
        "train@cnn": train,
        "fetch": {
            "deps": [item("data/source.json", source())],
            "outs": [item("data/raw/source.tar", "raw")],
        },
    }


def repository(root, source_text=None):
    """Make the repository, with dvc.lock committed only after the code; return the commit of the code."""
    write(root, FILES | {"data/source.json": source_text or source()})
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "code")
    commit = git(root, "rev-parse", "HEAD")
    write(root, {"dvc.lock": yaml.safe_dump({"schema": "2.0", "stages": {**stages(), "register": {}}})})
    git(root, "add", "-A")
    git(root, "commit", "-qm", "results")
    return commit


def origin(root, commit, folder=None):
    """Return a version that was made at a commit."""
    return Origin("digits", 3, "ab" * 32, commit, stages(), Path(folder or root))


def version(**tags):
    """Return a version as the registry gives it."""
    return Version(3, "ab" * 32, "m-1", {"git.dirty": "false", **tags})
