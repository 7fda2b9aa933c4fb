"""Images that stand in the data more than once: exactly, nearly, or under two labels.

Two images are near duplicates if their 64-bit perceptual hashes differ in few bits and their pixels
differ little on average. The hash alone glues unlike images together (all trousers look alike to it);
pixels alone would mean comparing every image with every other.

Everything that decides here is whole-number arithmetic: the clusters steer the split, and the split must
not depend on a processor or on the order of rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image
from scipy.fft import dct
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

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


@dataclass(frozen=True)
class Duplicates:
    """What stands more than once; all arrays have one entry per sample.

    Attributes:
        cluster: Smallest content hash among all samples connected by exact or near duplication.
        exact_copies: Other samples with the same content.
        near_copies: Other samples of the cluster with another content.
    """

    cluster: np.ndarray
    exact_copies: np.ndarray
    near_copies: np.ndarray


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
    # Contents are compared instead of samples: a thousand black images are one content, not a million pairs.
    # They come sorted, so the first content of a cluster is the smallest.
    contents, first_rows, content_of_row, copies = np.unique(
        np.asarray(content, dtype=np.str_), return_index=True, return_inverse=True, return_counts=True
    )
    pairs = near_pairs(images, first_rows, hash_distance, pixel_difference)
    component, size = _components(pairs, copies)
    smallest = np.full(len(size), len(contents))
    np.minimum.at(smallest, component, np.arange(len(contents)))
    component_of_row = component[content_of_row]
    return Duplicates(
        cluster=contents[smallest[component_of_row]].astype(object),
        exact_copies=copies[content_of_row] - 1,
        near_copies=size[component_of_row] - copies[content_of_row],
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
        for first, second in _same_bucket(hashes & mask):
            differing = hashes[first] ^ hashes[second]
            close = np.bitwise_count(differing) <= distance
            for earlier in masks[:band]:
                close &= (differing & earlier) != 0  # otherwise the earlier band has found it
            yield np.stack([first[close], second[close]], axis=1)


def conflicting_contents(content: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Return the contents that stand under more than one label, sorted."""
    labels_of: dict[str, set[str]] = {}
    for key, label in zip(content, labels, strict=True):
        labels_of.setdefault(key, set()).add(label)
    return sorted(key for key, names in labels_of.items() if len(names) > 1)


def _components(pairs: np.ndarray, copies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the component of each content, and the number of samples in each component."""
    edges = coo_array(
        (np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(len(copies), len(copies))
    )
    number, component = connected_components(edges, directed=False)
    return component, np.bincount(component, weights=copies, minlength=number).astype(np.int64)


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


def _same_bucket(keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield row numbers of all pairs with equal keys, in blocks of limited size."""
    order = np.argsort(keys, kind="stable")
    in_order = keys[order]
    end = np.searchsorted(in_order, in_order, side="right")
    partners = end - np.arange(len(keys)) - 1  # pairs in which a place stands first
    for start, stop in _blocks(partners):
        count = partners[start:stop]
        place = np.repeat(np.arange(start, stop), count)
        offset = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
        yield order[place], order[place + 1 + offset]


def _blocks(sizes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield ranges of places whose sizes add up to about `CHUNK_VALUES`."""
    total = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = total[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(total, before + CHUNK_VALUES, side="right")))
        yield start, stop
        start = stop
