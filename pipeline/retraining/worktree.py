"""The working tree of a retrain: the committed state of the followed branch, and results on a branch of their own.

The branch `retrain/BRANCH` holds what the branch holds plus the results of each night. Whoever changes code or
parameters commits to BRANCH as ever; the next retrain merges that. The tree, the checked-out files and
the index of the user are never touched.
"""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.retraining.children import Children
from pipeline.runtime import paths
from pipeline.runtime.dvc_place import close_site_cache
from pipeline.runtime.errors import Busy, InputMissing, NotPermitted, ServiceDown, WronglyCalled
from pipeline.runtime.files import write_bytes, write_text
from pipeline.runtime.paths import TREE
from pipeline.runtime.repository import DVC_CONFIG_LOCAL, SITE_CACHE, dvc_config_for, trusting_command

RESULTS = (paths.DVC_LOCK.as_posix(), paths.SOURCE_JSON.as_posix(), "reports")
"""What a retrain commits."""


@dataclass(frozen=True)
class Followed:
    """Which branches a retrain works with.

    Attributes:
        branch: The branch of people.
        remote: Name of the git remote, "" if there is none, or none that gets the results.
    """

    branch: str
    remote: str

    @property
    def results(self) -> str:
        """The branch that gets the results."""
        return f"retrain/{self.branch}"


def followed(children: Children, wanted: str | None, *, publish: bool) -> Followed:
    """Return what to follow.

    Args:
        children: Runs git.
        wanted: A branch, or None for the one checked out in the project.
        publish: Whether results go to a git remote; without, none is asked for anything.

    Raises:
        InputMissing: The project is not in git, or has no commit.
        WronglyCalled: No branch is checked out and none is named.
    """
    project = children.project
    inside = children.git("rev-parse", "--show-prefix", "--verify", "HEAD", check=False, folder=project)
    if "dubious ownership" in inside.err:
        raise NotPermitted(
            f'git does not read the repository in {project}, because it belongs to another user ("dubious ownership"). '
            f"Expected a repository of this user. Run `{trusting_command(inside.err)}` if you trust its owner."
        )
    if inside.code:
        raise InputMissing(
            f"{project} is not a git repository with a commit. Expected one: a retrain works on what is committed. "
            "Run `git init && git add -A && git commit -m start`."
        )
    if inside.out.splitlines()[0]:
        raise InputMissing(
            f"{project} is a folder inside a larger git repository. Expected the project at its top. "
            f"Received: prefix={inside.out.splitlines()[0]}. Give the project a repository of its own."
        )
    branch = wanted or children.git("branch", "--show-current", folder=project).out.strip()
    if not branch:
        raise WronglyCalled(
            "No branch is checked out here. Expected a branch to follow. Received: a detached HEAD. "
            "Run `git switch BRANCH`, or set `branch` in retrain.yaml."
        )
    if not publish:
        return Followed(branch, "")
    remotes = children.git("remote", folder=project).out.split()
    own = children.git("config", f"branch.{branch}.remote", check=False, folder=project).out.strip()
    remote = own if own in remotes else "origin" if "origin" in remotes else remotes[0] if remotes else ""
    return Followed(branch, remote)


def uncommitted(children: Children) -> list[str]:
    """Return the files of the project with edits that nobody committed; results of runs are not edits."""
    answer = children.git(
        "status", "--porcelain", "--", ".", ":!dvc.lock", ":!reports", folder=children.project
    )
    return [line[3:] for line in answer.out.splitlines()]


def adopt_tree(children: Children) -> None:
    """Let the tree of a project that was moved or copied belong to that project: git keeps both ways absolute.

    In a copy the tree would otherwise be the original's, whose branch of results would get what is committed here.
    """
    link = children.tree / ".git"
    if not link.is_file():
        return
    common = children.git(
        "rev-parse", "--path-format=absolute", "--git-common-dir", folder=children.project
    ).out.rstrip("\n")
    former = Path(link.read_text(encoding="utf-8", errors="surrogateescape").partition(": ")[2].rstrip("\n"))
    ours = Path(common) / "worktrees" / former.name
    if former == ours or not ours.is_dir():
        return
    write_bytes(ours / "gitdir", os.fsencode(f"{link}\n"))
    write_bytes(link, os.fsencode(f"gitdir: {ours}\n"))
    _configure_dvc(children)


