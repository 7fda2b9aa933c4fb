"""Copies that somebody changed are found; symmetric pictures, and others that are only alike, are not."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from sklearn.datasets import load_digits

from pipeline.duplicates import changed
from pipeline.duplicates.changed import changed_pairs, small_greys
from pipeline.duplicates.images import changed_copies, find_duplicates
from tests.helpers.photographs import photographs


def digits():
    """Return the 1,797 digits as uint8, shape (1797, 8, 8, 1)."""
    return np.rint(load_digits().images * 255 / 16).astype(np.uint8)[..., None]


def pillow(change):
    """Return a change of an array that Pillow makes."""
    return lambda image: np.asarray(change(Image.fromarray(image)), np.uint8)


def cropped(share):
    def crop(image):
        width, height = image.size
        box = (width * share, height * share, width * (1 - share), height * (1 - share))
        return image.resize(image.size, Image.Resampling.BILINEAR, box=box)

    return crop


CHANGES = {
    **{f"turned {90 * times}": (lambda image, times=times: np.rot90(image, times)) for times in (1, 2, 3)},
    **{
        f"mirrored and turned {90 * times}": (lambda image, times=times: np.rot90(image[:, ::-1], times))
        for times in range(4)
    },
    "brighter": pillow(lambda image: ImageEnhance.Brightness(image).enhance(1.1)),
    "more contrast": pillow(lambda image: ImageEnhance.Contrast(image).enhance(1.1)),
    "shifted": lambda image: np.roll(image, 1, axis=1),
    "cropped": pillow(cropped(0.02)),
    "cropped more": pillow(cropped(0.03)),
    "mirrored, brighter, cropped": lambda image: CHANGES["brighter"](CHANGES["cropped"](image[:, ::-1])),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_changed_copy_stands_in_the_cluster_of_its_original(name, channels):
    """At least 19 of 20 photographs are recognised, and no two of them are taken for one."""
    originals = photographs(40, 64)
    copies = np.stack([CHANGES[name](image) for image in originals])
    images = np.concatenate([originals, copies])
    images = images if channels == 3 else images[..., :1]
    cluster = find_duplicates([f"{row:03d}" for row in range(80)], images, 4, 0.01).cluster
    assert (cluster[:40] == cluster[40:]).sum() >= 38
    assert len(set(cluster[:40])) == 40


def test_photographs_that_are_only_alike_are_no_copies():
    """The same scene with another thing in it, and the same thing in another colour."""
    scene = photographs(1, 64)[0]
    other, colour = scene.copy(), scene[..., [2, 0, 1]]
    other[20:44, 20:44] = photographs(1, 64, seed=9)[0][20:44, 20:44]
    found = changed_copies(np.stack([scene, other, colour]), np.arange(3), 0.01)
    assert [] == found.tolist()


def test_symmetric_digits_are_no_copies():
    """Among 1,797 digits, with 0 and 8 that are their own mirror images and 6 that is a 9, no pair is a copy."""
    images = digits()
    assert [] == changed_copies(images, np.arange(len(images)), 0.01).tolist()


def test_mirrored_digits_are_found_and_nothing_else():
    """Pictures without details are copies if hardly a pixel differs."""
    images = digits()
    both = np.concatenate([images, images[:300, :, ::-1]])
    pairs = changed_copies(both, np.arange(len(both)), 0.01)
    assert {(row, 1797 + row) for row in range(300)} == set(map(tuple, pairs.tolist()))


def test_blank_images_are_no_copies_of_each_other():
    """A faint shade over a wall of any brightness, two levels from side to side, says nothing of what was photographed."""
    shade = np.rint(np.linspace(0, 2, 64)).astype(np.uint8)
    images = np.stack([np.full((64, 64, 3), 100 + 5 * wall, np.uint8) + shade[:, None] for wall in range(20)])
    assert [] == changed_copies(images, np.arange(20), 0.01).tolist()


def test_the_order_of_images_changes_no_pair():
    """Many equal neighbours compete for few places; all equally near ones are compared."""
    originals = photographs(20, 64)
    images = np.concatenate(
        [originals, originals[:, :, ::-1], originals[:, ::-1], np.roll(originals, 1, axis=1)]
    )
    order = np.random.default_rng(1).permutation(len(images))
    straight = changed_copies(images, np.arange(80), 0.01)
    shuffled = order[changed_copies(images[order], np.arange(80), 0.01)]
    assert set(map(frozenset, straight.tolist())) == set(map(frozenset, shuffled.tolist()))


def test_chunks_change_no_pair(monkeypatch):
    """Images compared one by one give the same pairs as all at once."""
    images = np.concatenate([photographs(10, 64), photographs(10, 64)[:, ::-1]])
    whole = changed_copies(images, np.arange(20), 0.01)
    monkeypatch.setattr(changed, "CHUNK_VALUES", 1)
    np.testing.assert_array_equal(whole, changed_copies(images, np.arange(20), 0.01))


def test_marks_of_candidates_do_not_change_with_a_turn():
    """All eight turns of an image are at a distance of nothing, and therefore candidates."""
    image = photographs(1, 32)[0, ..., 0].astype(float)
    turns = changed._turned(np.repeat(image[None], 8, axis=0), np.arange(8))
    assert len({turn.tobytes() for turn in turns}) == 8
    from pipeline.duplicates.images import _projection

    side = _projection(32)
    low = changed._directions((side @ turns @ side.T).reshape(8, 64))
    pairs = np.array([[0, other] for other in range(8)])
    np.testing.assert_array_equal(np.abs(changed._best_turns(low, pairs)).shape, (8,))
    turned_back = changed._turned(turns, changed._best_turns(low, pairs))
    for turn in turned_back:
        np.testing.assert_array_equal(image, turn)


def test_few_images_have_no_pairs():
    """None, or one alone."""
    images = photographs(1, 64)
    assert changed_copies(images, np.arange(0), 0.01).shape == (0, 2)
    assert changed_pairs(
        images, np.arange(1), np.zeros((1, 64)), small_greys(images[..., 0]), 0.01
    ).shape == (0, 2)
