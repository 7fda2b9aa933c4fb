"""The recipe by which one candidate becomes a trained model: what `train` and every trial of `tune` share.

Import it after `backend.prepare_tensorflow`.
"""

import importlib
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from pipeline.data.samples import read_groups
from pipeline.inference import prediction
from pipeline.inference.keras_files import load_model, save_model
from pipeline.inputs.arrays import MAIN_INPUT, named, take, take_targets
from pipeline.inputs.train_data import TrainData
from pipeline.runtime import paths
from pipeline.runtime.files import write_bytes, write_json
from pipeline.runtime.progress import Logs, OnEpoch
from pipeline.training import batches, fit, losses, optimizers
from pipeline.training.batches import VAL_BATCH_SIZE, BatchedData
from pipeline.training.epochs import Traced
from pipeline.training.fit import FitResult, Length
from pipeline.training.validation_scores import validation_metrics

if TYPE_CHECKING:
    from pipeline.training.ranks import Ranks


@dataclass(frozen=True)
class TrainedCandidate:
    """A trained model and how it came about.

    Attributes:
        model: Carries the weights of its best epoch.
        autoencoder: Family `autoencoder` only: input to reconstruction.
        result: History, best epoch, and whether training is over.
        pretraining: Same, of the reconstruction; None for other families.
        passes: Over the training rows in each epoch.
        head: Of a family on a frozen trunk: what was trained, from vectors; `model` has the trunk before it.
        solved: What the solver of a family that is not trained says of its solution; {} where there is none.
    """

    model: keras.Model
    autoencoder: keras.Model | None
    result: FitResult
    pretraining: FitResult | None
    passes: int = 1
    head: keras.Model | None = None
    solved: Mapping[str, Any] = field(default_factory=dict)


def train_candidate(
    family: str,
    data: TrainData,
    model_settings: Mapping[str, Any],
    training_settings: Mapping[str, Any],
    *,
    seed: int,
    checkpoint_dir: Path,
    on_epoch: OnEpoch | None = None,
    stop_after: int | None = None,
    length: Length | None = None,
    checkpoint_seconds: float = 0.0,
    traced: Traced | None = None,
    ranks: "Ranks | None" = None,
) -> TrainedCandidate:
    """Build a model and train it, or continue where the checkpoints in `checkpoint_dir` end.

    The result is a function of the arguments alone: not of models built before, of kills and resumes, or of
    rungs (`stop_after`) on the way.

    Args:
        family: Name of the file in `pipeline/models`.
        data: See `pipeline.inputs.train_data`.
        model_settings: Keyword arguments of the family's `build`.
        training_settings: The keys of `training` in params.yaml.
        seed: Initial weights, dropout, order and augmentation follow from it.
        checkpoint_dir: A folder for these inputs and settings alone.
        on_epoch: Called at the end of each epoch; metrics of the reconstruction begin with `pretrain_`.
        stop_after: Return after so many epochs in all, those of a reconstruction before it not counted.
        length: Train so many steps and keep the last weights; nothing is validated. None: the best epoch by val.
        checkpoint_seconds: At least so long between two checkpoints.
        traced: Of an earlier training that differs in its rows alone, not in its number of batches or its weights of
            classes; its model, set back, is this one's. A new one is filled.
        ranks: The processes that do this together; None for this one alone.
    """
    if data.frozen is not None:
        trained = train_candidate(
            family,
            data.frozen,
            model_settings,
            training_settings,
            seed=seed,
            checkpoint_dir=checkpoint_dir,
            on_epoch=on_epoch,
            stop_after=stop_after,
            length=length,
            checkpoint_seconds=checkpoint_seconds,
            traced=traced,
            ranks=ranks,
        )
        return _behind_its_trunk(family, trained, data, model_settings)
    keras.utils.set_random_seed(seed)
    module = importlib.import_module(f"pipeline.models.{family}")
    spec = data.output_spec
    reconstructs = family == "autoencoder" and spec.task == "anomaly"
    build_settings = dict(model_settings)
    autoencoder, pretraining = None, None
    # A given length counts steps; whole epochs are as many of them as come nearest.
    passes = 1 if length else batches.passes_of(len(data.train_rows), training_settings)
    if family == "autoencoder" and not reconstructs:
        pretrain_settings = {
            "epochs": build_settings.pop("pretrain_epochs"),
            "learning_rate": build_settings.pop("pretrain_learning_rate"),
            "monitor": "val_loss",
        }
        autoencoder = module.build_autoencoder(data.input_spec, **build_settings)
        pretraining = _fit(
            autoencoder,
            data,
            {**training_settings, **pretrain_settings},
            loss=losses.create_loss("anomaly"),
            reconstruct=True,
            passes=passes,
            seed=seed,
            checkpoint_path=checkpoint_dir / "reconstruction.checkpoint",
            on_epoch=_prefixed(on_epoch),
            length=replace(length, steps=length.pretrain_steps) if length else None,
            checkpoint_seconds=checkpoint_seconds,
            ranks=ranks,
        )
        build_settings["trained_encoder"] = autoencoder.get_layer("encoder")
    if reconstructs:
        model = module.build_autoencoder(data.input_spec, **build_settings)
    elif traced is not None and traced.model is not None:
        model = traced.model
        traced.set_back()
    else:
        model = module.build(data.input_spec, spec, **build_settings)
    if training_settings["epochs"] == 0 or hasattr(module, "solve"):
        solved = _solved(module, model, data, build_settings, training_settings["class_weights"])
        return TrainedCandidate(
            model, autoencoder, FitResult([], 0, {}, finished=True), pretraining, solved=solved
        )
    result = _fit(
        model,
        data,
        training_settings,
        loss=losses.create_loss(
            spec.task,
            loss=training_settings["loss"],
            class_counts=spec.class_counts,
            class_weights=training_settings["class_weights"],
            label_smoothing=training_settings["label_smoothing"],
        ),
        reconstruct=reconstructs,
        passes=passes,
        seed=seed,
        checkpoint_path=checkpoint_dir / "training.checkpoint",
        on_epoch=on_epoch,
        stop_after=stop_after,
        length=length,
        checkpoint_seconds=checkpoint_seconds,
        traced=traced,
        ranks=ranks,
    )
    return TrainedCandidate(model, model if reconstructs else autoencoder, result, pretraining, passes)


