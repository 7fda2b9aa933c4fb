"""A project with scikit-learn's digits as far as `features`, and its cnn trained here or on a cluster, to be killed."""

import os
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from pipeline.runtime import paths
from tests.conftest import ROOT, copy_project

BEFORE = ("check", "fetch", "ingest", "validate", "split", "leaks", "features")
OUT = Path("models/baseline/cnn")


def environment(**more: str) -> dict[str, str]:
    """Return that of a stage: no engine and no DVC but what is given."""
    left_out = ("DVC_ROOT", "DVC_STAGE", "MILLRACE_ENGINE", "MILLRACE_ON")
    values = {name: value for name, value in os.environ.items() if name not in left_out}
    return values | {"VIRTUAL_ENV": sys.prefix, "PYTHONPATH": str(ROOT)} | more


def write_digits(folder: Path, *, epochs: int) -> Path:
    """Write the project, with one thread for each training, and run the stages before `train`.

    Args:
        folder: An empty one.
        epochs: Of the cnn; none is spared.
    """
    copy_project(folder)
    yaml = YAML()
    params = yaml.load(folder / paths.PARAMS_YAML)
    params["threads"] = 1
    params["training"].update({"epochs": epochs, "early_stopping_patience": 0})
    yaml.dump(params, folder / paths.PARAMS_YAML)
    for stage in BEFORE:
        subprocess.run(
            ["pipeline/run", stage], cwd=folder, env=environment(), check=True, capture_output=True
        )
    return folder


def train(folder: Path, log: Path, **more: str) -> subprocess.Popen[str]:
    """Start the training of the cnn, by the command of dvc.yaml; what it prints is added to a file."""
    with log.open("a") as output:
        return subprocess.Popen(
            ["pipeline/run", "train", "cnn"],
            cwd=folder,
            env=environment(**more),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )


def checkpoints(folder: Path) -> list[Path]:
    """Return those of the training that lie in the project."""
    return sorted((folder / ".millrace/train/cnn").glob("*/*.checkpoint"))


def trained(folder: Path) -> dict[str, bytes]:
    """Return the files of the trained cnn, and take them away."""
    found = {path.name: path.read_bytes() for path in (folder / OUT).glob("*")}
    for name in found:
        (folder / OUT / name).unlink()
    return found
