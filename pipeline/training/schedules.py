"""How the learning rate changes over the steps of one training."""

from typing import Any, TypeAlias

import keras

Schedule: TypeAlias = Any
"""A number, or a `keras.optimizers.schedules.LearningRateSchedule`."""


def create(
    name: str,
    *,
    learning_rate: float,
    epochs: int,
    steps_per_epoch: int,
    warmup_share: float,
    decay_rate: float,
    decay_epochs: float,
) -> Schedule:
    """Return the learning rate as a function of the step, for a Keras optimizer.

    Args:
        name: constant; exponential: falls smoothly by `decay_rate` per `decay_epochs`; step: the same in
            steps; cosine: rises linearly from 0 during the warm-up, then falls along half a cosine to 0.
        learning_rate: At the start (cosine: after the warm-up).
        epochs: Length of the whole training.
        steps_per_epoch: Batches per epoch.
        warmup_share: Share of all steps with a linear rise; cosine only.
        decay_rate: Factor; exponential and step only.
        decay_epochs: Epochs until that factor is reached; exponential and step only.

    Raises:
        ValueError: The name is unknown.
    """
    schedules = keras.optimizers.schedules
    if name == "constant":
        return learning_rate
    if name in ("exponential", "step"):
        decay_steps = decay_epochs * steps_per_epoch
        return schedules.ExponentialDecay(learning_rate, decay_steps, decay_rate, staircase=name == "step")
    if name != "cosine":
        raise ValueError(
            f"Unknown schedule. Expected constant, exponential, step or cosine. Received: schedule={name!r}."
        )
    total = epochs * steps_per_epoch
    warmup = round(warmup_share * total)
    if warmup == 0:
        return schedules.CosineDecay(learning_rate, total)
    return schedules.CosineDecay(
        0.0, max(total - warmup, 1), warmup_target=learning_rate, warmup_steps=warmup
    )
