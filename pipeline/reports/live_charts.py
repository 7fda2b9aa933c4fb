"""Charts of what is served: drift beside chance, distributions beside the reference, and what happened over time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pipeline.reports.style import BLUE, GREY, ORANGE, canvas, styled

MOST_NAMES = 12
"""Names of one distribution."""
MOST_COMPARED = 30
"""Comparisons in the picture of drift."""


@styled
def drift_chart(findings: Sequence[Mapping[str, Any]]) -> Figure:
    """Return every comparison as a bar, with a mark at what equal rows reach by chance; the largest on top."""
    shown = list(findings[:MOST_COMPARED])[::-1]
    figure, axes = canvas(9.0, float(np.clip(1.6 + 0.42 * len(shown), 3.0, 14)))
    for place, one in enumerate(shown):
        axes.barh(place, one["effect"], color=ORANGE if one["drifted"] else BLUE, height=0.66)
        axes.plot((one["noise"],) * 2, (place - 0.42, place + 0.42), color=GREY, linewidth=2.5)
    axes.set_yticks(range(len(shown)), [one["what"] for one in shown])
    axes.set(xlim=(0, 1), xlabel="difference of the distributions")
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    axes.set_title("Orange: it counts. Grey line: what chance reaches")
    return figure


@styled
def time_chart(stretches: Sequence[Mapping[str, Any]]) -> Figure:
    """Return records, refusals, confidence or alarms, and milliseconds by stretch of time, one below the other."""
    panels = [("records", ["rows", "refused"], False)]
    for title, names in (("confidence", ["confidence"]), ("alarms", ["alarm_share"])):
        if any(one[names[0]] is not None for one in stretches):
            panels.append((title, names, False))
    panels.append(("milliseconds", ["p50_milliseconds", "p99_milliseconds"], True))
    figure = Figure(figsize=(9.0, 2.1 * len(panels)), layout="constrained")
    every = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    places = np.arange(len(stretches))
    for axes, (title, names, logarithmic) in zip(every, panels, strict=True):
        for name, colour in zip(names, (BLUE, ORANGE), strict=False):
            values = [np.nan if one[name] is None else one[name] for one in stretches]
            axes.plot(
                places, values, "o-", markersize=4, color=colour, label=name.replace("_milliseconds", "")
            )
        axes.set_title(title, fontsize=12)
        axes.grid(axis="y")
        if logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}")
        else:
            axes.set_ylim(bottom=0)
        if len(names) > 1:
            axes.legend(loc="upper left", fontsize=10)
    step = max(1, -(-len(stretches) // 6))
    labels = [one["from"][5:16].replace("T", " ") for one in stretches]
    every[-1].set_xticks(places[::step], labels[::step])
    return figure


@styled
def numbers_chart(what: str, edges: np.ndarray, known: np.ndarray, served: np.ndarray) -> Figure:
    """Return the distribution functions of a number, of the reference and of a log.

    Args:
        what: Its name.
        edges: Inner edges of bins, ascending, shape (num_bins - 1,).
        known: Rows of the reference by bin, shape (num_bins,).
        served: Rows of the log by bin, same shape.
    """
    figure, axes = canvas(4.9, 3.2)
    for counts, colour, label in ((known, GREY, "reference"), (served, BLUE, "log")):
        shares = np.cumsum(counts) / max(1, counts.sum())
        axes.step(edges, shares[:-1], where="post", color=colour, label=label)
    axes.set(ylim=(0, 1.02), ylabel="share below")
    axes.set_title(what, fontsize=12)
    axes.grid(axis="y")
    axes.legend(loc="lower right", fontsize=10)
    return figure


@styled
def names_chart(what: str, known: Mapping[str, int], served: Mapping[str, int]) -> Figure:
    """Return the shares of the most frequent names, of the reference and of a log, both as rows by name."""
    totals = [max(1, sum(side.values())) for side in (known, served)]
    shares = {name: (known.get(name, 0) / totals[0], count / totals[1]) for name, count in served.items()}
    names = sorted(shares, key=lambda name: max(shares[name]))[-MOST_NAMES:]
    figure, axes = canvas(4.9, float(np.clip(1.5 + 0.4 * len(names), 2.6, 7)))
    for place, name in enumerate(names):
        axes.barh(
            place + 0.2, shares[name][0], color=GREY, height=0.36, label="reference" if not place else None
        )
        axes.barh(place - 0.2, shares[name][1], color=BLUE, height=0.36, label="log" if not place else None)
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.set_title(what, fontsize=12)
    axes.set_xlabel("share")
    axes.grid(axis="x")
    axes.legend(loc="lower right", fontsize=10)
    return figure


def _short(name: str) -> str:
    return f"{name[:24]}..." if len(name) > 27 else name or "(missing)"
