"""One training: fits a model, can be killed at any instruction, and ends in the same bytes.

`fit` lets Keras run the epochs; everything that happens between two of them is in `pipeline.training.between_epochs`.
"""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from pipeline.runtime.progress import Logs, OnEpoch
from pipeline.training.batches import BatchedData, tensorflow_dataset
from pipeline.training.between_epochs import BetweenEpochs
from pipeline.training.losses import Loss

STEPS_PER_EXECUTION = 16
"""Steps between two returns to Python: saves up to a third on small networks, nothing on large ones, and
changes no bit. An epoch whose number of steps is no multiple ends with fewer."""


@dataclass(frozen=True)
class FitResult:
    """What came of a training.

    Attributes:
        history: Per epoch: epoch (from 1), loss, val_loss, learning_rate; classifiers also accuracy and
            val_accuracy.
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
    val: BatchedData,
    *,
    optimizer: keras.optimizers.Optimizer,
    epochs: int,
    checkpoint_path: Path,
    monitor: str = "val_loss",
    early_stopping_patience: int = 0,
    on_epoch: OnEpoch | None = None,
    stop_after: int | None = None,
) -> FitResult:
    """Train a model, or continue where the checkpoint ends, and leave it with the weights of its best epoch.

    Args:
        model: A built model; its weights count as the start only if there is no checkpoint.
        loss: See `pipeline.training.losses`.
        train: Batches to learn from.
        val: Batches that choose the best epoch; measured with averaged weights where the optimizer has them.
        optimizer: New; its schedule spans all `epochs`.
        epochs: Largest number of passes over `train`.
        checkpoint_path: Written after each epoch. One file per training and its inputs.
        monitor: val_loss (lower is better) or val_accuracy (higher is better).
        early_stopping_patience: Epochs without a better `monitor` before it ends, 0 for never.
        on_epoch: Called before the checkpoint of each epoch, so that it may see one epoch again after a kill.
        stop_after: Return after so many epochs in all, with the checkpoint kept; a later call continues to
            the bytes of an uninterrupted training.

    Raises:
        TrainingDiverged: A loss, metric or weight is not finite.
        OSError: The checkpoint could not be written.
    """
    optimizer.build(model.trainable_variables)
    model.compile(
        optimizer=optimizer,
        loss=loss,
        metrics=_metrics(model, train),
        # Off by name: op determinism drops XLA without a word, and "auto" may change with the version.
        jit_compile=False,
        steps_per_execution=STEPS_PER_EXECUTION,
    )
    between = BetweenEpochs(checkpoint_path, epochs, monitor, early_stopping_patience, on_epoch)
    between.set_model(model)
    last_epoch = min(epochs, stop_after or epochs)
    between.resume(last_epoch)
    progress = between.progress
    if not progress.finished and progress.epoch < last_epoch:
        model.fit(
            tensorflow_dataset(train, between.current_epoch),
            validation_data=tensorflow_dataset(val, lambda: 0),
            initial_epoch=progress.epoch,
            epochs=last_epoch,
            callbacks=[between],
            shuffle=False,
            verbose=0,
        )
    between.restore_best()
    # What follows predicts or saves; the optimizer stays in the checkpoint, and out of the `.keras` file.
    model.optimizer, model.compiled = None, False
    best_logs = progress.history[progress.best_epoch - 1]
    return FitResult(progress.history, progress.best_epoch, best_logs, progress.finished)


def _metrics(model: keras.Model, train: BatchedData) -> list[keras.metrics.Metric]:
    """Return the accuracy where targets are class indices, and nothing where they are numbers."""
    if train.reconstruct or train.targets is None or not np.issubdtype(train.targets.dtype, np.integer):
        return []
    if model.output_shape[-1] == 1:
        return [keras.metrics.BinaryAccuracy(name="accuracy")]
    return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
