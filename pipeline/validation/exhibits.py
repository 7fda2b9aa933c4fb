"""How one sample is shown on a page: an image as a picture, a text as its beginning, a series as lines."""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image

THUMBNAIL_PX = 96
SHOWN_CHARACTERS = 160
SHOWN_CHANNELS = 3
SHOWN_POINTS = 80
WIDTH, HEIGHT = 100, 40
"""Of the drawing area of a series, in its own units."""

CONTROL_PICTURES = {code: 0x2400 + code for code in range(32)} | {0x7F: 0x2421}
"""A control character is shown by the sign that Unicode has for it: HTML knows no NUL."""


@dataclass(frozen=True)
class Exhibit:
    """One sample on a page; one of its fields is filled.

    Attributes:
        source: Of an `<img>`.
        text: Shown as text, never as markup.
        lines: Points of SVG polylines by number of channel, in an area of 100 x 40.
    """

    source: str = ""
    text: str = ""
    lines: tuple[tuple[int, str], ...] = ()


Show = Callable[[int], Exhibit]
"""Takes the row of a sample, returns how it is shown."""


def image_exhibits(images: np.ndarray) -> Show:
    """Return how samples of a payload of images are shown.

    Args:
        images: Pixels, uint8, shape (num_samples, height, width, channels).
    """
    return lambda row: Exhibit(source=thumbnail(images[row]))


def text_exhibits(texts: Sequence[str]) -> Show:
    """Return how texts are shown: by their first 160 characters, control characters made visible."""
    return lambda row: Exhibit(text=shortened(texts[row]))


def series_exhibits(series: Sequence[np.ndarray]) -> Show:
    """Return how series are shown: by the course of their first three channels, each in its own range.

    Args:
        series: Shape (steps, channels) each, NaN where a value is missing.
    """
    return lambda row: Exhibit(
        lines=tuple(
            (channel, points)
            for channel in range(min(SHOWN_CHANNELS, series[row].shape[1]))
            for points in polylines(series[row][:, channel])
        )
    )


def thumbnail(image: np.ndarray) -> str:
    """Return an image as the `src` of an `<img>`: PNG of at most 96 x 96 pixels inside the text.

    Args:
        image: Pixels, uint8, shape (height, width, 1 or 3).
    """
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    content = io.BytesIO()
    picture.save(content, format="PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode("ascii")


def shortened(text: str) -> str:
    """Return the beginning of a text with control characters made visible; of an empty one, that it is."""
    if not text.strip():
        return "(empty)"
    beginning = text[:SHOWN_CHARACTERS].translate(CONTROL_PICTURES)
    return beginning + ("\N{HORIZONTAL ELLIPSIS}" if len(text) > SHOWN_CHARACTERS else "")


def polylines(values: np.ndarray) -> list[str]:
    """Return the course of one channel as the `points` of polylines, one for each stretch without a gap.

    Long series are cut into parts that show their smallest and largest value, so that a peak stays.

    Args:
        values: Shape (steps,); what is not finite is a gap.
    """
    places, heights = _thinned(values)
    finite = np.isfinite(heights)
    if not finite.any():
        return []
    low, high = heights[finite].min(), heights[finite].max()
    shares = (heights - low) / (high - low) if high > low else np.where(finite, 0.5, np.nan)
    across = places * (WIDTH / max(1, len(values) - 1))
    down = 1 + (HEIGHT - 2) * (1 - shares)
    stretches = np.split(np.arange(len(heights)), np.flatnonzero(np.diff(finite.astype(int))) + 1)
    # A line of one point is not drawn, one from a point to itself is.
    return [
        " ".join(
            f"{across[place]:.1f},{down[place]:.1f}" for place in np.resize(stretch, max(2, len(stretch)))
        )
        for stretch in stretches
        if finite[stretch[0]]
    ]


def _thinned(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and values (float64) of at most about `SHOWN_POINTS` points."""
    if len(values) <= SHOWN_POINTS:
        return np.arange(len(values)), np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    edges = np.linspace(0, len(values), SHOWN_POINTS // 2 + 1).astype(int)
    places, heights = [], []
    for start, stop in pairwise(edges.tolist()):
        part = np.asarray(values[start:stop], np.float64)
        finite = np.flatnonzero(np.isfinite(part))
        if not len(finite):
            places.append(start)
            heights.append(np.nan)
            continue
        ends = {int(finite[part[finite].argmin()]), int(finite[part[finite].argmax()])}
        places += [start + place for place in sorted(ends)]
        heights += [float(part[place]) for place in sorted(ends)]
    return np.array(places), np.array(heights)
