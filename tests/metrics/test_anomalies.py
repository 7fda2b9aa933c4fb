"""Alarms, events and their metrics, worked out on paper and by plain loops."""

import numpy as np
import pytest
import sklearn.metrics as reference

from pipeline.data.windows import Timeline, labelled_intervals
from pipeline.metrics import anomalies
from pipeline.metrics.anomalies import AlarmRules, alarm_scores, alarm_thresholds, find_events, smoothed

RULES = AlarmRules(quantile=0.5, factor=2.0, smoothing_steps=1, merge_steps=5)


def timeline(*counts: int, labelled: tuple[tuple[int, int, int], ...] = (), length: int = 3) -> Timeline:
    """Return windows at every step of series `a`, `b`, ..."""
    series = np.repeat(np.arange(len(counts)), counts)
    starts = np.concatenate([np.arange(count) for count in counts])
    return Timeline(tuple("abcdef"[: len(counts)]), series, starts, length, 1, labelled)


def scores_with(count: int, alarms: list[int]) -> np.ndarray:
    """Return scores above 1 at some windows only."""
    scores = np.full(count, 0.5)
    scores[alarms] = 2.0
    return scores


def test_windows_are_called_by_series_and_step() -> None:
    """The name of a window is that of its series, an @ and its first step."""
    assert timeline(2, 1).ids == ("a@0", "a@1", "b@0")


def test_runs_of_marked_steps_are_labelled_intervals() -> None:
    """First step and the one after the last, also at the ends of a series."""
    marks = [np.array([True, False, True, True]), np.zeros(3, bool), np.array([False, True])]
    assert labelled_intervals(marks) == ((0, 0, 1), (0, 2, 4), (2, 1, 2))


def test_windows_that_hold_a_labelled_step_are_anomalous() -> None:
    """A window of three steps holds step 5 when it begins at 3, 4 or 5; the other series has its own steps."""
    found = timeline(8, 8, labelled=((0, 5, 6),)).anomalous()
    assert np.flatnonzero(found).tolist() == [3, 4, 5]


def test_smoothing_looks_back_only_and_stays_in_its_series() -> None:
    """Each error is averaged with up to two before it; the second series begins anew."""
    found = smoothed([3.0, 0.0, 0.0, 9.0, 6.0, 0.0], timeline(4, 2), 3)
    assert np.allclose([3.0, 1.5, 1.0, 3.0, 6.0, 3.0], found)


def test_thresholds_come_from_normal_windows_of_each_series() -> None:
    """Twice the median of the normal windows; a series without any is left to the threshold of all."""
    errors = [1.0, 2.0, 3.0, 100.0, 10.0, 10.0, 50.0]
    windows = timeline(4, 2, 1, labelled=((0, 3, 4), (2, 0, 1)), length=1)
    found = alarm_thresholds(errors, windows, RULES)
    assert found == {"": pytest.approx(2 * 3.0), "a": pytest.approx(2 * 2.0), "b": pytest.approx(2 * 10.0)}


def test_without_a_normal_window_there_is_no_threshold() -> None:
    """Said in words instead of a quantile of nothing."""
    with pytest.raises(ValueError, match="No validation window is normal"):
        alarm_thresholds([1.0, 2.0], timeline(2, labelled=((0, 0, 9),)), RULES)


def test_scores_are_errors_in_units_of_the_threshold() -> None:
    """Series `b` has no threshold of its own and takes that of all."""
    found = alarm_scores([2.0, 8.0, 3.0], timeline(2, 1), {"": 6.0, "a": 4.0}, RULES)
    assert np.allclose([0.5, 2.0, 0.5], found)


def test_a_flat_series_that_comes_back_without_error_has_no_alarm() -> None:
    """Threshold and errors of 0 are no alarm and no division by 0."""
    windows = timeline(4)
    thresholds = alarm_thresholds(np.zeros(4), windows, RULES)
    assert alarm_scores(np.zeros(4), windows, thresholds, RULES).tolist() == [0.0] * 4


