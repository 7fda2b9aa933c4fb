"""Family `majority`: answers every image with the class shares of the training set; nothing is trained."""

import keras
import numpy as np
from keras import layers

from pipeline.model_ends import classifier, image_inputs
from pipeline.specs import InputSpec, OutputSpec


def build(input_spec: InputSpec, output_spec: OutputSpec) -> keras.Model:
    """Return the constant model.

    Args:
        input_spec: Of kind `image`; the pixels are read and do not matter.
        output_spec: The classes and how often each occurs in training, all at least once.

    Returns:
        Raw pixels in, class shares out.
    """
    inputs, hidden = image_inputs(input_spec)
    hidden = layers.GlobalAveragePooling2D(name="average")(hidden)
    model = classifier("majority", inputs, hidden, output_spec.num_classes, l2=0.0)
    shares = np.array(output_spec.class_counts) / sum(output_spec.class_counts)
    logits = model.get_layer("logits")
    logits.set_weights([np.zeros_like(logits.get_weights()[0]), np.log(shares)])
    logits.trainable = False
    return model
