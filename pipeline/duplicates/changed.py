"""Changed copies of images: turned, mirrored, brighter, of another contrast, cropped or shifted a little.

The perceptual hash of `images.py` finds what was stored or resized again. Data sets from the web also hold copies
that somebody made to have more: mirrored, 10 % brighter, cropped by a few per cent. Three steps find them:

1. Candidates: of each image the few whose low frequencies are nearest, as far as no turn and no mirror changes
   these (a mirror changes the sign of every second frequency, a quarter turn exchanges rows and columns).
2. Of the eight turns and mirrors the one under which the low frequencies agree best.
3. The pixels, after the best small shift. Mean and contrast are taken out of the whole: what remains must be
   smaller than `near_pixel_difference`. Or, of images large enough to have details, out of every block of a grid,
   also for slightly enlarged ones: the same edges and folds must be in the same places, in the same colours.

The bounds of step 3 and how often each change is found and strangers are taken for copies: docs/guides/duplicates.md,
measured by benchmarks/changed_copies.py. Pictures too small for details (digits of 8 x 8 pixels, and what is one
letter upside down) are copies only if hardly a pixel differs.

As in `images.py`, what decides is whole numbers and single operations on them, so that no processor decides otherwise.
Which candidates an image has depends on the others, unlike there: of more than a few near ones the nearest count.
"""

from itertools import product

import numpy as np
from PIL import Image

SIDE = 32
"""Pixels of the grey image that is compared, or its own side where that is shorter."""
COARSE_SIDE, COARSE_BLOCK, COARSE_ALIKE = 16, 4, 0.88
BLOCK = 7
ALIKE = 0.93
"""Mean correlation of blocks from which on two images are one: the nearest strangers of clothing-small have 0.80 in the
median, and nine of ten below 0.91; copies cropped by 3 % 0.96 in the median."""
DETAILED_SIDE = {1: 48, 3: 32}
"""Pixels from which on an image of so many channels has details of its own: grey trousers of 28 x 28 pixels are alike
block by block, coloured photographs of 32 x 32 are not."""
SAME_PIXELS = 0.99
"""Squared correlation that pixels must have as well, so that nearly blank images are not all alike."""
ROOT_BY_MEAN = 3
"""The root of the mean square of differences by their mean, where few pixels hold them, as where white is cut off."""
SAME_COLOURS = 0.75
"""Cosine between the colours (red and blue less green) of two images that both have any."""
COLOURLESS = 2.0
"""Mean square of these in levels below which an image counts as grey."""
MIN_CONTRAST = 3.0
"""Standard deviation in levels of 0 to 255 below which an image is blank."""
NEIGHBOURS = 6
LENGTH, REACH = 500, 225
"""Length of an image's low frequencies, as whole numbers: their products stay below 2**24, which float32 adds exactly.
How far apart candidates may be."""
ZOOMS = (0.02, 0.04)
"""Share cut off at each side."""
WEIGHT = 1 << 16
CHUNK_VALUES = 1 << 22
TURNS = tuple(product((False, True), repeat=3))
"""Transposed, upside down, left to right: all eight ways to put a square on itself."""


