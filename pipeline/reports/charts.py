"""Charts of scores: each function takes plain arrays and returns a figure for `style.save_figure`."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter

from pipeline.metrics.intervals import Interval
from pipeline.metrics.names import format_value
from pipeline.reports.style import BLUE, DARK, GREY, LINE_COLOURS, ORANGE, canvas, styled

CELLS_WITH_TEXT = 15
"""Up to so many classes the confusion matrix prints its counts."""
CELLS_WITH_LARGE_NAMES = 54
"""With more classes the names beside it are set smaller, so that they do not lie over each other."""
MOST_BARS = 60
"""Of more classes only so many are drawn, the worst."""
SHOWN_SHARE = 0.35
"""Scores further below the best than this are only named: they would hide the differences that matter."""
SHOWN_MULTIPLE = 4
"""The same for errors: more than so many times the smallest."""


@styled
def confusion_matrix(counts: npt.NDArray[np.integer], classes: Sequence[str], said_from: str = "") -> Figure:
    """Return how often each class was taken for which.

    Args:
        counts: Examples, shape (actual class, predicted class).
        classes: Names.
        said_from: The threshold of two classes in words; "" where the most probable class is said.
    """
    size = float(np.clip(2.8 + 0.62 * len(classes), 6.0, 14.0))
    figure, axes = canvas(size, size)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_title(f"Right in {np.trace(counts):,} of {counts.sum():,} test examples")
    axes.set_xlabel(f"predicted: {said_from}" if said_from else "predicted")
    axes.set_ylabel("actual")
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.tick_params(length=0)
    if len(classes) > CELLS_WITH_LARGE_NAMES:
        axes.tick_params(labelsize=13 * CELLS_WITH_LARGE_NAMES / len(classes))
    axes.spines[:].set_visible(False)
    if len(classes) <= CELLS_WITH_TEXT:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.55 else DARK
                axes.text(column, row, f"{count}", ha="center", va="center", color=colour, fontsize=12)
    return figure


@styled
def learning_curves(
    histories: Mapping[str, Sequence[Mapping[str, float]]], chosen: str, *, argmax: bool = False
) -> Figure:
    """Return loss and accuracy by epoch of every candidate that was trained; the chosen one is drawn boldest.

    Args:
        histories: Candidate to its epochs, each with loss and val_loss; of classifiers also accuracy and
            val_accuracy.
        chosen: Name of the chosen candidate.
        argmax: Whether other scores of these models are taken at a threshold, and accuracy here, where none is known
            yet, is to be called that of the most probable class.
    """
    has_accuracy = not histories or any("accuracy" in epochs[0] for epochs in histories.values())
    metrics = ("accuracy", "loss") if has_accuracy else ("loss",)
    figure = Figure(figsize=(5.5 * len(metrics), 5.2), layout="constrained")
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        axes.set_title("Accuracy of the argmax" if argmax and metric == "accuracy" else metric.capitalize())
        axes.set_xlabel("epoch")
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        for index, (name, epochs) in enumerate(histories.items()):
            colour = LINE_COLOURS[index % len(LINE_COLOURS)]
            width = 3.2 if name == chosen else 1.8
            number = [epoch["epoch"] for epoch in epochs]
            val = [epoch[f"val_{metric}"] for epoch in epochs]
            train = [epoch[metric] for epoch in epochs]
            axes.plot(number, val, color=colour, linewidth=width, label=name, zorder=2 + (name == chosen))
            axes.plot(number, train, color=colour, linewidth=1.1, linestyle=":")
        values = [line.get_ydata() for line in axes.lines[::2]]
        if values and metric == "loss":
            # A wild first epoch would squeeze everything that matters into the bottom of the picture.
            axes.set_ylim(0, 1.15 * max(float(np.quantile(value, 0.9)) for value in values))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, max(1, len(labels))))
    figure.suptitle("solid: validation    dotted: training", x=0.01, ha="left", fontsize=12, color=DARK)
    return figure


@styled
def reliability_diagram(
    confidence: npt.NDArray[np.floating],
    correct: npt.NDArray[np.bool_],
    bins: npt.NDArray[np.integer],
    num_bins: int,
    error: float,
    *,
    argmax: bool = False,
) -> Figure:
    """Return how often the model is right when it is so sure.

    Args:
        confidence: Probability of the predicted class, shape (num_examples,).
        correct: Whether that class is the true one.
        bins: Bin of each confidence, from `classification.confidence_bins`.
        num_bins: How many bins of equal width.
        error: The expected calibration error, for the title.
        argmax: Whether other scores of the model are taken at a threshold, and the axis is to say that here the most
            probable class is judged.
    """
    figure = Figure(figsize=(6.4, 6.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    counts = np.bincount(bins, minlength=num_bins)
    filled = np.flatnonzero(counts)
    accuracy = np.bincount(bins, correct, num_bins)[filled] / counts[filled]
    mean_confidence = np.bincount(bins, confidence, num_bins)[filled] / counts[filled]
    width = 1 / num_bins
    upper.bar(filled * width, accuracy, width, align="edge", color=BLUE, edgecolor="white", label="right")
    upper.plot(mean_confidence, mean_confidence, "o", color=ORANGE, markersize=7, label="mean confidence")
    upper.plot((0, 1), (0, 1), color=GREY, linestyle="--", linewidth=1.5)
    upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share right, argmax" if argmax else "share right")
    upper.set_title(f"Calibration error {error:.3f}")
    upper.legend(loc="upper left")
    lower.bar(filled * width, counts[filled], width, align="edge", color=GREY, edgecolor="white")
    lower.set(xlabel="confidence", ylabel="examples", yscale="log", ylim=(0.6, None))
    lower.yaxis.set_minor_formatter(NullFormatter())  # small sets: labels between powers of ten overlap
    return figure


@styled
def class_bars(intervals: Mapping[str, Interval | None], title: str, xlabel: str) -> Figure:
    """Return a bar with an interval per class, best on top; classes without a value stay empty.

    Of more than `MOST_BARS` classes the worst are drawn, and the title says so.
    """
    known = {name: item for name, item in intervals.items() if item is not None}
    names = sorted(intervals, key=lambda name: known[name].value if name in known else -1.0)
    if len(names) > MOST_BARS:
        title += f"\nthe worst {MOST_BARS} of {len(names):,}"
        names = names[:MOST_BARS]
    figure, axes = canvas(7.4, float(np.clip(1.6 + 0.42 * len(names), 3.5, 14)))
    for position, name in enumerate(names):
        if name not in known:
            axes.text(0.01, position, "no test example", va="center", color=GREY)
            continue
        item = known[name]
        axes.barh(position, item.value, color=BLUE, height=0.7, alpha=0.85)
        _whisker(axes, item, position, DARK)
        axes.text(1.03, position, f"{item.value:.3f}", va="center", color=DARK)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlim=(0, 1.01), xlabel=xlabel)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_title(title)
    return figure


@styled
def candidates(
    test: Mapping[str, Interval],
    val: Mapping[str, float],
    chosen: str,
    baselines: Sequence[str],
    metric: str,
    *,
    higher_is_better: bool = True,
    said_from: Mapping[str, str] | None = None,
) -> Figure:
    """Return every candidate's test score with its interval, beside the validation score it was judged by.

    Args:
        test: Candidate to score on test.
        val: Candidate to score on validation; those that have none are left out.
        chosen: The one that validation chose.
        baselines: Those that serve as a measure.
        metric: Name of the score, for the axis.
        higher_is_better: Its direction; the best stands on top.
        said_from: Candidate to its threshold in words; None where scores have none.
    """
    names = sorted(test, key=lambda name: test[name].value, reverse=not higher_is_better)
    figure, axes = canvas(8.4, float(np.clip(2.6 + 0.6 * len(names), 4, 14)))
    best = test[names[-1]].value
    for position, name in enumerate(names):
        colour = ORANGE if name == chosen else GREY if name in baselines else BLUE
        if higher_is_better and test[name].high < best - SHOWN_SHARE:
            label = f"\u25c0 {test[name].value:.3f}"
            axes.text(0.01, position, label, transform=axes.get_yaxis_transform(), va="center", color=colour)
            continue
        if not higher_is_better and test[name].low > SHOWN_MULTIPLE * best:
            label = f"{format_value(test[name].value, 3)} \u25b6"
            beside = axes.get_yaxis_transform()
            axes.text(0.99, position, label, transform=beside, va="center", ha="right", color=colour)
            continue
        _whisker(axes, test[name], position, colour)
        axes.plot(test[name].value, position, "o", color=colour, markersize=9)
        if name in val:
            axes.plot(val[name], position - 0.27, "D", color=colour, markerfacecolor="white", markersize=7)
        place = (test[name].value, position)
        axes.annotate(
            format_value(test[name].value, 3), place, (0, 9), textcoords="offset points", ha="center"
        )
    roles = {chosen: " (chosen)"} | dict.fromkeys(baselines, " (baseline)")
    thresholds = {name: f"\n{words}" for name, words in (said_from or {}).items() if words}
    labels = [name + roles.get(name, "") + thresholds.get(name, "") for name in names]
    axes.set_yticks(range(len(names)), labels)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set_xlabel(metric)
    axes.grid(axis="x")
    axes.set_title("Candidates")
    marks = [
        Line2D([], [], color=DARK, marker="o", linewidth=3, label="test, with interval"),
        Line2D([], [], color=DARK, marker="D", markerfacecolor="white", linestyle="", label="validation"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=2)
    return figure


def _whisker(axes: Axes, item: Interval, position: float, colour: str) -> None:
    axes.plot((item.low, item.high), (position, position), color=colour, linewidth=3, solid_capstyle="butt")
