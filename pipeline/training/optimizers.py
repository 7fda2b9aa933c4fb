"""The rules that turn gradients into new weights."""

import keras

from pipeline.training.schedules import Schedule

NOT_DECAYED = [r"(^|/)(bias|gamma|beta)(:|$)"]
"""Weight decay is for kernels: pulling biases and normalisation scales to 0 only hurts (He et al., 2019).

Keras matches this against TensorFlow's name of a variable, `dense/bias:0`, not against its own, `bias`.
"""


def create(
    name: str,
    learning_rate: Schedule,
    *,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    ema_momentum: float = 0.0,
    clip_norm: float = 0.0,
) -> keras.optimizers.Optimizer:
    """Return a Keras optimizer.

    Args:
        name: adam, adamw (decoupled weight decay) or sgd (Nesterov momentum, decoupled weight decay).
        learning_rate: A number or a schedule.
        momentum: Of sgd, in [0, 1); 0 is plain gradient descent.
        weight_decay: Share of each kernel (times the learning rate) taken away per step; adamw and sgd only.
        ema_momentum: Of a moving average of the weights, 0 for none.
        clip_norm: Largest norm of the whole gradient, 0 for no limit.

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
        return keras.optimizers.Adam(**shared)
    if name == "adamw":
        optimizer = keras.optimizers.AdamW(weight_decay=weight_decay, **shared)
    elif name == "sgd":
        optimizer = keras.optimizers.SGD(
            momentum=momentum, nesterov=momentum > 0, weight_decay=weight_decay or None, **shared
        )
    else:
        raise ValueError(f"Unknown optimizer. Expected adam, adamw or sgd. Received: optimizer={name!r}.")
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return optimizer
