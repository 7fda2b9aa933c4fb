"""Tables of a search for anomalies: what every candidate found in every series, and the chosen one's events."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.evaluation.anomaly_measures import AnomalyMeasures
from pipeline.evaluation.judgement import Judgement
from pipeline.metrics.anomalies import ALL_SERIES
from pipeline.metrics.intervals import DIGITS
from pipeline.runtime.files import write_csv


@dataclass(frozen=True)
class SeriesResult:
    """What a candidate did in one series.

    Attributes:
        series: Its name.
        threshold: Smoothed error above which it raised an alarm.
        anomalies: Labelled ones that test windows touch.
        found: How many of those.
        false_alarms: Events that touch none.
    """

    series: str
    threshold: float
    anomalies: int
    found: int
    false_alarms: int

    @property
    def event_f1(self) -> float | None:
        """Return F1 of events; None where there was nothing to find and nothing raised."""
        parts = self.anomalies + self.found + self.false_alarms
        return 2 * self.found / parts if parts else None


def series_results(judgement: Judgement, candidate: str) -> list[SeriesResult]:
    """Return what a candidate did in each series that has test windows."""
    measures = measures_of_anomalies(judgement)
    timeline, events = measures.timeline, measures.events(judgement.judged(candidate))
    thresholds = judgement.candidates[candidate].point["thresholds"]
    anomalies = timeline.series[events.anomaly_windows]
    false = timeline.series[events.raised[events.false, 0]]
    return [
        SeriesResult(
            series=timeline.names[series],
            threshold=thresholds.get(timeline.names[series], thresholds[ALL_SERIES]),
            anomalies=int(np.sum(anomalies == series)),
            found=int(np.sum(events.found & (anomalies == series))),
            false_alarms=int(np.sum(false == series)),
        )
        for series in np.unique(timeline.series)
    ]


def measures_of_anomalies(judgement: Judgement) -> AnomalyMeasures:
    """Return the measures as what they are for this task.

    Raises:
        TypeError: The task is another.
    """
    if not isinstance(judgement.measures, AnomalyMeasures):
        raise TypeError(f"Expected a judgement of anomalies. Received: task={judgement.spec.task}.")
    return judgement.measures


def write_anomaly_tables(folder: Path, judgement: Judgement) -> None:
    """Write per_series.csv of all candidates and events.csv of the chosen one."""
    columns = ["candidate", "series", "threshold", "anomalies", "found", "false_alarms", "event_f1"]
    write_csv(folder / "per_series.csv", columns, _per_series(judgement, list(judgement.candidates)))
    write_csv(folder / "events.csv", ["series", "first_step", "last_step", "outcome"], _events(judgement))


def _per_series(judgement: Judgement, names: Sequence[str]) -> Iterable[list[Any]]:
    for name in names:
        for result in series_results(judgement, name):
            f1 = result.event_f1
            counts = [result.anomalies, result.found, result.false_alarms]
            threshold = float(f"{result.threshold:.{DIGITS}g}")
            yield [name, result.series, threshold, *counts, "" if f1 is None else round(f1, DIGITS)]


def _events(judgement: Judgement) -> Iterable[list[Any]]:
    measures = measures_of_anomalies(judgement)
    timeline, events = measures.timeline, measures.events(judgement.judged(judgement.choice.chosen))
    found = []
    for (first, last), false in zip(events.raised, events.false, strict=True):
        end = int(timeline.starts[last]) + timeline.length - 1
        outcome = "false alarm" if false else "found an anomaly"
        found.append([timeline.names[timeline.series[first]], int(timeline.starts[first]), end, outcome])
    for ((series, first, end), _), seen in zip(timeline.touched(), events.found, strict=True):
        if not seen:
            found.append([timeline.names[series], first, end - 1, "missed anomaly"])
    return sorted(found)
