"""Family `dense`: a network of dense layers on hand-made features, a bag of n-grams, or a series laid flat."""

from collections.abc import Sequence

import keras
from keras import layers

from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.models.layers.blocks import dense_block
from pipeline.models.layers.heads import (
    ahead_per_channel,
    answer,
    finished,
    fused,
    past_per_channel,
    require_forecasting,
)
from pipeline.models.layers.inputs import begin, joined, relative_to_last


def build(
    input_spec: InputSpec,
    output_spec: OutputSpec,
    *,
    units: Sequence[int] = (128,),
    activation: str = "relu",
    batch_normalization: bool = True,
    dropout: float = 0.3,
    l2: float = 0.0,
    embedding_units: int = 64,
    last_value_residual: bool = False,
    per_channel: bool = False,
    output_activation: str = "linear",
    fusion_units: Sequence[int] = (),
) -> keras.Model:
    """Return an untrained dense network.

    Args:
        input_spec: Of kind `vector`, `bag` or `series`. Side features are joined at the front, because all
            that follows are dense layers anyway.
        output_spec: What is asked.
        units: Width of each layer.
        activation: `relu`, `sigmoid` or `tanh`.
        batch_normalization: Whether to normalise before each activation.
        dropout: Share dropped after each layer.
        l2: Strength of the penalty on kernels.
        embedding_units: Bags: width of the vector of an n-gram; the layers read their weighted sum.
        last_value_residual: Forecasting: read distances from the last step, and predict the change from it.
        per_channel: Forecasting: each target from its own channel alone, all by the same weights.
        output_activation: `linear` or `tanh`; regression and forecasting.
        fusion_units: Width of further layers before the output, with relu, without dropout.

    Returns:
        Raw features in; probabilities or numbers out, see `pipeline.models.layers.heads`.
    """
    start = begin(input_spec, ("vector", "bag", "series"), embedding_units=embedding_units)
    hidden, last = start.hidden, None
    if last_value_residual:
        require_forecasting(output_spec, "last_value_residual")
        hidden, last = relative_to_last(start)
    if per_channel:
        hidden = past_per_channel(hidden, output_spec)
    else:
        hidden = layers.Flatten(name="flatten")(hidden) if input_spec.kind == "series" else hidden
        hidden = joined(hidden, start)
    for index, width in enumerate(units):
        hidden = dense_block(
            hidden,
            width,
            name=f"dense_{index}",
            activation=activation,
            batch_normalization=batch_normalization,
            dropout=dropout,
            l2=l2,
        )
    hidden = fused(hidden, tuple(fusion_units), l2)
    if per_channel:
        raw = ahead_per_channel(hidden, start, output_spec, l2)
        return finished("dense", start, raw, output_spec, output_activation=output_activation, last=last)
    return answer("dense", start, hidden, output_spec, l2=l2, output_activation=output_activation, last=last)
