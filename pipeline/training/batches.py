"""Batches whose content follows from (seed, epoch, batch index) alone.

Arrays handed straight to `fit(shuffle=True)` repeat one permutation each epoch once the seed is set; an order
kept in the state of an iterator is lost in a crash. A pure function has neither problem, and any batch
can be made again by hand.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pipeline.inputs.arrays import Arrays, Inputs, reconstruction_targets, require_finite, take, take_targets

VAL_BATCH_SIZE = 512
"""Nothing is learned from validation batches, so they are as large as pays."""
Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def passes_per_epoch(num_rows: int, *, batch_size: int, epochs: int, min_steps: int) -> int:
    """Return how often an epoch goes through the training rows, so that all epochs have `min_steps` steps or more.

    Where data is small an epoch is a few steps; one that passes over it several times keeps whatever is counted in
    epochs (schedule, patience, rungs of a search, validation and checkpoints) at a length that means something.

    Args:
        num_rows: Training rows.
        batch_size: Samples per step.
        epochs: Epochs of the whole training, 1 or more.
        min_steps: Steps wanted in all; 0 for one pass each.
    """
    return max(1, math.ceil(min_steps / (epochs * math.ceil(num_rows / batch_size))))


def steps_per_epoch(num_rows: int, training: Mapping[str, Any]) -> int:
    """Return how many steps an epoch of a training has; arguments as for `passes_of`."""
    return int(passes_of(num_rows, training) * math.ceil(num_rows / training["batch_size"]))


def passes_of(num_rows: int, training: Mapping[str, Any]) -> int:
    """Return how often an epoch of a training goes through its rows.

    Args:
        num_rows: Training rows.
        training: The keys of `training` in params.yaml.
    """
    epochs, least = training["epochs"], training.get("min_steps", 0)
    if not epochs:
        return 1
    return passes_per_epoch(num_rows, batch_size=training["batch_size"], epochs=epochs, min_steps=least)


class BatchedData:
    """Some rows of an array, cut into batches; each epoch in another order where `shuffle` is on.

    Args:
        inputs: All samples, `(num_samples, ...)`; uint8 images (NHWC) or float32 vectors, or samples that
            are made on demand. May be a memmap: only the rows of one batch are read at a time.
        rows: Which samples belong to this set, index array `(num_rows,)`.
        targets: Per sample of `inputs` a class index `(num_samples,)`, 0 or 1 per label `(num_samples, num_labels)`
            uint8, or float32 numbers `(num_samples, num_targets)`; only those of `rows` are used. None: the
            inputs know their own.
        reconstruct: The target is the main input itself as float32; of images in [0, 1].
        batch_size: Samples per batch; the last batch of an epoch may be smaller.
        seed: Order and augmentation follow from it and the epoch.
        shuffle: Another order each epoch (training), or the order of `rows` (validation).
        augmentation: Change of a batch of images, drawn anew each epoch; None for none.
        passes: How often an epoch goes through the rows, each time in another order.
        rank: Which of `num_ranks` this one is, from 0: it gets every `num_ranks`-th row of each batch.
        num_ranks: Processes that share each batch.

    Raises:
        ValueError: There are no rows, or an input that is used is not a finite number.
    """

    def __init__(
        self,
        inputs: Inputs,
        rows: np.ndarray,
        targets: np.ndarray | None,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
        augmentation: Augmentation | None = None,
        passes: int = 1,
        reconstruct: bool = False,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        if len(rows) == 0:
            raise ValueError("A data set without rows. Expected at least one sample. Received: rows=[].")
        self.inputs = inputs
        self.rows = np.asarray(rows, dtype=np.int64)
        integer = targets is not None and targets.ndim == 1 and np.issubdtype(targets.dtype, np.integer)
        self.targets = targets.astype(np.int32) if targets is not None and integer else targets
        self.reconstruct = reconstruct
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.augmentation = augmentation
        self.passes = passes
        self.rank = rank
        self.num_ranks = num_ranks
        self._order: tuple[int, np.ndarray] = (-1, self.rows)
        require_finite(inputs, self.rows)

    @property
    def num_batches(self) -> int:
        """Return how many batches one epoch has."""
        return self.passes * self._batches_per_pass

    @property
    def _batches_per_pass(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def rows_of_rank(self) -> tuple[np.ndarray, np.ndarray]:
        """Return how many rows each batch of a pass has, and how many of them are this rank's, int64 (num_batches,)."""
        starts = np.arange(self._batches_per_pass) * self.batch_size
        sizes = np.minimum(self.batch_size, len(self.rows) - starts)
        return sizes, (sizes - self.rank + self.num_ranks - 1) // self.num_ranks

    def order(self, number: int) -> np.ndarray:
        """Return the rows in the order of that pass (counted from 0 over all epochs), shape `(num_rows,)`."""
        if not self.shuffle:
            return self.rows
        if self._order[0] != number:
            generator = np.random.default_rng([self.seed, number])
            self._order = (number, generator.permutation(self.rows))
        return self._order[1]

    def batch(self, epoch: int, index: int) -> tuple[Arrays, np.ndarray]:
        """Return inputs and targets of one batch.

        Args:
            epoch: Counted from 0.
            index: Of the batch within the epoch, counted from 0.

        Returns:
            Inputs as stored (uint8 or float32), and targets: int32 `(batch,)`, uint8 `(batch, num_labels)`, or float32.

        Raises:
            ValueError: A number that was made on demand is not finite.
        """
        earlier, index = divmod(index, self._batches_per_pass)
        number = epoch * self.passes + earlier
        rows = self.order(number)[index * self.batch_size : (index + 1) * self.batch_size]
        # Sorted rows read a memory-mapped file in one direction; within a batch the order carries no meaning.
        rows = np.sort(rows) if self.shuffle else rows
        # A last batch may have fewer rows than there are ranks. No network takes a batch of none: a rank without a row
        # gets one that counts for nothing.
        rows = rows[self.rank :: self.num_ranks] if self.rank < len(rows) else rows[:1]
        inputs = take(self.inputs, rows)
        if self.augmentation is not None and isinstance(inputs, np.ndarray):
            # index + 1, because NumPy seeds [a, b] and [a, b, 0] alike; so rank 0 draws as one process alone.
            drawn = np.random.default_rng([self.seed, number, index + 1, self.rank])
            inputs = self.augmentation(inputs, drawn)
        if self.reconstruct:
            return inputs, reconstruction_targets(inputs)
        return inputs, take_targets(self.inputs, self.targets, rows)


