"""Charts of anomalies over time, and small drawings of series."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from pipeline.reports.style import BLUE, DARK, GREEN, GREY, ORANGE, styled

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
