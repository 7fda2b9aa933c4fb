"""Images that lie too near to one that trains: a witness that knows no way of changing a picture (leak L1.4).

`validate` finds copies that were turned, mirrored, brightened or cropped, because it was told of these. Whoever made
more of his photographs in another way has copies across the splits that it does not know. Here nothing is laid on
anything: an image is how often each brightness and each edge occurs in it, wherever that is. By this measure a copy
lies much nearer to its original than ten other images do, whatever was done to the place of its pixels; of honest sets
1 % of the images at most have such a neighbour (docs/guides/duplicates.md).

What is judged here is a share, not an image: a pair of photographs may be alike by chance, one in twenty may not.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.duplicates.changed import small_greys
from pipeline.leaks.findings import Finding, LeakData
from pipeline.runtime import paths
from pipeline.runtime.files import atomic_path

LEVELS, EDGES = np.linspace(0.02, 0.98, 24), np.linspace(0.1, 0.98, 24)
"""Quantiles of the levels of each channel, and of the steepness."""
UNIT = 64
"""Whole numbers per standard deviation of an image: sums of their squares are exact on every processor."""
OTHERS = 10
"""Among so many nearest images of train a copy stands out."""
STANDS_OUT = 0.3
"""Distance to the nearest by that to the tenth nearest: below it are 0.8 % of clothing-small, 0.05 % of Fashion-MNIST,
none of the digits, 99 % of mirrored, turned and re-encoded copies, and half of those turned by two degrees."""
SHARE = 0.05
"""Of val and test, that has such a neighbour: an honest set stays five times below."""
FEWEST = 5
MOST = 2000
"""Images of val and test that are looked at, evenly taken; a share of them is known well enough."""
CHUNK_VALUES = 1 << 22
FIX = (
    f"Look at the pairs ({paths.LEAKS_PAIRS}): pictures made from one another, frames of one film, photographs of one "
    "thing or in one place belong into one split. Remove the copies from the source, or split by group (split.method: "
    "group)."
)
DRAWN, SIDE, GAP = 10, 160, 8
"""Pairs of the picture, pixels of the side of an image, and between two."""


def neighbour_findings(data: LeakData) -> list[Finding]:
    """Return a finding if more of the images that choose or judge have a copy in train than chance explains.

    Args:
        data: Samples and payload; texts and series are compared in full elsewhere.
    """
    train, judged = data.train_rows, data.evaluation_rows
    if data.kind != "image" or len(train) < 5 * OTHERS or not len(judged):
        return []
    judged = judged[:: -(-len(judged) // MOST)]
    known = _marks(data.payload, train)
    marks = _marks(data.payload, judged)
    stand_out = stands_out(known, marks)
    near = judged[stand_out]
    if len(near) < max(FEWEST, SHARE * len(judged)):
        return []
    own = train[:: -(-len(train) // MOST)]
    among = stands_out(known, _marks(data.payload, own), spare_itself=True).mean()
    like = train[_nearest(known, marks[stand_out])]
    problem = (
        f"{len(near)} of {len(judged)} images of val and test ({len(near) / len(judged):.1%}) lie much nearer to an "
        f"image of train than to any other, as changed copies do. Expected less than {SHARE:.0%}; among images of "
        f"train it is {among:.1%}."
    )
    share = round(len(near) / len(judged), 4)
    return [Finding("near-neighbours", "L1.4", problem, FIX, data.ids(near), share, data.ids(like))]


def stands_out(known: np.ndarray, asked: np.ndarray, *, spare_itself: bool = False) -> np.ndarray:
    """Return for which of the asked images one known image lies much nearer than the tenth nearest does.

    Args:
        known: Whole numbers, shape (num_known, num_marks).
        asked: The same, shape (num_asked, num_marks).
        spare_itself: Whether the asked ones are among the known, and their nearest therefore they themselves.

    Returns:
        bool, shape (num_asked,).
    """
    nearest = 1 if spare_itself else 0
    squares = (known**2).sum(axis=1)
    found = [np.empty(0, bool)]
    step = max(1, CHUNK_VALUES // len(known))
    for start in range(0, len(asked), step):
        own = asked[start : start + step]
        apart = (own**2).sum(axis=1)[:, None] + squares - 2 * (own @ known.T)
        places = np.partition(apart, (nearest, nearest + OTHERS - 1), axis=1)
        # Content that is the same to the pixel is another check's finding; of blank images all are.
        found.append(places[:, nearest] < STANDS_OUT**2 * places[:, nearest + OTHERS - 1])
    return np.concatenate(found)


def _nearest(known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the place of the known image that is nearest to each of the asked ones, of few."""
    squares = (known**2).sum(axis=1)
    return np.array([(squares - 2 * (known @ one)).argmin() for one in asked])


def draw_pairs(data: LeakData, findings: Sequence[Finding]) -> None:
    """Draw the first pairs of images above each other, that of train below, into reports/leaks/pairs.png.

    It is for people: no stage reads it, and it is gone where there is nothing to be looked at.

    Args:
        data: Samples, and pixels, uint8, shape (num_images, height, width, channels).
        findings: All that was found.
    """
    paths.LEAKS_PAIRS.unlink(missing_ok=True)
    pairs = [pair for finding in findings if finding.like for pair in finding.pairs][:DRAWN]
    if not pairs:
        return
    from PIL import Image

    row_of = {name: row for row, name in enumerate(data.samples.sample_ids)}
    sheet = Image.new("RGB", (len(pairs) * (SIDE + GAP) + GAP, 2 * (SIDE + GAP) + GAP), "white")
    for place, pair in enumerate(pairs):
        for line, name in enumerate(pair):
            pixels = np.asarray(data.payload[row_of[name]])
            image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels[..., :3])
            image = image.convert("RGB").resize((SIDE, SIDE))
            sheet.paste(image, (GAP + place * (SIDE + GAP), GAP + line * (SIDE + GAP)))
    with atomic_path(paths.LEAKS_PAIRS) as draft:
        sheet.save(draft, "png")


def _marks(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return how often levels and edges occur in images, without mean and contrast: whole numbers, float64.

    Args:
        images: Pixels, uint8, shape (num_images, height, width, channels).
        rows: The wanted ones, shape (num_rows,).

    Returns:
        Shape (num_rows, 24 * channels + 24).
    """
    marks = []
    step = max(1, CHUNK_VALUES // int(np.prod(images.shape[1:])))
    for start in range(0, len(rows), step):
        pixels = images[rows[start : start + step]].astype(np.float64)
        channels = np.stack([small_greys(pixels[..., place]) for place in range(pixels.shape[-1])], axis=1)
        flat = channels.reshape(len(channels), -1)
        count, total = flat.shape[1], flat.sum(axis=1)
        contrast = np.sqrt(np.maximum(count * (flat**2).sum(axis=1) - total**2, 1)) / count
        mean, contrast = (total / count)[:, None], np.maximum(contrast, 16)[:, None]
        grey = channels.sum(axis=1)
        down, right = np.diff(grey, axis=1)[:, :, :-1], np.diff(grey, axis=2)[:, :-1]
        steep = np.sqrt(down**2 + right**2).reshape(len(grey), -1) / channels.shape[1]
        own = [
            (np.quantile(channels[:, place].reshape(len(grey), -1), LEVELS, axis=1).T - mean) / contrast
            for place in range(channels.shape[1])
        ]
        own.append(np.quantile(steep, EDGES, axis=1).T / contrast)
        marks.append(np.rint(np.concatenate(own, axis=1) * UNIT))
    return np.concatenate(marks)
