"""What a model takes in and gives out: the two small agreements between features, models and serving."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class InputSpec:
    """The input of a model.

    Attributes:
        kind: `image`: raw uint8 pixels, NHWC; `vector`: float32 hand-made features.
        shape: Shape of one sample, `(height, width, channels)` or `(num_features,)`.
        mean: Per channel (pixels in [0, 1]) or per feature, measured on the training split.
        standard_deviation: As `mean`; never 0.
    """

    kind: Literal["image", "vector"]
    shape: tuple[int, ...]
    mean: tuple[float, ...]
    standard_deviation: tuple[float, ...]


@dataclass(frozen=True)
class OutputSpec:
    """The output of a model: one probability per class.

    Attributes:
        classes: Class names in the one frozen order taken from the training split.
        class_counts: Training samples per class, same order.
    """

    classes: tuple[str, ...]
    class_counts: tuple[int, ...]

    @property
    def num_classes(self) -> int:
        """Return how many classes there are."""
        return len(self.classes)
