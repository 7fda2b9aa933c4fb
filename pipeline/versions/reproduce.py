"""A version built again: its commit in a worktree of its own, its packages, the pipeline.

Nothing of the project is touched: the worktree has its own DVC cache, so that every stage runs and none is restored,
its own MLflow store, and its own environment where the packages differ.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.provenance.installed import differing_packages
from pipeline.runtime import paths
from pipeline.runtime.files import read_json, write_text
from pipeline.runtime.processes import run
from pipeline.runtime.repository import DVC_CONFIG, DVC_CONFIG_LOCAL, dvc_config_for, git
from pipeline.runtime.stage import ServiceDown, StorageFailed, UserError
from pipeline.versions.version_origin import Origin

if TYPE_CHECKING:
    from rich.console import Console

REPRODUCE_DIR = paths.STATE_DIR / "reproduce"
NOT_INHERITED = (
    "DVC_ROOT",
    "DVC_STAGE",
    "MLFLOW_TRACKING_URI",
    "MILLRACE_PARENT",
    "MILLRACE_STARTED",
    "PYTHONPATH",
)


@contextmanager
def worktree(origin: Origin, *, keep: bool) -> Iterator[Path]:
    """Check out the commit of a version beside everybody's work, for the time of the body.

    Args:
        origin: The version.
        keep: Leave it there afterwards.

    Yields:
        Its absolute folder, without a dvc.lock: what was recorded must not stop stages whose result differs.

    Raises:
        StorageFailed: git could not do it.
    """
    folder = (REPRODUCE_DIR / str(origin.version)).absolute()
    _remove(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        if git("worktree", "add", "--detach", str(folder), origin.commit) is None:
            raise StorageFailed(
                f"git could not check out a commit. Expected {origin.commit} at {folder}. Received: an error of "
                f"`git worktree add`. Try it by hand; is the disk full?"
            )
        (folder / paths.DVC_LOCK).unlink(missing_ok=True)
        _configure_dvc(folder)
        yield folder
    finally:
        if not keep:
            _remove(folder)


def _configure_dvc(folder: Path) -> None:
    """Give a worktree the remotes that the project has today, with the keys to them, but caches of its own."""
    shutil.copyfile(DVC_CONFIG, folder / DVC_CONFIG)
    write_text(folder / DVC_CONFIG_LOCAL, dvc_config_for(Path.cwd(), folder, own_cache=True))
    # It may hold credentials of a remote.
    (folder / DVC_CONFIG_LOCAL).chmod(0o600)


def _remove(folder: Path) -> None:
    """Remove a worktree and what git knows of it, also one that a killed process left half-made."""
    if folder.exists():
        git("worktree", "remove", "--force", str(folder))
        shutil.rmtree(folder, ignore_errors=True)
    git("worktree", "prune")


def environment(tree: Path, console: "Console") -> dict[str, str]:
    """Return the environment in which the stages of a worktree run, made first if the packages differ.

    Raises:
        ServiceDown: The packages could not be installed.
    """
    differing = differing_packages((tree / "requirements.lock").read_text(encoding="utf-8"))
    prefix = Path(sys.prefix)
    if differing:
        console.print(f"Installing the locked packages: {len(differing)} differ, such as {differing[0]}.")
        prefix = tree / ".venv"
        install = [_script("uv"), "pip", "install", "--quiet", "--python", str(prefix / "bin/python")]
        steps = (
            [sys.executable, "-m", "venv", str(prefix)],
            [*install, "--require-hashes", "-r", str(tree / "requirements.lock")],
        )
        for step in steps:
            done = run(step)
            if done.code:
                raise ServiceDown(
                    f"The packages of that version could not be installed. Expected requirements.lock of its commit. "
                    f"Received: {differing[0]}; {(done.err.strip() or 'no message')[-300:]}. Run it again with a "
                    "package index in reach, or in an environment made from that lock."
                )
    inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    path = f"{prefix / 'bin'}{os.pathsep}{inherited.get('PATH', '')}"
    store = f"sqlite:///{tree / 'mlflow.db'}"
    return inherited | {"VIRTUAL_ENV": str(prefix), "PATH": path, "MLFLOW_TRACKING_URI": store}


def run_pipeline(tree: Path, environment: dict[str, str]) -> None:
    """Run every stage up to `evaluate`; what they print goes to standard error.

    Raises:
        UserError: A stage stopped; with its exit code.
    """
    dvc = Path(environment["VIRTUAL_ENV"], "bin/dvc")
    command = [str(dvc), "--wait-for-lock", "repro", "--no-run-cache", "evaluate"]
    done = run(command, folder=tree, environment=environment, out=sys.stderr)
    if done.code == 0:
        return
    status = tree / paths.STATE_DIR / "status.json"
    told = read_json(status) if status.is_file() else {}
    if not told.get("exit_code"):
        raise StorageFailed(
            f"DVC could not run the pipeline of that commit. Expected exit code 0. Received: {done.code}. "
            "What it said stands above."
        )
    stopped = UserError(
        f"The rebuild stopped at stage {told['stage']}, so the version differs from there on. Expected it to run as it "
        f"did. Received: {told['message']} Run it again with --keep and look into the worktree."
    )
    stopped.exit_code, stopped.meaning = int(told["exit_code"]), f"stage {told['stage']}"
    raise stopped


def _script(name: str) -> str:
    """Return the program of that name beside this interpreter, or from PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.is_file() else name
