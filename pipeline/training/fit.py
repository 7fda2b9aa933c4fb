"""One training: fits a model, can be killed at any instruction, and ends in the same bytes.

`pipeline.training.epochs` runs the epochs; everything that happens between two of them is here. It is long, because
what a checkpoint holds, when it is written, and who waits for it must be read together.
"""

import hashlib
import io
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from pipeline.runtime.errors import UserError
from pipeline.runtime.files import atomic_path
from pipeline.runtime.progress import Logs, OnEpoch
from pipeline.training.batches import BatchedData
from pipeline.training.epochs import Traced, fit_epochs
from pipeline.training.fused_normalization import fuse_normalization
from pipeline.training.fused_recurrence import fuse_recurrence
from pipeline.training.losses import Loss
from pipeline.training.monitor import lower_is_better

if TYPE_CHECKING:
    from pipeline.training.ranks import Ranks

# --- The state of a training as one file that is whole, verified and old, or whole, verified and new.
#
# Keras' own backup leaves out the state of dropout's random generators, loads weights with flipped bits
# without a word, and destroys the good file when the disk is full. Here everything that decides the next step
# is in one file: every variable of the layers (random generators too) and of the optimizer, the epoch, the
# best weights and the history. It is written beside, synced, renamed, and carries a sha256 that is checked on
# load.

MAGIC = b"millrace checkpoint 1\n"
DIGEST_BYTES = 32
Groups = Mapping[str, Sequence[np.ndarray]]
"""Named lists of arrays, `{"model": [...], "optimizer": [...]}`."""


class DamagedCheckpoint(Exception):
    """The file is not a checkpoint as it was written, or belongs to another model."""


def save_checkpoint(path: Path, groups: Groups, state: dict[str, Any]) -> None:
    """Write a checkpoint, all or nothing; on failure (full disk) the former one stays.

    Args:
        path: The file.
        groups: Arrays by group.
        state: Anything JSON can say.

    Raises:
        OSError: The file could not be written.
    """
    arrays = {
        f"{name}/{index:05d}": array for name, group in groups.items() for index, array in enumerate(group)
    }
    counts = {name: len(group) for name, group in groups.items()}
    text = json.dumps({"counts": counts, "state": state}, sort_keys=True, allow_nan=False)
    buffer = io.BytesIO()
    np.savez(buffer, state=np.frombuffer(text.encode(), np.uint8), **arrays)  # type: ignore[arg-type]
    payload = buffer.getvalue()
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(MAGIC + hashlib.sha256(payload).digest())
        file.write(payload)


def load(path: Path) -> tuple[dict[str, list[np.ndarray]], dict[str, Any]]:
    """Return the groups and the state of a checkpoint.

    Raises:
        DamagedCheckpoint: Its bytes are not those that were written.
        FileNotFoundError: There is none.
    """
    content = path.read_bytes()
    head = len(MAGIC) + DIGEST_BYTES
    payload = content[head:]
    if content[:head] != MAGIC + hashlib.sha256(payload).digest():
        raise DamagedCheckpoint(
            f"{path} is damaged. Expected the sha256 written at its start. Received: {len(content)} bytes "
            "with another digest. It is left aside."
        )
    with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
        header = json.loads(archive["state"].tobytes())
        groups = {
            name: [archive[f"{name}/{index:05d}"] for index in range(count)]
            for name, count in header["counts"].items()
        }
    return groups, header["state"]


def values(variables: Sequence[Any]) -> list[np.ndarray]:
    """Return copies of the values of Keras variables."""
    # Through TensorFlow's own variable: Keras' way to an array takes ten times as long.
    return [variable.value.numpy() for variable in variables]


