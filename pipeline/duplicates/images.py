"""Images that stand in the data more than once: exactly or nearly.

Two images are near duplicates if their 64-bit perceptual hashes differ in few bits and their pixels
differ little on average. The hash alone glues unlike images together (all trousers look alike to it);
pixels alone would mean comparing every image with every other. Copies that were turned, mirrored, brightened or
cropped have other hashes: `changed.py` finds them.

Everything that decides here is whole-number arithmetic: the clusters steer the split, and the split must
not depend on a processor or on the order of rows.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from PIL import Image
from scipy.fft import dct

from pipeline.duplicates.changed import changed_pairs, small_greys
from pipeline.duplicates.clusters import Duplicates, equal_key_pairs, group_copies

HASH_SIDE = 8
HASH_BITS = HASH_SIDE * HASH_SIDE
RESIZED_SIDE = 32
"""The hash of imagehash.phash: 8 x 8 lowest frequencies of the image shrunk to 32 x 32."""

FIXED_POINT = 1 << 16
"""Scale that makes the projection whole numbers. A frequency stays below 1e14 for images of any size (each row
of the projection adds up to less than 10), so float64 adds them exactly, in any order, on any processor."""

LUMA = np.array([19595, 38470, 7471])
"""Weights of red, green and blue in 65536ths, as Pillow's `convert("L")` has them (ITU-R 601)."""

CHUNK_VALUES = 1 << 22
"""Array elements worked on at once."""

GRID_SIDE = 4


def find_duplicates(
    content: Sequence[str], images: np.ndarray, hash_distance: int, pixel_difference: float
) -> Duplicates:
    """Return copies and clusters of copies.

    Args:
        content: Hash of the canonical pixels of each image.
        images: Pixels, uint8, shape (num_images, height, width, channels); may be memory-mapped.
        hash_distance: Bits of 64 in which the perceptual hashes of near duplicates may differ.
        pixel_difference: Mean absolute difference of their pixels, in [0, 1).
    """

    def pairs(rows: np.ndarray) -> np.ndarray:
        near = near_pairs(images, rows, hash_distance, pixel_difference)
        return np.concatenate([near, changed_copies(images, rows, pixel_difference)])

    return group_copies(content, pairs)


