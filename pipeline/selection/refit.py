"""The chosen candidate trained once more, with the rows of validation, for as long as was found best.

Import it after `backend.prepare_tensorflow`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from pipeline.inference.keras_files import load_model, save_model
from pipeline.inputs.train_data import load_train_data
from pipeline.runtime import paths
from pipeline.runtime.files import read_json, write_json
from pipeline.runtime.progress import epoch_progress
from pipeline.training.batches import steps_per_epoch
from pipeline.training.candidate import TrainedCandidate, train_candidate
from pipeline.training.fit import Length
from pipeline.training.monitor import lower_is_better

if TYPE_CHECKING:
    from rich.console import Console

NOISE = 2.0
"""Standard deviations of one epoch's chance, see docs/decisions/0026."""
SECOND_DIFFERENCE = 6.0
"""Variance of x - 2 y + z, of three independent numbers with variance 1."""
FEWEST_EPOCHS = 10
"""Of which a curve says what is chance."""
MEDIAN_OF_SQUARE = 0.4549
"""Median of the square of a standard normal number."""


def chosen_length(candidate: str, num_train: int) -> Length:
    """Return how long a candidate is trained without validation: what folds found, else what its curve says.

    Args:
        candidate: Its name.
        num_train: Rows that trained the tuned model.

    Raises:
        FileNotFoundError: A file is missing; says which stage makes it.
    """
    folds = read_json(paths.folds_dir(candidate) / "folds.json", f"folds@{candidate}")
    if folds["needed"]:
        return Length(**folds["length"])
    tuned = paths.tuned_dir(candidate)
    settings, history = (
        read_json(tuned / f"{name}.json", f"tune@{candidate}") for name in ("settings", "history")
    )
    per_epoch = steps_per_epoch(num_train, settings["training"])
    epochs = last_of_the_best(history["epochs"], settings["training"]["monitor"])
    before = last_of_the_best(history.get("pretrain", []), "val_loss")
    return Length(epochs * per_epoch, per_epoch, before * per_epoch)


def last_of_the_best(history: Sequence[Mapping[str, float]], monitor: str) -> int:
    """Return the last epoch, from 1, that the best one is not shown to be better than; 0 of no epoch.

    Weights are kept of the one best epoch. How long to train is no question of one epoch: the best of many on few rows
    is the luckiest, often in the middle, and would end the refit too early. A curve without chance ends with its last
    best epoch.

    Args:
        history: Per epoch its number and metrics, in order.
        monitor: What was measured; `training.monitor.lower_is_better` tells its direction.
    """
    if not history:
        return 0
    values = np.array([epoch[monitor] for epoch in history])
    curve = values if lower_is_better(monitor) else -values
    tied = np.flatnonzero(curve <= curve.min() + NOISE * chance_of_an_epoch(curve))
    return int(history[tied[-1]]["epoch"])


def chance_of_an_epoch(curve: np.ndarray) -> float:
    """Return the standard deviation of one value of a curve around its trend, from the curve alone.

    By the median of its squared second differences, which a slope does not touch and a few jumps hardly do (Gasser,
    Sroka and Jennen-Steinmetz, 1986, "Residual variance and residual pattern in nonlinear regression", here with a
    median instead of the mean). 0 of fewer than `FEWEST_EPOCHS` values.

    Args:
        curve: Shape (epochs,).
    """
    if len(curve) < FEWEST_EPOCHS:
        return 0.0
    squares = np.diff(curve, 2) ** 2
    return math.sqrt(np.median(squares) / (MEDIAN_OF_SQUARE * SECOND_DIFFERENCE))


def refit_candidate(
    candidate: str,
    target: Path,
    checkpoint_dir: Path,
    console: "Console",
    train: Callable[..., TrainedCandidate] = train_candidate,
) -> dict[str, Any]:
    """Train a candidate on train and val together, and write its model over the tuned one's.

    Args:
        candidate: Its name.
        target: Gets model.keras, settings.json and metrics.json, and autoencoder.keras where there is one; holds the
            files of the tuned candidate.
        checkpoint_dir: A folder for these inputs alone.
        console: For progress.
        train: `train_candidate`, or the same by several processes.

    Returns:
        What the training was: rows, steps, epochs.
    """
    settings: dict[str, Any] = read_json(target / "settings.json")
    data = load_train_data(settings["family"])
    length = chosen_length(candidate, len(data.train_rows))
    # Of anomalies what is normal, as in train.
    rows = np.sort(np.concatenate([data.train_rows, data.monitored_rows]))
    batches = math.ceil(len(rows) / settings["training"]["batch_size"])
    phases = {"": length.epochs(batches)}
    if length.pretrain_steps:
        phases["pretrain_"] = replace(length, steps=length.pretrain_steps).epochs(batches)
    keras.backend.clear_session()
    with epoch_progress(console, candidate, phases) as show:
        trained = train(
            settings["family"],
            data.on_rows(rows, rows[:0]),
            settings["model"],
            settings["training"],
            seed=settings["seed"],
            checkpoint_dir=checkpoint_dir,
            length=length,
            on_epoch=show,
        )
    save_model(trained.model, target / "model.keras")
    if trained.autoencoder is not None:
        save_model(trained.autoencoder, target / "autoencoder.keras")
    told = {**asdict(length), "epochs": len(trained.result.history), "rows": len(rows)}
    write_json(target / "settings.json", settings | {"refit": told})
    metrics: Mapping[str, Any] = read_json(target / "metrics.json")
    write_json(target / "metrics.json", {**metrics, "parameters": trained.model.count_params()})
    return told


def temper(target: Path, temperature: float) -> bool:
    """Divide the logits of a model by a number, inside the model: all that load it answer alike.

    Args:
        target: Holds model.keras and settings.json; both are written again.
        temperature: See `pipeline.metrics.calibration`.

    Returns:
        Whether the model has logits; one that looks its probabilities up stays as it is.
    """
    made = tempered_model(load_model(target / "model.keras"), temperature)
    if made is None:
        return False
    save_model(made, target / "model.keras")
    settings = read_json(target / "settings.json")
    write_json(target / "settings.json", settings | {"temperature": temperature})
    return True


def tempered_model(model: keras.Model, temperature: float) -> keras.Model | None:
    """Return a model whose logits are divided by a number, with the layers of another one; None without logits."""
    last = model.get_layer("probabilities")
    if not isinstance(last, keras.layers.Activation):
        return None
    scaled = keras.layers.Rescaling(1 / temperature, name="temperature")(last.input)
    output = keras.layers.Activation(last.activation, name=last.name)(scaled)
    made = keras.Model(model.input, output, name=model.name)
    made.trainable = model.trainable
    return made
