"""Where a result comes from: commit, digests of data, parameters and environment, and whether one can go back there.

"Committed" means that the files of the commit named in the tags lead to this very result: nothing outside dvc.lock and
the reports differs from it, and its dvc.lock holds the same stages. `register` is left out of that comparison: DVC adds
it only after the stage has asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.runtime import paths
from pipeline.runtime.files import content_key, file_digest
from pipeline.runtime.repository import file_at, git, relevant_stages
from pipeline.runtime.strict_yaml import yaml_content

NOTHING = "none"
"""What a tag says where there is no git, no commit or no such file."""
REQUIREMENTS_LOCK = Path("requirements.lock")
JUDGED = "millrace.judged"
"""Tag of a version: `judged_digest` of the last state whose model it was when a decision about it was carried out."""
RESULTS = (":!dvc.lock", ":!reports")
"""Not looked at by `git.dirty`: they change with every run, and have digests of their own."""
SHOWN_CHANGES = 5
AGAIN = "then run `dvc repro` again: it will be judged anew in seconds"


@dataclass(frozen=True)
class Committed:
    """Whether the commit leads to this result.

    Attributes:
        commit: Of git, or "none".
        dirty: "true", "false", or "none" where there is no git.
        lock: Whether the commit's dvc.lock holds the present stages; "none" where there is no git.
        problems: In words, each with what to do; empty if all is committed.
    """

    commit: str
    dirty: str
    lock: str
    problems: tuple[str, ...]


def judged_digest(stages: Mapping[str, Any]) -> str:
    """Return the sha256 (hex) over what a decision about a model rests on: `reduce` is no part of it.

    Args:
        stages: See `relevant_stages`.
    """
    return content_key({name: content for name, content in stages.items() if name != "reduce"})


def committed_state(stages: Mapping[str, Any], candidates: list[str]) -> Committed:
    """Return whether git holds what made the present result.

    Args:
        stages: Of the present dvc.lock, see `relevant_stages`.
        candidates: Names in params.yaml.
    """
    commit = git("rev-parse", "--verify", "HEAD")
    if commit is None:
        problem = "There is no git commit, so there is nothing to go back to"
        return Committed(
            NOTHING, NOTHING, NOTHING, (f"{problem}: run `git init` and commit everything, {AGAIN}.",)
        )
    changes = git("status", "--porcelain", "--untracked-files=normal", "--", ".", *RESULTS)
    problems = []
    if changes is None:
        problems.append("git does not say what has changed. Run `git status` and mend what it reports.")
    elif changes:
        files = [line[3:] for line in changes.decode().rstrip().splitlines()]
        more = f" and {len(files) - SHOWN_CHANGES} more" if len(files) > SHOWN_CHANGES else ""
        listed = ", ".join(files[:SHOWN_CHANGES]) + more
        problems.append(
            f"The working tree has changes that no commit holds ({listed}): commit them, {AGAIN}."
        )
    lock = _lock_is_committed(stages, candidates)
    if not lock:
        problems.append(f"dvc.lock is not committed as it is now: commit it, {AGAIN}.")
    dirty = NOTHING if changes is None else str(bool(changes)).lower()
    return Committed(commit.decode().rstrip(), dirty, str(lock).lower(), tuple(problems))


def origin_tags(stages: Mapping[str, Any], committed: Committed) -> dict[str, str]:
    """Return commit, dirty flag and digests of what pins data, parameters and environment.

    Args:
        stages: See `relevant_stages`. Not the file dvc.lock: DVC adds `register` to it only afterwards, so
            no commit would ever hold a file of the digest taken now.
        committed: See `committed_state`.
    """
    shown = {"mlflow.source.git.commit": committed.commit} if committed.commit != NOTHING else {}
    return shown | {
        "mlflow.source.name": "dvc repro",
        "git.commit": committed.commit,
        "git.dirty": committed.dirty,
        "dvc.lock.committed": committed.lock,
        "dvc.stages.sha256": content_key(stages),
        "params.sha256": digest_or_nothing(paths.PARAMS_YAML),
        "requirements.lock.sha256": digest_or_nothing(REQUIREMENTS_LOCK),
    }


def digest_or_nothing(path: Path) -> str:
    """Return the sha256 (hex) of a file, or "none" if there is none."""
    return file_digest(path, "sha256") if path.is_file() else NOTHING


def _lock_is_committed(stages: Mapping[str, Any], candidates: list[str]) -> bool:
    content = file_at("HEAD", paths.DVC_LOCK)
    if content is None:
        return False
    return relevant_stages(yaml_content(content.decode(), "the committed dvc.lock"), candidates) == stages
