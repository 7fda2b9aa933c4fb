"""`pipeline.training.batches`: each change against a loop over single images."""

import numpy as np
import pytest

from pipeline.training import batches

IMAGES = np.random.default_rng(0).integers(1, 256, (200, 5, 6, 3), dtype=np.uint8)
CHANGES = {
    "flip": batches.flip_horizontally,
    "shift": lambda images, generator: batches.shift(images, generator, 2),
    "cutout": lambda images, generator: batches.cutout(images, generator, 3),
    "all": batches.create_augmentation(flip=True, shift_px=1, cutout_px=2),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_pure_function_of_images_and_generator(change):
    """Equal generators give equal images, others give others; shape, type and the original stay."""
    original = IMAGES.copy()
    one, two = (change(IMAGES, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(original, IMAGES)
    assert (IMAGES.shape, np.uint8) == (one.shape, one.dtype)
    assert not np.array_equal(one, change(IMAGES, np.random.default_rng(4)))


def test_flip_mirrors_about_half():
    """Each image comes back as it is or mirrored, each about half of the time."""
    flipped = batches.flip_horizontally(IMAGES, np.random.default_rng(0))
    mirrored = [np.array_equal(image[:, ::-1], new) for image, new in zip(IMAGES, flipped, strict=True)]
    same = [np.array_equal(image, new) for image, new in zip(IMAGES, flipped, strict=True)]
    assert all(np.logical_xor(mirrored, same))
    assert 70 < sum(mirrored) < 130


def test_shift_moves_and_fills_with_black():
    """Each image is the original moved by -2..2 in both directions; every shift occurs, each image on its own."""
    moved = batches.shift(IMAGES, np.random.default_rng(0), 2)
    found = [_shift_of(image, new) for image, new in zip(IMAGES, moved, strict=True)]
    assert {(down, right) for down in range(-2, 3) for right in range(-2, 3)} == set(found)


def test_cutout_blackens_one_square():
    """What is black is a rectangle of at most 3x3 that touches the border where it is smaller; the rest stays."""
    cut = batches.cutout(IMAGES, np.random.default_rng(0), 3)
    for image, new in zip(IMAGES, cut, strict=True):
        black = (new == 0).all(axis=2)
        rows, columns = np.flatnonzero(black.any(axis=1)), np.flatnonzero(black.any(axis=0))
        assert len(rows) * len(columns) == black.sum()
        assert len(rows) == 3 or rows[0] == 0 or rows[-1] == 4
        assert len(columns) == 3 or columns[0] == 0 or columns[-1] == 5
        np.testing.assert_array_equal(image[~black], new[~black])


def test_nothing_switched_on_is_nothing():
    """Without any change there is no function to call."""
    assert batches.create_augmentation(flip=False, shift_px=0, cutout_px=0) is None


def _shift_of(image, new):
    """Return by how much an image was moved, found by trying."""
    height, width, _ = image.shape
    for down in range(-2, 3):
        for right in range(-2, 3):
            expected = np.zeros_like(image)
            for row in range(height):
                for column in range(width):
                    if 0 <= row - down < height and 0 <= column - right < width:
                        expected[row, column] = image[row - down, column - right]
            if np.array_equal(expected, new):
                return down, right
    raise AssertionError("not a shift")
