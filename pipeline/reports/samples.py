"""Pictures made of samples: mistakes, reconstructions and the map of codes."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.reports.style import CLASS_COLOURS, DARK, LINE_COLOURS, ORANGE, canvas, styled

Image = npt.NDArray[Any]
"""One picture, shape (height, width, channels), uint8 or float in [0, 1]."""
Sample = Image | str
"""A picture, a series of shape (steps, channels), or a text."""
CHARACTERS_PER_LINE, LINES = 26, 9
"""Of a text among mistakes."""
MOST_CHANNELS = 6
"""Of a series among mistakes; the first ones."""
COLUMNS = 6
CLASSES_WITH_NAMES = 25
"""Up to so many classes the map of codes carries their names; more would cover each other."""


@styled
def mistakes(
    samples: Sequence[Sample], said: Sequence[str], actual: Sequence[str], sure: Sequence[float]
) -> Figure:
    """Return wrongly classified examples, each with what was said, how surely, and what it is.

    Args:
        samples: The most confident mistakes first; may be empty.
        said: Predicted class of each.
        actual: True class of each.
        sure: Probability of the predicted class.
    """
    columns = COLUMNS if all(isinstance(sample, np.ndarray) for sample in samples) else COLUMNS // 2
    rows = max(1, -(-len(samples) // columns))
    figure = Figure(figsize=(1.9 * COLUMNS, 0.7 + 2.35 * rows), layout="constrained")
    figure.suptitle("Most confident mistakes on test", x=0.01, ha="left", fontweight="bold", fontsize=16)
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in cells:
        axes.set_axis_off()
    for axes, sample, answer, truth, share in zip(cells, samples, said, actual, sure, strict=False):
        _draw(axes, sample)
        axes.set_title(f"{answer} {share:.2f}", color=ORANGE, fontsize=13, loc="center", pad=18)
        axes.text(
            0.5,
            1.02,
            f"is {truth}",
            transform=axes.transAxes,
            ha="center",
            va="bottom",
            color=DARK,
            fontsize=12,
        )
    if not samples:
        cells[0].text(0, 0.5, "none: every test example is right", fontsize=15)
    return figure


@styled
def reconstructions(rows: Mapping[str, Sequence[Image]], title: str) -> Figure:
    """Return rows of pictures that belong together column by column.

    Args:
        rows: Label of the row (input, autoencoder, PCA) to its pictures, equally many in each.
        title: Above them.
    """
    columns = max(len(images) for images in rows.values())
    figure = Figure(figsize=(1.15 * columns + 1.6, 1.25 * len(rows) + 0.7), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=15)
    cells = figure.subplots(len(rows), columns, squeeze=False)
    for line, (label, images) in zip(cells, rows.items(), strict=True):
        for axes, image in zip(line, images, strict=True):
            _show(axes, image)
        line[0].set_ylabel(label, rotation=0, ha="right", va="center")
    return figure


@styled
def codes_map(
    plane: npt.NDArray[np.floating], y_true: npt.NDArray[np.integer], classes: Sequence[str], title: str
) -> Figure:
    """Return a scatter of codes, coloured and named by class.

    Args:
        plane: Position per example, shape (num_examples, 2).
        y_true: Class index per example.
        classes: Names.
        title: Above it.
    """
    figure, axes = canvas(8, 7.4)
    axes.set_title(title)
    axes.set_axis_off()
    for index, name in enumerate(classes):
        points = plane[y_true == index]
        if not len(points):
            continue
        colour = CLASS_COLOURS[index % len(CLASS_COLOURS)]
        marker = "os^Dv"[index // len(CLASS_COLOURS) % 5]
        axes.scatter(
            points[:, 0],
            points[:, 1],
            s=float(np.clip(12_000 / len(plane), 14, 60)),
            color=colour,
            marker=marker,
            alpha=0.75,
            linewidths=0,
        )
        if len(classes) <= CLASSES_WITH_NAMES:
            x, y = np.median(points, axis=0)
            box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": colour, "linewidth": 2.5}
            axes.text(x, y, name, ha="center", va="center", fontsize=14, bbox=box | {"alpha": 0.85})
    return figure


def _draw(axes: Axes, sample: Sample) -> None:
    """Draw a picture, a series as lines, or the beginning of a text."""
    if isinstance(sample, str):
        lines = textwrap.wrap(sample, CHARACTERS_PER_LINE) or [""]
        shown = [*lines[: LINES - 1], "..."] if len(lines) > LINES else lines
        # No mathematics: a text may hold any number of dollar signs.
        axes.text(
            0, 0.98, "\n".join(shown), va="top", fontsize=10, family="DejaVu Sans Mono", parse_math=False
        )
    elif sample.ndim == 2:
        axes.set_axis_on()
        axes.set(xticks=(), yticks=())
        for channel, colour in zip(sample.T[:MOST_CHANNELS], LINE_COLOURS, strict=False):
            axes.plot(channel, color=colour, linewidth=1.3)
    else:
        _show(axes, sample)


def _show(axes: Axes, image: Image) -> None:
    """Draw one picture without axes; grey ones dark on light, as printed."""
    grey = image.shape[-1] == 1
    axes.imshow(
        np.clip(image[..., 0] if grey else image, 0, 255 if image.dtype == np.uint8 else 1),
        cmap="gray",
        vmin=0,
        vmax=255 if image.dtype == np.uint8 else 1,
        interpolation="nearest",
    )
    axes.set(xticks=(), yticks=())
    axes.spines[:].set_visible(False)
