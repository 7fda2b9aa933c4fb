"""Pictures made of samples: mistakes, reconstructions and the map of codes."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from pipeline.reports.style import (
    BLUE,
    CLASS_COLOURS,
    DARK,
    GREEN,
    GREY,
    LINE_COLOURS,
    ORANGE,
    canvas,
    styled,
)

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
    samples: Sequence[Sample],
    said: Sequence[str],
    actual: Sequence[str],
    sure: Sequence[float],
    said_from: str = "",
) -> Figure:
    """Return wrongly classified examples, each with what was said, how surely, and what it is.

    Args:
        samples: The most confident mistakes first; may be empty.
        said: Predicted class of each.
        actual: True class of each.
        sure: Probability of the predicted class.
        said_from: The threshold of two classes in words; "" where the most probable class is said.
    """
    columns = COLUMNS if all(isinstance(sample, np.ndarray) for sample in samples) else COLUMNS // 2
    rows = max(1, -(-len(samples) // columns))
    figure = Figure(figsize=(1.9 * COLUMNS, 0.7 + 2.35 * rows), layout="constrained")
    title = "Most confident mistakes on test" + (f", {said_from}" if said_from else "")
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=16)
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


# --- Charts of anomalies over time, and small drawings of series.

HIGHEST_SCORE = 5
"""In thresholds; what is higher is cut off."""
Span = tuple[int, int]
"""First step and step after the last."""


@dataclass(frozen=True)
class Story:
    """What happened in one series.

    Attributes:
        name: Of the series.
        steps: At which windows begin, shape (num_windows,).
        scores: In units of the threshold, same shape.
        values: The series itself, shape (num_steps,); its first channel.
        first_step: Of `values`.
        labelled: Where anomalies are.
        hits: Events that found one.
        false_alarms: Events that did not.
    """

    name: str
    steps: npt.NDArray[np.integer]
    scores: npt.NDArray[np.floating]
    values: npt.NDArray[np.floating]
    first_step: int
    labelled: Sequence[Span]
    hits: Sequence[Span]
    false_alarms: Sequence[Span]


@styled
def anomaly_timelines(stories: Sequence[Story], title: str) -> Figure:
    """Return series above each other, each with its scores, labelled anomalies and alarms."""
    rows = max(1, len(stories))
    figure = Figure(figsize=(12, 2.6 * rows + 1.2), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=16)
    cells = figure.subplots(2 * rows, 1, squeeze=False, height_ratios=[2, 1] * rows)[:, 0]
    for story, series, scores in zip(stories, cells[::2], cells[1::2], strict=False):
        series.sharex(scores)
        at = np.arange(len(story.values)) + story.first_step
        series.plot(at, story.values, color=DARK, linewidth=0.8)
        scores.plot(story.steps, story.scores, color=BLUE, linewidth=1.0)
        scores.axhline(1, color=GREY, linestyle="--", linewidth=1.2)
        for axes in (series, scores):
            for first, end in story.labelled:
                axes.axvspan(first, end, color=GREEN, alpha=0.22, linewidth=0)
        for spans, colour in ((story.hits, GREEN), (story.false_alarms, ORANGE)):
            for first, end in spans:
                scores.axvspan(first, end, ymax=0.12, color=colour, linewidth=0)
        series.set_title(story.name, fontsize=12)
        series.tick_params(labelbottom=False)
        series.yaxis.set_major_locator(MaxNLocator(nbins=3))
        # An enormous score would press all others, and the threshold, flat.
        scores.set_ylim(0, float(np.clip(1.2 * story.scores.max(), 2, HIGHEST_SCORE)))
        scores.yaxis.set_major_locator(MaxNLocator(nbins=2))
        scores.set_ylabel("score", fontsize=10)
    marks = [
        Patch(color=GREEN, alpha=0.22, label="labelled anomaly"),
        Patch(color=GREEN, label="alarm that found one"),
        Patch(color=ORANGE, label="false alarm"),
        Line2D([], [], color=GREY, linestyle="--", label="threshold"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=4)
    return figure


# --- Charts of predicted values: against the truth, what is left over, a stretch of time, and step by step.

Values = npt.NDArray[np.floating]
DOTS = 4_000
"""Up to so many examples are drawn as dots; of more, evenly spaced ones."""
MOST_PANELS = 4
"""Targets that get a panel; the first ones."""


@styled
def predicted_against_true(y_true: Values, y_pred: Values, targets: Sequence[str]) -> Figure:
    """Return a scatter of predicted over true values; on the line they are equal.

    Args:
        y_true: Shape (num_values, num_targets).
        y_pred: Same shape.
        targets: Names.
    """
    panels = min(len(targets), MOST_PANELS)
    figure = Figure(figsize=(5.6 * min(panels, 2) + 0.4, 5.4 * -(-panels // 2)), layout="constrained")
    cells = figure.subplots(-(-panels // 2), min(panels, 2), squeeze=False).ravel()
    shown = _some(len(y_true))
    for axes, target, index in zip(cells, targets, range(panels), strict=False):
        truth, answer = y_true[shown, index], y_pred[shown, index]
        low, high = min(truth.min(), answer.min()), max(truth.max(), answer.max())
        axes.plot((low, high), (low, high), color=GREY, linestyle="--", linewidth=1.5)
        axes.plot(truth, answer, "o", color=BLUE, markersize=4, alpha=0.35, markeredgewidth=0)
        axes.set(xlabel="true", ylabel="predicted", title=target)
        axes.grid(visible=True)
    for axes in cells[panels:]:
        axes.set_axis_off()
    return figure


@styled
def residuals(y_true: Values, y_pred: Values, targets: Sequence[str]) -> Figure:
    """Return what is left over (predicted minus true): over the predicted value, and how often.

    Args:
        y_true: Shape (num_values, num_targets).
        y_pred: Same shape.
        targets: Names; the first ones get a row.
    """
    panels = min(len(targets), MOST_PANELS)
    figure = Figure(figsize=(10.5, 3.9 * panels + 0.2), layout="constrained")
    cells = figure.subplots(panels, 2, squeeze=False, width_ratios=(2, 1), sharey="row")
    shown = _some(len(y_true))
    for (scatter, histogram), target, index in zip(cells, targets, range(panels), strict=False):
        left_over = y_pred[:, index] - y_true[:, index]
        scatter.axhline(0, color=GREY, linestyle="--", linewidth=1.5)
        scatter.plot(
            y_pred[shown, index],
            left_over[shown],
            "o",
            color=BLUE,
            markersize=4,
            alpha=0.35,
            markeredgewidth=0,
        )
        scatter.set(xlabel="predicted", ylabel="predicted - true", title=target)
        histogram.hist(left_over, bins=40, orientation="horizontal", color=BLUE, alpha=0.85)
        histogram.axhline(float(np.mean(left_over)), color=ORANGE, label=f"mean {np.mean(left_over):+.3g}")
        histogram.set(xlabel="examples")
        histogram.legend(loc="upper right")
    return figure


@styled
def stretch(
    steps: npt.NDArray[np.integer],
    y_true: Values,
    y_pred: Values,
    *,
    title: str,
    ylabel: str,
    others: Mapping[str, Values],
) -> Figure:
    """Return predictions beside the truth over a stretch of time.

    Args:
        steps: Of the series, shape (num_steps,).
        y_true: Same shape.
        y_pred: Same shape.
        title: Above it.
        ylabel: Name of the target.
        others: Predictions of baselines by name, drawn thin.
    """
    figure, axes = canvas(11, 4.6)
    axes.plot(steps, y_true, color=DARK, linewidth=2.4, label="true")
    for index, (name, values) in enumerate(others.items()):
        colour = LINE_COLOURS[(index + 2) % len(LINE_COLOURS)]
        axes.plot(steps, values, color=colour, linewidth=1.2, label=name)
    axes.plot(steps, y_pred, color=ORANGE, linewidth=2.0, label="predicted")
    axes.set(title=title, xlabel="step of the series", ylabel=ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.grid(axis="y")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


@styled
def error_by_step(errors: Mapping[str, Values], chosen: str) -> Figure:
    """Return the error at each step of the horizon, candidate by candidate.

    Args:
        errors: Candidate to errors, shape (horizon,).
        chosen: The candidate that is drawn boldest.
    """
    figure, axes = canvas(8.4, 5.2)
    for index, (name, values) in enumerate(errors.items()):
        colour, width = LINE_COLOURS[index % len(LINE_COLOURS)], 3.2 if name == chosen else 1.6
        steps = np.arange(1, len(values) + 1)
        axes.plot(steps, values, color=colour, linewidth=width, label=name, zorder=2 + (name == chosen))
    axes.set(xlabel="step ahead", ylabel="mean absolute error, in deviations", ylim=(0, None))
    axes.set_title("Error by step ahead")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.grid(axis="y")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def _some(count: int) -> npt.NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, DOTS).astype(np.int64))
