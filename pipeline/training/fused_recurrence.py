"""Recurrent layers whose loops over steps are compiled, and their gradient written out, while a model trains.

TensorFlow pays for each operation of each step; Keras writes a step with twenty, and each is differentiated by itself.
Here the inputs of all steps pass the kernel together, XLA compiles the two loops that are left, forwards and backwards,
and the gradient of a kernel is again one product over all steps. A layer stays the layer of Keras: `fuse_recurrence`
gives the instances of a model another `call` for training, of which their files and their answers know nothing. What is
computed is the same up to rounding (Hochreiter and Schmidhuber, 1997; Cho et al., 2014, as cuDNN has it: the reset gate
after the product).

Time comes first here, (steps, batch, ...); gates lie side by side in the last axis, in the order of Keras.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import keras
import tensorflow as tf

from pipeline.training.fused_normalization import layers_within

Tensor = Any
Function = Callable[..., Any]


@dataclass(frozen=True)
class _Cell:
    """The sums of one step.

    Attributes:
        num_states: How many states a step hands on, each (batch, units); the first is the answer.
        num_projected: How many gradients of (batch, gates) `backwards` gives, 1 or 2.
        forwards: (projected input, projected state, states before) to (states after, factors for the way back).
        backwards: (factors, gradients of the states after) to (gradients of the projected input and of the projected
            state, one where they are equal; gradients of the states before but for the way through the kernel).
    """

    num_states: int
    num_projected: int
    forwards: Callable[[Tensor, Tensor, list[Tensor]], tuple[list[Tensor], list[Tensor]]]
    backwards: Callable[[list[Tensor], list[Tensor]], tuple[list[Tensor], list[Tensor]]]


def _simple_forwards(inputs: Tensor, state: Tensor, _: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    hidden = tf.tanh(inputs + state)
    return [hidden], [1 - hidden * hidden]


def _simple_backwards(factors: list[Tensor], gradients: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    return [gradients[0] * factors[0]], [tf.zeros_like(gradients[0])]


def _lstm_forwards(inputs: Tensor, state: Tensor, before: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    enter, forget, new, leave = tf.split(inputs + state, 4, axis=1)
    enter, forget, new, leave = tf.sigmoid(enter), tf.sigmoid(forget), tf.tanh(new), tf.sigmoid(leave)
    carried = forget * before[1] + enter * new
    shown = tf.tanh(carried)
    factors = [
        new * enter * (1 - enter),
        before[1] * forget * (1 - forget),
        enter * (1 - new * new),
        shown * leave * (1 - leave),
        leave * (1 - shown * shown),
        forget,
    ]
    return [leave * shown, carried], factors


def _lstm_backwards(factors: list[Tensor], gradients: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    enter, forget, new, leave, shown, kept = factors
    hidden, carried = gradients
    carried += hidden * shown
    projected = tf.concat([carried * enter, carried * forget, carried * new, hidden * leave], axis=1)
    return [projected], [tf.zeros_like(hidden), carried * kept]


def _gru_forwards(inputs: Tensor, state: Tensor, before: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    update_in, reset_in, new_in = tf.split(inputs, 3, axis=1)
    update_on, reset_on, new_on = tf.split(state, 3, axis=1)
    update, reset = tf.sigmoid(update_in + update_on), tf.sigmoid(reset_in + reset_on)
    new = tf.tanh(new_in + reset * new_on)
    factors = [
        (before[0] - new) * update * (1 - update),
        (1 - update) * (1 - new * new),
        new_on * reset * (1 - reset),
        reset,
        update,
    ]
    return [update * before[0] + (1 - update) * new], factors


def _gru_backwards(factors: list[Tensor], gradients: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    update, new, reset, shown, kept = factors
    to_update, to_new = gradients[0] * update, gradients[0] * new
    to_reset = to_new * reset
    to_input = tf.concat([to_update, to_reset, to_new], axis=1)
    to_state = tf.concat([to_update, to_reset, to_new * shown], axis=1)
    return [to_input, to_state], [gradients[0] * kept]


_CELLS = {
    keras.layers.SimpleRNN: _Cell(1, 1, _simple_forwards, _simple_backwards),
    keras.layers.LSTM: _Cell(2, 1, _lstm_forwards, _lstm_backwards),
    keras.layers.GRU: _Cell(1, 2, _gru_forwards, _gru_backwards),
}


@cache
def _loops(cell: _Cell) -> tuple[Function, Function]:
    """Return the two loops of a kind of layer, compiled anew for each shape they meet."""

    def forwards(
        inputs: Tensor, kernel: Tensor, bias: Tensor | None, present: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the first state after each step, (steps, batch, units), and the factors of each, side by side."""
        steps, batch, units = inputs.shape[0], tf.shape(inputs)[1], kernel.shape[0]

        def body(step: Tensor, states: list[Tensor], hidden: Tensor, factors: Tensor) -> tuple[Tensor, ...]:
            state = tf.matmul(states[0], kernel)
            found, saved = cell.forwards(inputs[step], state if bias is None else state + bias, states)
            if present is not None:
                found = [tf.where(present[step], new, old) for new, old in zip(found, states, strict=True)]
            return (
                step + 1,
                found,
                hidden.write(step, found[0]),
                factors.write(step, tf.concat(saved, axis=1)),
            )

        start = [tf.zeros((batch, units))] * cell.num_states
        hidden, factors = (tf.TensorArray(tf.float32, steps) for _ in range(2))
        _, _, hidden, factors = tf.while_loop(
            lambda step, *_: step < steps, body, [0, start, hidden, factors], maximum_iterations=steps
        )
        return hidden.stack(), factors.stack()

    def backwards(kernel: Tensor, present: Tensor | None, gradient: Tensor, factors: Tensor) -> list[Tensor]:
        """Return the gradients of what is projected, of all steps."""
        steps, batch, units = factors.shape[0], tf.shape(factors)[1], kernel.shape[0]
        turned = tf.transpose(kernel)

        def body(left: Tensor, gradients: list[Tensor], arrays: list[Tensor]) -> tuple[Tensor, ...]:
            step = left - 1
            gradients = [gradients[0] + gradient[step], *gradients[1:]]
            saved = tf.split(factors[step], factors.shape[2] // units, axis=1)
            projected, handed = cell.backwards(saved, gradients)
            if present is not None:
                here = present[step]
                projected = [tf.where(here, value, 0.0) for value in projected]
                handed = [tf.where(here, new, old) for new, old in zip(handed, gradients, strict=True)]
            handed = [handed[0] + tf.matmul(projected[-1], turned), *handed[1:]]
            arrays = [array.write(step, value) for array, value in zip(arrays, projected, strict=True)]
            return step, handed, arrays

        start = [tf.zeros((batch, units))] * cell.num_states
        arrays = [tf.TensorArray(tf.float32, steps) for _ in range(cell.num_projected)]
        _, _, arrays = tf.while_loop(
            lambda left, *_: left > 0, body, [steps, start, arrays], maximum_iterations=steps
        )
        return [array.stack() for array in arrays]

    compiled = partial(tf.function, jit_compile=True, autograph=False)
    return compiled(forwards), compiled(backwards)


def fuse_recurrence(model: keras.Model) -> None:
    """Let the recurrent layers of a model run in two compiled loops in training; decision 43 says what that brings.

    Args:
        model: Built; its training is traced afterwards.
    """
    if tf.config.list_logical_devices("GPU"):
        return  # Keras hands a layer to cuDNN as a whole there.
    for layer in layers_within(model):
        if type(layer) in _CELLS and _is_plain(layer):
            layer.call = partial(_recurred, layer)


def _is_plain(layer: keras.layers.Layer) -> bool:
    """Say whether a layer does nothing that `_CELLS` knows nothing of."""
    cell = layer.cell
    return (
        layer.compute_dtype == "float32"
        and cell.activation is keras.activations.tanh
        and getattr(cell, "recurrent_activation", keras.activations.sigmoid) is keras.activations.sigmoid
        and getattr(cell, "reset_after", True)
        and cell.use_bias
        and not (cell.dropout or cell.recurrent_dropout)
        and not (layer.stateful or layer.unroll or layer.return_state)
        and (layer.return_sequences or not layer.zero_output_for_mask)
    )


def _recurred(
    layer: keras.layers.Layer,
    sequences: Tensor,
    initial_state: Any = None,
    mask: Tensor | None = None,
    training: bool = False,
) -> Tensor:
    if not training or initial_state is not None or sequences.shape[1] is None:
        return type(layer).call(layer, sequences, initial_state=initial_state, mask=mask, training=training)
    if layer.go_backwards:
        sequences = tf.reverse(sequences, [1])
        mask = None if mask is None else tf.reverse(mask, [1])
    weights = [
        tf.convert_to_tensor(one.value)
        for one in (layer.cell.kernel, layer.cell.recurrent_kernel, layer.cell.bias)
    ]
    present = None if mask is None else tf.transpose(tf.cast(mask, tf.bool))[:, :, None]
    states = _states(_loops(_CELLS[type(layer)]), tf.transpose(sequences, [1, 0, 2]), weights, present)
    if not layer.return_sequences:
        return states[-1]
    if layer.zero_output_for_mask and present is not None:
        states = tf.where(present, states, 0.0)
    return tf.transpose(states, [1, 0, 2])


def _states(
    loops: tuple[Function, Function], sequences: Tensor, weights: list[Tensor], present: Tensor | None
) -> Tensor:
    """Return the state after each step, shape (steps, batch, units), with its gradient."""
    forwards, backwards = loops
    steps, width = sequences.shape[0], sequences.shape[2]
    of_state = None if weights[-1].shape.rank == 1 else weights[-1][1]

    def states(sequences: Tensor, kernel: Tensor, recurrent_kernel: Tensor, bias: Tensor) -> Any:
        flat = tf.reshape(sequences, [-1, width])
        projected = tf.nn.bias_add(tf.matmul(flat, kernel), bias if of_state is None else bias[0])
        projected = tf.reshape(projected, [steps, -1, kernel.shape[1]])
        hidden, factors = forwards(projected, recurrent_kernel, of_state, present)

        def gradients(upstream: Tensor) -> tuple[Tensor, ...]:
            found = backwards(recurrent_kernel, present, upstream, factors)
            to_input, to_state = (tf.reshape(one, [-1, kernel.shape[1]]) for one in (found[0], found[-1]))
            # The state before the first step is 0.
            before = tf.reshape(hidden[:-1], [-1, recurrent_kernel.shape[0]])
            later = to_state[tf.shape(upstream)[1] :]
            to_bias = tf.reduce_sum(to_input, axis=0)
            return (
                tf.reshape(tf.matmul(to_input, kernel, transpose_b=True), tf.shape(sequences)),
                tf.matmul(flat, to_input, transpose_a=True),
                tf.matmul(before, later, transpose_a=True),
                to_bias if of_state is None else tf.stack([to_bias, tf.reduce_sum(to_state, axis=0)]),
            )

        return hidden, gradients

    return tf.custom_gradient(states)(sequences, *weights)
