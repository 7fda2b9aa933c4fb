"""Charts that compare reductions by their number of dimensions."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from pipeline.reports.style import GREY, LINE_COLOURS, canvas, styled


@styled
def by_dimensions(rows: Sequence[Mapping[str, Any]], metric: str, names: Mapping[str, str]) -> Figure:
    """Return one line per method over the number of dimensions.

    Args:
        rows: Figures with `method`, `dimensions` and the metric.
        metric: Which one.
        names: Method to how it is called.
    """
    figure, axes = canvas(8, 5.2)
    axes.set_title(f"{metric.replace('_', ' ').capitalize()} on test")
    axes.set_xlabel("dimensions")
    axes.set_xscale("log", base=2)
    axes.grid(axis="y")
    ticks = sorted({row["dimensions"] for row in rows})
    for index, method in enumerate(dict.fromkeys(row["method"] for row in rows)):
        points = sorted((row["dimensions"], row[metric]) for row in rows if row["method"] == method)
        x, y = zip(*points, strict=True)
        axes.plot(x, y, marker="o", markersize=8, color=LINE_COLOURS[index], label=names[method])
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.legend()
    return figure


@styled
def cumulative_variance(variance: Sequence[tuple[int, float]], rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Return the variance that principal components explain together, and where the autoencoders stand.

    Args:
        variance: Number of components and their share together, on train.
        rows: Figures of all methods.
    """
    figure, axes = canvas(8, 5.2)
    axes.set_title("Explained variance")
    axes.set_xlabel("dimensions")
    axes.set_ylim(0, 1.02)
    axes.grid(axis="y")
    x, y = zip(*variance, strict=True)
    axes.plot(x, y, color=GREY, label="principal components (train)")
    points = sorted(
        (row["dimensions"], row["explained_variance"]) for row in rows if row["method"] == "autoencoder"
    )
    if points:
        x, y = zip(*points, strict=True)
        axes.scatter(x, y, s=70, color=LINE_COLOURS[0], label="autoencoder (test)", zorder=3)
    axes.legend(loc="lower right")
    return figure
