"""What answers are worth by labels that came later: metrics of the evaluation with intervals, of one model or two."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from pipeline.evaluation.measures import ClassMeasures, Measures, Yardstick, measures_of
from pipeline.evaluation.rows import EvaluationRows
from pipeline.evaluation.two_sided import two_sided_difference
from pipeline.metrics.classification import Metric
from pipeline.metrics.intervals import Interval, metric_intervals
from pipeline.metrics.names import HIGHER_IS_BETTER
from pipeline.metrics.paired import unseen_loss
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
    return _with_intervals(_judged(labels, point, yardstick), drawn)


def _with_intervals(judged: "Judged | None", drawn: Drawn) -> dict[str, Interval]:
    if judged is None:
        return {}
    found: dict[str, Interval] = {}
    for name, metric in judged.metrics.items():
        try:
            made = metric_intervals(
                {name: metric},
                judged.measures.y_true,
                judged.scored,
                trials=judged.measures.trials,
                **drawn._asdict(),
            )
        except ValueError:  # it does not exist for these answers, or not for enough of their resamples
            continue
        found |= made
    return found


class Compared(NamedTuple):
    """A metric of two models.

    Attributes:
        first: Of one.
        second: Of the other.
        difference: By how much that of the second is larger; None where nobody can tell.
    """

    first: Interval
    second: Interval
    difference: Interval | None


def compared_metrics(
    first: Labels,
    second: Labels,
    points: tuple[Mapping[str, Any], Mapping[str, Any]],
    yardstick: Yardstick,
    drawn: Drawn,
    *,
    paired: bool,
) -> dict[str, Compared]:
    """Return every metric that exists for the labelled answers of both.

    Args:
        first: Joined with the answers of one model.
        second: With those of the other; both have one spec, or their metrics have no difference.
        points: Operating points of both.
        yardstick: How answers are measured.
        drawn: How intervals are made.
        paired: Whether both answered the same records, which stand in the same order; else the samples are independent.
    """
    judged = [
        _judged(labels, point, yardstick) for labels, point in zip((first, second), points, strict=True)
    ]
    sides = [_with_intervals(one, drawn) for one in judged]
    found = {}
    for name in [name for name in sides[0] if name in sides[1]]:
        difference = None
        if first.spec is second.spec and not paired:
            difference = independent_difference(sides[0][name], sides[1][name])
        elif first.spec is second.spec and judged[0] and judged[1]:
            with suppress(ValueError):  # it exists for too few of the resamples
                difference = _paired(name, judged[0], judged[1], drawn)
        found[name] = Compared(sides[0][name], sides[1][name], difference)
    return found


class Judged(NamedTuple):
    """Labelled answers of one model, as metrics take them; of numbers there are no classes."""

    measures: Measures
    scored: np.ndarray
    metrics: Mapping[str, Metric]
    num_classes: int


def _judged(labels: Labels, point: Mapping[str, Any], yardstick: Yardstick) -> Judged | None:
    names = list(labels.joined)[-MOST_JUDGED:]
    if not names:
        return None
    measures, answers = _measured(labels, names, yardstick)
    kept = OF_ALARMS if labels.spec.task == "anomaly" else None
    metrics = {name: one for name, one in measures.metrics(point).items() if kept is None or name in kept}
    num_classes = 2 if labels.spec.task == "anomaly" else labels.spec.num_classes
    return Judged(measures, measures.scored(answers, point), metrics, num_classes)


def _paired(name: str, first: Judged, second: Judged, drawn: Drawn) -> Interval:
    """Return by how much the second is larger, as sure of what no record shows as the gate is, to both sides."""
    cost = 0.0
    if HIGHER_IS_BETTER[name] and first.num_classes:
        cost = unseen_loss(first.measures.y_true, first.num_classes, first.metrics[name]).cost
    return two_sided_difference(
        (second.metrics[name], first.metrics[name]),
        first.measures.y_true,
        (second.scored, first.scored),
        unseen_loss=cost,
        **drawn._asdict(),
    )


def independent_difference(first: Interval, second: Interval) -> Interval:
    """Return by how much a metric of one sample is larger than that of another one, from the intervals of both.

    Newcombe (1998), "Interval estimation for the difference between independent proportions: comparison of eleven
    methods", method 10; for other estimates Zou and Donner (2008), "Construction of confidence limits about effect
    measures: a general approach". Where no record of either shows an error it is as wide as both intervals are.
    """
    value = second.value - first.value
    low = value - math.hypot(second.value - second.low, first.high - first.value)
    high = value + math.hypot(second.high - second.value, first.value - first.low)
    return Interval(value, low, high)


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
