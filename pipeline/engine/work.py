"""The agreement between who has work and what does it: jobs by value, results as they come, nothing left behind.

An engine starts workers. A worker is opened once (imports, data), because that costs more than many a job, and must
forget one job before the next; that is the duty of the function it runs. Where it runs moves no result: a job knows
nothing but what it is given, and the files in its folder.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

HERE = Path()
Do = Callable[[Any, Any], Any]
"""Does one job: gets what it is given and the folder of its files; returns what its `Ended` holds."""
Opener = Callable[[], Do]
"""Called once in a worker, in the project's root; gives the function that does one job. Must be picklable."""


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Attributes:
        name: What messages call it, "Trial 2".
        given: By value: picklable.
        folder: Its files, which a crash does not lose; None where it has none. On another machine they go there and
            come back, at the end and while it runs: always all of them, as they were at one moment.
        seconds: CPU time that all its threads may take.
        limit: What sets that, for messages: "tune.trial_limit_seconds".
        on_files: Called here each time they have come back from there.
    """

    name: str
    given: Any
    folder: Path | None = None
    seconds: float = math.inf
    limit: str = ""
    on_files: Callable[[], None] | None = None


@dataclass(frozen=True)
class Ended:
    """How a job ended.

    Attributes:
        value: What its function returned, None where it did not.
        error: Why not, in words that are the same each time; "" where all went well.
        seconds: CPU time that it took.
        at_limit: It was stopped at its limit.
        exit_code: What the error stands for (docs/guides/exit-codes.md): 74 of a process that was killed.
    """

    value: Any = None
    error: str = ""
    seconds: float = 0.0
    at_limit: bool = False
    exit_code: int = 70


class Workers(Protocol):
    """Do jobs side by side; leaving the block stops what still runs."""

    def __enter__(self) -> Self:
        """Start nothing yet."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Stop everything."""

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Ended]]:
        """Yield the place of each job in `jobs` and how it ended, as soon as it has.

        An exception of its function is the job's failure, except trouble with files: a full disk says nothing about a
        job and stops them all. A crash is tried once more with the files that it left, and so is a lost machine with
        those that had come back.

        Raises:
            RuntimeError: A worker could not start; that is no job's fault.
            StorageFailed: A worker could not read or write a file.
            Busy: A job took far longer by the clock than its CPU time explains.
            ServiceDown: The cluster is gone.
        """


class Machine(NamedTuple):
    """What a machine answers.

    Attributes:
        name: Its address and the start of its id; "here" is this one.
        cores: That jobs may take.
        answer: Of the function that was asked.
    """

    name: str
    cores: float
    answer: Any


class Engine(Protocol):
    """Starts workers.

    Attributes:
        address: As the user wrote it: "local", or "ray://host:port".
    """

    address: str

    def workers(
        self,
        opener: Opener,
        *,
        num_workers: int,
        cores: int = 1,
        root: Path = HERE,
        needs: Sequence[Path] = (),
    ) -> Workers:
        """Return workers.

        Args:
            opener: What each calls first.
            num_workers: How many work side by side on this machine; a cluster takes as many as it has cores for.
            cores: That one job takes.
            root: Folder of what it reads, its working directory on another machine.
            needs: Files and folders in it that it reads.
        """

    def everywhere(self, ask: Callable[[str], Any], given: str) -> list[Machine]:
        """Return what a function of a module answers on each machine."""
