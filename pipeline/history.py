"""What happened in a training, epoch by epoch: from `history.json` and from the live log.

Names of metrics follow MLflow's charts: what stands before the slash becomes a section.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRETRAIN = "pretrain_"


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
    """What training itself wrote while it ran on this machine; see `pipeline.live_log`."""

    live_id: str
    started: int
    epochs: tuple[Epoch, ...]
    ended: int | None = None
    end_status: str = "FINISHED"


def metric_name(name: str) -> str:
    """Return the name in MLflow of a metric in Keras' logs: `val_loss` is `val/loss`, `loss` is `train/loss`.

    The part before the slash makes a section of charts; the reconstruction of an autoencoder, whose logs
    begin with `pretrain_`, stays recognisable behind it.
    """
    phase = PRETRAIN if name.startswith(PRETRAIN) else ""
    rest = name.removeprefix(phase)
    return f"val/{phase}{rest.removeprefix('val_')}" if rest.startswith("val_") else f"train/{name}"


def history_epochs(history: Any) -> Iterator[Epoch]:
    """Yield the epochs of a `history.json`: a list, or lists by phase (the reconstruction of autoencoders)."""
    phases = history.items() if isinstance(history, dict) else [("", history)]
    for phase, epochs in phases:
        for step, logs in enumerate(epochs, start=1):
            prefix = PRETRAIN if phase == "pretrain" else ""
            yield _epoch(step, {prefix + name: value for name, value in logs.items() if name != "epoch"})


def live_trace(path: Path) -> LiveTrace | None:
    """Return what a live log holds, up to a torn last line; None if there is none."""
    if not path.is_file():
        return None
    lines = complete_lines(path.read_bytes())
    if not lines or "live_id" not in lines[0]:
        return None
    epochs = tuple(
        _epoch(line["epoch"], line["metrics"], line["timestamp"]) for line in lines[1:] if "epoch" in line
    )
    header, last = lines[0], lines[-1]
    ended = last["timestamp"] if "end" in last else None
    return LiveTrace(header["live_id"], header["started"], epochs, ended, last.get("end", "FINISHED"))


def complete_lines(content: bytes) -> list[dict[str, Any]]:
    """Return the lines of a live log that were written to their end."""
    lines = []
    for text in content.split(b"\n")[:-1]:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


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


def _epoch(step: int, logs: dict[str, Any], timestamp: int | None = None) -> Epoch:
    numbers = {
        metric_name(name): float(value)
        for name, value in logs.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return Epoch(step, numbers, timestamp)


def _by_step(epochs: Sequence[Epoch]) -> dict[tuple[int, str], float]:
    return {(epoch.step, name): value for epoch in epochs for name, value in epoch.metrics.items()}
