"""Charts of predicted values: against the truth, what is left over, a stretch of time, and step by step."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.reports.style import BLUE, DARK, GREY, LINE_COLOURS, ORANGE, canvas, styled

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
