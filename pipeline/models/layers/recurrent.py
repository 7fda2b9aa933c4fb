"""Layers with a state: stacks of simple, LSTM and GRU cells, and attention over their states."""

from collections.abc import Sequence

import keras
from keras import layers

from pipeline.models.layers.blocks import l2_penalty, mean_over_steps, only_present, step_mask
from pipeline.models.layers.inputs import Start

CELLS = {"simple": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}


def recurrent(
    hidden: keras.KerasTensor,
    start: Start,
    *,
    cell: str,
    units: Sequence[int],
    bidirectional: bool,
    l2: float,
    keep_all: bool,
    name: str,
) -> keras.KerasTensor:
    """Return the last state of a stack of recurrent layers, (batch, units), or all, (batch, steps, units).

    Args:
        hidden: Shape (batch, steps, features).
        start: Knows which steps are padding; the state does not change there.
        cell: `simple`, `lstm` or `gru`.
        units: Width of each layer, per direction.
        bidirectional: Whether each layer reads backwards as well.
        l2: Strength of the penalty on kernels.
        keep_all: Whether the last layer gives its state at every step; 0 at padding.
        name: First part of the names of its layers.
    """
    mask = step_mask(start.present)
    for index, width in enumerate(units):
        keep = keep_all or index < len(units) - 1
        layer = CELLS[cell](
            width,
            return_sequences=keep,
            kernel_regularizer=l2_penalty(l2),
            recurrent_regularizer=l2_penalty(l2),
            name=f"{name}_{index}",
        )
        if bidirectional:
            layer = layers.Bidirectional(layer, name=f"both_ways_{index}")
        hidden = layer(hidden) if mask is None else layer(hidden, mask=mask)
        if keep:
            hidden = only_present(hidden, start.present, f"{name}_{index}_present")
    return hidden


def attended(hidden: keras.KerasTensor, present: keras.KerasTensor | None, l2: float) -> keras.KerasTensor:
    """Return the mean of all states, weighted by the softmax of v tanh(W h) (Bahdanau et al., 2015).

    Args:
        hidden: States, shape (batch, steps, units).
        present: 1 where a step is no padding, shape (batch, steps); None where there is none.
        l2: Strength of the penalty on kernels.

    Returns:
        Shape (batch, units).
    """
    steps, width = hidden.shape[1:]
    looked = layers.Dense(width, activation="tanh", kernel_regularizer=l2_penalty(l2), name="attention")(
        hidden
    )
    scores = layers.Dense(1, use_bias=False, kernel_regularizer=l2_penalty(l2), name="attention_score")(
        looked
    )
    flat = layers.Reshape((steps,), name="attention_scores")(scores)
    return mean_over_steps(hidden, present, "attended", flat)
