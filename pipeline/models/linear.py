"""Family `linear`: softmax or linear regression, a baseline that every model must beat.

Of several labels each output has weights of its own and a sigmoid: one logistic regression per label, against the rest.
"""

import keras
from keras import layers

from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.models.layers.heads import (
    ahead_per_channel,
    answer,
    finished,
    num_outputs,
    past_per_channel,
    raw_name,
    require_forecasting,
    with_side_features,
)
from pipeline.models.layers.inputs import begin, joined, relative_to_last


def build(
    input_spec: InputSpec,
    output_spec: OutputSpec,
    *,
    l2: float = 1e-4,
    last_value_residual: bool = False,
    per_channel: bool = False,
    output_activation: str = "linear",
) -> keras.Model:
    """Return an untrained regression.

    Args:
        input_spec: Of kind `image`, `vector`, `bag` or `series`.
        output_spec: What is asked.
        l2: Strength of the penalty on the kernel.
        last_value_residual: Forecasting: read distances from the last step, and predict the change from it.
        per_channel: Forecasting: each target from its own channel alone, all by the same weights.
        output_activation: `linear` or `tanh`; regression and forecasting.

    Returns:
        Raw inputs in; probabilities or numbers out, see `pipeline.models.layers.heads`.

    Raises:
        ValueError: A setting does not fit the task or the kind of input.
    """
    kinds = ("image", "vector", "bag", "series")
    start = begin(input_spec, kinds, embedding_units=num_outputs(output_spec), bag_l2=l2)
    hidden, last = start.hidden, None
    if last_value_residual:
        require_forecasting(output_spec, "last_value_residual")
        hidden, last = relative_to_last(start)
    if per_channel:
        past = past_per_channel(hidden, output_spec)
        raw = ahead_per_channel(past, start, output_spec, l2)
    elif input_spec.kind == "bag":
        # The vectors of n-grams are the weights already. Keras has no layer that adds an intercept alone;
        # this one has a scale per output beside it.
        scaled = layers.EinsumDense(
            "ab,b->ab",
            output_shape=num_outputs(output_spec),
            bias_axes="b",
            kernel_initializer="ones",
            name=raw_name(output_spec),
        )
        raw = with_side_features(scaled(hidden), start, output_spec, l2)
    else:
        flat = layers.Flatten(name="flatten")(hidden) if len(hidden.shape) > 2 else hidden
        return answer(
            "linear",
            start,
            joined(flat, start),
            output_spec,
            l2=l2,
            output_activation=output_activation,
            last=last,
        )
    return finished("linear", start, raw, output_spec, output_activation=output_activation, last=last)