def test_alarms_near_each_other_are_one_event() -> None:
    """Alarms at 2, 3 and 6 are less than five apart; 11 is five after 6, and another event."""
    events = find_events(scores_with(20, [2, 3, 6, 11]), timeline(20), 5)
    assert events.raised.tolist() == [[2, 6], [11, 11]]


def test_events_end_with_their_series() -> None:
    """The last window of one series and the first of the next are not one event."""
    events = find_events(scores_with(20, [9, 10]), timeline(10, 10), 5)
    assert events.raised.tolist() == [[9, 9], [10, 10]]


def test_consecutive_alarms_are_one_event_without_merging() -> None:
    """Where nothing is merged, windows that follow each other still belong together."""
    assert find_events(scores_with(9, [3, 4, 7]), timeline(9), 0).raised.tolist() == [[3, 4], [7, 7]]


def test_a_labelled_anomaly_counts_once_and_an_event_outside_is_false() -> None:
    """Two events in one anomaly find it once; one event over two anomalies finds both; one is outside."""
    windows = timeline(40, labelled=((0, 5, 16), (0, 25, 26), (0, 28, 29), (0, 36, 37)), length=1)
    events = find_events(scores_with(40, [6, 14, 20, 25, 28]), windows, 4)
    assert events.found.tolist() == [True, True, True, False]
    assert events.false.tolist() == [False, False, True, False]
    metric = {"timeline": windows, "merge_steps": 4}
    y_true, scores = windows.anomalous(), scores_with(40, [6, 14, 20, 25, 28])
    assert float(anomalies.event_precision_score(y_true, scores, **metric)) == 3 / 4
    assert float(anomalies.event_recall_score(y_true, scores, **metric)) == 3 / 4
    assert float(anomalies.event_f1_score(y_true, scores, **metric)) == 3 / 4


def test_anomalies_outside_the_windows_do_not_count() -> None:
    """An anomaly in the training part of the series cannot be found, and is not missed."""
    windows = Timeline(("a",), np.zeros(10, int), np.arange(100, 110), 3, 1, ((0, 5, 9), (0, 104, 105)))
    events = find_events(scores_with(10, [3]), windows, 5)
    assert events.found.tolist() == [True]


def test_nothing_to_find_and_nothing_raised_has_no_f1() -> None:
    """NaN, neither 0 nor 1."""
    windows = timeline(10)
    found = anomalies.event_f1_score(
        windows.anomalous(), scores_with(10, []), timeline=windows, merge_steps=5
    )
    assert np.isnan(float(found))


def test_weights_count_anomalies_and_false_alarms() -> None:
    """A false alarm of weight 2 counts twice, an anomaly whose first window has weight 0 not at all."""
    windows = timeline(12, labelled=((0, 2, 3), (0, 9, 10)), length=1)
    scores = scores_with(12, [2, 6])
    weight = np.ones((12, 2))
    weight[[6, 9], 1] = [2, 0]
    found = anomalies.event_f1_score(windows.anomalous(), scores, weight, timeline=windows, merge_steps=1)
    assert [2 / (2 + 1 + 1), 2 / (2 + 0 + 2)] == pytest.approx(found.tolist())


def test_point_metrics_equal_scikit_learn() -> None:
    """ROC AUC and average precision over windows."""
    generator = np.random.default_rng(0)
    truth = generator.random(200) < 0.1
    scores = generator.normal(size=200) + 2 * truth
    assert reference.roc_auc_score(truth, scores) == pytest.approx(
        float(anomalies.point_roc_auc_score(truth, scores))
    )
    assert reference.average_precision_score(truth, scores) == pytest.approx(
        float(anomalies.point_average_precision_score(truth, scores))
    )


@pytest.mark.parametrize(
    ("y_true", "y_pred"),
    [([True, False], [1.0]), ([1, 0], [1.0, 2.0]), ([True, False], [np.nan, 1.0]), ([], [])],
)
def test_broken_scores_are_refused(y_true: list, y_pred: list) -> None:
    """Other lengths, labels that are no truth values, NaN, nothing at all."""
    with pytest.raises(ValueError, match=r"finite|Expected: bool"):
        anomalies.point_roc_auc_score(np.array(y_true), y_pred)
