"""From reconstruction errors to alarms, events, and what they are worth against labelled anomalies.

A window's error is averaged with those before it and divided by the threshold of its series: a score above
1 is an alarm. Alarms near each other are one event. A labelled anomaly counts once, found if an alarm's
window touches it; an event that touches none is one false alarm.
Metrics are functions of (labelled windows, scores, weights) as in `pipeline.metrics.classification`, those of events
with the timeline bound to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.data.windows import Timeline
from pipeline.metrics.classification import (
    BoolArray,
    FloatArray,
    area_under_roc_curve,
    average_precision,
    check_finite,
    checked_weight,
    metric_of,
    ratio,
)

ALL_SERIES = ""
"""Name of the threshold for series without a normal validation window."""
SMALLEST_THRESHOLD = 1e-12
"""A series that is brought back without any error has an alarm where there is one."""


@dataclass(frozen=True)
class AlarmRules:
    """When an error is an alarm.

    Attributes:
        quantile: Of the errors on normal validation windows.
        factor: The threshold is this many times that quantile.
        smoothing_steps: Errors are averaged over so many windows, each and those before it.
        merge_steps: Alarms that begin less than this apart are one event.
    """

    quantile: float
    factor: float
    smoothing_steps: int
    merge_steps: int


@dataclass(frozen=True)
class Events:
    """What was raised and what was there; every entry carries the window that stands for it.

    Attributes:
        found: Which labelled anomalies were, shape (num_anomalies,).
        anomaly_windows: The first window that touches each anomaly.
        raised: Events as first and last window, shape (num_events, 2).
        false: Which events touch no anomaly, shape (num_events,).
    """

    found: BoolArray
    anomaly_windows: npt.NDArray[np.intp]
    raised: npt.NDArray[np.intp]
    false: BoolArray


def smoothed(errors: npt.ArrayLike, timeline: Timeline, windows: int) -> FloatArray:
    """Return the mean of each error and those before it in its series, `windows` in all where there are so many."""
    values = np.asarray(errors, dtype=float)
    answer = np.empty_like(values)
    for series in np.unique(timeline.series):
        own = timeline.windows_of(int(series))
        sums = np.concatenate([[0.0], np.cumsum(values[own])])
        ends = np.arange(1, len(sums))
        firsts = np.maximum(ends - windows, 0)
        answer[own] = (sums[ends] - sums[firsts]) / (ends - firsts)
    return answer


def alarm_thresholds(errors: npt.ArrayLike, timeline: Timeline, rules: AlarmRules) -> dict[str, float]:
    """Return the threshold of each series from the errors on its normal validation windows.

    Args:
        errors: Per validation window, shape (num_windows,).
        timeline: Of these windows.
        rules: Which quantile, and how errors are smoothed.

    Returns:
        Series to threshold; under "" that of all normal windows together.

    Raises:
        ValueError: No validation window is normal.
    """
    values, normal = smoothed(errors, timeline, rules.smoothing_steps), ~timeline.anomalous()
    if not normal.any():
        raise ValueError(
            "No validation window is normal, so there is no threshold for alarms. Expected some without a "
            f"labelled step. Received: {len(timeline)} windows, all with one. Give validation another stretch."
        )
    groups = {ALL_SERIES: normal}
    for series, name in enumerate(timeline.names):
        own = np.zeros_like(normal)
        own[timeline.windows_of(series)] = True
        if (own & normal).any():
            groups[name] = own & normal
    return {
        name: max(rules.factor * float(np.quantile(values[rows], rules.quantile)), SMALLEST_THRESHOLD)
        for name, rows in groups.items()
    }


def alarm_scores(
    errors: npt.ArrayLike, timeline: Timeline, thresholds: Mapping[str, float], rules: AlarmRules
) -> FloatArray:
    """Return smoothed errors in units of the threshold of their series; above 1 is an alarm."""
    per_series = np.array([thresholds.get(name, thresholds[ALL_SERIES]) for name in timeline.names])
    return np.asarray(smoothed(errors, timeline, rules.smoothing_steps) / per_series[timeline.series])


def find_events(scores: npt.ArrayLike, timeline: Timeline, merge_steps: int) -> Events:
    """Return what was raised, and which labelled anomalies were found; those that no window touches are out."""
    alarms = np.flatnonzero(np.asarray(scores) > 1)
    apart = (np.diff(timeline.starts[alarms]) >= max(merge_steps, timeline.stride + 1)) | (
        np.diff(timeline.series[alarms]) > 0
    )
    first = np.concatenate([[True], apart]) if len(alarms) else np.zeros(0, dtype=bool)
    last = np.concatenate([apart, [True]]) if len(alarms) else np.zeros(0, dtype=bool)
    raised = np.stack([alarms[first], alarms[last]], axis=1)

    touched = [windows for _, windows in timeline.touched()]
    is_alarm = np.zeros(len(timeline), dtype=bool)
    is_alarm[alarms] = True
    right = is_alarm & timeline.anomalous()
    return Events(
        found=np.array([is_alarm[windows].any() for windows in touched], dtype=bool),
        anomaly_windows=np.array([windows.start for windows in touched], dtype=np.intp),
        raised=raised,
        false=np.array([not right[begin : end + 1].any() for begin, end in raised], dtype=bool),
    )


@metric_of("anomaly", one_without_error=True)
def event_f1_score(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    *,
    timeline: Timeline,
    merge_steps: int,
) -> FloatArray:
    """Return F1 of events; NaN where there was nothing to find and nothing raised.

    Arguments as `event_precision_score`.
    """
    found, missed, false = _event_weights(y_true, y_pred, sample_weight, timeline, merge_steps)
    return ratio(2 * found, 2 * found + missed + false)


@metric_of("anomaly", selects=False)
def event_precision_score(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    *,
    timeline: Timeline,
    merge_steps: int,
) -> FloatArray:
    """Return found anomalies over found anomalies and false alarms; NaN where nothing was raised.

    Args:
        y_true: Which windows are labelled, shape (num_windows,); `timeline` knows more, this is for the shape.
        y_pred: Scores of `alarm_scores`.
        sample_weight: Weights of windows, shape (num_windows,) or (num_windows, num_resamples); an anomaly
            weighs as its first window, a false alarm as its first.
        timeline: Of the windows.
        merge_steps: See `AlarmRules`.
    """
    found, _, false = _event_weights(y_true, y_pred, sample_weight, timeline, merge_steps)
    return ratio(found, found + false)


@metric_of("anomaly", selects=False, one_without_error=True, scale="share")
def event_recall_score(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    *,
    timeline: Timeline,
    merge_steps: int,
) -> FloatArray:
    """Return the share of labelled anomalies that were found. Arguments as `event_precision_score`."""
    found, missed, _ = _event_weights(y_true, y_pred, sample_weight, timeline, merge_steps)
    return ratio(found, found + missed)


@metric_of("anomaly", name="roc_auc", scale="area")
def point_roc_auc_score(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> FloatArray:
    """Return how often a labelled window has a higher score than another; NaN where one kind is missing."""
    truth, scores, weight = checked_scores(y_true, y_pred, sample_weight)
    return area_under_roc_curve(truth, scores, weight)


@metric_of("anomaly", name="average_precision", scale="ranking")
def point_average_precision_score(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> FloatArray:
    """Return the mean precision over the recall of labelled windows; NaN where there is none."""
    return average_precision(*checked_scores(y_true, y_pred, sample_weight))


def checked_scores(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> tuple[BoolArray, FloatArray, FloatArray]:
    """Return the arguments of a metric as arrays that can be trusted.

    Raises:
        ValueError: Shapes disagree, or a score is not finite.
    """
    truth, scores = np.asarray(y_true), np.asarray(y_pred, dtype=float)
    if truth.ndim != 1 or truth.dtype != np.bool_ or not len(truth) or scores.shape != truth.shape:
        raise ValueError(
            "y_true must say which windows are labelled, y_pred a score for each. Expected: bool and float of "
            f"shape (num_windows,), at least one. Received: {truth.dtype} {truth.shape}, {scores.shape}."
        )
    check_finite(scores)
    return truth, scores, checked_weight(sample_weight, len(truth))


def _event_weights(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None,
    timeline: Timeline,
    merge_steps: int,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the weights of found and missed anomalies and of false alarms."""
    _, scores, weight = checked_scores(y_true, y_pred, sample_weight)
    events = find_events(scores, timeline, merge_steps)
    windows = (
        events.anomaly_windows[events.found],
        events.anomaly_windows[~events.found],
        events.raised[events.false, 0],
    )
    found, missed, false = (np.asarray(weight[rows].sum(axis=0)) for rows in windows)
    return found, missed, false
