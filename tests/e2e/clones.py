"""Clones of the project in empty folders, and the pipeline run in them as a user would."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import yaml

from pipeline.runtime.strict_yaml import read_yaml

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("cnn", "linear", "majority")
"""Candidates with which a whole pipeline takes a minute."""
HELD_BACK = 10.0
"""At its optimum the linear model is as good on 330 digits as networks that learn for seconds, and nobody is promoted
then. What these tests are about begins with a champion: a penalty beyond reason holds the linear model back."""


def environment(**extra):
    """Return the environment of a newcomer: this interpreter, no setting left over from the caller."""
    left_out = ("DVC_ROOT", "DVC_STAGE", "MLFLOW_TRACKING_URI", "MILLRACE_DEBUG", "PYTHONDONTWRITEBYTECODE")
    values = {name: value for name, value in os.environ.items() if name not in left_out}
    values |= {"VIRTUAL_ENV": sys.prefix, "PATH": f"{Path(sys.executable).parent}:{values['PATH']}"}
    return values | {"MLFLOW_DISABLE_TELEMETRY": "true"} | extra


def clone(target, example=None, *, held=False):
    """Copy what git would clone into `target`, take an example's parameters, and commit it there.

    Without a dvc.lock in the commit a second model would be held; unless that is wanted, params.yaml lets it pass.
    """
    from tests.conftest import copy_project

    target.mkdir(parents=True, exist_ok=True)
    copy_project(target)
    for stale in ("dvc.lock", "mlflow.db"):
        (target / stale).unlink(missing_ok=True)
    if example is not None:
        shutil.copy(ROOT / "examples" / f"{example}.yaml", target / "params.yaml")
    if example == "quick/digits":
        params = target / "params.yaml"
        text, found = re.subn(
            r"(family: linear\n +model: )\{\}", rf"\g<1>{{l2: {HELD_BACK}}}", params.read_text()
        )
        assert found == 1
        params.write_text(text)
    if not held:
        params = target / "params.yaml"
        params.write_text(
            params.read_text().replace("uncommitted: null", "uncommitted: a test of the pipeline")
        )
    git(target, "init", "-q")
    commit(target, "clone")
    return target


def make_small(folder, *, held=False, **models):
    """Write parameters of three quick candidates, of which the network wins.

    Args:
        folder: The clone.
        held: See `clone`.
        models: Settings of a candidate's model that differ, by its name.
    """
    params = read_yaml(ROOT / "examples/quick/digits.yaml")
    params["candidates"] = {name: params["candidates"][name] for name in SMALL}
    params["candidates"]["cnn"]["model"] |= {"filters": [16], "units": 32}
    params["candidates"]["cnn"]["tune"] = {}
    params["candidates"]["linear"]["model"] = {"l2": HELD_BACK}
    params["training"] |= {"epochs": 5, "learning_rate": 5e-3}
    params["features"]["groups"] = []
    params["register"]["uncommitted"] = None if held else "a test of the pipeline"
    for name, settings in models.items():
        params["candidates"][name]["model"] |= settings
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def commit(folder, message):
    """Commit everything in a clone."""
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", message)


def git(folder, *arguments):
    """Run a git command in a clone."""
    subprocess.run(["git", *arguments], cwd=folder, check=True)


def dvc(folder, *arguments, check=True, **extra):
    """Run a dvc command in a clone; its output is on the exception when it fails."""
    done = subprocess.run(
        ["dvc", "--wait-for-lock", *arguments],
        cwd=folder,
        env=environment(**extra),
        capture_output=True,
        text=True,
        check=False,
        timeout=3000,
    )
    if check and done.returncode:
        raise AssertionError(
            f"dvc {' '.join(arguments)} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
    return done


def executed(done):
    """Return the names of the stages that `dvc repro` ran."""
    return re.findall(r"Running stage '([^']+)'", done.stdout)


def lock_of(folder):
    """Return dvc.lock parsed: its order is the order of execution and means nothing."""
    return read_yaml(folder / "dvc.lock")


def model_files(folder):
    """Return every model file of a clone with its bytes."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted((folder / "models").rglob("*"))
        if file.is_file() and file.name != ".gitignore"
    }


def processes_of(folder):
    """Return the running processes whose working directory is in a clone."""
    found = []
    for process in psutil.process_iter(["cwd", "status", "cmdline"]):
        cwd = process.info["cwd"]
        if cwd and Path(cwd).is_relative_to(folder) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process.info["cmdline"])
    return found
