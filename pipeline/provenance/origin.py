"""Where a result comes from: commit, digests of data, parameters and environment, and whether one can go back there.

"Committed" means that the files of the commit named in the tags lead to this very result: nothing outside dvc.lock and
the reports differs from it, every file that dvc.lock names is the commit's to the byte, and its dvc.lock holds the same
stages. `register` is left out of that comparison: DVC adds it only after the stage has asked.

`git status` alone is no witness: it passes over files under skip-worktree and assume-unchanged, and over new ones that
.git/info/exclude, a person's own gitignore, or an ignored .gitignore hides.
"""

import importlib.metadata
import json
import os
import platform
import re
from collections import Counter, defaultdict
from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.provenance.processor import ONEDNN_SWITCH, processor, switches, text_of
from pipeline.runtime import paths
from pipeline.runtime.errors import StorageFailed
from pipeline.runtime.files import content_key, file_digest
from pipeline.runtime.repository import digest_at, file_at, git, git_refuses, relevant_stages
from pipeline.runtime.strict_yaml import value_at, yaml_content

# --- What about a machine changes the bits of a result, beside data, code and parameters.
#
# For tags and artifacts only: nothing here may reach an out of DVC, or two machines could not agree on one.

PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn", "pandas", "pyarrow")
KIND = {"machine": "processor", "cpu_flags": "instruction sets", "switches": "switches"}
"""The facts that make a processor another kind: with equal ones the same program gives the same bits."""


def machine_facts() -> dict[str, str]:
    """Return processors, their instruction sets that matter, switches, versions and operating system."""
    model, flags = processor(Path("/proc/cpuinfo"))
    gpus, driver = _gpus(Path("/proc/driver/nvidia"))
    return {
        "cpu": model,
        "cpu_flags": flags,
        "cpus": str(os.cpu_count()),
        "gpu_driver": driver,
        "gpus": gpus,
        "gpus_visible": os.environ.get("CUDA_VISIBLE_DEVICES", "all"),
        "libc": " ".join(platform.libc_ver()),
        "machine": platform.machine(),
        "onednn": os.environ.get(ONEDNN_SWITCH, "default"),
        "os": _os_name(),
        "python": platform.python_version(),
        "switches": " ".join(f"{name}={value}" for name, value in switches().items()),
    } | {name: _version(name) for name in PACKAGES}


def other_processor(recorded: str) -> list[str]:
    """Return a line for each fact that makes this machine's processor another kind than the recorded one.

    Args:
        recorded: What a version says of its machine, the JSON of `machine_facts`; "" where it says nothing.
    """
    before, here = json.loads(recorded or "{}"), machine_facts()
    return [
        f"Other processor kind, so other bits are possible: {what} {before[fact] or 'none'} recorded, "
        f"{here[fact] or 'none'} here."
        for fact, what in KIND.items()
        if before.get(fact, here[fact]) != here[fact]
    ]


@cache
def environment_digest() -> str:
    """Return a sha256 (hex) over name and version of every installed package."""
    # Each look at `metadata` parses a file, and what is installed stays while a process runs.
    found = (item.metadata for item in importlib.metadata.distributions())
    return content_key(
        sorted({f"{item['Name'].lower()}=={item['Version']}" for item in found if item["Name"]})
    )


def _gpus(folder: Path) -> tuple[str, str]:
    """Return the graphics processors that NVIDIA's driver knows, and its version; "none" where it tells none.

    TensorFlow would have to be imported to tell which of them it uses, and those that only it sees.
    """
    texts = [text_of(path) for path in folder.glob("gpus/*/information")]
    found = Counter(name.strip() for text in texts for name in re.findall("^Model:(.*)$", text, re.MULTILINE))
    gpus = ", ".join(f"{count} x {name}" for name, count in sorted(found.items()))
    driver = re.search(r"\d+\.\d+(\.\d+)?", text_of(folder / "version"))
    return gpus or "none", driver[0] if driver else "none"


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


# --- Where a result comes from.

