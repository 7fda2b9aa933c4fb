"""The git remote of a retrain: what others pushed, and being first to push."""

import time
from pathlib import Path

from pipeline.retraining.children import Children
from pipeline.retraining.worktree import Followed
from pipeline.runtime.stage import Busy, ServiceDown

MOVED = ("[rejected]", "cannot lock ref", "incorrect old value", "failed to update ref", "already exists")
"""How git says that somebody else pushed first, before or while we did."""
LOCK_LEFT_SECONDS = 60.0
"""Git holds the lock of a branch for milliseconds."""


class Moved(Exception):
    """Somebody else pushed to the branch of results meanwhile."""


def fetch(children: Children, branches: Followed) -> None:
    """Learn what others pushed.

    Raises:
        ServiceDown: The remote does not answer.
    """
    if not branches.remote:
        return
    # A clone of a single branch would not ask for the other one. The star lets a branch be missing.
    wanted = [
        f"+refs/heads/{name}*:refs/remotes/{branches.remote}/{name}*"
        for name in (branches.branch, branches.results)
    ]
    command = ("fetch", "--quiet", branches.remote, *wanted)
    answer = children.git(*command, check=False, folder=children.project)
    if answer.code and _forget_old_locks(children, branches):
        answer = children.git(*command, check=False, folder=children.project)
    if answer.code:
        raise ServiceDown(
            f"The git remote does not answer. Expected `git fetch {branches.remote}` to work. "
            f"Received: {answer.err.strip()}. Nothing was changed; the same command works once it does."
        )


def push(children: Children, branches: Followed) -> None:
    """Push the branch of results.

    Raises:
        Moved: Somebody else pushed meanwhile.
        Busy: The remote declined.
        ServiceDown: It does not answer.
    """
    refspec = f"{branches.results}:refs/heads/{branches.results}"
    answer = children.git("push", "--porcelain", branches.remote, refspec, check=False)
    if not answer.code:
        return
    said = f"{answer.out}\n{answer.err}".strip()
    refused = [line for line in answer.out.splitlines() if line.startswith("!")]
    if any(words in line for line in refused for words in MOVED):
        raise Moved(said)
    facts = f"Expected `git push {branches.remote} {branches.results}` to work. Received: {said}."
    if refused:
        raise Busy(
            f"The git remote declined the results. {facts} The results are committed here and the champion is as "
            "it was; the same command goes on once the remote takes them."
        )
    raise ServiceDown(f"The git remote does not answer. {facts} The same command goes on from here.")


def _forget_old_locks(children: Children, branches: Followed) -> bool:
    """Remove the lock files that a killed `git fetch` left in the project; return whether there were any.

    People fetch there too, so only what is far older than any fetch holds one is taken for left behind.
    """
    refs = [f"refs/remotes/{branches.remote}/{name}.lock" for name in (branches.branch, branches.results)]
    removed = False
    for name in (*refs, "packed-refs.lock", "shallow.lock"):
        path = children.git(
            "rev-parse", "--path-format=absolute", "--git-path", name, folder=children.project
        )
        lock = Path(path.out.strip())
        if lock.is_file() and time.time() - lock.stat().st_mtime > LOCK_LEFT_SECONDS:
            lock.unlink(missing_ok=True)
            removed = True
    return removed