def changed_copies(images: np.ndarray, rows: np.ndarray, pixel_difference: float) -> np.ndarray:
    """Return all pairs of which one is a changed copy of the other, among some rows; see `changed.py`.

    Args:
        images: Pixels, uint8, shape (num_images, height, width, channels); may be memory-mapped.
        rows: The rows to compare, shape (num_rows,).
        pixel_difference: As in `find_duplicates`.

    Returns:
        Positions in `rows`, int64, shape (num_pairs, 2).
    """
    _, height, width, _ = images.shape
    left, right = _projection(height), _projection(width).T
    frequencies, greys = [np.empty((0, HASH_BITS))], [np.empty((0, 1, 1))]
    step = max(1, CHUNK_VALUES // (height * width))
    for start in range(0, len(rows), step):
        grey = _grey(images[rows[start : start + step]])
        frequencies.append((left @ grey @ right).reshape(-1, HASH_BITS))
        greys.append(small_greys(grey))
    if not len(rows):
        return np.empty((0, 2), np.int64)
    return changed_pairs(
        images, rows, np.concatenate(frequencies), np.concatenate(greys[1:]), pixel_difference
    )


def perceptual_hashes(images: np.ndarray) -> np.ndarray:
    """Return the DCT hash of each image: which low frequencies lie above their median.

    The definition of `imagehash.phash`, without rounding and clipping grey levels between two steps:
    shrinking and cosine transform are one small matrix from the left and one from the right.

    Args:
        images: Pixels, uint8, shape (num_images, height, width, channels).

    Returns:
        Hashes, uint64, shape (num_images,); the most significant bit is the mean.
    """
    _, height, width, _ = images.shape
    left, right = _projection(height), _projection(width).T
    hashes = np.empty(len(images), np.uint64)
    step = max(1, CHUNK_VALUES // (height * width))
    for start in range(0, len(images), step):
        frequencies = (left @ _grey(images[start : start + step]) @ right).reshape(-1, HASH_BITS)
        bits = frequencies > np.median(frequencies, axis=1, keepdims=True)
        hashes[start : start + step] = np.packbits(bits, axis=1).view(">u8").ravel()
    return hashes


def near_pairs(
    images: np.ndarray, rows: np.ndarray, hash_distance: int, pixel_difference: float
) -> np.ndarray:
    """Return all pairs of near duplicates among some rows.

    Args:
        images: Pixels, uint8, shape (num_images, height, width, channels); may be memory-mapped.
        rows: The rows to compare, shape (num_rows,).
        hash_distance: Bits of 64 in which the perceptual hashes may differ.
        pixel_difference: Mean absolute difference of the pixels, in [0, 1).

    Returns:
        Positions in `rows`, int64, shape (num_pairs, 2).
    """
    hashes = perceptual_hashes(images)[rows]
    limit = pixel_difference * 255 * int(np.prod(images.shape[1:]))
    grids = _grids(images)[rows]
    found = [np.empty((0, 2), np.int64)]
    for pairs in close_hash_pairs(hashes, hash_distance):
        # The sums of areas differ at most as much as the pixels do: a cheap first look at few numbers.
        likely = pairs[_differences(grids, pairs) <= limit]
        found.append(likely[_differences(images, rows[likely]) <= limit])
    return np.concatenate(found)


def close_hash_pairs(hashes: np.ndarray, distance: int) -> Iterator[np.ndarray]:
    """Yield the pairs of hashes that differ in at most `distance` bits, each pair once.

    The 64 bits are cut into `distance + 1` bands. Two hashes that differ in `distance` bits agree in at
    least one band, so only hashes that share a band are compared.

    Args:
        hashes: uint64, shape (num_hashes,).
        distance: Bits that may differ, 0 to 63.

    Yields:
        Row numbers, int64, shape (num_pairs, 2).
    """
    edges = np.linspace(0, HASH_BITS, distance + 2).astype(int)
    masks = [np.uint64((1 << int(high)) - (1 << int(low))) for low, high in pairwise(edges)]
    for band, mask in enumerate(masks):
        for first, second in equal_key_pairs(hashes & mask):
            differing = hashes[first] ^ hashes[second]
            close = np.bitwise_count(differing) <= distance
            for earlier in masks[:band]:
                close &= (differing & earlier) != 0  # otherwise the earlier band has found it
            yield np.stack([first[close], second[close]], axis=1)


def _projection(length: int) -> np.ndarray:
    """Return the whole-number matrix (8, length) that shrinks to 32 and keeps the 8 lowest frequencies."""
    identity = Image.fromarray(np.eye(length, dtype=np.float32))
    shrink = np.asarray(identity.resize((length, RESIZED_SIDE), Image.Resampling.LANCZOS), dtype=np.float64)
    frequencies = dct(shrink, axis=0, norm="ortho")[:HASH_SIDE]
    # Without the norm's factor of 1/sqrt(2) on the mean, as imagehash computes it.
    frequencies[0] *= np.sqrt(2)
    projection: np.ndarray = np.rint(frequencies * FIXED_POINT)
    return projection


def _grey(images: np.ndarray) -> np.ndarray:
    """Return grey levels 0 to 255 as float64, shape (num_images, height, width)."""
    levels: np.ndarray = images[..., 0] if images.shape[-1] == 1 else (images @ LUMA + (1 << 15)) >> 16
    return levels.astype(np.float64)


def _grids(images: np.ndarray) -> np.ndarray:
    """Return sums over a grid of at most 4 x 4 areas, int64, shape (num_images, areas)."""
    _, height, width, _ = images.shape
    rows = np.unique(np.arange(GRID_SIDE) * height // GRID_SIDE)
    columns = np.unique(np.arange(GRID_SIDE) * width // GRID_SIDE)
    step = max(1, CHUNK_VALUES // int(np.prod(images.shape[1:])))
    sums = []
    for start in range(0, len(images), step):
        flat = images[start : start + step].sum(axis=3, dtype=np.int64)
        areas = np.add.reduceat(np.add.reduceat(flat, rows, axis=1), columns, axis=2)
        sums.append(areas.reshape(len(flat), -1))
    return np.concatenate(sums) if sums else np.empty((0, 1), np.int64)


def _differences(values: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the sum of absolute differences per pair, int64, shape (num_pairs,)."""
    sums = np.empty(len(pairs), np.int64)
    step = max(1, CHUNK_VALUES // max(1, int(np.prod(values.shape[1:]))))
    for start in range(0, len(pairs), step):
        first = values[pairs[start : start + step, 0]]
        second = values[pairs[start : start + step, 1]]
        difference = np.maximum(first, second) - np.minimum(first, second)  # uint8 must not wrap around
        sums[start : start + step] = difference.reshape(len(first), -1).sum(axis=1, dtype=np.int64)
    return sums