def answers_of(
    trained: TrainedCandidate, data: TrainData, rows: np.ndarray, training_settings: Mapping[str, Any]
) -> np.ndarray:
    """Return what a trained candidate answers for some rows, see `prediction.answers`.

    Args:
        trained: The candidate.
        data: What it was trained on.
        rows: Index array.
        training_settings: The keys of `training` in params.yaml.
    """
    model, inputs = trained.model, data.inputs
    if trained.head is not None and data.frozen is not None and not training_settings["test_time_flip"]:
        model, inputs = trained.head, data.frozen.inputs  # what the trunk says of these rows is known
    return prediction.answers(model, inputs, rows, training_settings, data.output_spec)


def write_candidate(
    folder: Path,
    trained: TrainedCandidate,
    data: TrainData,
    settings: Mapping[str, Any],
) -> Logs:
    """Write the files that stand for a trained candidate, and return its metrics.

    Args:
        folder: Gets model.keras, autoencoder.keras (family `autoencoder`), history.json, metrics.json,
            val_predictions.npy (what `prediction.answers` gives for the rows of val) and settings.json.
        trained: The candidate.
        data: What it was trained on.
        settings: All that shaped it: family, model, training, seed, threads.

    Raises:
        ValueError: A prediction is not a finite number.
    """
    answers = answers_of(trained, data, data.val_rows, settings["training"])
    summary = {
        "best_epoch": trained.result.best_epoch,
        "epochs": len(trained.result.history),
        "parameters": trained.model.count_params(),
        **validation_metrics(data, answers, settings["training"]["monitor"]),
    }
    history: dict[str, Any] = {"epochs": trained.result.history}
    if trained.solved:
        history["solved"] = dict(trained.solved)
    save_model(trained.model, folder / "model.keras")
    if trained.autoencoder is not None:
        save_model(trained.autoencoder, folder / "autoencoder.keras")
    if trained.pretraining is not None:
        history["pretrain"] = trained.pretraining.history
        summary["val_reconstruction_error"] = trained.pretraining.best_logs["val_loss"]
    _save_array(folder / "val_predictions.npy", answers)
    write_json(folder / "history.json", history)
    write_json(folder / "settings.json", settings)
    write_json(folder / "metrics.json", summary)
    return summary


def _behind_its_trunk(
    family: str, trained: TrainedCandidate, data: TrainData, model_settings: Mapping[str, Any]
) -> TrainedCandidate:
    """Put the trunk that made the vectors before a head that was trained on them."""
    if data.frozen is None:
        raise TypeError("There is no trunk. Expected `TrainData.frozen`. Received: None.")
    model = importlib.import_module(f"pipeline.models.{family}").with_trunk(
        trained.model,
        load_model(paths.TRUNK_KERAS),
        data.input_spec,
        data.output_spec,
        data.frozen.input_spec,
        **model_settings,
    )
    return TrainedCandidate(model, None, trained.result, None, head=trained.model)