# --- Random changes of training images: pure functions of images and a random generator.
#
# All take uint8 images `(batch, height, width, channels)`, return a new array of the same shape, and leave
# the original alone. Every sample is changed on its own.


def create_augmentation(*, flip: bool, shift_px: int, cutout_px: int) -> Augmentation | None:
    """Return the changes switched on, one after the other, or None where there are none.

    Args:
        flip: Mirror left and right, every other time.
        shift_px: Shift by up to so many pixels in each direction.
        cutout_px: Side of a square set to black.
    """
    if not (flip or shift_px or cutout_px):
        return None

    def augment(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        if flip:
            images = flip_horizontally(images, generator)
        if shift_px:
            images = shift(images, generator, shift_px)
        if cutout_px:
            images = cutout(images, generator, cutout_px)
        return images

    return augment


def flip_horizontally(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Mirror each image left and right with probability one half."""
    mirrored = generator.random(len(images)) < 0.5
    return np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)


def shift(images: np.ndarray, generator: np.random.Generator, pixels: int) -> np.ndarray:
    """Move each image by -pixels to +pixels in both directions; what comes in is black."""
    count, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)))
    corner = generator.integers(0, 2 * pixels + 1, (2, count))
    # A window over every possible corner is a view; picking one per image copies each pixel once.
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    picked = windows[np.arange(count), corner[0], corner[1]]  # (batch, channels, height, width)
    return np.ascontiguousarray(np.moveaxis(picked, 1, 3))


def cutout(images: np.ndarray, generator: np.random.Generator, side: int) -> np.ndarray:
    """Set a square of the given side, centred anywhere on the image, to black (DeVries and Taylor, 2017)."""
    count, height, width, _ = images.shape
    in_rows = _square(generator.integers(0, height, (count,)), side, height)[:, :, None]
    in_columns = _square(generator.integers(0, width, (count,)), side, width)[:, None, :]
    return np.where((in_rows & in_columns)[..., None], np.uint8(0), images)


def _square(centre: np.ndarray, side: int, size: int) -> np.ndarray:
    """Return which of `size` positions lie within `side` positions around the centre, `(batch, size)`."""
    distance: np.ndarray = np.arange(size) - (centre - side // 2)[:, None]
    return np.asarray((distance >= 0) & (distance < side))
