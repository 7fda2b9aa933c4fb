"""What a model takes in and gives out: the two small agreements between features, models and serving."""

from dataclasses import dataclass
from typing import Literal

InputKind = Literal["image", "vector", "tokens", "bag", "series"]
Task = Literal["classification", "regression", "forecasting", "anomaly"]

PAD = -1e9
"""Stands in all channels of the steps after the end of a shorter series; no scaled number comes near it."""


@dataclass(frozen=True)
class InputSpec:
    """The inputs of a model: one that it is about, and side features joined to it late.

    Attributes:
        kind: `image`: raw uint8 pixels, NHWC; `vector`: float32 hand-made features; `tokens`: int32 ids of
            words or characters, 0 behind the end; `bag`: int32 ids of n-grams, 0 for none, beside an input
            `weights` of as many float32; `series`: float32 scaled steps, `PAD` behind the end.
        shape: Of one sample of the main input: `(height, width, channels)`, `(num_features,)`,
            `(max_tokens,)`, `(max_ngrams,)` or `(max_length, channels)`.
        mean: Per channel (pixels in [0, 1]) or per feature, measured on train; images and vectors only.
        standard_deviation: As `mean`; never 0.
        vocabulary_size: Tokens and bags: ids are below it.
        num_side: Width of the float32 input `side`, scaled; 0: there is none.
        categories: Per column of the int32 input `categories`: ids are below it; (): there is none.
        vectors_path: Tokens: a file of word vectors to start from; "" for none.
        has_padding: Series: whether lengths differ, so that steps may be padding.
    """

    kind: InputKind
    shape: tuple[int, ...]
    mean: tuple[float, ...] = ()
    standard_deviation: tuple[float, ...] = ()
    vocabulary_size: int = 0
    num_side: int = 0
    categories: tuple[int, ...] = ()
    vectors_path: str = ""
    has_padding: bool = False


@dataclass(frozen=True)
class OutputSpec:
    """The output of a model.

    Attributes:
        classes: Class names in the one frozen order taken from the training split; () for other tasks.
        class_counts: Training samples per class, same order.
        task: What is asked.
        targets: Names of what is predicted; regression and forecasting.
        target_mean: Per target, measured on train; models predict in units of the deviation around it.
        target_standard_deviation: Per target; never 0.
        target_channels: Forecasting: where each target stands among the channels of the series.
        horizon: Forecasting: steps ahead; else 1.
    """

    classes: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    task: Task = "classification"
    targets: tuple[str, ...] = ()
    target_mean: tuple[float, ...] = ()
    target_standard_deviation: tuple[float, ...] = ()
    target_channels: tuple[int, ...] = ()
    horizon: int = 1

    @property
    def num_classes(self) -> int:
        """Return how many classes there are."""
        return len(self.classes)

    @property
    def num_targets(self) -> int:
        """Return how many numbers are predicted per step."""
        return len(self.targets)