def _fit(
    model: keras.Model,
    data: TrainData,
    settings: Mapping[str, Any],
    *,
    loss: losses.Loss,
    reconstruct: bool,
    passes: int,
    seed: int,
    checkpoint_path: Path,
    on_epoch: OnEpoch | None,
    stop_after: int | None = None,
    length: Length | None = None,
    checkpoint_seconds: float,
    traced: Traced | None = None,
    ranks: "Ranks | None" = None,
) -> FitResult:
    images = data.input_spec.kind == "image"
    train = BatchedData(
        data.inputs,
        data.train_rows,
        data.targets,
        batch_size=settings["batch_size"],
        seed=seed,
        shuffle=True,
        augmentation=batches.create_augmentation(**settings["augment"])
        if images and settings["augment"]
        else None,
        passes=passes,
        reconstruct=reconstruct,
        rank=ranks.rank if ranks else 0,
        num_ranks=ranks.size if ranks else 1,
    )
    if ranks is not None:
        ranks.deal(*train.rows_of_rank())
    val = None
    if length is None:
        val = BatchedData(
            data.inputs,
            data.monitored_rows,
            data.targets,
            batch_size=VAL_BATCH_SIZE,
            seed=seed,
            shuffle=False,
            reconstruct=reconstruct,
        )
    epochs = length.epochs(train.num_batches) if length else settings["epochs"]
    decays = length is not None and settings["schedule"] in optimizers.DECAYS
    optimizer = traced.optimizer if traced is not None else None
    if optimizer is None:
        steps = length.steps_per_epoch if length and decays else train.num_batches
        mean_gradients = ranks.mean_gradients if ranks is not None else None
        optimizer = _optimizer(settings, epochs=epochs, steps_per_epoch=steps, mean_gradients=mean_gradients)
    monitor = settings["monitor"]

    def score() -> float:
        try:
            given = prediction.answers(model, data.inputs, data.val_rows, settings, data.output_spec)
        except ValueError:  # weights or answers that are not finite: `fit` says that it diverged
            return math.nan
        return validation_metrics(data, given, monitor)[monitor]

    return fit.fit(
        model,
        loss,
        train,
        val,
        optimizer=optimizer,
        epochs=epochs,
        checkpoint_path=checkpoint_path,
        monitor=monitor,
        score=None if val is None or monitor in fit.MEASURED else score,
        early_stopping_patience=settings["early_stopping_patience"],
        on_epoch=on_epoch,
        stop_after=stop_after,
        checkpoint_seconds=checkpoint_seconds,
        traced=traced,
        ranks=ranks,
    )


def _optimizer(
    settings: Mapping[str, Any],
    *,
    epochs: int,
    steps_per_epoch: int,
    mean_gradients: optimizers.MeanGradients | None,
) -> keras.optimizers.Optimizer:
    learning_rate = optimizers.create_schedule(
        settings["schedule"],
        learning_rate=settings["learning_rate"],
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        warmup_share=settings["warmup_share"],
        decay_rate=settings["decay_rate"],
        decay_epochs=settings["decay_epochs"],
    )
    return optimizers.create_optimizer(
        settings["optimizer"],
        learning_rate,
        momentum=settings["momentum"],
        weight_decay=settings["weight_decay"],
        ema_momentum=settings["ema_momentum"],
        clip_norm=settings["clip_norm"],
        mean_gradients=mean_gradients,
    )


def _solved(
    module: ModuleType,
    model: keras.Model,
    data: TrainData,
    settings: Mapping[str, Any],
    class_weights: str,
) -> Mapping[str, Any]:
    """Let a family that learns without gradient steps set its weights from the training rows."""
    if hasattr(module, "solve"):
        if data.targets is not None and data.groups is None:
            data = replace(data, groups=read_groups())
        facts: Mapping[str, Any] = module.solve(model, data, class_weights=class_weights, **settings)
        return facts
    if hasattr(module, "fit_closed_form"):
        main = named(take(data.inputs, data.train_rows))[MAIN_INPUT]
        anomaly = data.output_spec.task == "anomaly"
        targets = None if anomaly else take_targets(data.inputs, data.targets, data.train_rows)
        module.fit_closed_form(model, main, targets)
    return {}


def _prefixed(on_epoch: OnEpoch | None) -> OnEpoch | None:
    if on_epoch is None:
        return None
    return lambda epoch, logs: on_epoch(epoch, {f"pretrain_{name}": value for name, value in logs.items()})


def _save_array(path: Path, array: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_bytes(path, buffer.getvalue())
