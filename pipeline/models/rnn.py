"""Family `rnn`: the rows of the image are the time steps of a recurrent network."""

from collections.abc import Sequence

import keras
from keras import layers

from pipeline.model_ends import classifier, dropped, image_inputs, l2_penalty
from pipeline.specs import InputSpec, OutputSpec

CELLS = {"simple": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}


def build(
    input_spec: InputSpec,
    output_spec: OutputSpec,
    *,
    cell: str = "gru",
    units: Sequence[int] = (64,),
    bidirectional: bool = False,
    dropout: float = 0.2,
    l2: float = 0.0,
) -> keras.Model:
    """Return an untrained recurrent network.

    Args:
        input_spec: Of kind `image`; becomes (height) steps of (width * channels) numbers.
        output_spec: The classes.
        cell: `simple`, `lstm` or `gru`.
        units: Width of each recurrent layer, per direction.
        bidirectional: Whether each layer reads upwards as well; doubles its outputs.
        dropout: Share dropped before the output.
        l2: Strength of the penalty on kernels, the recurrent ones included.

    Returns:
        Raw pixels in, probabilities out.
    """
    inputs, hidden = image_inputs(input_spec)
    height, width, channels = input_spec.shape
    hidden = layers.Reshape((height, width * channels), name="rows")(hidden)
    for index, width_of_layer in enumerate(units):
        layer = CELLS[cell](
            width_of_layer,
            return_sequences=index < len(units) - 1,
            kernel_regularizer=l2_penalty(l2),
            recurrent_regularizer=l2_penalty(l2),
            name=f"recurrent_{index}",
        )
        if bidirectional:
            layer = layers.Bidirectional(layer, name=f"both_ways_{index}")
        hidden = layer(hidden)
    hidden = dropped(hidden, dropout, "dropout")
    return classifier("rnn", inputs, hidden, output_spec.num_classes, l2)
