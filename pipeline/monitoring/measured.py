"""Plain numbers about a sample that need no model: the same code for the rows of training and for those of a server.

A sample is what `pipeline.serving.record` read of a record, and what the payload of the data set holds of a row: pixels
uint8 (height, width, channels), a string, or steps float32 (steps, channels) with NaN where one is missing. Nothing
here needs pandas: a server measures with it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

OTHER = "(other)"
"""Stands for a category that training did not see, which may be anything that somebody typed."""
MOST_CHANNELS = 16
"""Channels of a series that have statistics of their own."""
CHUNK_VALUES = 1 << 20
"""Pixel values that are worked on at once."""
Statistics = dict[str, np.ndarray]


class Kept(dict[str, Any]):
    """A record that keeps what was read of it, so that nobody decodes it twice.

    Attributes:
        sample: See the head of this file; None before it was read, and where it cannot be.
        size: Of an image file: height and width in pixels.
    """

    sample: Any = None
    size: tuple[int, int] | None = None


def statistics_of(samples: Sequence[Any], state: Mapping[str, Any]) -> Statistics:
    """Return one number per sample and statistic.

    Args:
        samples: See the head of this file; None where a sample could not be read.
        state: Content of the model's state.json.

    Returns:
        float64 arrays of shape (num_samples,) by name, NaN where there is none. Images: `mean`, `standard_deviation`
        of all pixels, which count as 0 to 1. Texts: `characters`, `words`, `non_letter_share` of what is not white
        space. Series: `steps` (not of windows, which all have as many), `missing_share`, and for each of the first 16
        channels `mean.NAME` and `standard_deviation.NAME` of the values that are there.
    """
    there = [place for place, sample in enumerate(samples) if sample is not None]
    names = statistic_names(state)
    found = {name: np.full(len(samples), np.nan) for name in names}
    if not there or not names:
        return found
    given = [samples[place] for place in there]
    kind = state.get("payload", "image")
    if kind == "image":
        columns = _of_images(given)
    else:
        rows = [
            _of_text(one) if kind == "text" else _of_series(one, windowed=bool(state.get("windows")))
            for one in given
        ]
        columns = np.array(rows, np.float64).reshape(len(given), -1)
    for name, values in zip(names, columns.T, strict=True):
        found[name][there] = values
    return found


def statistic_names(state: Mapping[str, Any]) -> list[str]:
    """Return the names of what is measured of each sample, see `statistics_of`."""
    kind, windows = state.get("payload", "image"), state.get("windows")
    if kind == "image":
        return ["mean", "standard_deviation"]
    if kind == "text":
        return ["characters", "words", "non_letter_share"]
    if windows and not windows["length"]:
        return []
    names = ["missing_share"] if windows else ["steps", "missing_share"]
    for channel in state["series"]["channels"][:MOST_CHANNELS]:
        names += [f"mean.{channel}", f"standard_deviation.{channel}"]
    return names


def _of_images(images: Sequence[np.ndarray]) -> np.ndarray:
    at_once = max(1, CHUNK_VALUES // max(1, images[0].size))
    found = []
    for first in range(0, len(images), at_once):
        flat = np.stack(images[first : first + at_once]).reshape(len(images[first : first + at_once]), -1)
        flat = flat.astype(np.float64)
        found.append(np.column_stack([flat.mean(axis=1), flat.std(axis=1)]) / 255)
    return np.concatenate(found)


def _of_text(text: str) -> list[float]:
    words = text.split()
    visible = sum(map(len, words))
    letters = sum(map(str.isalpha, text))
    return [len(text), len(words), 1 - letters / visible if visible else 0.0]


def _of_series(values: np.ndarray, *, windowed: bool) -> list[float]:
    shown = values[:, :MOST_CHANNELS].astype(np.float64)
    known = np.isfinite(shown)
    counts = known.sum(axis=0)
    filled = np.where(known, shown, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = filled.sum(axis=0) / counts
        deviations = np.sqrt(np.where(known, (shown - means) ** 2, 0.0).sum(axis=0) / counts)
    missing = 1 - np.isfinite(values).mean() if values.size else 0.0
    first = [missing] if windowed else [float(len(values)), missing]
    return [*first, *np.column_stack([means, deviations]).ravel()]


SIGNIFICANT_DIGITS = 6
"""Of what is put into bins: the last bits of a mean differ between processors, and those of a float32 are noise."""


def rounded_for_bins(values: np.ndarray) -> np.ndarray:
    """Return finite values with six significant digits, float64, so that equal ones fall into one bin everywhere."""
    values = np.asarray(values, np.float64)
    size = np.abs(values)
    exponent = np.floor(np.log10(size, out=np.zeros_like(size), where=size > 0))
    places = np.clip(SIGNIFICANT_DIGITS - 1 - exponent, -300, 300)
    # Dividing by a power of ten is exact to the last bit where multiplying by its inverse is not.
    upward = 10.0 ** np.maximum(places, 0)
    downward = 10.0 ** np.maximum(-places, 0)
    found: np.ndarray = np.rint(values * upward / downward) / upward * downward
    return found + 0.0
