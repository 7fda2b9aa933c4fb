"""Programs that a retrain starts: they end when it ends, however it ends, and when its time is up."""

import os
import sys
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from subprocess import TimeoutExpired

from pipeline.runtime import paths
from pipeline.runtime.addresses import store_address
from pipeline.runtime.errors import Busy, ProgramFailed, StorageFailed
from pipeline.runtime.files import read_json
from pipeline.runtime.processes import PIPE, Answer, run
from pipeline.runtime.stage import KILLED

DROPPED = (
    "DVC_ROOT",
    "DVC_STAGE",
    "MILLRACE_PARENT",
    "MILLRACE_STARTED",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "PYTHONSAFEPATH",  # with it `-m` would run another tree's code than that of the folder
)
SIGNATURES = ("commit.gpgSign", "tag.gpgSign", "push.gpgSign")
DATES = ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE")


class Children:
    """Starts programs in the working tree of a retrain.

    Args:
        project: Absolute folder of the project whose record, downloads and data counts.
        tree: Absolute folder in which programs run.
        deadline: `time.monotonic()` at which the running one is stopped; None for never.
    """

    def __init__(self, project: Path, tree: Path, deadline: float | None = None) -> None:
        self.project = project
        self.tree = tree
        self.deadline = deadline

    def git(self, *arguments: str, check: bool = True, folder: Path | None = None) -> Answer:
        """Run git in the tree (or another folder) and return what it answered.

        Raises:
            ProgramFailed: It failed and `check` is set.
        """
        command = ["git", *self._settings, *arguments]
        answer = self._run(command, folder or self.tree, capture=True)
        if check and answer.code:
            message = f"`git {' '.join(arguments)}` failed in {folder or self.tree}: {answer.err.strip()}"
            raise ProgramFailed(message, 74, "input/output error")
        return answer

    def dvc(self, *arguments: str) -> Answer:
        """Run dvc in the tree; what it prints goes where ours goes."""
        (self.tree / paths.STATE_DIR / "status.json").unlink(missing_ok=True)
        return self._run([sys.executable, "-m", "dvc", "--wait-for-lock", *arguments], self.tree)

    def repro(self, target: str) -> None:
        """Bring a stage and all before it up to date, also where an earlier kill tore dvc.lock.

        Raises:
            ProgramFailed: With the exit code and message of the stage that failed.
        """
        answer = self.dvc("repro", target)
        if (
            answer.code
            and self._run([sys.executable, "-m", "pipeline.runtime.repository"], self.tree).code == 0
        ):
            answer = self.dvc("repro", target)
        if answer.code:
            raise self.failure(f"dvc repro {target}")

    def millrace(self, *arguments: str) -> None:
        """Run a millrace command in the tree, with the code of the tree.

        Raises:
            ProgramFailed: With its exit code and message.
        """
        (self.tree / paths.STATE_DIR / "status.json").unlink(missing_ok=True)
        answer = self._run([sys.executable, "-m", "pipeline.cli", *arguments], self.tree)
        if answer.code:
            raise self.failure(f"millrace {' '.join(arguments)}")

    def watch(self, *arguments: str) -> Answer:
        """Run `millrace watch --json` with the code of this process, which need not be that of the tree."""
        command = [sys.executable, "-m", "pipeline.cli", "watch", *arguments, "--json"]
        return self._run(command, Path(paths.__file__).parents[2], capture=True)

    def failure(self, what: str) -> ProgramFailed:
        """Return the error that a failed stage or command left in the status file of the tree."""
        status_path = self.tree / paths.STATE_DIR / "status.json"
        status = read_json(status_path) if status_path.is_file() else {}
        code = status.get("exit_code", 0)
        if not code:
            return ProgramFailed(f"`{what}` failed; the lines above say why.", 74, "a program failed")
        # A kill is a pause, as a disk that is full: the journal knows what is finished.
        code = StorageFailed.exit_code if code == KILLED else code
        return ProgramFailed(f"{status['stage']}: {status['message']}", code, f"at {status['stage']}")

    def environment(self) -> dict[str, str]:
        """Return the environment of every child: this interpreter first, the project as the home."""
        kept = {name: value for name, value in os.environ.items() if name not in DROPPED}
        programs = str(Path(sys.executable).parent)
        # In a trial of a month, commits have the dates of their nights.
        dates = dict.fromkeys(DATES, kept["MILLRACE_NOW"]) if kept.get("MILLRACE_NOW") else {}
        return (
            kept
            | dates
            | {
                "MILLRACE_HOME": str(self.project),
                # MLflow itself looks where this says, or in the working directory, which is not the project's.
                "MLFLOW_TRACKING_URI": store_address(self.project),
                "VIRTUAL_ENV": sys.prefix,
                "PATH": f"{programs}{os.pathsep}{kept.get('PATH', os.defpath)}",
                "GIT_TERMINAL_PROMPT": "0",  # nobody is there to answer
                "GIT_MERGE_AUTOEDIT": "no",
            }
        )

    @cached_property
    def _settings(self) -> list[str]:
        """Return options for a tree that only a machine writes, and that name a committer where none is set up.

        Hooks and signatures are for the commits of people: a linter has nothing to say of results, and nobody is there
        to type a passphrase. `git config millrace.hooks true` and `millrace.sign true` bring them back.
        """
        options = []
        if not self._wants("hooks"):
            options += ["-c", f"core.hooksPath={os.devnull}"]
        if not self._wants("sign"):
            options += [part for key in SIGNATURES for part in ("-c", f"{key}=false")]
        if run(["git", "config", "user.email"], folder=self.project).code:
            options += ["-c", "user.name=millrace retrain", "-c", "user.email=millrace@localhost"]
        return options

    def _wants(self, what: str) -> bool:
        asked = run(["git", "config", "--type=bool", f"millrace.{what}"], folder=self.project)
        return asked.out.strip() == "true"

    def _run(self, command: Sequence[str], folder: Path, *, capture: bool = False) -> Answer:
        left = None if self.deadline is None else max(0.0, self.deadline - time.monotonic())
        out = PIPE if capture else None
        try:
            return run(
                command, folder=folder, environment=self.environment(), out=out, seconds=left, own_group=True
            )
        except TimeoutExpired:
            raise Busy(
                f"The time limit is over; `{' '.join(command[-3:])}` was stopped. Expected all of it within "
                "--time-limit. What is finished is kept: the same command continues where this one stopped."
            ) from None
