"""How every picture of the evaluation looks, and how it becomes a file.

With `charts` and `samples` the door to matplotlib.

Colours are told apart by colour-blind readers too (Okabe and Ito 2008; Tol, "muted"), letters are large
enough for the thumbnails of a dashboard.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.runtime.files import atomic_path

Arguments = ParamSpec("Arguments")

LINE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
CLASS_COLOURS = (
    *("#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE", "#882255", "#44AA99", "#AA4499", "#999933"),
    "#888888",
)
BLUE, ORANGE, GREEN, GREY, DARK = "#0072B2", "#D55E00", "#009E73", "#8C8C8C", "#333333"
STYLE = {
    "figure.dpi": 100,
    "font.family": "DejaVu Sans",
    "font.size": 13,
    "axes.titlesize": 15,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": DARK,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
    "lines.linewidth": 2.2,
}


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Draw in our style, whatever the reader's own matplotlibrc says."""

    @functools.wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with matplotlib.style.context(STYLE, after_reset=True):
            figure = draw(*args, **kwargs)
            FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]  # lays out while the style is on
        return figure

    return drawn


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, all or nothing; without dates and versions: equal figures are equal bytes."""
    with matplotlib.style.context(STYLE, after_reset=True), atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure of that size in inches with one set of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()
