"""`millrace repro`: `dvc repro` with the stages of several candidates side by side, to the same dvc.lock.

DVC runs one stage after the other, but lets go of its lock while one computes. So each candidate is a job of its own,
`dvc repro -s train@x tune@x folds@x`; what comes before and after is DVC's as ever.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.engine.chosen import VARIABLE, chosen_engine, engine_at
from pipeline.engine.local import Local, LocalWorkers
from pipeline.engine.stage import ON
from pipeline.engine.work import Do, Job
from pipeline.params.load import load_params
from pipeline.params.values import Params, training_of, tune_of, workers_of
from pipeline.runtime import paths
from pipeline.runtime.errors import ProgramFailed, StorageFailed, UserError, WronglyCalled, say
from pipeline.runtime.files import folder_bytes, read_json
from pipeline.runtime.processes import end_with_parent
from pipeline.runtime.repository import mend
from pipeline.runtime.strict_yaml import read_yaml

HELP = "`dvc repro`, with several candidates side by side"
RECORDED = False
"""The stages themselves write down how they ended."""
ENDED = re.compile(r"millrace: (\S+) stopped with exit code (\d+) \((.+)\)")
PROCESS_BYTES = 1 << 30
"""What a process with TensorFlow takes, beside the data."""
MEMORY = (
    (Path("/proc/meminfo"), re.compile(r"MemAvailable:\s+(\d+) kB"), 1024),
    (Path("/sys/fs/cgroup/memory.max"), re.compile(r"(\d+)"), 1),
)
"""Where Linux says what is free, and what a container may take: file, number, bytes per unit."""


class Failure(NamedTuple):
    """How a stage failed, or dvc itself."""

    stage: str
    exit_code: int
    meaning: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    text = "candidates at a time (without N: as many as there are cores, `threads` each, and memory for); default: 1"
    parser.add_argument("--parallel", type=_count, nargs="?", const=0, metavar="N", help=text)
    text = "a Ray cluster for train, folds and the trials of tune; N (default: all) candidates at a time wait for it"
    parser.add_argument("--on", default="", metavar="ray://HOST:PORT", help=text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 or more; received {text!r}")
    return int(text)


def run(options: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        ProgramFailed: A stage failed; those of other candidates were run to their end.
        WronglyCalled: There is no memory for so many.
    """
    for line in mend():
        say(line)
    params = load_params()
    if options.on:
        engine_at(options.on, "--on")
        os.environ.update({ON: options.on, VARIABLE: options.on})
    stages = read_yaml(paths.DVC_YAML)["stages"]
    per_candidate = [name for name, stage in stages.items() if "foreach" in stage]
    first = list(stages).index(per_candidate[0])
    if options.parallel in {None, 1} and not options.on:
        _require(_dvc("dvc", []))
        return
    before = _locked()
    _require(_dvc("dvc", list(stages)[:first]))
    if options.on:
        num_workers = options.parallel or len(params.candidates)
    else:
        working, idle = processes(params)
        num_workers = options.parallel or room(params.threads, working, idle)
        _require_memory(num_workers, working + idle)
    chains = {name: [f"{stage}@{name}" for stage in per_candidate] for name in params.candidates}
    waiting = _waiting(chains)
    if waiting:
        say(f"repro: {', '.join(waiting)}, {num_workers} at a time")
    try:
        if waiting:
            side_by_side(waiting, num_workers)
        _require(_dvc("dvc", []))
    except UserError:
        if paths.DVC_LOCK.is_file():
            put_in_order(before)
        raise
    put_in_order(before)


def side_by_side(chains: Mapping[str, Sequence[str]], num_workers: int) -> None:
    """Run the stages of each candidate one after the other, and candidates side by side.

    Args:
        chains: Candidate to its stages.
        num_workers: Candidates at a time.

    Raises:
        ProgramFailed: One failed, after the others have come to their end.
    """
    # A training has no limit, and a process that is killed is tried once more from its checkpoint.
    jobs = [Job(name, stages) for name, stages in chains.items()]
    failures = []
    with LocalWorkers(_open, num_workers=num_workers) as workers:
        for place, ended in workers.run(jobs):
            if ended.error:
                raise StorageFailed(
                    f"{jobs[place].name}: {ended.error}. Run the same command again; it goes on."
                )
            failures += [ended.value] if ended.value else []
    for failure in failures:
        _require(failure)


