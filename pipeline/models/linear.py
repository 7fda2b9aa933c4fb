"""Family `linear`: softmax regression on the pixels, a baseline that every model must beat."""

import keras
from keras import layers

from pipeline.model_ends import classifier, image_inputs
from pipeline.specs import InputSpec, OutputSpec


def build(input_spec: InputSpec, output_spec: OutputSpec, *, l2: float = 1e-4) -> keras.Model:
    """Return an untrained softmax regression.

    Args:
        input_spec: Of kind `image`.
        output_spec: The classes.
        l2: Strength of the penalty on the kernel.

    Returns:
        Raw pixels in, probabilities out.
    """
    inputs, hidden = image_inputs(input_spec)
    return classifier("linear", inputs, layers.Flatten(name="flatten")(hidden), output_spec.num_classes, l2)