def forget_locks(children: Children, branches: Followed) -> None:
    """Remove the lock files that a killed git left in the tree; only the holder of our lock works there."""
    if not (children.tree / ".git").is_file():
        return
    for name in ("index.lock", "HEAD.lock", f"refs/heads/{branches.results}.lock"):
        answer = children.git("rev-parse", "--path-format=absolute", "--git-path", name, check=False)
        if answer.code == 0:
            Path(answer.out.strip()).unlink(missing_ok=True)


def superseded(children: Children, branches: Followed) -> bool:
    """Return whether the remote's branch of results holds something that the tree does not stand on."""
    theirs = f"{branches.remote}/{branches.results}"
    return bool(branches.remote and _commit(children, theirs) and not _is_ancestor(children, theirs, "HEAD"))


def prepare(children: Children, branches: Followed) -> dict[str, str]:
    """Bring the tree to the last results with everything that is committed to the followed branch.

    Returns:
        `before`: commit of the last results; `head`: commit the retrain starts from; `note`: what to tell.

    Raises:
        Busy: The branches cannot be merged without a person.
    """
    git, remote = children.git, branches.remote
    source, note = newest(children, branches)
    _make_tree(children, branches, source)
    git("reset", "--quiet", "--hard")
    git("clean", "--quiet", "-fd")  # what is ignored stays: outs, checkpoints, the configuration of dvc
    if superseded(children, branches):
        # Ours only ever hold results: what they were made of is kept in DVC's cache, and theirs were first. Where they
        # were not pushed, versions may name them all the same: they stay in this repository.
        ours = git("rev-parse", "HEAD").out.strip()
        git("update-ref", f"refs/millrace/results/{ours[:16]}", ours)
        git("reset", "--quiet", "--hard", f"{remote}/{branches.results}")
    before = git("rev-parse", "HEAD").out.strip()
    _merge(children, branches, source)
    _configure_dvc(children)
    return {"before": before, "head": git("rev-parse", "HEAD").out.strip(), "source": source, "note": note}


def commit_tree(children: Children, message: str) -> str:
    """Commit the results, if they changed, and return the commit of the tree."""
    present = [path for path in RESULTS if (children.tree / path).exists()]
    children.git("add", "--all", "--", *present)
    if children.git("diff", "--cached", "--quiet", check=False).code:
        children.git("commit", "--quiet", "--message", message)
    return children.git("rev-parse", "HEAD").out.strip()


def newest(children: Children, branches: Followed) -> tuple[str, str]:
    """Return the newer of our commit and the remote's of the followed branch, and what to say about it."""
    branch = branches.branch
    at_remote = f"{branches.remote}/{branch}" if branches.remote else ""
    ours, theirs = _commit(children, branch), _commit(children, at_remote) if at_remote else ""
    if not ours and not theirs:
        raise WronglyCalled(
            f"There is no branch {branch}. Expected one here or at the remote. Correct `branch` in retrain.yaml."
        )
    if not ours or (theirs and _is_ancestor(children, ours, theirs)):
        return theirs, ""
    if theirs and not _is_ancestor(children, theirs, ours):
        return ours, f"{branch} and {at_remote} have diverged; {branch} as it is here is followed."
    return ours, ""


def _configure_dvc(children: Children) -> None:
    # It may hold credentials of a remote.
    write_text(children.tree / DVC_CONFIG_LOCAL, dvc_config_for(children.project, children.tree), 0o600)
    close_site_cache(children.tree / SITE_CACHE)


