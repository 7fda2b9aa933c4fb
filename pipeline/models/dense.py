"""Family `dense`: a network of dense layers on hand-made features."""

from collections.abc import Sequence

import keras

from pipeline.model_ends import classifier, dense_block, vector_inputs
from pipeline.specs import InputSpec, OutputSpec


def build(
    input_spec: InputSpec,
    output_spec: OutputSpec,
    *,
    units: Sequence[int] = (128,),
    activation: str = "relu",
    batch_normalization: bool = True,
    dropout: float = 0.3,
    l2: float = 0.0,
) -> keras.Model:
    """Return an untrained dense network.

    Args:
        input_spec: Of kind `vector`.
        output_spec: The classes.
        units: Width of each layer.
        activation: `relu`, `sigmoid` or `tanh`.
        batch_normalization: Whether to normalise before each activation.
        dropout: Share dropped after each layer.
        l2: Strength of the penalty on kernels.

    Returns:
        Raw features in, probabilities out.
    """
    inputs, hidden = vector_inputs(input_spec)
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
    return classifier("dense", inputs, hidden, output_spec.num_classes, l2)
