"""Family `majority`: the class shares, or the mean, of the training set for every sample; nothing is trained."""

import keras
import numpy as np
from keras import layers

from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.models.layers.heads import finished, num_outputs, raw_name
from pipeline.models.layers.inputs import Start, untouched


def build(input_spec: InputSpec, output_spec: OutputSpec) -> keras.Model:
    """Return the constant model.

    Args:
        input_spec: Of kind `image`, `vector`, `bag` or `series`; the inputs are read and do not matter.
        output_spec: What is asked. The classes and how often each occurs in training, all at least once (and, of
            several labels, none on every sample); or targets, whose mean in training is 0 in the units of a model.

    Returns:
        Raw inputs in; class shares, of several labels the share of each, or zeros, out.
    """
    start = untouched(input_spec)
    layer = layers.Dense(num_outputs(output_spec), kernel_initializer="zeros", name=raw_name(output_spec))
    model = finished("majority", start, layer(_anything(start)), output_spec)
    if output_spec.task == "classification":
        shares = np.array(output_spec.class_counts) / sum(output_spec.class_counts)
        logits = np.log(shares) if len(shares) != 2 else np.log(shares[1:] / shares[:1])
        layer.set_weights([np.zeros_like(layer.get_weights()[0]), logits])
    if output_spec.task == "multilabel":
        counts = np.array(output_spec.class_counts)
        layer.set_weights(
            [np.zeros_like(layer.get_weights()[0]), np.log(counts / (output_spec.train_samples - counts))]
        )
    model.trainable = False
    return model


def _anything(start: Start) -> keras.KerasTensor:
    """Return finite numbers that hang on an input, (batch, few)."""
    kind = start.spec.kind
    if kind == "image":
        pixels = layers.Rescaling(1 / 255, name="rescaling")(start.hidden)
        return layers.GlobalAveragePooling2D(name="average")(pixels)
    if kind == "series":
        return layers.GlobalAveragePooling1D(name="average")(start.hidden)
    return start.inputs["weights" if kind == "bag" else "inputs"]