NOTHING = "none"
"""What a tag says where there is no git, no commit or no such file."""
REQUIREMENTS_LOCK = Path("requirements.lock")
JUDGED = "millrace.judged"
"""Tag of a version: `judged_digest` of the last state whose model it was when a decision about it was carried out."""
RESULTS = (":!dvc.lock", ":!reports")
"""Not looked at by `git.dirty`: they change with every run, and have digests of their own."""
CODE = "pipeline"
"""The folder that stages import from."""
SHOWN_CHANGES = 5
MOST_COMMITS = 200
"""Commits that changed dvc.lock, newest first, among which the one is looked for that a model came from."""


@dataclass(frozen=True)
class Committed:
    """Whether the commit leads to this result.

    Attributes:
        commit: Of git, or "none".
        dirty: "true", "false", or "none" where there is no git.
        lock: Whether the commit's dvc.lock holds the present stages; "none" where there is no git.
        problems: In words, each with what to do, without a full stop; empty if all is committed.
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
        refusal = git_refuses()
        fix = (
            "There is no git commit, so there is nothing to go back to: run `git init` and commit everything"
        )
        return Committed(NOTHING, NOTHING, NOTHING, (refusal or fix,))
    changes = _changes()
    problems = []
    if changes is None:
        problems.append("git does not say what has changed. Run `git status` and mend what it reports")
    elif changes:
        problems.append(
            f"The working tree has changes that no commit holds ({_listed(changes)}): commit them"
        )
    # No result rests on `reduce`, which may be of an earlier run.
    made = {name: content for name, content in stages.items() if name != "reduce"}
    # What is told already is not told twice: an edit that git sees is also another file than the commit's.
    strange = (
        []
        if changes
        else [
            *_other_files(made, "HEAD"),
            *(f"{paths.PARAMS_YAML}: {key}" for key in _other_params(made, "HEAD")),
        ]
    )
    hidden = [] if changes else _hidden_changes()
    if strange or hidden:
        problems.append(
            f"The commit does not hold what was run ({_listed(sorted({*strange, *hidden}))}), and `git status` does "
            "not say so: look for `git update-index --skip-worktree` or `--assume-unchanged` (`git ls-files -v`) and "
            "for what .git/info/exclude, a .gitignore inside or your own gitignore hides (`git status --ignored`). "
            "Commit these files (`git add --force`)"
        )
    lock = _committed_stages("HEAD", candidates)
    if lock != stages:
        problems.append(f"dvc.lock is not committed as it is now{_other_bits(lock, stages)}: commit it")
    dirty = NOTHING if changes is None else str(bool(changes or strange or hidden)).lower()
    return Committed(commit.decode().rstrip(), dirty, str(lock == stages).lower(), tuple(problems))


def commit_that_holds(tags: Mapping[str, str]) -> str:
    """Return the commit (hex) whose dvc.lock, code and parameters are those of a result; "" where there is none.

    Looked for are HEAD, and the commits that changed dvc.lock since the result was registered, newest first.

    Args:
        tags: Of the result, see `origin_tags`: the digest of its stages, and the commit it was registered at, "none"
            where there was none yet.
    """
    stages_sha256, since = tags.get("dvc.stages.sha256", ""), tags.get("git.commit", NOTHING)
    earlier = [] if since == NOTHING else [f"^{since}^@"]
    listed = (
        git("rev-list", f"--max-count={MOST_COMMITS}", "HEAD", *earlier, "--", f"./{paths.DVC_LOCK}") or b""
    )
    head = git("rev-parse", "--verify", "HEAD") or b""
    for commit in dict.fromkeys([*head.decode().split(), *listed.decode().split()]):
        candidates = _committed_params(commit).get("candidates")
        stages = _committed_stages(commit, candidates) if isinstance(candidates, Mapping) else None
        if not stages or content_key(stages) != stages_sha256:
            continue
        made = {name: content for name, content in stages.items() if name != "reduce"}
        if not _other_files(made, commit) and not _other_params(made, commit):
            return commit
    return ""


def read_files(stages: Mapping[str, Any]) -> dict[str, str]:
    """Return what stages read and no stage makes, which commits must hold: path to md5, sorted.

    Of a run that ended half-way dvc.lock has stages that read a file before it changed and others that did after; the
    digests then stand side by side, which no file has.

    Args:
        stages: See `relevant_stages`.
    """
    made = [Path(out["path"]) for stage in stages.values() for out in stage.get("outs", [])]
    digests: defaultdict[str, set[str]] = defaultdict(set)
    for stage in stages.values():
        for item in stage.get("deps", []):
            digests[item["path"]].add(str(item.get("md5", "")))
    return {
        path: ", ".join(sorted(found))
        for path, found in sorted(digests.items())
        if not any(Path(path).is_relative_to(out) or out.is_relative_to(path) for out in made)
    }


def read_params(stages: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that stages read, by key; a tuple of values where one stage read another than the next.

    Args:
        stages: See `relevant_stages`.
    """
    values: defaultdict[str, list[Any]] = defaultdict(list)
    for stage in stages.values():
        for key, value in stage.get("params", {}).get(paths.PARAMS_YAML.name, {}).items():
            if value not in values[key]:
                values[key].append(value)
    return {key: found[0] if len(found) == 1 else tuple(found) for key, found in values.items()}