def _make_tree(children: Children, branches: Followed, source: str) -> None:
    """Make the tree unless it is there; a half-made one is made anew."""
    tree, project = children.tree, children.project
    if (tree / ".git").is_file():
        on = children.git("branch", "--show-current", check=False)
        if on.code == 0 and on.out.strip() == branches.results:
            return
    children.git("worktree", "remove", "--force", "--force", str(tree), check=False, folder=project)
    shutil.rmtree(tree, ignore_errors=True)
    children.git("worktree", "prune", folder=project)
    start = [branches.results]
    if not _commit(children, branches.results):
        theirs = f"{branches.remote}/{branches.results}" if branches.remote else ""
        start = ["-b", branches.results, "--no-track", (theirs and _commit(children, theirs)) or source]
    options, last = start[:-1], start[-1]
    children.git("worktree", "add", "--quiet", *options, str(tree), last, folder=project)


def _merge(children: Children, branches: Followed, source: str) -> None:
    """Merge the followed branch into the tree's; of results the tree's count, they are made anew anyway."""
    git = children.git
    if _is_ancestor(children, source, "HEAD"):
        return
    if _is_ancestor(children, "HEAD", source):
        git("merge", "--quiet", "--ff-only", source)
        return
    base = git("merge-base", "HEAD", source).out.strip()
    git("merge", "--quiet", "--no-commit", "--no-ff", "-X", "theirs", source, check=False)
    described = paths.SOURCE_JSON.as_posix()
    # `millrace init` by a person counts more than what a refresh found in the old source.
    told_anew = git("diff", "--quiet", base, source, "--", described, check=False).code != 0
    for path, side in (
        (paths.DVC_LOCK.as_posix(), "HEAD"),
        ("reports", "HEAD"),
        (described, source if told_anew else "HEAD"),
    ):
        if git("cat-file", "-e", f"{side}:{path}", check=False).code == 0:
            git("checkout", "--quiet", side, "--", path)
    clashing = git("diff", "--name-only", "--diff-filter=U").out.split()
    if clashing:
        git("merge", "--abort", check=False)
        raise Busy(
            f"The branch of results and the followed branch cannot be merged. Expected no clash. Received: "
            f"{', '.join(clashing)} at {source[:10]}. Merge them by hand, in {TREE}, or delete the branch of results, "
            f"which is made anew from the followed one:\n{_deleting(children, branches)}"
        )
    git("commit", "--quiet", "--no-edit", "--message", f"Merge {source[:10]} for retraining")


def _deleting(children: Children, branches: Followed) -> str:
    """Return the commands that delete the branch of results, which is checked out in the tree, everywhere."""
    here = f"git worktree remove --force {TREE}\ngit branch -D {branches.results}"
    if not branches.remote or not _commit(children, f"{branches.remote}/{branches.results}"):
        return here
    return (
        f"{here}\ngit push {branches.remote} --delete {branches.results}\n"
        "and in other clones, after the first two where they retrain as well:\n"
        f"git fetch --prune {branches.remote}"
    )


def _commit(children: Children, ref: str) -> str:
    answer = children.git(
        "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", check=False, folder=children.project
    )
    return answer.out.strip()


def _is_ancestor(children: Children, older: str, newer: str) -> bool:
    folder = children.tree if children.tree.is_dir() and "HEAD" in (older, newer) else children.project
    return children.git("merge-base", "--is-ancestor", older, newer, check=False, folder=folder).code == 0


# --- The git remote of a retrain: what others pushed, and being first to push.

MOVED = ("[rejected]", "cannot lock ref", "incorrect old value", "failed to update ref", "already exists")
"""How git says that somebody else pushed first, before or while we did."""
LOCK_LEFT_SECONDS = 60.0
"""Git holds the lock of a branch for milliseconds."""


class RemoteMoved(Exception):
    """Somebody else pushed to the branch of results meanwhile."""


def fetch_branches(children: Children, branches: Followed) -> None:
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


def push_branch(children: Children, branches: Followed) -> None:
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
        raise RemoteMoved(said)
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
