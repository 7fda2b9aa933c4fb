"""Progress for people: a bar on a terminal, one line per epoch in a log."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pipeline.between_epochs import Logs, OnEpoch


@contextmanager
def epoch_progress(console: Console, name: str, phases: dict[str, int]) -> Iterator[OnEpoch]:
    """Yield a function that shows the end of an epoch.

    Args:
        console: Where to show it.
        name: What is being trained.
        phases: Prefix of the metrics of a phase (empty, or `pretrain_`) to its number of epochs.
    """
    if not console.is_terminal:
        yield lambda epoch, logs: console.out(epoch_line(name, epoch, logs, phases), highlight=False)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[metrics]}"),
    )
    with Progress(*columns, console=console) as bars:
        tasks = {
            prefix: bars.add_task(f"{name} {prefix.rstrip('_')}".strip(), total=epochs, metrics="")
            for prefix, epochs in phases.items()
        }

        def show(epoch: int, logs: Logs) -> None:
            bars.update(tasks[_phase(logs, phases)], completed=epoch, metrics=_metrics(logs))

        yield show


def epoch_line(name: str, epoch: int, logs: Logs, phases: dict[str, int]) -> str:
    """Return one line of a log: name, epoch of how many, metrics."""
    return f"{name} epoch {epoch}/{phases[_phase(logs, phases)]} {_metrics(logs)}"


def _phase(logs: Logs, phases: dict[str, int]) -> str:
    """Return the longest prefix that the metrics carry."""
    first = next(iter(logs))
    return max((prefix for prefix in phases if first.startswith(prefix)), key=len)


def _metrics(logs: Logs) -> str:
    return " ".join(f"{name}={value:.4g}" for name, value in logs.items())
