"""Random changes of training images: pure functions of images and a random generator.

All take uint8 images `(batch, height, width, channels)`, return a new array of the same shape, and leave the
original alone. Every sample is changed on its own.
"""

import numpy as np

from pipeline.training.batches import Augmentation


def create(*, flip: bool, shift_px: int, cutout_px: int) -> Augmentation | None:
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
