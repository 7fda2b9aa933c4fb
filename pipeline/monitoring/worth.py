"""What answers are worth by labels that came later: the metrics of the evaluation, with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.evaluation.measures import ClassMeasures, Measures, Yardstick, measures_of
from pipeline.evaluation.rows import EvaluationRows
from pipeline.metrics.intervals import Interval, metric_intervals
from pipeline.monitoring.labels import MOST_JUDGED, Labels

OF_ALARMS = ("positive_f1", "positive_precision", "positive_recall", "accuracy", "balanced_accuracy")
"""What single alarms are judged by: events of a series are not known to a log."""


class Drawn(NamedTuple):
    """How intervals are made, see `pipeline.metrics.intervals`."""

    resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0


def live_metrics(
    labels: Labels, point: Mapping[str, Any], yardstick: Yardstick, drawn: Drawn
) -> dict[str, Interval]:
    """Return every metric that exists for the labelled answers, with intervals as on the test set.

    Args:
        labels: Joined.
        point: Operating point of the model.
        yardstick: How answers are measured.
        drawn: How intervals are made; each answer is drawn alone.
    """
    names = list(labels.joined)[-MOST_JUDGED:]
    if not names:
        return {}
    measures, answers = _measured(labels, names, yardstick)
    scored = measures.scored(answers, point)
    found: dict[str, Interval] = {}
    for name, metric in measures.metrics(point).items():
        if labels.spec.task == "anomaly" and name not in OF_ALARMS:
            continue
        try:
            made = metric_intervals(
                {name: metric},
                measures.y_true,
                scored,
                trials=measures.trials,
                **drawn._asdict(),
            )
        except ValueError:  # it does not exist for these answers, or not for enough of their resamples
            continue
        found |= made
    return found


def _measured(labels: Labels, names: Sequence[str], yardstick: Yardstick) -> tuple[Measures, np.ndarray]:
    spec = labels.spec
    truth = [labels.joined[name][0] for name in names]
    answers = [labels.joined[name][1] for name in names]
    rows = np.arange(len(names))
    if spec.task == "anomaly":
        said = np.array(answers, float)
        wanted = np.array([one == "true" for one in truth]).astype(np.int64)
        return ClassMeasures(wanted, ("normal", "anomaly"), 1, yardstick.num_bins), np.column_stack(
            [1 - said, said]
        )
    if spec.targets:
        shape = (
            (len(names), spec.horizon, spec.num_targets) if spec.task == "forecasting" else (len(names), -1)
        )
        targets = np.array(truth, float).reshape(shape)
        judged = EvaluationRows(tuple(names), rows, targets=targets)
        return measures_of(judged, spec, yardstick), np.array(answers, np.float32).reshape(shape)
    judged = EvaluationRows(tuple(names), rows, labels=tuple(map(str, truth)))
    return measures_of(judged, spec, yardstick), np.array(answers, np.float32)
