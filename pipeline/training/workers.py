"""Starts the processes that share one training, and ends them: this one is rank 0, the others are its children.

They do what rank 0 does on their own rows of each batch, read the checkpoint that it writes, and write nothing. None of
them outlives it, and it does not go on without one of them: the same command again ends in the same bytes.
"""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pipeline.inference import backend
from pipeline.inputs.train_data import TrainData, load_train_data
from pipeline.runtime.errors import Busy, ProgramFailed, UserError
from pipeline.runtime.processes import die_with_parent, naming_us
from pipeline.runtime.stage import exit_codes
from pipeline.training.ranks import Ranks, RanksDiffer

if TYPE_CHECKING:
    from pipeline.training.epochs import Traced

Train = Callable[..., Any]
"""`train_candidate`, or what does the same by several processes."""
BODY = "from pipeline.training.workers import serve; serve()"
END_SECONDS = 10.0
"""A process whose connection has ended is gone after that time, or never."""


@contextmanager
def training_with(train: Train, training_settings: Mapping[str, Any], threads: int) -> Iterator[Train]:
    """Yield a function, or the same by `training.workers` processes that end with the block.

    Args:
        train: `train_candidate`.
        training_settings: The keys of `training` in params.yaml; a family that is solved, without epochs, has one
            process.
        threads: CPU threads of each.
    """
    size = training_settings.get("workers", 1)
    if size == 1 or training_settings["epochs"] == 0:
        yield train
        return
    with Workers(train, size, threads) as workers:
        yield workers.train


@dataclass(frozen=True)
class Job:
    """What rank 0 is about to train.

    Attributes:
        train: `train_candidate`, which travels by its name.
        family: Its data are loaded from the project.
        train_rows: Index array.
        val_rows: The same; nothing but the size of it matters here.
        arguments: Of the function.
        traced: Number of the `Traced` that rank 0 uses; None where it uses none.
    """

    train: Train
    family: str
    train_rows: np.ndarray
    val_rows: np.ndarray
    arguments: Mapping[str, Any]
    traced: int | None


class Workers:
    """Processes that train together.

    Args:
        train: What all of them call.
        size: How many, this one included; 2 or more.
        threads: CPU threads of each.
    """

    def __init__(self, train: Train, size: int, threads: int) -> None:
        self._train = train
        self.size = size
        self.threads = threads
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ranks: Ranks | None = None
        self._traced: list[Traced] = []

    def __enter__(self) -> Self:
        """Start the others: they import TensorFlow while this process loads the data."""
        self._start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End them."""
        self._end()

    def train(
        self,
        family: str,
        data: TrainData,
        model_settings: Mapping[str, Any],
        training_settings: Mapping[str, Any],
        *,
        traced: "Traced | None" = None,
        on_epoch: Any = None,
        **more: Any,
    ) -> Any:
        """Do what `train_candidate` does, by all processes; arguments as there, `data` those of the project.

        Raises:
            Busy: One of the others was killed; the checkpoint is whole, and the same call goes on from it.
            UserError: One of the others failed, with its exit code; it has said why.
        """
        ranks = self._ranks or self._start()
        arguments = {"model_settings": model_settings, "training_settings": training_settings, **more}
        job = Job(self._train, family, data.train_rows, data.monitored_rows, arguments, self._number(traced))
        try:
            ranks.told(job)
            return self._train(family, data, **arguments, traced=traced, on_epoch=on_epoch, ranks=ranks)
        except BaseException as error:
            # The others stand in the middle of it.
            lost = self._cause_of_loss(ranks) if ranks.lost is not None else None
            self._end()
            if lost is None:
                raise
            raise lost from error

    def _number(self, traced: "Traced | None") -> int | None:
        if traced is None:
            return None
        known = [index for index, each in enumerate(self._traced) if each is traced]
        if not known:
            self._traced.append(traced)
        return known[0] if known else len(self._traced) - 1

    def _start(self) -> Ranks:
        ours: list[Connection] = []
        for rank in range(1, self.size):
            mine, theirs = Pipe()
            arguments = map(str, (theirs.fileno(), rank, self.size, self.threads))
            command = [sys.executable, "-c", BODY, *arguments]
            # Nothing but its own end is passed on, so that the end of a process ends its connection.
            self._processes.append(
                subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=naming_us()
                )
            )
            theirs.close()
            ours.append(mine)
        self._ranks = Ranks(0, self.size, ours)
        return self._ranks

    def _end(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        for connection in self._ranks.connections if self._ranks else ():
            connection.close()
        self._processes, self._ranks, self._traced = [], None, []

    def _cause_of_loss(self, ranks: Ranks) -> UserError:
        process = self._processes[(ranks.lost or 1) - 1]
        try:
            code = process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            code = 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        advice = " (out of memory?)" if code == -signal.SIGKILL else ""
        message = (
            f"Rank {ranks.lost} of {ranks.size} that train together {how}{advice}. Expected all of them to live until "
            "the end. Nothing is lost: run the same command again, it goes on from the last checkpoint."
        )
        if code <= 0 or code == Busy.exit_code:
            return Busy(message)
        told = f"Rank {ranks.lost} of {ranks.size} that train together {how}; it said why above."
        return ProgramFailed(told, code, "a worker failed")


def serve() -> None:
    """Be a rank other than 0 until rank 0 is gone: the body of a child.

    Its arguments: the number of its end of the connection, its rank, how many there are, CPU threads.
    """
    descriptor, rank, size, threads = map(int, sys.argv[1:])
    with exit_codes(f"training worker {rank}", recorded=False):
        die_with_parent()
        # Both reach a whole process group; rank 0 decides what becomes of the others.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ranks = Ranks(rank, size, [Connection(descriptor)])
        backend.prepare_tensorflow(threads, 0)
        try:
            _follow(ranks)
        except Exception as error:
            if ranks.lost is None and not isinstance(error, RanksDiffer):
                raise
            # Rank 0 has said what there is to say.
            raise SystemExit(Busy.exit_code) from None


def _follow(ranks: Ranks) -> None:
    """Train what rank 0 trains, on rows of one's own."""
    # Here, because they must wait for `backend.prepare_tensorflow`.
    import keras

    from pipeline.training.epochs import Traced

    loaded: dict[str, TrainData] = {}
    traced: dict[int, Traced] = {}
    while True:
        job: Job = ranks.told(None)[0]  # type: ignore[assignment]  # only rank 0 has something to say
        if job.family not in loaded:
            loaded[job.family] = load_train_data(job.family)
        mine = None if job.traced is None else traced.setdefault(job.traced, Traced())
        if mine is None or mine.model is None:
            keras.backend.clear_session()
        # The trunk is put before the head by rank 0.
        data = (loaded[job.family].frozen or loaded[job.family]).on_rows(job.train_rows, job.val_rows)
        job.train(job.family, data, **job.arguments, traced=mine, ranks=ranks)
