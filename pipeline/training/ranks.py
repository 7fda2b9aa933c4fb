"""What the processes of one training tell each other: gradients each step, and each epoch what else must be alike.

Every rank has the whole model and some rows of each batch. They speak over pairs of sockets that their parent made and
no other process can reach, rank 0 in the middle: sums are made there, in the order of the ranks, so that all of them go
on with the same bits. TensorFlow's own collectives open a port to every network (docs/decisions/0038).
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import numpy as np

from pipeline.runtime.errors import UserError

SEEDS = "seed_generator_state"
"""Keras' name for the variable [seed, number of draws] behind dropout and its like."""
Told = TypeVar("Told")


class RanksDiffer(UserError):
    """What must be alike in all processes of a training is not."""

    exit_code = 74
    meaning = "workers differ"


class Ranks:
    """One of the processes of a training, and its way to the others.

    Args:
        rank: Its number, from 0.
        size: How many there are.
        connections: Of rank 0 one to each of the others, in their order; of these the one to rank 0.

    Attributes:
        lost: The rank that did not answer any more; None while all of them do.
    """

    def __init__(self, rank: int, size: int, connections: Sequence[Connection]) -> None:
        self.rank = rank
        self.size = size
        self.connections = list(connections)
        self.lost: int | None = None
        self._shares = np.ones(1, np.float32)
        self._rows = 1

    def deal(self, sizes: np.ndarray, own: np.ndarray) -> None:
        """Note how many rows each batch has and how many are this rank's: its gradients and losses count as much."""
        self._shares = (own / sizes).astype(np.float32)
        self._rows = int(own.sum())

    # --- Two ways to speak, both the same call at every rank: whoever is alone in it waits for the others.

    def told(self, word: Told) -> list[Told]:
        """Return what each rank said, in their order, at every rank.

        Raises:
            EOFError, OSError: Of the connection; a rank is gone, see `lost`.
        """
        if self.rank:
            self._on(0, self.connections[0].send, word)
            words: list[Told] = self._on(0, self.connections[0].recv)
            return words
        words = [word, *(self._on(rank, pipe.recv) for rank, pipe in self._others())]
        for rank, pipe in self._others():
            self._on(rank, pipe.send, words)
        return words

    def total(self, numbers: np.ndarray) -> np.ndarray:
        """Return the sum over all ranks of an array, added up in their order, at every rank.

        Raises:
            EOFError, OSError: Of the connection; a rank is gone, see `lost`.
        """
        received = np.empty_like(numbers)
        if self.rank:
            self._on(0, self.connections[0].send_bytes, _bytes(numbers))
            self._on(0, self.connections[0].recv_bytes_into, _bytes(received))
            return received
        result = numbers.copy()
        for rank, pipe in self._others():
            self._on(rank, pipe.recv_bytes_into, _bytes(received))
            result += received
        for rank, pipe in self._others():
            self._on(rank, pipe.send_bytes, _bytes(result))
        return result

    def _others(self) -> list[tuple[int, Connection]]:
        return list(enumerate(self.connections, start=1))

    def _on(self, rank: int, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except (EOFError, OSError):
            self.lost = rank
            raise

    # --- What a training says with them.

    def mean_gradients(self, gradients: list[Any], step: Any) -> list[Any]:
        """Return the gradients of the whole batch, at every rank: the mean of those of the ranks, weighted by rows.

        Args:
            gradients: Tensors, of the mean loss of this rank's rows.
            step: Steps done before, int64 tensor; tells the last and smaller batch of a pass.
        """
        import tensorflow as tf

        # Those of embeddings come as rows and their numbers.
        dense = [tf.convert_to_tensor(gradient) for gradient in gradients]
        flat = tf.concat([tf.reshape(gradient, [-1]) for gradient in dense], 0)
        mean = tf.numpy_function(self._mean, [flat, tf.convert_to_tensor(step)], flat.dtype)
        parts = tf.split(
            tf.ensure_shape(mean, flat.shape), [gradient.shape.num_elements() for gradient in dense]
        )
        return [tf.reshape(part, gradient.shape) for part, gradient in zip(parts, dense, strict=True)]

    def _mean(self, gradient: np.ndarray, step: np.ndarray) -> np.ndarray:
        return self.total(gradient * self._shares[int(step) % len(self._shares)])

    def begin_alike(self, model: Any, epoch: int, where: str) -> None:
        """Refuse ranks that begin at different epochs or with different weights, then let each draw its own numbers.

        Args:
            model: Compiled.
            epoch: Completed ones.
            where: The file that all have read, for the message.

        Raises:
            RanksDiffer: They do, at every rank.
        """
        told = self.told((epoch, _digests([*model.variables, *model.optimizer.variables])))
        epochs = [epoch for epoch, _ in told]
        if len(set(epochs)) > 1:
            received = ", ".join(f"rank {rank} at epoch {epoch}" for rank, epoch in enumerate(epochs))
        elif any(digests != told[0][1] for _, digests in told):
            received = f"the same epoch {epoch} with different weights"
        else:
            self._draw_apart(model)
            return
        raise RanksDiffer(
            f"The workers of one training do not begin alike. Expected one checkpoint, read by all. Received: "
            f"{received}, of {where}. Remove that folder, and run the same command again: the training starts over."
        )

    def _draw_apart(self, model: Any) -> None:
        """Fold the rank into the seeds: the same dropout of other rows would be no dropout of the whole batch."""
        for variable in model.variables if self.rank else ():
            if variable.name == SEEDS:
                seed, drawn = variable.value.numpy()
                apart = np.random.SeedSequence([int(seed), self.rank]).generate_state(1)[0] >> 1
                variable.assign(np.array([apart, drawn], variable.dtype))

    def settle(self, model: Any) -> None:
        """Average what layers keep of the rows they saw (moving averages of a normalisation).

        Raises:
            RanksDiffer: The weights themselves are not the same bits at all ranks.
        """
        kept = [variable for variable in model.non_trainable_variables if "float" in str(variable.dtype)]
        learned = [*model.trainable_variables, *model.optimizer.variables]
        told = self.told((_digests(learned), _digests(kept)))
        if any(digests != told[0][0] for digests, _ in told):
            different = len({json.dumps(digests) for digests, _ in told})
            raise RanksDiffer(
                "The workers of one training went apart. Expected the same weights, bit for bit, at all of them. "
                f"Received: {different} different ones. Set training.workers: 1 and report it: the machine calculates "
                "wrongly, or this is a bug."
            )
        for variable, digests in zip(kept, zip(*(kept for _, kept in told), strict=True), strict=True):
            # Those that are alike are what a layer was given (frozen vectors, scales): not one bit of them moves.
            if len(set(digests)) > 1:
                own = variable.value.numpy()
                variable.assign((self.total(own.astype(np.float64)) / self.size).astype(own.dtype))

    def mean_logs(self, logs: dict[str, float]) -> dict[str, float]:
        """Return the metrics of all rows that train; others pass through.

        Args:
            logs: Of an epoch; those of validation are rank 0's alone.
        """
        own = {name: value for name, value in logs.items() if not name.startswith("val_")}
        told = self.told((self._rows, own))
        rows = [count for count, _ in told]
        means = {name: float(np.average([each[name] for _, each in told], weights=rows)) for name in own}
        return logs | means


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _digests(variables: Sequence[Any]) -> list[str]:
    """Return a sha256 per Keras variable."""
    return [hashlib.sha256(variable.value.numpy().tobytes()).hexdigest() for variable in variables]
