"""Family `rnn`: rows of an image, tokens of a text or steps of a series are the time steps of a recurrent network."""

from collections.abc import Sequence

import keras
from keras import layers

from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.models.layers.blocks import dropped
from pipeline.models.layers.heads import answer, require_forecasting
from pipeline.models.layers.inputs import begin, joined, relative_to_last
from pipeline.models.layers.recurrent import attended, recurrent


def build(
    input_spec: InputSpec,
    output_spec: OutputSpec,
    *,
    cell: str = "gru",
    units: Sequence[int] = (64,),
    bidirectional: bool = False,
    dropout: float = 0.2,
    l2: float = 0.0,
    embedding_units: int = 64,
    attention: bool = False,
    last_value_residual: bool = False,
    output_activation: str = "linear",
    fusion_units: Sequence[int] = (),
) -> keras.Model:
    """Return an untrained recurrent network.

    Args:
        input_spec: Of kind `image`, which becomes (height) steps of (width * channels) numbers, `tokens` or
            `series`. Padded steps are passed over: the state stays as it was.
        output_spec: What is asked.
        cell: `simple`, `lstm` or `gru`.
        units: Width of each recurrent layer, per direction.
        bidirectional: Whether each layer reads upwards as well; doubles its outputs.
        dropout: Share dropped before the output.
        l2: Strength of the penalty on kernels, the recurrent ones included.
        embedding_units: Tokens: width of the vector of each.
        attention: Pool the states of all steps by learned weights, instead of taking the last one.
        last_value_residual: Forecasting: read distances from the last step, and predict the change from it.
        output_activation: `linear` or `tanh`; regression and forecasting.
        fusion_units: Width of each dense layer between the state, to which side features have been joined,
            and the output.

    Returns:
        Raw inputs in; probabilities or numbers out, see `pipeline.models.layers.heads`.
    """
    start = begin(input_spec, ("image", "tokens", "series"), embedding_units=embedding_units)
    hidden, last = start.hidden, None
    if last_value_residual:
        require_forecasting(output_spec, "last_value_residual")
        hidden, last = relative_to_last(start)
    if input_spec.kind == "image":
        height, width, channels = input_spec.shape
        hidden = layers.Reshape((height, width * channels), name="rows")(hidden)
    hidden = recurrent(
        hidden,
        start,
        cell=cell,
        units=units,
        bidirectional=bidirectional,
        l2=l2,
        keep_all=attention,
        name="recurrent",
    )
    if attention:
        hidden = attended(hidden, start.present, l2)
    hidden = dropped(hidden, dropout, "dropout")
    return answer(
        "rnn",
        start,
        joined(hidden, start),
        output_spec,
        l2=l2,
        fusion_units=tuple(fusion_units),
        output_activation=output_activation,
        last=last,
    )