def assign(variables: Sequence[Any], arrays: Sequence[np.ndarray], what: str) -> None:
    """Give Keras variables the values of a checkpoint, all or none.

    Args:
        variables: Where the values go.
        arrays: One per variable.
        what: What the values are, for the message.

    Raises:
        DamagedCheckpoint: Number, shapes or types differ; nothing was assigned.
    """
    wanted = [(tuple(variable.shape), str(np.dtype(variable.dtype))) for variable in variables]
    given = [(array.shape, str(array.dtype)) for array in arrays]
    if wanted != given:
        different = sum(pair[0] != pair[1] for pair in zip(wanted, given, strict=False))
        raise DamagedCheckpoint(
            f"The {what} of the checkpoint belong to another model. Expected {len(wanted)} arrays. Received: "
            f"{len(given)} arrays, {different} of them with another shape or type. It is left aside."
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


# --- What happens between two epochs, in one order: guard, best, early stopping, report, checkpoint.

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
    """The one callback: its methods in the order in which an epoch meets them; the last is best without a monitor."""

    def __init__(
        self,
        checkpoint_path: Path,
        epochs: int,
        monitor: str,
        patience: int,
        *,
        on_epoch: OnEpoch | None,
        score: Callable[[], float] | None,
        checkpoint_seconds: float = 0.0,
        last_epoch: int = 0,
        ranks: "Ranks | None" = None,
    ) -> None:
        super().__init__()
        self.checkpoint_path = checkpoint_path
        self.epochs = epochs
        self.monitor = monitor
        self.patience = patience
        self.on_epoch = on_epoch
        self.score = score
        self.checkpoint_seconds = checkpoint_seconds
        self.last_epoch = last_epoch
        self.ranks = ranks
        self.progress = Progress()
        self.best_weights: list[np.ndarray] = []
        self._epoch = 0
        self._settled = -1
        self._raw_weights: list[np.ndarray] = []
        self._validated_weights: list[np.ndarray] = []
        self._score: float | None = None
        self._saved_at = time.monotonic()

    def resume(self, last_epoch: int) -> None:
        """Continue from the checkpoint; one that is of no use is refused and the training starts over.

        Args:
            last_epoch: How far this call trains; what a longer training left cannot be turned back.
        """
        if self.checkpoint_path.is_file():
            start = values(self.model.variables)
            try:
                self.load(last_epoch)
            except (DamagedCheckpoint, KeyError, TypeError) as error:
                logger.warning("%s The training starts over.", error)
                assign(self.model.variables, start, "weights")
        if self.ranks is not None:
            self.ranks.begin_alike(self.model, self.progress.epoch, str(self.checkpoint_path.parent))

    def load(self, last_epoch: int) -> None:
        """Take everything from the checkpoint, or nothing.

        Raises:
            DamagedCheckpoint: It is of no use.
            FileNotFoundError: There is none.
        """
        groups, state = load(self.checkpoint_path)
        progress = Progress(**state)
        if progress.epoch > last_epoch:
            raise DamagedCheckpoint(
                f"{self.checkpoint_path} is at epoch {progress.epoch}, past {last_epoch}."
            )
        assign(self.model.variables, groups["model"], "weights")
        assign(self.model.optimizer.variables, groups["optimizer"], "optimizer variables")
        self.progress, self.best_weights = progress, groups["best"]

    # `fit_epochs` calls the next four methods, in this order.
    def on_epoch_begin(self, epoch: int, _logs: Logs | None = None) -> None:
        """Note the epoch, before its first batch is asked for."""
        self._epoch = epoch

    def on_test_begin(self, _logs: Logs | None = None) -> None:
        """Swap in the averaged weights, where there are any."""
        self._settle()
        if self.model.optimizer.use_ema:
            self._raw_weights = values(self.model.trainable_variables)
            self.model.optimizer.finalize_variable_values(self.model.trainable_variables)

    def on_test_end(self, _logs: Logs | None = None) -> None:
        """Keep the weights that were measured, with their score by another metric, and swap the others back."""
        if self.score is not None:
            self._score = self.score()
        self._validated_weights = values(self.model.weights)
        if self.model.optimizer.use_ema:
            assign(self.model.trainable_variables, self._raw_weights, "weights")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Guard, best, early stopping, report, checkpoint; by rank 0, which the others wait for."""
        self._settle()
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        if self.ranks is not None:
            metrics = self.ranks.mean_logs(metrics)
            if self.ranks.rank:
                self.model.stop_training = self.ranks.told(None)[0]
                return
        if self._score is not None:
            metrics[self.monitor] = self._score
        metrics["learning_rate"] = float(self.model.optimizer.learning_rate)
        due = epoch + 1 in (self.epochs, self.last_epoch) or self._is_due()
        # Where no epoch is chosen, weights are looked at with a checkpoint: what is not finite stays so.
        variables = values(self.model.variables) if due or self.monitor else []
        _require_finite_training(epoch + 1, metrics, [*variables, *self._validated_weights])

        progress = self.progress
        progress.epoch = epoch + 1
        progress.history.append({"epoch": epoch + 1, **metrics})
        if not self.monitor:
            progress.best_epoch = epoch + 1
            self.best_weights = self._averaged() if due else []
        elif progress.best_value is None or _is_better(
            metrics[self.monitor], progress.best_value, self.monitor
        ):
            progress.best_epoch, progress.best_value = epoch + 1, metrics[self.monitor]
            self.best_weights = self._validated_weights
        stopped_early = 0 < self.patience <= progress.epoch - progress.best_epoch
        progress.finished = stopped_early or progress.epoch == self.epochs
        self.model.stop_training = stopped_early

        # Report first: a kill between the two repeats the report, which its receiver recognises. The other
        # way round would lose it.
        if self.on_epoch is not None:
            self.on_epoch(epoch + 1, metrics)
        if due or progress.finished:
            self._save(variables)
        if self.ranks is not None:
            self.ranks.told(stopped_early)

    def _settle(self) -> None:
        """Let the ranks agree once an epoch: before it is validated, or before it ends where nothing is."""
        if self.ranks is not None and self._settled != self._epoch:
            self._settled = self._epoch
            self.ranks.settle(self.model)

    def _is_due(self) -> bool:
        return time.monotonic() - self._saved_at >= self.checkpoint_seconds

    def _save(self, variables: list[np.ndarray]) -> None:
        groups = {
            "model": variables,
            "optimizer": values(self.model.optimizer.variables),
            "best": self.best_weights,
        }
        save_checkpoint(self.checkpoint_path, groups, asdict(self.progress))
        self._saved_at = time.monotonic()

    def _averaged(self) -> list[np.ndarray]:
        """Return the present weights, averaged ones where the optimizer has them."""
        self.on_test_begin()
        self.on_test_end()
        return self._validated_weights

    def restore_best(self) -> None:
        """Give the model the weights of its best epoch."""
        if self.best_weights:
            assign(self.model.weights, self.best_weights, "best weights")


def _is_better(value: float, best: float, monitor: str) -> bool:
    return value < best if lower_is_better(monitor) else value > best


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


# --- One training.

MEASURED = ("val_loss", "val_accuracy")
"""What Keras measures on validation while it trains."""


@dataclass(frozen=True)
class Length:
    """How long a training without validation lasts: so many steps as trainings with one found best.

    Attributes:
        steps: Batches in all; the nearest whole number of epochs is trained, at least one.
        steps_per_epoch: Of the trainings that found it. Decays count in their epochs, so that the learning rate of each
            step is the one it had there. A cosine ends with this training: where it is cut off in the middle the last
            weights still jump about (on the digits the cnn then lost what more rows gave it, see docs/log.md).
        pretrain_steps: The same as `steps` of a reconstruction before; 0 where there is none.
    """

    steps: int
    steps_per_epoch: int
    pretrain_steps: int = 0

    def epochs(self, num_batches: int) -> int:
        """Return as how many epochs of so many batches `steps` are trained."""
        return max(1, round(self.steps / num_batches))


@dataclass(frozen=True)
class FitResult:
    """What came of a training.

    Attributes:
        history: Per epoch: epoch (from 1), loss, val_loss, learning_rate; classifiers also accuracy and
            val_accuracy. Without validation those of train alone.
        best_epoch: The epoch whose weights the model carries; 0 if nothing was trained.
        best_logs: The metrics of that epoch.
        finished: False if `stop_after` interrupted it.
    """

    history: list[Logs]
    best_epoch: int
    best_logs: Logs
    finished: bool


def fit(
    model: keras.Model,
    loss: Loss,
    train: BatchedData,
    val: BatchedData | None,
    *,
    optimizer: keras.optimizers.Optimizer,
    epochs: int,
    checkpoint_path: Path,
    monitor: str = "val_loss",
    score: Callable[[], float] | None = None,
    early_stopping_patience: int = 0,
    on_epoch: OnEpoch | None = None,
    stop_after: int | None = None,
    checkpoint_seconds: float = 0.0,
    traced: Traced | None = None,
    ranks: "Ranks | None" = None,
) -> FitResult:
    """Train a model, or continue where the checkpoint ends, and leave it with the weights of its best epoch.

    Args:
        model: A built model; its weights count as the start only if there is no checkpoint.
        loss: See `pipeline.training.losses`.
        train: Batches to learn from.
        val: Batches that choose the best epoch; measured with averaged weights where the optimizer has them. None: no
            epoch is chosen, the model ends with the (averaged) weights of the last step.
        optimizer: New; its schedule spans all `epochs`.
        epochs: Largest number of passes over `train`.
        checkpoint_path: Written after each epoch. One file per training and its inputs.
        monitor: Lower is better where its name ends in loss or error.
        score: What measures the model by `monitor`, where that is none of `MEASURED`.
        early_stopping_patience: Epochs without a better `monitor` before it ends, 0 for never.
        on_epoch: Called before the checkpoint of each epoch, so that it may see one epoch again after a kill.
        stop_after: Return after so many epochs in all, with the checkpoint kept; a later call continues to
            the bytes of an uninterrupted training.
        checkpoint_seconds: At least so long between two checkpoints, but for the last one; 0 for one after each epoch.
        traced: What an earlier training with the same model, loss, optimizer and number of batches left: `model` and
            `optimizer` are its own, as they began; filled where it is new.
        ranks: The processes that share this training, each with its rows of `train`; `val` is rank 0's alone, as are
            `score` and the checkpoint. None: this one process.

    Raises:
        TrainingDiverged: A loss, metric or weight is not finite.
        OSError: The checkpoint could not be written.
    """
    if traced is not None and traced.optimizer is not None:
        model.optimizer, model.compiled = optimizer, True
    else:
        _compile(model, loss, train, optimizer)
        if traced is not None:
            traced.model, traced.optimizer = model, optimizer
            traced.start = values([*model.variables, *optimizer.variables])
    followed, patience = (monitor, early_stopping_patience) if val else ("", 0)
    last_epoch = min(epochs, stop_after or epochs)
    between = BetweenEpochs(
        checkpoint_path,
        epochs,
        followed,
        patience,
        on_epoch=on_epoch,
        score=score,
        checkpoint_seconds=checkpoint_seconds,
        last_epoch=last_epoch,
        ranks=ranks,
    )
    between.set_model(model)
    between.resume(last_epoch)
    progress = between.progress
    open_ended = not progress.finished and progress.epoch < last_epoch
    follows = ranks is not None and ranks.rank > 0
    if open_ended:
        fit_epochs(
            model,
            train,
            None if follows else val,
            callback=between,
            initial_epoch=progress.epoch,
            epochs=last_epoch,
            loops=traced.loops if traced is not None else {},
        )
    if open_ended and follows:
        # What was best is known to rank 0 alone, and what is trained next may begin with it.
        between.load(last_epoch)
        progress = between.progress
    if open_ended and ranks is not None:
        # Until all have read it: what called us may remove the checkpoint.
        ranks.told(None)
    between.restore_best()
    # What follows predicts or saves; the optimizer stays in the checkpoint, and out of the `.keras` file.
    model.optimizer, model.compiled = None, False
    best_logs = progress.history[progress.best_epoch - 1]
    return FitResult(progress.history, progress.best_epoch, best_logs, progress.finished)


def _compile(
    model: keras.Model, loss: Loss, train: BatchedData, optimizer: keras.optimizers.Optimizer
) -> None:
    fuse_normalization(model)
    fuse_recurrence(model)
    optimizer.build(model.trainable_variables)
    model.compile(
        optimizer=optimizer,
        loss=loss,
        metrics=_metrics(model, train),
        # Off by name: op determinism drops XLA without a word, and "auto" may change with the version.
        jit_compile=False,
    )


def _metrics(model: keras.Model, train: BatchedData) -> list[keras.metrics.Metric]:
    """Return the accuracy where targets are class indices, and nothing where they are numbers or several labels."""
    if train.reconstruct or train.targets is None or train.targets.ndim != 1:
        return []
    if not np.issubdtype(train.targets.dtype, np.integer):
        return []
    if model.output_shape[-1] == 1:
        return [keras.metrics.BinaryAccuracy(name="accuracy")]
    return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
