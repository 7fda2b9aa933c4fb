"""Exact copies, near copies and one content under several labels."""

import hashlib

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from pipeline.duplicates import clusters
from pipeline.duplicates import images as duplicates_images
from pipeline.duplicates.images import close_hash_pairs, find_duplicates, near_pairs, perceptual_hashes


def digits():
    """Return the 1,797 digits as uint8, shape (1797, 8, 8, 1)."""
    return np.rint(load_digits().images * 255 / 16).astype(np.uint8)[..., None]


def smooth_images(num_images, side, channels=1, seed=0):
    """Return images with structure: 6 x 6 random pixels enlarged."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (num_images, 6, 6, channels), dtype=np.uint8)
    mode = "L" if channels == 1 else "RGB"
    return np.stack(
        [
            np.asarray(
                Image.fromarray(image[..., 0] if channels == 1 else image).convert(mode).resize((side, side))
            ).reshape(side, side, channels)
            for image in small
        ]
    )


def content_of(images):
    """Return a hash of the pixels of each image."""
    return [hashlib.sha256(image.tobytes()).hexdigest() for image in images]


def bits_apart(first, second):
    """Return in how many bits two hashes differ."""
    return int(first ^ second).bit_count()


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (28, 1), (64, 3), (200, 3)])
def test_hashes_agree_with_imagehash(side, channels):
    """The hash is the one of imagehash, but for bits whose frequency lies next to the median."""
    # Half the contrast: Pillow clips what enlarging throws beyond black and white, which is no part of the hash.
    images = smooth_images(60, side, channels) // 2 + 60
    references = [
        int(str(imagehash.phash(Image.fromarray(image[..., 0] if channels == 1 else image))), 16)
        for image in images
    ]
    distances = [
        bits_apart(reference, int(found))
        for reference, found in zip(references, perceptual_hashes(images), strict=True)
    ]
    assert max(distances) <= 4
    assert np.mean(distances) < 1


def test_hashes_do_not_depend_on_chunks(monkeypatch):
    """Hashing one by one gives the same bits as hashing together."""
    images = smooth_images(20, 16)
    whole = perceptual_hashes(images)
    monkeypatch.setattr(duplicates_images, "CHUNK_VALUES", 1)
    np.testing.assert_array_equal(whole, perceptual_hashes(images))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 2**64 - 1), max_size=12),
    st.integers(0, 2**32 - 1),
    st.integers(0, 16),
)
def test_bucketed_search_finds_what_comparing_all_finds(values, seed, distance):
    """Every pair within the distance is found exactly once, none beyond it."""
    random = np.random.default_rng(seed)
    for value in values[:4]:  # neighbours at chosen distances, which random hashes never are
        flips = random.choice(64, size=random.integers(0, 20), replace=False)
        values = [*values, value ^ sum(1 << int(flip) for flip in flips)]
    expected = {
        (i, j) for j in range(len(values)) for i in range(j) if bits_apart(values[i], values[j]) <= distance
    }
    found = [
        tuple(sorted(pair))
        for pairs in close_hash_pairs(np.array(values, dtype=np.uint64), distance)
        for pair in pairs.tolist()
    ]
    assert len(found) == len(set(found))
    assert expected == set(found)


def test_blocks_change_no_pair(monkeypatch):
    """A crowded bucket is searched in blocks, with the same pairs."""
    hashes = np.array([5] * 30 + [7] * 10, dtype=np.uint64)
    whole = {tuple(sorted(pair)) for pairs in close_hash_pairs(hashes, 0) for pair in pairs.tolist()}
    monkeypatch.setattr(clusters, "CHUNK_VALUES", 7)
    blocks = {tuple(sorted(pair)) for pairs in close_hash_pairs(hashes, 0) for pair in pairs.tolist()}
    assert len(whole) == 30 * 29 // 2 + 10 * 9 // 2
    assert whole == blocks


def test_near_pairs_agree_with_comparing_all_images():
    """Hash and pixel limits together give the pairs that a comparison of all images gives."""
    base = smooth_images(12, 28)
    dimmed = np.clip(base.astype(int) - 2, 0, 255).astype(np.uint8)
    images = np.concatenate([base, dimmed, smooth_images(12, 28, seed=1)])
    hashes = [int(value) for value in perceptual_hashes(images)]
    expected = {
        (i, j)
        for j in range(len(images))
        for i in range(j)
        if bits_apart(hashes[i], hashes[j]) <= 4
        and np.abs(images[i].astype(int) - images[j].astype(int)).mean() / 255 <= 0.01
    }
    found = {tuple(sorted(pair)) for pair in near_pairs(images, np.arange(len(images)), 4, 0.01).tolist()}
    assert len(expected) >= 12
    assert expected == found


def test_like_hashes_with_unlike_pixels_are_no_copies():
    """Two blank images of different brightness share a hash, but are told apart by their pixels."""
    images = np.stack([np.full((8, 8, 1), 10, np.uint8), np.full((8, 8, 1), 200, np.uint8)])
    assert bits_apart(*[int(value) for value in perceptual_hashes(images)]) == 0
    assert len(near_pairs(images, np.arange(2), 4, 0.01)) == 0


def test_fine_differences_are_seen_in_the_pixels():
    """A fine check pattern changes neither hash nor the brightness of any area, but every pixel."""
    plain = smooth_images(1, 32)[0] // 2 + 60
    check = np.where(np.indices((32, 32)).sum(axis=0) % 2, 20, -20)[..., None]
    images = np.stack([plain, (plain + check).astype(np.uint8)])
    assert bits_apart(*[int(value) for value in perceptual_hashes(images)]) <= 4
    assert len(near_pairs(images, np.arange(2), 4, 0.01)) == 0
    assert len(near_pairs(images, np.arange(2), 4, 0.08)) == 1


def test_copies_are_counted_and_named_by_the_smallest_content():
    """Two equal images and a nearly equal one form a cluster; a stranger stays alone."""
    original = smooth_images(1, 28)[0]
    near = np.clip(original.astype(int) + 1, 0, 255).astype(np.uint8)
    stranger = 255 - original
    images = np.stack([original, stranger, near, original])
    content = ["bb", "cc", "aa", "bb"]
    found = find_duplicates(content, images, 4, 0.01)
    assert found.cluster.tolist() == ["aa", "cc", "aa", "aa"]
    assert found.exact_copies.tolist() == [1, 0, 0, 1]
    assert found.near_copies.tolist() == [1, 0, 2, 1]


def test_copies_of_copies_stand_in_one_cluster():
    """Near duplication is passed on: a is near b and b near c, so all three stand together."""
    first = smooth_images(1, 28)[0] // 2 + 60
    images = np.stack([first, first + 2, first + 4])
    pairs = near_pairs(images, np.arange(3), 4, 2 / 255)
    assert {(0, 1), (1, 2)} == {tuple(sorted(pair)) for pair in pairs.tolist()}
    assert len(set(find_duplicates(["a", "b", "c"], images, 4, 2 / 255).cluster)) == 1


def test_the_order_of_rows_does_not_matter():
    """Shuffled samples get the same cluster, each."""
    images = np.concatenate([smooth_images(15, 28), smooth_images(15, 28)])
    images[20] += 1
    content = content_of(images)
    order = np.random.default_rng(3).permutation(30)
    straight = find_duplicates(content, images, 4, 0.01)
    shuffled = find_duplicates([content[place] for place in order], images[order], 4, 0.01)
    assert straight.cluster[order].tolist() == shuffled.cluster.tolist()
    assert straight.near_copies[order].tolist() == shuffled.near_copies.tolist()


def test_default_limits_glue_no_digits_together():
    """The 1,797 digits of 8 x 8 pixels are all different images under the default limits."""
    images = digits()
    found = find_duplicates(content_of(images), images, 4, 0.01)
    assert len(set(found.cluster)) == 1797
    assert found.near_copies.sum() == 0


def test_many_equal_images_cost_no_pairs():
    """Contents are compared, not samples: 3,000 black images are found at once."""
    images = np.zeros((3000, 8, 8, 1), dtype=np.uint8)
    found = find_duplicates(["0" * 64] * 3000, images, 16, 0.5)
    assert found.exact_copies.tolist() == [2999] * 3000
    assert found.near_copies.sum() == 0


def test_no_images_have_no_duplicates():
    """An empty set is fine."""
    found = find_duplicates([], np.empty((0, 8, 8, 1), dtype=np.uint8), 4, 0.01)
    assert len(found.cluster) == 0