def _waiting(chains: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """Return the candidates of which a stage is not up to date."""
    from dvc.repo import Repo

    with Repo(".", _wait_for_lock=True) as repo:
        changed = repo.status([stage for stages in chains.values() for stage in stages])
    return {name: stages for name, stages in chains.items() if any(stage in changed for stage in stages)}


def _open() -> Do:
    """Return what runs the stages of a candidate, in their order, until one fails; the body of a worker."""
    return lambda stages, _folder: _dvc(stages[0].partition("@")[2], ["-s", *stages])


def _dvc(called: str, arguments: Sequence[str]) -> Failure | None:
    """Run `dvc repro`, each line after a name but for "dvc", and return how it failed, None if it did not."""
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", *arguments]
    alone, told = called == "dvc", _told_at()
    process = subprocess.Popen(
        command,
        stdout=None if alone else subprocess.PIPE,
        stderr=None if alone else subprocess.STDOUT,
        text=True,
        preexec_fn=end_with_parent,  # noqa: PLW1509  # one thread only
    )
    failure = Failure(called, 74, "dvc failed")
    for line in process.stdout or ():
        say(f"{called}: {line.rstrip()}")
        if found := ENDED.search(line):
            failure = Failure(found[1], int(found[2]), found[3])
    if not process.wait():
        return None
    if not alone:
        return failure
    # What a stage of before has said is no cause of today.
    return _recorded() if _told_at() not in (0, told) else Failure("dvc", 74, "dvc failed, see above")


def _told_at() -> int:
    """Return when a stage last said how it ended (nanoseconds since 1970), 0 for never."""
    status = paths.STATE_DIR / "status.json"
    return status.stat().st_mtime_ns if status.is_file() else 0


def _recorded() -> Failure:
    """Return how the stage that ran last failed, by its own word; of what failed in DVC itself nobody noted a code."""
    told = read_json(paths.STATE_DIR / "status.json")
    code = told.get("exit_code", 0)
    return Failure(told["stage"], code, "see above") if code else Failure("dvc", 74, "dvc failed, see above")


def _require(failure: Failure | None) -> None:
    if failure is not None:
        raise ProgramFailed(
            f"{failure.stage} failed; its message stands above. Mend what it names, and run the same command again.",
            failure.exit_code,
            failure.meaning,
        )


# --- How many fit.


def processes(params: Params) -> tuple[int, int]:
    """Return how many processes of a candidate work at a time, at most, and how many hold the data and wait for them.

    Args:
        params: Of the project; on this machine a search has `tune.workers` trials at a time.
    """
    here = chosen_engine().address == Local.address
    counts = []
    for name, candidate in params.candidates.items():
        training = workers_of(training_of(params, name))
        searched = here and bool(candidate.tune.space) and tune_of(params, name).trials > 0
        counts.append((training * (params.tune.workers if searched else 1), int(searched)))
    return max(working for working, _ in counts), max(waiting for _, waiting in counts)


def room(threads: int, working: int = 1, waiting: int = 0) -> int:
    """Return how many candidates this machine has cores and memory for, at least one.

    Args:
        threads: CPU threads of a process.
        working: Processes of one candidate that work at a time.
        waiting: Those that only take memory.
    """
    cores = len(os.sched_getaffinity(0)) // (threads * working)
    return max(1, min(cores, free_bytes() // ((working + waiting) * bytes_each())))


def _require_memory(num_workers: int, processes: int) -> None:
    each = processes * bytes_each()
    if num_workers > 1 and num_workers * each > free_bytes():
        raise WronglyCalled(
            f"Memory would run out. Expected {each / 2**30:.1f} GiB for each of --parallel {num_workers}. "
            f"Received: {free_bytes() / 2**30:.1f} GiB free. Take fewer, or end other programs."
        )


def bytes_each() -> int:
    """Return what a process that trains takes in memory, roughly: itself, and all that it reads once."""
    return PROCESS_BYTES + sum(map(folder_bytes, (paths.FEATURES_STATE.parent, paths.PAYLOAD_NPY)))


def free_bytes() -> int:
    """Return how much memory is free, by Linux's word and the container's limit."""
    told = [
        int(found[1]) * unit
        for path, number, unit in MEMORY
        if path.is_file() and (found := number.search(path.read_text(encoding="utf-8")))
    ]
    return min(told, default=1 << 62)


# --- The same dvc.lock.


def put_in_order(before: Sequence[str]) -> None:
    """Order the stages that are new in dvc.lock as one `dvc repro` would have run them; DVC adds them as they end.

    Args:
        before: The stages that were there, in their order, which DVC keeps.
    """
    from dvc.dvcfile import PROJECT_FILE
    from dvc.repo import Repo
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro
    from dvc.utils.serialize import modify_yaml

    with Repo(".", _wait_for_lock=True) as repo, repo.lock:
        planned = plan_repro(get_active_graph(repo.index.graph), collect_stages(repo, [PROJECT_FILE]))
        with modify_yaml(str(paths.DVC_LOCK)) as lock:
            new = [stage.addressing for stage in planned if stage.addressing not in before]
            lock["stages"] = {
                name: lock["stages"][name] for name in [*before, *new] if name in lock["stages"]
            }


def _locked() -> list[str]:
    return list(read_yaml(paths.DVC_LOCK)["stages"]) if paths.DVC_LOCK.is_file() else []
