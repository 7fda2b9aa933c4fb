"""A stage of one candidate in a task of a cluster: its inputs go there, its outs come back, and DVC sees no difference.

`millrace repro --on ray://host:port` sets MILLRACE_ON, and `pipeline/run` then starts this instead of `train` and
`folds`. It is the stage for DVC: it holds the lock, hashes the inputs and ends with the stage's exit code. What goes
along is what dvc.yaml names (tests prove that it is all), and the code.

The folder of the job is the one where the stage keeps its checkpoints, here and there, so that either goes on where the
other was stopped. In it come back, while it runs: the checkpoints, what it prints, and its live curve.
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
from pipeline.runtime.files import as_lines, read_json, write_bytes
from pipeline.runtime.processes import end_with_parent, naming_us
from pipeline.runtime.progress import FOLLOWED, LIVE_DIR, earlier_lines, live_path, live_trace, start_follower
from pipeline.runtime.stage import Stage, running_stage
from pipeline.runtime.strict_yaml import read_yaml

ON = "MILLRACE_ON"
CODE = Path("pipeline")
THERE = "as on the machine where it ran"
SAID, LIVE, OUTS = "said.log", "live", "outs"
"""In the folder of the job, beside the checkpoints."""


class Given(NamedTuple):
    """What a worker gets.

    Attributes:
        stage: Name of its file.
        candidate: Which one.
        inputs_key: Of the running stage; the name of its folder of checkpoints.
        outs: Files and folders that come back.
    """

    stage: str
    candidate: str
    inputs_key: str
    outs: Sequence[Path]


class Said(NamedTuple):
    """What comes back beside the files.

    Attributes:
        code: The exit code.
        message: Of `.millrace/status.json`, "" where all went well.
    """

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
    folder = _kept(base, candidate, stage.inputs_key)
    shown = _Shown(candidate, folder)
    given = Given(base, candidate, stage.inputs_key, outs)
    with engine.workers(
        open_stage,
        num_workers=1,
        cores=_cores(candidate),
        needs=[*stage.files, CODE, paths.DVC_YAML, paths.PARAMS_YAML],
    ) as workers:
        ((_, ended),) = workers.run([Job(stage.name, given, folder, on_files=shown.look)])
    shown.look()
    if ended.error:
        raise StorageFailed(f"{stage.name}: {ended.error}. Run the same command again.")
    said: Said = ended.value
    if said.code:
        raise ProgramFailed(said.message, said.code, THERE)
    for out in outs:
        if not (folder / OUTS / out).exists():
            raise StorageFailed(
                f"{stage.name} did not leave {out}. Expected all its outs. Run the same command again."
            )
    shutil.copytree(folder / OUTS, Path(), dirs_exist_ok=True)
    # Of older inputs too, as the stage does it.
    shutil.rmtree(folder.parent)


def _kept(base: str, candidate: str, inputs_key: str) -> Path:
    """Return where a stage keeps its checkpoints."""
    return paths.STATE_DIR / base / candidate / inputs_key


class _Shown:
    """Shows here what the stage prints there, each line once, and its live curve.

    Args:
        candidate: Whose curve it is.
        folder: Of the job, called by the key of its inputs.
    """

    def __init__(self, candidate: str, folder: Path) -> None:
        from pipeline.engine import files  # takes NumPy along, which the command line does without

        files.settle(folder)
        self._candidate = candidate
        self._said = folder / SAID
        self._here = live_path(candidate)
        self._curve = folder / LIVE / self._here.name
        self._shown_bytes = 0
        self._follower: subprocess.Popen[bytes] | None = None
        self._said.unlink(missing_ok=True)  # of an earlier call
        # The longer one: a training of these inputs may have gone on here, or this process was killed before `look`.
        drawn = max((earlier_lines(path, folder.name) for path in (self._curve, self._here)), key=len)
        if drawn:
            write_bytes(self._curve, as_lines(drawn))

    def look(self) -> None:
        """Show what is new in the files that have come."""
        if self._said.is_file():
            new = self._said.read_bytes()[self._shown_bytes :]
            whole = new[: new.rfind(b"\n") + 1]
            say(whole.decode(errors="replace"), end="")
            self._shown_bytes += len(whole)
        if self._curve.is_file():
            write_bytes(self._here, self._curve.read_bytes())
            trace = live_trace(self._here)
            if self._follower is None and trace is not None and trace.epochs:
                self._follower = start_follower(self._candidate)


def _cores(candidate: str) -> int:
    """Return how many cores training a candidate takes: `threads` for each of its `training.workers`."""
    params = read_yaml(paths.PARAMS_YAML)
    own = params["candidates"][candidate].get("training") or {}
    return int(params["threads"] * own.get("workers", params["training"].get("workers", 1)))


# --- What happens there.


def open_stage() -> Do:
    """Return what runs a stage in the working directory, with the folder of the job as that of its checkpoints."""
    return _run


def _run(given: Given, folder: Path) -> Said:
    shutil.rmtree(folder / OUTS, ignore_errors=True)  # of a worker that died before its answer was there
    for place, held in (
        (_kept(given.stage, given.candidate, given.inputs_key), folder),
        (LIVE_DIR, folder / LIVE),
    ):
        held.mkdir(exist_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(held)
    with (folder / SAID).open("a+b") as output:
        output.seek(0)
        output.truncate(output.read().rfind(b"\n") + 1)  # half a line of what was killed
        # The working directory comes first for `-m`, and there lies the code that dvc.yaml names.
        done = subprocess.run(
            [sys.executable, "-m", f"pipeline.stages.{given.stage}", given.candidate],
            env=naming_us() | {FOLLOWED: "0", "PYTHONPATH": "", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            preexec_fn=end_with_parent,  # one thread only
        )
    for out in given.outs:
        if out.exists():
            (folder / OUTS / out).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(out, folder / OUTS / out)
    status = paths.STATE_DIR / "status.json"
    message = read_json(status)["message"] if status.is_file() and done.returncode else ""
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode
    return Said(code, message or f"{given.stage} ended with exit code {code}.")