def _other_files(stages: Mapping[str, Any], commit: str) -> list[str]:
    """Return the files that stages read and the commit has otherwise, or not at all."""
    return [path for path, md5 in read_files(stages).items() if digest_at(commit, path) != md5]


def _other_params(stages: Mapping[str, Any], commit: str) -> list[str]:
    """Return the keys of parameters that stages read and the commit has another value of."""
    known = _committed_params(commit)
    return [key for key, value in sorted(read_params(stages).items()) if value_at(known, key, None) != value]


def _committed_params(commit: str) -> dict[str, Any]:
    content = file_at(commit, paths.PARAMS_YAML)
    return yaml_content(content.decode(), f"{paths.PARAMS_YAML} of {commit}") if content else {}


def _changes() -> list[str] | None:
    """Return the files that git says to differ from the commit, None where it does not say."""
    # Neither a file-system monitor nor a cache of untracked files is asked: both are programs of this machine.
    switches = ("-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false", "-c", "core.quotePath=false")
    changes = git(*switches, "status", "--porcelain", "--untracked-files=normal", "--", ".", *RESULTS)
    return None if changes is None else [line[3:] for line in os.fsdecode(changes).rstrip().splitlines()]


def _hidden_changes() -> list[str]:
    """Return the files that differ from the commit and that git was told to pass over.

    Code is looked for whatever any ignore file says, but compiled code, which Python checks against its source.
    """
    flagged = [
        line[2:]
        for line in _paths("ls-files", "-z", "-v", "--", ".", *RESULTS)
        if line[0] == "S" or line[0].islower()
    ]
    # A file that sparse checkout leaves out is not there to be read.
    changed = [
        path for path in flagged if Path(path).is_file() and file_at("HEAD", path) != Path(path).read_bytes()
    ]
    new = [
        path
        for path in _paths("ls-files", "-z", "--others", "--", CODE)
        if "__pycache__" not in Path(path).parts
    ]
    return changed + new


def _paths(*arguments: str) -> list[str]:
    answer = git(*arguments)
    if answer is None:
        raise StorageFailed(
            f"What git passes over is not known. Expected `git {' '.join(arguments)}` to answer. Received: an error. "
            "Run it and mend what it says."
        )
    return [os.fsdecode(line) for line in answer.split(b"\0") if line]


def _listed(files: list[str]) -> str:
    more = f" and {len(files) - SHOWN_CHANGES} more" if len(files) > SHOWN_CHANGES else ""
    return ", ".join(files[:SHOWN_CHANGES]) + more


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


def _committed_stages(commit: str, candidates: Container[str]) -> dict[str, Any] | None:
    """Return what the dvc.lock of a commit says of the present stages; None where the commit has none."""
    content = file_at(commit, paths.DVC_LOCK)
    if content is None:
        return None
    return relevant_stages(yaml_content(content.decode(), f"{paths.DVC_LOCK} of {commit}"), candidates)


def _other_bits(before: Mapping[str, Any] | None, stages: Mapping[str, Any]) -> str:
    """Return the words for the same commands on the same inputs with other results, "" where there is more to it."""
    if not before or read_files(before) != read_files(stages) or read_params(before) != read_params(stages):
        return ""
    return (
        " (the committed one has other results of the same data, code and parameters; another kind of processor gives "
        "other last bits)"
    )
