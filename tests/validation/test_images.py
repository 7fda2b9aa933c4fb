"""Statistics of single images and the checks on the payload as a whole."""

import numpy as np
import pytest

from pipeline.validation import images as validation_images
from pipeline.validation.images import image_statistics, payload_problems


def random_images(num_images, shape, seed=0):
    """Return random pixels of the given shape."""
    return np.random.default_rng(seed).integers(0, 256, (num_images, *shape), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(8, 8, 1), (5, 7, 3)])
def test_moments_agree_with_numpy(shape):
    """Mean, deviation, minimum and maximum are what NumPy computes over each image."""
    images = random_images(50, shape)
    flat = images.reshape(50, -1) / 255
    found = image_statistics(images)
    np.testing.assert_allclose(flat.mean(axis=1), found["mean"], atol=1e-6)
    np.testing.assert_allclose(flat.std(axis=1), found["standard_deviation"], atol=1e-6)
    np.testing.assert_allclose(flat.min(axis=1), found["minimum"], atol=1e-6)
    np.testing.assert_allclose(flat.max(axis=1), found["maximum"], atol=1e-6)


def test_a_hand_worked_image():
    """Four pixels 0, 0, 255, 51: shares of a half and a quarter, entropy of 1.5 bits."""
    images = np.array([0, 0, 255, 51], dtype=np.uint8).reshape(1, 2, 2, 1)
    found = {name: values[0] for name, values in image_statistics(images).items()}
    assert found["mean"] == 0.3
    assert found["black_share"] == 0.5
    assert found["white_share"] == 0.25
    assert found["entropy_bits"] == 1.5


def test_a_blank_image_has_no_deviation_and_no_entropy():
    """A constant image has exactly 0 contrast, whatever its value."""
    images = np.full((3, 4, 4, 3), 77, dtype=np.uint8)
    found = image_statistics(images)
    assert found["standard_deviation"].tolist() == [0, 0, 0]
    assert found["entropy_bits"].tolist() == [0, 0, 0]
    assert not np.signbit(found["entropy_bits"]).any()


def test_chunks_change_nothing(monkeypatch):
    """The size of a chunk shows neither in values nor in their number."""
    images = random_images(23, (6, 6, 1))
    whole = image_statistics(images)
    monkeypatch.setattr(validation_images, "CHUNK_PIXELS", 5 * 36)
    for name, values in image_statistics(images).items():
        np.testing.assert_array_equal(whole[name], values)


def test_no_images_give_empty_statistics():
    """An empty stack has statistics of length 0, under the same names."""
    found = image_statistics(np.empty((0, 4, 4, 1), dtype=np.uint8))
    assert {"mean", "entropy_bits"} < set(found)
    assert all(len(values) == 0 for values in found.values())


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((3, 4, 4, 1), dtype=np.float32),
        np.full((3, 4, 4, 1), np.nan),
        np.zeros((3, 4, 4), dtype=np.uint8),
        np.zeros((3, 4, 4, 2), dtype=np.uint8),
        np.zeros((0, 4, 4, 1), dtype=np.uint8),
        np.zeros((3, 0, 4, 1), dtype=np.uint8),
    ],
)
def test_a_payload_that_is_no_stack_of_images_is_named(images):
    """Wrong type (NaN needs floats), number of axes or channels, and empty payloads are problems."""
    (problem,) = payload_problems(images, np.arange(len(images)))
    assert "not a stack of images" in problem
    assert str(images.shape) in problem


@pytest.mark.parametrize("rows", [[0, 1], [0, 1, 1], [0, 1, 3], [0, 1, 2, 3]])
def test_rows_that_do_not_fit_the_payload_are_named(rows):
    """Missing, repeated and foreign rows are problems."""
    (problem,) = payload_problems(np.zeros((3, 4, 4, 1), dtype=np.uint8), np.array(rows))
    assert "disagree" in problem


def test_a_sound_payload_has_no_problem():
    """Rows may come in any order."""
    assert payload_problems(np.zeros((3, 4, 4, 1), dtype=np.uint8), np.array([2, 0, 1])) == []
