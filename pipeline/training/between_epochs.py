"""What happens between two epochs, in one order: guard, best, early stopping, report, checkpoint."""

import logging
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import numpy as np

from pipeline.runtime.progress import Logs, OnEpoch
from pipeline.runtime.stage import UserError
from pipeline.training import checkpoint
from pipeline.training.checkpoint import DamagedCheckpoint

logger = logging.getLogger(__name__)


class TrainingDiverged(UserError):
    """A loss, a metric or a weight is no longer a finite number."""

    exit_code = 65
    meaning = "training diverged"


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
        epoch: Completed epochs.
        best_epoch: The epoch, from 1, with the best `monitor` so far; 0 before the first.
        best_value: Its `monitor`.
        finished: All epochs are done, or early stopping ended it.
        history: Per epoch its number and metrics.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_value: float | None = None
    finished: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


class BetweenEpochs(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is untyped
    """The one callback: its methods in the order in which an epoch meets them."""

    def __init__(
        self, checkpoint_path: Path, epochs: int, monitor: str, patience: int, on_epoch: OnEpoch | None
    ) -> None:
        super().__init__()
        self.checkpoint_path = checkpoint_path
        self.epochs = epochs
        self.monitor = monitor
        self.patience = patience
        self.on_epoch = on_epoch
        self.progress = Progress()
        self.best_weights: list[np.ndarray] = []
        self._epoch = 0
        self._raw_weights: list[np.ndarray] = []
        self._validated_weights: list[np.ndarray] = []

    def current_epoch(self) -> int:
        """Return the running epoch, from 0; the data sets ask for it."""
        return self._epoch

    def resume(self, last_epoch: int) -> None:
        """Continue from the checkpoint; one that is of no use is refused and the training starts over.

        Args:
            last_epoch: How far this call trains; what a longer training left cannot be turned back.
        """
        if not self.checkpoint_path.is_file():
            return
        start = checkpoint.values(self.model.variables)
        try:
            self._load(last_epoch)
        except (DamagedCheckpoint, KeyError, TypeError) as error:
            logger.warning("%s The training starts over.", error)
            checkpoint.assign(self.model.variables, start, "weights")

    def _load(self, last_epoch: int) -> None:
        groups, state = checkpoint.load(self.checkpoint_path)
        progress = Progress(**state)
        if progress.epoch > last_epoch:
            raise DamagedCheckpoint(
                f"{self.checkpoint_path} is at epoch {progress.epoch}, past {last_epoch}."
            )
        checkpoint.assign(self.model.variables, groups["model"], "weights")
        checkpoint.assign(self.model.optimizer.variables, groups["optimizer"], "optimizer variables")
        self.progress, self.best_weights = progress, groups["best"]

    # Keras calls the next four methods, in this order.
    def on_epoch_begin(self, epoch: int, _logs: Logs | None = None) -> None:
        """Note the epoch, before its first batch is asked for."""
        self._epoch = epoch

    def on_test_begin(self, _logs: Logs | None = None) -> None:
        """Swap in the averaged weights, where there are any."""
        if self.model.optimizer.use_ema:
            self._raw_weights = checkpoint.values(self.model.trainable_variables)
            self.model.optimizer.finalize_variable_values(self.model.trainable_variables)

    def on_test_end(self, _logs: Logs | None = None) -> None:
        """Keep the weights that were measured, and swap the others back."""
        self._validated_weights = checkpoint.values(self.model.weights)
        if self.model.optimizer.use_ema:
            checkpoint.assign(self.model.trainable_variables, self._raw_weights, "weights")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Guard, best, early stopping, report, checkpoint."""
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        metrics["learning_rate"] = float(self.model.optimizer.learning_rate)
        variables = checkpoint.values(self.model.variables)
        _require_finite_training(epoch + 1, metrics, [*variables, *self._validated_weights])

        progress = self.progress
        progress.epoch = epoch + 1
        progress.history.append({"epoch": epoch + 1, **metrics})
        value = metrics[self.monitor]
        if progress.best_value is None or _is_better(value, progress.best_value, self.monitor):
            progress.best_epoch, progress.best_value = epoch + 1, value
            self.best_weights = self._validated_weights
        stopped_early = 0 < self.patience <= progress.epoch - progress.best_epoch
        progress.finished = stopped_early or progress.epoch == self.epochs
        self.model.stop_training = stopped_early

        # Report first: a kill between the two repeats the report, which its receiver recognises. The other
        # way round would lose it.
        if self.on_epoch is not None:
            self.on_epoch(epoch + 1, metrics)
        groups = {
            "model": variables,
            "optimizer": checkpoint.values(self.model.optimizer.variables),
            "best": self.best_weights,
        }
        checkpoint.save(self.checkpoint_path, groups, asdict(progress))

    def restore_best(self) -> None:
        """Give the model the weights of its best epoch."""
        if self.best_weights:
            checkpoint.assign(self.model.weights, self.best_weights, "best weights")


def _is_better(value: float, best: float, monitor: str) -> bool:
    return value < best if monitor.endswith("loss") else value > best


def _require_finite_training(epoch: int, metrics: Logs, arrays: list[np.ndarray]) -> None:
    """Stop a training that has diverged.

    Metrics alone do not show it: with NaN weights the accuracy counts every sample of class 0 as right.
    """
    bad = [f"{name}={value}" for name, value in metrics.items() if not math.isfinite(value)]
    broken_weights = sum(not np.isfinite(array).all() for array in arrays)
    if broken_weights:
        bad.append(f"{broken_weights} weight arrays with NaN or infinity")
    if bad:
        raise TrainingDiverged(
            f"Training diverged in epoch {epoch}. Expected finite loss, metrics and weights. Received: "
            f"{', '.join(bad)}. Lower training.learning_rate (now {metrics['learning_rate']:g}), or set "
            "training.clip_norm to 1.0."
        )
