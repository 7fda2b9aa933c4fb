"""Pictures of a regression or a forecast."""

from pathlib import Path

import numpy as np

from pipeline.data.windows import Timeline
from pipeline.evaluation.judgement import Judgement
from pipeline.metrics.classification import FloatArray
from pipeline.metrics.values import by_target, errors_by_step
from pipeline.reports import values as reports_values
from pipeline.reports.style import save

STRETCH_STEPS = 240
"""Steps of a picture of one-step forecasts: ten days of hours."""
SEVERAL = 3
"""Forecasts of one candidate that a picture of long horizons shows."""


def draw_values(folder: Path, judgement: Judgement) -> None:
    """Draw predicted.png and residuals.png; of windows stretch.png; of several steps error_by_step.png."""
    truth, answers = by_target(judgement.y_true), by_target(judgement.answers.astype(float))
    targets = judgement.spec.targets
    flat = truth.reshape(-1, len(targets)), answers.reshape(-1, len(targets))
    save(reports_values.predicted_against_true(*flat, targets), folder / "predicted.png")
    save(reports_values.residuals(*flat, targets), folder / "residuals.png")
    timeline = judgement.rows.timeline
    if timeline is not None:
        _draw_stretch(folder, judgement, timeline, truth[..., 0])
    if judgement.spec.horizon > 1:
        scale = judgement.spec.target_standard_deviation
        errors = {
            name: errors_by_step(judgement.y_true, given, scale)
            for name, given in judgement.predictions.items()
        }
        save(reports_values.error_by_step(errors, judgement.choice.chosen), folder / "error_by_step.png")


def _draw_stretch(folder: Path, judgement: Judgement, timeline: Timeline, truth: FloatArray) -> None:
    """Draw the first target over a stretch in the middle of the test windows of the longest series."""
    windows = _stretch_windows(timeline, judgement.spec.horizon)
    steps = (timeline.starts[windows][:, None] + np.arange(judgement.spec.horizon)).ravel()
    said = {
        name: by_target(given.astype(float))[windows, :, 0].ravel()
        for name, given in judgement.predictions.items()
    }
    chosen, target = judgement.choice.chosen, judgement.spec.targets[0]
    series = timeline.names[timeline.series[windows[0]]]
    figure = reports_values.stretch(
        steps,
        truth[windows].ravel(),
        said[chosen],
        title=f"{chosen} on {series}",
        ylabel=target,
        others={name: values for name, values in said.items() if name in judgement.baselines},
    )
    save(figure, folder / "stretch.png")


def _stretch_windows(timeline: Timeline, horizon: int) -> np.ndarray:
    """Return windows that follow each other without overlapping, in one series."""
    own = timeline.windows_of(int(np.bincount(timeline.series).argmax()))
    starts = timeline.starts[own]
    chosen: list[int] = []
    most = max(SEVERAL, STRETCH_STEPS // horizon)
    position = max(0, len(starts) // 2 - most * horizon // 2 // timeline.stride)
    while len(chosen) < most and position < len(starts):
        chosen.append(own.start + position)
        position = int(np.searchsorted(starts, starts[position] + horizon))
    return np.array(chosen)
