"""Epochs in a few calls of TensorFlow, to the bits of Keras' own `fit`.

A call runs many steps over batches that NumPy has made, and the next batches are made meanwhile. Keras goes back to
Python between steps or hands each batch through a data set of its own: where networks are small, most of a training was
that and no arithmetic, and each training traced its steps anew (figures in docs/log.md).
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from pipeline.training.batches import BatchedData

if TYPE_CHECKING:
    import tensorflow as tf

MAX_STEPS = 64
"""Of one call; more save nothing."""
CALL_SECONDS = 1.0
"""Of one call, or a single step: for so long nobody hears a signal."""
MAX_BYTES = 1 << 24
"""Of the batches of one call, or a single one; those of the next call are in memory beside them."""
MAKING_SECONDS = 0.005
"""For so long a call waits for its batches at the beginning of an epoch, where none could be made meanwhile."""

Loop = Callable[[list[np.ndarray], np.ndarray], None]
Step = Callable[[Any], Any]
Make = Callable[[int], Any]
"""Returns a batch of an epoch by its index."""


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
    paces = {"train_step": _Pace(), "test_step": _Pace()}
    measured = _remembered(val) if val is not None else None
    with ThreadPoolExecutor(1) as ahead:

        def run(name: str, made: Make, num_batches: int) -> dict[str, float]:
            return _run(model, name, _parts(made, num_batches, ahead, paces[name]), loops, paces[name])

        for epoch in range(initial_epoch, epochs):
            callback.on_epoch_begin(epoch)
            logs = run("train_step", partial(train.batch, epoch), train.num_batches)
            if val is not None and measured is not None:
                callback.on_test_begin()
                scores = run("test_step", measured, val.num_batches)
                callback.on_test_end(scores)
                logs |= {f"val_{name}": value for name, value in scores.items()}
            callback.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
    model.optimizer.finalize_variable_values(model.trainable_weights)


def _remembered(val: BatchedData) -> Make:
    """Return what makes a batch of validation, once for all epochs where all of them are small."""
    made = partial(val.batch, 0)
    remembered = cache(made)
    return remembered if val.num_batches * _num_bytes(remembered(0)) <= MAX_BYTES else made


@dataclass
class _Pace:
    """How many batches a call takes: one at first, which traces, then two, then what `CALL_SECONDS` hold.

    No bit depends on it.
    """

    steps: int = 1
    num_calls: int = 0

    def ended(self, steps: int, seconds: float) -> None:
        """Hear how long a call took."""
        self.num_calls += 1
        fitting = steps * CALL_SECONDS / max(seconds, 1e-9)
        self.steps = 2 if self.num_calls == 1 else int(max(1, min(fitting, MAX_STEPS)))


@dataclass(frozen=True)
class _Part:
    """Batches of an epoch behind each other: batch i is rows `bounds[i]` to `bounds[i + 1]` of each array."""

    example: Any
    arrays: list[np.ndarray]
    bounds: np.ndarray


def _parts(made: Make, num_batches: int, ahead: ThreadPoolExecutor, pace: _Pace) -> Iterator[_Part]:
    """Yield the batches of an epoch, so many at a time as one call takes; the next are made while these are used."""
    began = time.perf_counter()
    first = made(0)
    in_time = MAKING_SECONDS / max(time.perf_counter() - began, 1e-9)
    fitting = max(1, MAX_BYTES // _num_bytes(first))

    def part(start: int, stop: int, *before: Any) -> _Part:
        return _together([*before, *(made(index) for index in range(start, min(stop, num_batches)))])

    stop = int(min(pace.steps, fitting, max(1, in_time)))
    coming = part(1, stop, first)
    while stop < num_batches:
        start, stop = stop, stop + min(pace.steps, fitting)
        following = ahead.submit(part, start, stop)
        yield coming
        coming = following.result()
    yield coming


def _together(made: list[Any]) -> _Part:
    flat = [_flat(batch) for batch in made]
    sizes = [len(arrays[0]) for arrays in flat]
    joined = [np.concatenate(arrays) for arrays in zip(*flat, strict=True)] if len(made) > 1 else flat[0]
    return _Part(made[0], joined, np.cumsum([0, *sizes], dtype=np.int32))


def _run(
    model: keras.Model, name: str, parts: Iterator[_Part], loops: dict[str, Loop], pace: _Pace
) -> dict[str, float]:
    """Run a step of the model over all batches, and return its metrics over them."""
    model.reset_metrics()
    for part in parts:
        if name not in loops:
            loops[name] = _loop(getattr(model, name), part.example)
        began = time.perf_counter()
        loops[name](part.arrays, part.bounds)
        pace.ended(len(part.bounds) - 1, time.perf_counter() - began)
    return {metric: float(value) for metric, value in model.get_metrics_result().items()}


def _loop(step: Step, example: Any) -> Loop:
    """Return a function that runs a step over batches; traced once, whatever their sizes."""
    import tensorflow as tf

    # The batch is open: one trace for the last and smaller batch too.
    kinds = [tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in _flat(example)]
    # Of the batch its form alone: the function outlives it.
    form = tf.nest.map_structure(lambda _: 0, example)
    # A function of its own, without XLA, as Keras has it: the same graph gives the same bits.
    one_step = tf.function(step, jit_compile=False, autograph=False)

    def over_batches(arrays: "list[tf.Tensor]", bounds: "tf.Tensor") -> None:
        def body(index: "tf.Tensor") -> "list[tf.Tensor]":
            batch = [array[bounds[index] : bounds[index + 1]] for array in arrays]
            one_step(tf.nest.pack_sequence_as(form, batch))
            return [index + 1]

        tf.while_loop(lambda index: index + 1 < tf.size(bounds), body, [0], parallel_iterations=1)

    loop: Loop = tf.function(
        over_batches, input_signature=[kinds, tf.TensorSpec((None,), tf.int32)], autograph=False
    )
    return loop


def _num_bytes(batch: Any) -> int:
    return sum(array.nbytes for array in _flat(batch))


def _flat(batch: Any) -> list[np.ndarray]:
    import tensorflow as tf

    arrays: list[np.ndarray] = tf.nest.flatten(batch)
    return arrays
