"""Epochs in a few calls of TensorFlow, to the bits of Keras' own `fit`.

A call runs many steps over batches that NumPy has made, and the next batches are made meanwhile. Keras goes back to
Python between steps or hands each batch through a data set of its own: where networks are small, most of a training was
that and no arithmetic, and each training traced its steps anew (figures in docs/log.md).
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from pipeline.training.batches import BatchedData

if TYPE_CHECKING:
    import tensorflow as tf

MAX_STEPS = 64
"""Of one call: for so long nobody hears a signal. More save nothing."""
MAX_BYTES = 1 << 24
"""Of the batches of one call, at least one; those of the next one are in memory beside them."""

Loop = Callable[[list[np.ndarray], np.ndarray], None]
Step = Callable[[Any], Any]


@dataclass
class Traced:
    """A compiled model with its traced functions, for several trainings that differ in their rows alone.

    The first training fills it; each later one is set back to what the first began with.

    Attributes:
        model: None until there is one.
        optimizer: Of the model.
        start: Values of all variables of model and optimizer before the first step.
        loops: Name of a step (`train_step`, `test_step`) to the function that runs it over batches.
    """

    model: keras.Model | None = None
    optimizer: keras.optimizers.Optimizer | None = None
    start: list[np.ndarray] = field(default_factory=list)
    loops: dict[str, Loop] = field(default_factory=dict)

    def set_back(self) -> None:
        """Give all variables of model and optimizer the values they began with."""
        if self.model is None or self.optimizer is None:
            return
        variables = [*self.model.variables, *self.optimizer.variables]
        for variable, value in zip(variables, self.start, strict=True):
            variable.assign(value)


def fit_epochs(
    model: keras.Model,
    train: BatchedData,
    val: BatchedData | None,
    *,
    callback: keras.callbacks.Callback,
    initial_epoch: int,
    epochs: int,
    loops: dict[str, Loop],
) -> None:
    """Do what `model.fit` does with these batches, and end in the same bytes.

    Args:
        model: Compiled.
        train: Batches to learn from.
        val: Batches that are measured after each epoch; None for none.
        callback: Its methods for epochs and tests are called as Keras calls them.
        initial_epoch: The first one, from 0.
        epochs: The one behind the last.
        loops: Functions of this model traced earlier; new ones are left in it.
    """
    model.stop_training = False
    with ThreadPoolExecutor(1) as ahead:
        for epoch in range(initial_epoch, epochs):
            callback.on_epoch_begin(epoch)
            logs = _run(model, "train_step", _parts(train, epoch, ahead), loops)
            if val is not None:
                callback.on_test_begin()
                scores = _run(model, "test_step", _parts(val, 0, ahead), loops)
                callback.on_test_end(scores)
                logs |= {f"val_{name}": value for name, value in scores.items()}
            callback.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
    model.optimizer.finalize_variable_values(model.trainable_weights)


@dataclass(frozen=True)
class _Part:
    """Batches of an epoch behind each other: batch i is rows `bounds[i]` to `bounds[i + 1]` of each array."""

    example: Any
    arrays: list[np.ndarray]
    bounds: np.ndarray


def _parts(data: BatchedData, epoch: int, ahead: ThreadPoolExecutor) -> Iterator[_Part]:
    """Yield the batches of an epoch, so many at a time as one call takes; the next are made while these are used."""
    first = data.batch(epoch, 0)
    steps = max(1, min(MAX_STEPS, MAX_BYTES // sum(array.nbytes for array in _flat(first))))

    def part(start: int, *made: Any) -> _Part:
        stop = min(start + steps, data.num_batches)
        return _together([*made, *(data.batch(epoch, index) for index in range(start + len(made), stop))])

    coming = part(0, first)
    for start in range(steps, data.num_batches, steps):
        following = ahead.submit(part, start)
        yield coming
        coming = following.result()
    yield coming


def _together(made: list[Any]) -> _Part:
    flat = [_flat(batch) for batch in made]
    sizes = [len(arrays[0]) for arrays in flat]
    joined = [np.concatenate(arrays) for arrays in zip(*flat, strict=True)]
    return _Part(made[0], joined, np.cumsum([0, *sizes], dtype=np.int32))


def _run(model: keras.Model, name: str, parts: Iterator[_Part], loops: dict[str, Loop]) -> dict[str, float]:
    """Run a step of the model over all batches, and return its metrics over them."""
    model.reset_metrics()
    for part in parts:
        if name not in loops:
            loops[name] = _loop(getattr(model, name), part.example)
        loops[name](part.arrays, part.bounds)
    return {metric: float(value) for metric, value in model.get_metrics_result().items()}


def _loop(step: Step, example: Any) -> Loop:
    """Return a function that runs a step over batches; traced once, whatever their sizes."""
    import tensorflow as tf

    # The batch is open: one trace for the last and smaller batch too.
    kinds = [tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in _flat(example)]
    # A function of its own, without XLA, as Keras has it: the same graph gives the same bits.
    one_step = tf.function(step, jit_compile=False, autograph=False)

    def over_batches(arrays: "list[tf.Tensor]", bounds: "tf.Tensor") -> None:
        def body(index: "tf.Tensor") -> "list[tf.Tensor]":
            batch = [array[bounds[index] : bounds[index + 1]] for array in arrays]
            one_step(tf.nest.pack_sequence_as(example, batch))
            return [index + 1]

        tf.while_loop(lambda index: index + 1 < tf.size(bounds), body, [0], parallel_iterations=1)

    loop: Loop = tf.function(
        over_batches, input_signature=[kinds, tf.TensorSpec((None,), tf.int32)], autograph=False
    )
    return loop


def _flat(batch: Any) -> list[np.ndarray]:
    import tensorflow as tf

    arrays: list[np.ndarray] = tf.nest.flatten(batch)
    return arrays
