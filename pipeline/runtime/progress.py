"""How a training goes, epoch by epoch: shown to people, kept in a file for the tracking server, and read back.

`.millrace/live/<candidate>.jsonl`: a header, one line per epoch, an end. Training writes and never waits for
a server; `pipeline.tracking.follower` reads in a process of its own. An epoch stands in the file once, however often
the training was killed and resumed. Names of metrics follow MLflow's charts: what stands before the slash becomes a
section.
"""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.runtime import paths
from pipeline.runtime.files import append_line, as_lines, lines_before_damage, write_bytes
from pipeline.runtime.processes import naming_us

if TYPE_CHECKING:
    from rich.console import Console

LIVE_DIR = paths.STATE_DIR / "live"
PRETRAIN = "pretrain_"
FOLLOWED = "MILLRACE_FOLLOWED"
"""Variable that is 0 on a machine of a cluster, which has no record: `register` fills in what ran there."""
Logs = dict[str, float]
BAR_WIDTH = 20
BESIDE_WIDTH = BAR_WIDTH + 12
"""Bar, slash, time left, and the blanks between."""
OnEpoch = Callable[[int, Logs], None]
"""Called at the end of each epoch with its number, from 1, and its metrics as Keras names them."""


def live_path(candidate: str) -> Path:
    """Return where the live log of a candidate lies."""
    return LIVE_DIR / f"{candidate}.jsonl"


class LiveLog:
    """The live log of one training.

    A file of the same inputs is continued, also a finished one: the same inputs give the same values, so it
    is the same training, whether its end was a kill before DVC noted the result or a forced repetition. A
    file of other inputs is replaced.

    Args:
        path: The file, see `live_path`.
        candidate: Name of the candidate.
        inputs_key: Digest of all inputs of the training.

    Attributes:
        live_id: Name of this training, the same for the same inputs.
    """

    def __init__(self, path: Path, candidate: str, inputs_key: str) -> None:
        lines = earlier_lines(path, inputs_key)
        if not lines:
            lines = [
                {
                    "candidate": candidate,
                    "inputs_key": inputs_key,
                    "live_id": uuid.uuid4().hex,
                    "started": _milliseconds(),
                }
            ]
        # Rewriting drops a torn last line, and the end of an earlier attempt.
        write_bytes(path, as_lines(lines))
        self._path = path
        self.live_id: str = lines[0]["live_id"]
        self._present = {_key(line["epoch"], line["metrics"]) for line in lines[1:]}

    def append(self, epoch: int, metrics: dict[str, float]) -> None:
        """Add one epoch, on disk when this returns; an epoch that is already there is not added again.

        Args:
            epoch: Counted from 1.
            metrics: Names as in Keras' logs to values.
        """
        key = _key(epoch, metrics)
        if key not in self._present:
            self._present.add(key)
            append_line(self._path, {"epoch": epoch, "metrics": metrics, "timestamp": _milliseconds()})

    def end(self, status: Literal["FINISHED", "FAILED"]) -> None:
        """Say that nothing more will come, and how it went."""
        append_line(self._path, {"end": status, "timestamp": _milliseconds()})


def earlier_lines(path: Path, inputs_key: str) -> list[dict[str, Any]]:
    """Return header and epochs of an earlier training of these inputs, or nothing."""
    lines = lines_before_damage(path)
    if not lines or lines[0].get("inputs_key") != inputs_key:
        return []
    return [lines[0], *(line for line in lines[1:] if "epoch" in line)]


def start_follower(candidate: str) -> subprocess.Popen[bytes] | None:
    """Start the process that sends the live log of a candidate to the tracking server, where that is reached from here.

    It dies with this one, and its troubles stay its own: what it prints goes to a file beside the log.
    """
    if os.environ.get(FOLLOWED) == "0":
        return None
    output_path = live_path(candidate).with_suffix(".follower.log")
    output_path.parent.mkdir(parents=True, exist_ok=True)
    with output_path.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline.tracking.follower", candidate],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=naming_us(),
        )


@dataclass(frozen=True)
class Epoch:
    """The metrics of one epoch under the names of `metric_name`.

    Attributes:
        step: Counted from 1.
        metrics: Name to value.
        timestamp: Milliseconds since 1970, or None where nobody noted it.
    """

    step: int
    metrics: dict[str, float]
    timestamp: int | None = None


@dataclass(frozen=True)
class LiveTrace:
    """What training itself wrote while it ran on this machine."""

    live_id: str
    started: int
    epochs: tuple[Epoch, ...]
    ended: int | None = None
    end_status: str = "FINISHED"


SOLVED = "solved"


def metric_name(name: str) -> str:
    """Return the name in MLflow of a metric in Keras' logs: `val_loss` is `val/loss`, `loss` is `train/loss`.

    The part before the slash makes a section of charts; the reconstruction of an autoencoder, whose logs
    begin with `pretrain_`, stays recognisable behind it.
    """
    phase = PRETRAIN if name.startswith(PRETRAIN) else ""
    rest = name.removeprefix(phase)
    return f"val/{phase}{rest.removeprefix('val_')}" if rest.startswith("val_") else f"train/{name}"


