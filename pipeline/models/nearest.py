"""Family `nearest`: the class of the nearest training series, by Euclidean distance; nothing is trained."""

import keras
import numpy as np
from keras import layers

from pipeline.inputs.specs import PAD, InputSpec, OutputSpec
from pipeline.models.layers.heads import num_outputs
from pipeline.models.layers.inputs import begin

SHARPNESS = 1e4
"""Times half the squared distance: whose squared distance is smaller by 0.01 gets all but e^-50 of the vote."""


def build(input_spec: InputSpec, output_spec: OutputSpec) -> keras.Model:
    """Return the model before it knows the training series; side features are not compared.

    |x - t|^2 = |x|^2 - 2 (x t - |t|^2 / 2), so that the nearest t has the largest x t - |t|^2 / 2: a dense
    layer, whose softmax picks a training series, and a second one that looks up its class.

    Args:
        input_spec: Of kind `series`; padding counts as 0, the mean.
        output_spec: Of task classification; its counts say how many training series there are.

    Returns:
        Series in, probabilities out: 1 for the class of the nearest; series equally near share the vote.

    Raises:
        ValueError: Another task or kind of input.
    """
    if output_spec.task != "classification":
        raise ValueError(
            "Family nearest looks up classes. Expected task=classification. Received: "
            f"task={output_spec.task}. Use family linear as a baseline."
        )
    start = begin(input_spec, ("series",))
    flat = layers.Flatten(name="flatten")(start.hidden)
    closeness = layers.Dense(sum(output_spec.class_counts), name="closeness")(flat)
    sharp = layers.Rescaling(SHARPNESS, name="sharpened")(closeness)
    votes = layers.Softmax(name="votes")(sharp)
    output = layers.Dense(num_outputs(output_spec), use_bias=False, name="probabilities")(votes)
    model = keras.Model(start.model_inputs, output, name="nearest")
    model.trainable = False
    return model


def fit_closed_form(model: keras.Model, inputs: np.ndarray, targets: np.ndarray | None) -> None:
    """Let a model know the training series.

    Args:
        model: From `build`; its weights are set.
        inputs: All training series, float32 (num_train, length, channels), `PAD` behind the end.
        targets: Class index per series, (num_train,).

    Raises:
        ValueError: Targets are missing, or there are not as many series as the model was built for.
    """
    closeness, probabilities = model.get_layer("closeness"), model.get_layer("probabilities")
    if targets is None or len(inputs) != closeness.units:
        raise ValueError(
            f"Family nearest needs all training series with their classes. Expected {closeness.units}. Received: "
            f"{len(inputs)}, targets={'none' if targets is None else len(targets)}. Run `dvc repro features`."
        )
    flat = np.where(inputs == np.float32(PAD), np.float32(0), inputs).reshape(len(inputs), -1)
    half_squares = np.square(flat, dtype=np.float64).sum(axis=1) / 2
    closeness.set_weights([flat.T, -half_squares])
    classes = np.arange(1, 2) if probabilities.units == 1 else np.arange(probabilities.units)
    probabilities.set_weights([np.asarray(targets)[:, None] == classes])