def changed_pairs(
    images: np.ndarray,
    rows: np.ndarray,
    frequencies: np.ndarray,
    greys: np.ndarray,
    pixel_difference: float,
) -> np.ndarray:
    """Return the pairs of images of which one is a changed copy of the other.

    Args:
        images: Pixels, uint8, shape (num_images, height, width, channels); may be memory-mapped.
        rows: The images to compare, shape (num_rows,).
        frequencies: Of these the 8 x 8 lowest, whole numbers, float64, shape (num_rows, 64).
        greys: Of these what `small_greys` returns, shape (num_rows, side, side).
        pixel_difference: What may remain between their pixels on average, in [0, 1).

    Returns:
        Places in `rows`, int64, shape (num_pairs, 2), the smaller one first.
    """
    low = _directions(frequencies)
    pairs = _candidates(low)
    found = [np.empty((0, 2), np.int64)]
    step = max(1, CHUNK_VALUES // (SIDE * SIDE * 16))
    detailed = min(images.shape[1:3]) >= DETAILED_SIDE[images.shape[-1]]
    for start in range(0, len(pairs), step):
        chunk = pairs[start : start + step]
        turns = _best_turns(low, chunk)
        first = greys[chunk[:, 0]]
        second = _turned(greys[chunk[:, 1]], turns)
        same = _same_pixels(first, second, ROOT_BY_MEAN * pixel_difference * 255)
        if detailed:
            open_ = np.flatnonzero(~same)
            open_ = open_[_same_colours(images, rows[chunk[open_]], turns[open_])]
            open_ = open_[
                _alike(_coarse(first[open_]), _coarse(second[open_]), COARSE_BLOCK, 1) >= COARSE_ALIKE
            ]
            same[open_] = _alike(first[open_], second[open_], BLOCK, 2) >= ALIKE
        found.append(chunk[same])
    return np.concatenate(found)


def small_greys(grey: np.ndarray) -> np.ndarray:
    """Return grey levels 0 to 255 shrunk to at most 32 x 32 squares, whole numbers of 1/16, float64.

    Args:
        grey: Levels 0 to 255, float64, shape (num_images, height, width).
    """
    _, height, width = grey.shape
    side = min(SIDE, height, width)
    shrunk = _shrink(height, side) @ grey @ _shrink(width, side).T
    levels: np.ndarray = np.rint(shrunk / (WEIGHT * WEIGHT / 16))
    return levels


def _shrink(length: int, side: int) -> np.ndarray:
    identity = Image.fromarray(np.eye(length, dtype=np.float32))
    shrink = np.asarray(identity.resize((length, side), Image.Resampling.BILINEAR), np.float64)
    fixed: np.ndarray = np.rint(shrink * WEIGHT)
    return fixed


def _directions(frequencies: np.ndarray) -> np.ndarray:
    """Return low frequencies without mean and contrast, whole numbers, float32 (num_images, 8, 8); 0 for blank ones."""
    low = np.rint(frequencies / (1 << 25))  # squares of these are added exactly
    low[:, 0] = 0
    length = np.sqrt((low**2).sum(axis=1, keepdims=True))
    # A level of contrast has a length of about 32 in the cosine transform of 32 x 32 pixels, here times 2**32 / 2**25.
    low = np.where(length >= MIN_CONTRAST * 32 * (1 << 7), low, 0)
    directions: np.ndarray = np.rint(low * (LENGTH / np.maximum(length, 1))).astype(np.float32)
    return directions.reshape(-1, 8, 8)


def _candidates(low: np.ndarray) -> np.ndarray:
    """Return the pairs of which one is among the nearest of the other, int64 (num_pairs, 2), each once."""
    rows = np.flatnonzero(low.any(axis=(1, 2)))
    size = np.abs(low[rows])
    upper, lower = np.triu_indices(8, 1)
    above, below = size[:, upper, lower], size[:, lower, upper]
    # What no turn and no mirror changes; never further apart than the images are under their best turn.
    marks = np.concatenate(
        [np.maximum(above, below), np.minimum(above, below), size[:, range(8), range(8)]], axis=1
    )
    squares = (marks**2).sum(axis=1)
    found = [np.empty((0, 2), np.int64)]
    step = max(1, 4 * CHUNK_VALUES // max(1, len(rows)))
    for start in range(0, len(rows), step):
        apart = squares[start : start + step, None] + squares - 2 * (marks[start : start + step] @ marks.T)
        apart[np.arange(len(apart)), start + np.arange(len(apart))] = np.inf
        first, second = _nearest(apart)
        found.append(np.stack([rows[start + first], rows[second]], axis=1))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _nearest(apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column of what is within reach and among the nearest of its row.

    Of equal distances all are taken, so that the order of the images does not matter.

    Args:
        apart: Squared distances, whole numbers, float32, shape (num_rows, num_images).
    """
    bound = np.full(len(apart), float(REACH**2), np.float32)
    few = apart[:, ::8]  # the nearest of some are never nearer than the nearest of all
    if few.shape[1] > NEIGHBOURS:
        bound = np.minimum(bound, np.partition(few, NEIGHBOURS - 1, axis=1)[:, NEIGHBOURS - 1])
    first, second = np.nonzero(apart <= bound[:, None])
    distance = apart[first, second]
    order = np.lexsort((distance, first))
    first, second, distance = first[order], second[order], distance[order]
    begin = np.searchsorted(first, np.arange(len(apart)))
    last = np.minimum(begin + NEIGHBOURS, np.append(begin[1:], len(first))) - 1
    kept = distance <= distance[last[first]]
    return first[kept], second[kept]


def _turned(squares: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Return squares, shape (num, ..., side, side), each turned as `TURNS` of its number says."""
    turned = np.empty_like(squares)
    for number, (transposed, upside_down, left_right) in enumerate(TURNS):
        own = squares[turns == number]
        own = own.swapaxes(-1, -2) if transposed else own
        own = own[..., ::-1, :] if upside_down else own
        turned[turns == number] = own[..., ::-1] if left_right else own
    return turned


def _best_turns(low: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the number of the turn of each pair's second image under which low frequencies agree best."""
    signs = np.where(np.arange(8) % 2, -1, 1).astype(np.float32)
    first, second = low[pairs[:, 0]], low[pairs[:, 1]]
    agreement = []
    for transposed, upside_down, left_right in TURNS:
        own = second.swapaxes(1, 2) if transposed else second
        own = own * signs[:, None] if upside_down else own
        own = own * signs if left_right else own
        agreement.append((first * own).sum(axis=(1, 2)))
    best: np.ndarray = np.argmax(agreement, axis=0)
    return best


def _same_pixels(first: np.ndarray, second: np.ndarray, difference: float) -> np.ndarray:
    """Return which pairs differ by little once mean, contrast and the best shift by a pixel are taken out.

    Args:
        first: Sixteenths of levels, shape (num_pairs, side, side).
        second: The same.
        difference: Root of the mean square of what remains, in levels.
    """
    margin = 1 if first.shape[1] >= COARSE_SIDE else 0
    same = np.zeros(len(first), bool)
    for own, other in _shifted(first, second, margin):
        mine, theirs, common = _moments(own[:, None], other[:, None])
        mine, theirs, common = mine[:, 0], theirs[:, 0], common[:, 0]
        agree = np.where(common > 0, common**2, 0) / np.maximum(mine * theirs, 1e-9)
        rest = np.maximum(mine, theirs) * (1 - agree)
        same |= (agree >= SAME_PIXELS) & (rest <= (16 * difference) ** 2)
    return same


def _alike(first: np.ndarray, second: np.ndarray, block: int, margin: int) -> np.ndarray:
    """Return the mean correlation of blocks of each pair at the best zoom and shift, float64 (num_pairs,).

    Args:
        first: Grey levels, whole numbers, shape (num_pairs, side, side).
        second: The same.
        block: Side of a block in pixels.
        margin: Largest shift in pixels.
    """
    side = first.shape[1]
    best = np.full(len(first), -1.0)
    noise = (
        _deviation(first) * _deviation(second) / 400
    )  # a block without contrast of its own agrees with none
    halves = (0.0, 0.5) if margin > 1 else (0.0,)
    for cut, down, right in product((0.0, *ZOOMS), halves, halves):
        to_rows, to_columns = _sample(side, cut, down), _sample(side, cut, right)
        ways = [(first, np.rint(to_rows @ second @ to_columns.T))]
        if cut:
            ways.append((np.rint(to_rows @ first @ to_columns.T), second))
        for one, other in ways:
            for own, moved in _shifted(one, other, margin):
                best = np.maximum(best, _block_correlation(own, moved, block, noise))
    return best


def _block_correlation(first: np.ndarray, second: np.ndarray, block: int, noise: np.ndarray) -> np.ndarray:
    number = first.shape[1] // block
    blocks = [
        side[:, : number * block, : number * block]
        .reshape(-1, number, block, number, block)
        .swapaxes(2, 3)
        .reshape(len(side), number * number, block, block)
        for side in (first, second)
    ]
    mine, theirs, common = _moments(*blocks)
    noise = noise[:, None]
    correlation = common / np.sqrt((mine + noise) * (theirs + noise) + 1e-9)
    # Whole numbers, which any order of adding gives the same sum of.
    weights = np.rint(np.sqrt(np.maximum(mine, theirs)) * WEIGHT)
    total = np.rint(weights * correlation).sum(axis=1)
    agreement: np.ndarray = total / np.maximum(weights.sum(axis=1), 1)
    return agreement


def _moments(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return both variances and the covariance of whole pixels, per block: each shape (num_pairs, blocks)."""
    pixels = first.shape[2] * first.shape[3]
    axes = (2, 3)
    mine, theirs = first.sum(axis=axes), second.sum(axis=axes)
    squares = [
        (one * other).sum(axis=axes) for one, other in ((first, first), (second, second), (first, second))
    ]
    products = (mine * mine, theirs * theirs, mine * theirs)
    own, other, common = (
        (pixels * square - product_) / (pixels * pixels)
        for square, product_ in zip(squares, products, strict=True)
    )
    return own, other, common


def _deviation(squares: np.ndarray) -> np.ndarray:
    deviation: np.ndarray = np.sqrt(_moments(squares[:, None], squares[:, None])[0][:, 0])
    return deviation


def _shifted(first: np.ndarray, second: np.ndarray, margin: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the inner part of the first and, for every shift, the part of the second that lies on it."""
    side = first.shape[1]
    inner = first[:, margin : side - margin, margin : side - margin]
    return [
        (inner, second[:, down : side - 2 * margin + down, right : side - 2 * margin + right])
        for down, right in product(range(2 * margin + 1), repeat=2)
    ]


def _sample(side: int, cut: float, shift: float) -> np.ndarray:
    """Return the matrix (side, side) that enlarges what lies within `cut` of both ends, moved by `shift` pixels."""
    places = (cut * side + (np.arange(side) + 0.5) * (1 - 2 * cut) - 0.5 + shift).clip(0, side - 1)
    left = np.minimum(places.astype(int), side - 2)
    matrix = np.zeros((side, side))
    weight = np.rint((places - left) * 256) / 256
    matrix[np.arange(side), left], matrix[np.arange(side), left + 1] = 1 - weight, weight
    return matrix


def _coarse(greys: np.ndarray) -> np.ndarray:
    """Return sums of two by two pixels."""
    sums: np.ndarray = greys[:, ::2, ::2] + greys[:, 1::2, ::2] + greys[:, ::2, 1::2] + greys[:, 1::2, 1::2]
    return sums


def _same_colours(images: np.ndarray, pairs: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Return which pairs have like colours in like places; a grey image has those of any."""
    if images.shape[-1] == 1 or not len(pairs):
        return np.ones(len(pairs), bool)
    first, second = _colours(images, pairs[:, 0]), _turned(_colours(images, pairs[:, 1]), turns)
    axes = (1, 2, 3)
    values = first[0].size
    mine, theirs, common = (
        (one * other).sum(axis=axes) for one, other in ((first, first), (second, second), (first, second))
    )
    coloured = np.minimum(mine, theirs) >= COLOURLESS * 16 * values
    alike: np.ndarray = ~coloured | (common >= SAME_COLOURS * np.sqrt(mine * theirs))
    return alike


def _colours(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return red less green and blue less green of 8 x 8 areas, quarters of levels, shape (num_rows, 2, 8, 8)."""
    _, height, width, _ = images.shape
    to_rows, to_columns = _shrink(height, 8), _shrink(width, 8)
    pixels = images[rows].astype(np.float64)
    planes = np.stack([pixels[..., 0] - pixels[..., 1], pixels[..., 2] - pixels[..., 1]], axis=1)
    colours: np.ndarray = np.rint(to_rows @ planes @ to_columns.T / (WEIGHT * WEIGHT / 4))
    return colours