def history_epochs(history: Any) -> Iterator[Epoch]:
    """Yield the epochs of a `history.json`: a list, or lists by phase (the reconstruction of autoencoders).

    What a solver says of its solution stands beside them, and is no phase.
    """
    phases = history.items() if isinstance(history, dict) else [("", history)]
    phases = [(phase, epochs) for phase, epochs in phases if phase != SOLVED]
    for phase, epochs in phases:
        for step, logs in enumerate(epochs, start=1):
            prefix = PRETRAIN if phase == "pretrain" else ""
            yield _epoch(step, {prefix + name: value for name, value in logs.items() if name != "epoch"})


def live_trace(path: Path) -> LiveTrace | None:
    """Return what a live log holds; None if there is none."""
    lines = lines_before_damage(path)
    if not lines or "live_id" not in lines[0]:
        return None
    epochs = tuple(
        _epoch(line["epoch"], line["metrics"], line["timestamp"]) for line in lines[1:] if "epoch" in line
    )
    header, last = lines[0], lines[-1]
    ended = last["timestamp"] if "end" in last else None
    return LiveTrace(header["live_id"], header["started"], epochs, ended, last.get("end", "FINISHED"))


def same_values(epochs: Sequence[Epoch], others: Sequence[Epoch]) -> bool:
    """Return whether two histories have the same steps and agree in every metric that both know.

    Two empty ones do: a baseline that is not trained has no epochs.
    """
    left, right = _by_step(epochs), _by_step(others)
    if not left and not right:
        return True
    common = left.keys() & right.keys()
    steps = {step for step, _name in left}, {step for step, _name in right}
    return bool(common) and steps[0] == steps[1] and all(left[key] == right[key] for key in common)


@contextmanager
def epoch_progress(console: "Console", name: str, phases: dict[str, int]) -> Iterator[OnEpoch]:
    """Yield a function that shows the end of an epoch.

    Args:
        console: Where to show it.
        name: What is being trained.
        phases: Prefix of the metrics of a phase (empty, or `pretrain_`) to its number of epochs.
    """
    if not console.is_terminal:
        yield lambda epoch, logs: console.out(epoch_line(name, epoch, logs, phases), highlight=False)
        return
    from rich import progress

    columns = (
        progress.TextColumn("{task.description}"),
        progress.MofNCompleteColumn(),
        progress.BarColumn(bar_width=BAR_WIDTH),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[metrics]}"),
    )
    called = {prefix: f"{name} {prefix.rstrip('_')}".strip() for prefix in phases}
    beside = max(map(len, called.values())) + 2 * len(str(max(phases.values()))) + BESIDE_WIDTH
    with progress.Progress(*columns, console=console) as bars:
        tasks = {
            prefix: bars.add_task(called[prefix], total=epochs, metrics="")
            for prefix, epochs in phases.items()
        }

        def show(epoch: int, logs: Logs) -> None:
            fitting = _fitting(_metrics(logs), console.width - beside)
            bars.update(tasks[_phase(logs, phases)], completed=epoch, metrics=fitting)

        yield show


def _fitting(metrics: str, width: int) -> str:
    """Return as many whole metrics as fit, those on validation first: a longer line would push name and bar out."""
    parts = sorted(metrics.split(), key=lambda part: "val_" not in part)
    while parts and len(" ".join(parts)) > width:
        del parts[-1]
    return " ".join(parts)


def epoch_line(name: str, epoch: int, logs: Logs, phases: dict[str, int]) -> str:
    """Return one line of a log: name, epoch of how many, metrics."""
    return f"{name} epoch {epoch}/{phases[_phase(logs, phases)]} {_metrics(logs)}"


def _phase(logs: Logs, phases: dict[str, int]) -> str:
    """Return the longest prefix that the metrics carry."""
    first = next(iter(logs))
    return max((prefix for prefix in phases if first.startswith(prefix)), key=len)


def _metrics(logs: Logs) -> str:
    return " ".join(f"{name}={value:.4g}" for name, value in logs.items())


def _key(epoch: int, metrics: dict[str, float]) -> tuple[int, tuple[str, ...]]:
    # An autoencoder has two phases that both count from 1; the names of their metrics tell them apart.
    return epoch, tuple(sorted(metrics))


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000


def _epoch(step: int, logs: dict[str, Any], timestamp: int | None = None) -> Epoch:
    numbers = {
        metric_name(name): float(value)
        for name, value in logs.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return Epoch(step, numbers, timestamp)


def _by_step(epochs: Sequence[Epoch]) -> dict[tuple[int, str], float]:
    return {(epoch.step, name): value for epoch in epochs for name, value in epoch.metrics.items()}
