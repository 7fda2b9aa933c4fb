"""One training: fits a model, can be killed at any instruction, and ends in the same bytes.

`fit` lets Keras run the epochs; everything that happens between two of them is in `pipeline.between_epochs`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.between_epochs import BetweenEpochs
from pipeline.datasets import (
    Arrays,
    BatchedData,
    Inputs,
    reconstruction_targets,
    require_finite,
    take,
    tensorflow_dataset,
)
from pipeline.live_log import Logs, OnEpoch
from pipeline.losses import Loss
from pipeline.specs import PAD, OutputSpec

STEPS_PER_EXECUTION = 16
"""Steps between two returns to Python: saves up to a third on small networks, nothing on large ones, and
changes no bit. An epoch whose number of steps is no multiple ends with fewer."""
PREDICT_BATCH_SIZE = 512


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
        loss: See `pipeline.losses`.
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


def answers(
    model: keras.Model,
    inputs: Inputs,
    rows: np.ndarray,
    training_settings: Mapping[str, Any],
    output_spec: OutputSpec | None = None,
) -> np.ndarray:
    """Return the answers of a candidate in the units of the data; mirrored images count where settings say so.

    Args:
        model: Of a candidate.
        inputs: All samples.
        rows: Index array.
        training_settings: The keys of `training` in params.yaml.
        output_spec: What is asked; None for probabilities as they come.

    Returns:
        float32. Classification: probabilities (len(rows), num_classes), two columns also for one sigmoid.
        Regression (len(rows), num_targets), forecasting (len(rows), horizon, num_targets). Anomaly: mean
        squared error of the reconstruction per sample, (len(rows),).
    """
    if output_spec is not None and output_spec.task == "anomaly":
        return reconstruction_errors(model, inputs, rows)
    flip = bool(training_settings["test_time_flip"]) and isinstance(inputs, np.ndarray) and inputs.ndim == 4
    predictions = predict(model, inputs, rows, test_time_flip=flip)
    if output_spec is None or output_spec.task == "classification":
        if predictions.shape[1] == 1:
            return np.concatenate([1 - predictions, predictions], axis=1)
        return predictions
    scale = np.asarray(output_spec.target_standard_deviation, np.float32)
    return predictions * scale + np.asarray(output_spec.target_mean, np.float32)


def reconstruction_errors(model: keras.Model, inputs: Inputs, rows: np.ndarray) -> np.ndarray:
    """Return the mean squared error per sample between main input and reconstruction, float32 (len(rows),).

    Steps of padding count for nothing.
    """
    errors = []
    for start in range(0, len(rows), PREDICT_BATCH_SIZE):
        part = rows[start : start + PREDICT_BATCH_SIZE]
        expected = reconstruction_targets(take(inputs, part))
        squared = (predict(model, inputs, part) - expected) ** 2
        real = (expected != np.float32(PAD)).reshape(len(part), -1)
        errors.append((squared.reshape(len(part), -1) * real).sum(axis=1) / real.sum(axis=1))
    return np.concatenate(errors).astype(np.float32)


def predict(
    model: keras.Model,
    inputs: Inputs,
    rows: np.ndarray,
    *,
    batch_size: int = PREDICT_BATCH_SIZE,
    test_time_flip: bool = False,
) -> np.ndarray:
    """Return the predictions for some rows, float32 `(len(rows), ...)`.

    Args:
        model: Any model with one output.
        inputs: All samples; may be a memmap.
        rows: Index array.
        batch_size: Rows per call of the model.
        test_time_flip: Average with the prediction for the mirrored image (NHWC only).

    Raises:
        ValueError: An input or an output is not a finite number.
    """
    require_finite(inputs, rows)
    chunks = []
    for start in range(0, len(rows), batch_size):
        batch = take(inputs, rows[start : start + batch_size])
        outputs = model.predict_on_batch(batch)
        if test_time_flip:
            outputs = (outputs + model.predict_on_batch(_mirrored(batch))) / np.float32(2)
        chunks.append(np.asarray(outputs, dtype=np.float32))
    predictions = np.concatenate(chunks)
    # The weights too: NaN that meets a ReLU comes out as healthy-looking probabilities.
    if not all(np.isfinite(array).all() for array in [predictions, *model.get_weights()]):
        raise ValueError(
            f"Model {model.name!r} holds or gives numbers that are not finite. Expected finite weights and "
            "predictions. Train it again: `dvc repro --force train`."
        )
    return predictions


def _metrics(model: keras.Model, train: BatchedData) -> list[keras.metrics.Metric]:
    """Return the accuracy where targets are class indices, and nothing where they are numbers."""
    if train.reconstruct or train.targets is None or not np.issubdtype(train.targets.dtype, np.integer):
        return []
    if model.output_shape[-1] == 1:
        return [keras.metrics.BinaryAccuracy(name="accuracy")]
    return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]


def _mirrored(batch: Arrays) -> np.ndarray:
    """Return images (NHWC) with left and right exchanged."""
    if isinstance(batch, dict):
        raise TypeError("Only images have a left and a right. Expected an array. Received: several inputs.")
    mirrored: np.ndarray = batch[:, :, ::-1]
    return mirrored
