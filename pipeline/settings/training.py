"""The section `training` of params.yaml: one optimisation run."""

from typing import Annotated, Literal

from msgspec import Meta

from pipeline.settings.section import Count, Natural, NotNegative, Positive, Section, Share


class Augment(Section, frozen=True):
    """Random changes of a training image, drawn anew each epoch."""

    flip: bool
    shift_px: Natural
    cutout_px: Natural


class Training(Section, frozen=True):
    """One optimisation run."""

    epochs: Natural
    batch_size: Count
    optimizer: Literal["adam", "adamw", "sgd"]
    learning_rate: Positive
    momentum: Share
    weight_decay: NotNegative
    schedule: Literal["constant", "exponential", "step", "cosine"]
    warmup_share: Share
    decay_rate: Annotated[float, Meta(gt=0, le=1)]
    decay_epochs: Positive
    label_smoothing: Share
    ema_momentum: Share
    clip_norm: NotNegative
    early_stopping_patience: Natural
    monitor: Literal["val_loss", "val_accuracy"]
    loss: Literal["auto", "cross_entropy", "focal", "mse", "mae", "huber"]
    class_weights: Literal["none", "balanced"]
    augment: Augment | None = None
    """Images only."""
    test_time_flip: bool = False
    """Images only."""
