"""The rules that turn gradients into new weights."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras

Schedule: TypeAlias = Any
"""A number, or a `keras.optimizers.schedules.LearningRateSchedule`."""
MeanGradients: TypeAlias = Callable[[list[Any], Any], list[Any]]
"""Gradients of some rows and the number of steps before this one, to the gradients of all rows of the batch."""


# --- How the learning rate changes over the steps of one training.


DECAYS = ("exponential", "step")
"""Schedules that count epochs and know no end; a cosine falls to 0 with the last step."""


def create_schedule(
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
    if name in DECAYS:
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


# --- The rules that turn gradients into new weights.

NOT_DECAYED = [r"(^|/)(bias|gamma|beta)(:|$)"]
"""Weight decay is for kernels: pulling biases and normalisation scales to 0 only hurts (He et al., 2019).

Keras matches this against TensorFlow's name of a variable, `dense/bias:0`, not against its own, `bias`.
"""


class _RampedAverage:
    """Mixed into an optimizer: its moving average of the weights forgets those it began with.

    After n steps the momentum is at most n / (n + 9), so that the average spans about the last tenth of them. Keras'
    own gives the weights after the first step (1 - momentum)^-1 times the say of any later ones, and at 0.999 is at
    chance level for thousands of steps.
    """

    def _update_model_variables_moving_average(self, trainable_variables: Sequence[Any]) -> None:
        done = keras.ops.cast(self.iterations, "float32")  # type: ignore[attr-defined]
        momentum = keras.ops.minimum(self.ema_momentum, done / (done + 9))  # type: ignore[attr-defined]
        averages = self._model_variables_moving_average  # type: ignore[attr-defined]
        for variable, average in zip(trainable_variables, averages, strict=True):
            if average is not None:
                average.assign(momentum * average + (1 - momentum) * variable)


class _Together:
    """Mixed into an optimizer: it takes the gradient of all ranks, before it is clipped and anything is made of it."""

    mean_gradients: MeanGradients

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        known = [index for index, gradient in enumerate(grads) if gradient is not None]
        means = self.mean_gradients([grads[index] for index in known], self.iterations)  # type: ignore[attr-defined]
        together = list(grads)
        for index, mean in zip(known, means, strict=True):
            together[index] = mean
        super().apply(together, trainable_variables)  # type: ignore[misc]


def create_optimizer(
    name: str,
    learning_rate: Schedule,
    *,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    ema_momentum: float = 0.0,
    clip_norm: float = 0.0,
    mean_gradients: MeanGradients | None = None,
) -> keras.optimizers.Optimizer:
    """Return a Keras optimizer.

    Args:
        name: adam, adamw (decoupled weight decay) or sgd (Nesterov momentum, decoupled weight decay).
        learning_rate: A number or a schedule.
        momentum: Of sgd, in [0, 1); 0 is plain gradient descent.
        weight_decay: Share of each kernel (times the learning rate) taken away per step; adamw and sgd only.
        ema_momentum: Of a moving average of the weights, 0 for none; less in the first steps, see `_RampedAverage`.
        clip_norm: Largest norm of the whole gradient, 0 for no limit.
        mean_gradients: Of the ranks that share each batch; None where one process has all of it.

    Raises:
        ValueError: The name is unknown.
    """
    shared = {
        "learning_rate": learning_rate,
        "global_clipnorm": clip_norm or None,
        "use_ema": ema_momentum > 0,
        "ema_momentum": ema_momentum or 0.99,
    }
    if name == "adam":
        return _class_of("Adam", ema_momentum, mean_gradients)(**shared)
    if name == "adamw":
        optimizer = _class_of("AdamW", ema_momentum, mean_gradients)(weight_decay=weight_decay, **shared)
    elif name == "sgd":
        optimizer = _class_of("SGD", ema_momentum, mean_gradients)(
            momentum=momentum, nesterov=momentum > 0, weight_decay=weight_decay or None, **shared
        )
    else:
        raise ValueError(f"Unknown optimizer. Expected adam, adamw or sgd. Received: optimizer={name!r}.")
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return optimizer


def _class_of(name: str, ema_momentum: float, mean_gradients: MeanGradients | None) -> Any:
    """Return Keras' class, with an average that forgets where there is one, and for several ranks."""
    made = getattr(keras.optimizers, name)
    if ema_momentum:
        made = type(name, (_RampedAverage, made), {})
    if mean_gradients is not None:
        made = type(name, (_Together, made), {"mean_gradients": staticmethod(mean_gradients)})
    return made
