"""A stage of one candidate in a task of a cluster: its inputs go there, its outs come back, and DVC sees no difference.

`millrace repro --on ray://host:port` sets MILLRACE_ON, and `pipeline/run` then starts this instead of `train` and
`folds`. It is the stage for DVC: it holds the lock, hashes the inputs and ends with the stage's exit code. What goes
along is what dvc.yaml names (tests prove that it is all), and the code.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.engine.chosen import engine_at
from pipeline.engine.work import Do, Engine, Job
from pipeline.runtime import paths
from pipeline.runtime.errors import ProgramFailed, StorageFailed, say
from pipeline.runtime.files import read_json
from pipeline.runtime.processes import end_with_parent, naming_us
from pipeline.runtime.progress import FOLLOWED, live_path
from pipeline.runtime.stage import Stage, running_stage
from pipeline.runtime.strict_yaml import read_yaml

ON = "MILLRACE_ON"
CODE = Path("pipeline")
THERE = "as on the machine where it ran"


class Given(NamedTuple):
    """What a worker gets.

    Attributes:
        stage: Name of its file.
        candidate: Which one.
        outs: Files and folders that come back.
    """

    stage: str
    candidate: str
    outs: Sequence[Path]


class Said(NamedTuple):
    """What comes back beside the outs.

    Attributes:
        text: All that the stage printed.
        code: Its exit code.
        message: Of `.millrace/status.json`, "" where all went well.
    """

    text: str
    code: int
    message: str


def main() -> None:
    """Run the stage and candidate named on the command line on the cluster that MILLRACE_ON names."""
    base, candidate = sys.argv[1:]
    with running_stage(f"{base}@{candidate}") as stage:
        run_there(engine_at(os.environ[ON], ON), base, candidate, stage)


def run_there(engine: Engine, base: str, candidate: str, stage: Stage) -> None:
    """Run a stage on an engine and write its outs here.

    Args:
        engine: A cluster.
        base: Name of the stage's file.
        candidate: Which one.
        stage: The running stage.

    Raises:
        ProgramFailed: It failed.
    """
    declared = read_yaml(paths.DVC_YAML)["stages"][base]["do"]["outs"]
    outs = [Path(str(out).replace("${key}", candidate)) for out in declared]
    folder = paths.STATE_DIR / "there" / stage.name
    shutil.rmtree(folder, ignore_errors=True)
    job = Job(stage.name, Given(base, candidate, [*outs, live_path(candidate)]), folder)
    with engine.workers(
        open_stage,
        num_workers=1,
        cores=_cores(candidate),
        needs=[*stage.files, CODE, paths.DVC_YAML, paths.PARAMS_YAML],
    ) as workers:
        ((_, ended),) = workers.run([job])
    if ended.error:
        raise StorageFailed(f"{stage.name}: {ended.error}. Run the same command again.")
    said: Said = ended.value
    say(said.text, end="")
    if said.code:
        raise ProgramFailed(said.message, said.code, THERE)
    for out in outs:
        if not (folder / out).exists():
            raise StorageFailed(
                f"{stage.name} did not leave {out}. Expected all its outs. Run the same command again."
            )
    shutil.copytree(folder, Path(), dirs_exist_ok=True)
    shutil.rmtree(folder)


def _cores(candidate: str) -> int:
    """Return how many cores training a candidate takes: `threads` for each of its `training.workers`."""
    params = read_yaml(paths.PARAMS_YAML)
    own = params["candidates"][candidate].get("training") or {}
    return int(params["threads"] * own.get("workers", params["training"].get("workers", 1)))


def open_stage() -> Do:
    """Return what runs a stage in the working directory and moves its outs into the folder of the job."""
    return _run


def _run(given: Given, folder: Path) -> Said:
    # The working directory comes first for `-m`, and there lies the code that dvc.yaml names.
    done = subprocess.run(
        [sys.executable, "-m", f"pipeline.stages.{given.stage}", given.candidate],
        env=naming_us() | {FOLLOWED: "0", "PYTHONPATH": ""},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        preexec_fn=end_with_parent,  # one thread only
    )
    for out in given.outs:
        if out.exists():
            (folder / out).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(out, folder / out)
    status = paths.STATE_DIR / "status.json"
    message = read_json(status)["message"] if status.is_file() and done.returncode else ""
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode
    return Said(done.stdout, code, message or f"{given.stage} ended with exit code {code}.")
