"""Candidates judged on validation and on test: predictions in, numbers with intervals out.

The file is long because the choice, the candidates and the evaluation that reports show are one subject.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.label_measures import LabelMeasures
from pipeline.evaluation.measures import (
    AnomalyMeasures,
    Measures,
    OperatingPoint,
    Predictions,
    point_of,
    said_at,
    threshold_of,
)
from pipeline.evaluation.reach import Reach
from pipeline.evaluation.rows import EvaluationRows
from pipeline.inputs.specs import OutputSpec
from pipeline.metrics.anomalies import ALL_SERIES
from pipeline.metrics.calibration import tempered
from pipeline.metrics.classification import (
    IntArray,
    f1_per_class,
    precision_per_class,
    recall_per_class,
)
from pipeline.metrics.decisions import Threshold, decided, labels_decided
from pipeline.metrics.intervals import (
    LARGEST_UNDEFINED_SHARE_OF_GROUPS,
    DrawnTogether,
    Groups,
    Interval,
    class_intervals,
    metric_intervals,
    rounded,
)
from pipeline.metrics.names import Primary, format_value, metric_words, primary_called
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.files import read_json

# --- Which candidate is chosen: by its validation score, before anybody looks at the test set.

FEWEST_ANOMALIES = 5
"""With fewer, one that was found or missed moves F1 by a fifth and more."""
RECONSTRUCTION = "reconstruction_error"
"""What chooses among detectors of anomalies where the metric asked for cannot."""


@dataclass(frozen=True)
class Entry:
    """A candidate as the choice sees it.

    Attributes:
        name: As in params.yaml.
        score: On validation.
        parameters: Weights of the model; fewer is simpler.
    """

    name: str
    score: float
    parameters: int


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why.

    Attributes:
        chosen: Name of the candidate.
        select_by: The metric.
        reason: One sentence.
        ranking: All entries, best first.
    """

    chosen: str
    select_by: str
    reason: str
    ranking: tuple[Entry, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the choice as it is written down."""
        ranking = [
            {"candidate": entry.name, "parameters": entry.parameters, "score": rounded(entry.score)}
            for entry in self.ranking
        ]
        return {"chosen": self.chosen, "reason": self.reason, "ranking": ranking, "select_by": self.select_by}


def choose(entries: Sequence[Entry], select_by: str, *, rows_called: str = "validation") -> Choice:
    """Return the best entry; of equal scores the model with fewer parameters, of equal sizes the first name.

    Args:
        entries: The candidates that may be chosen.
        select_by: Name of a metric, which tells its direction.
        rows_called: What such scores are called.

    Raises:
        DataRefused: There is nobody to choose from.
    """
    if not entries:
        raise DataRefused(
            "There is no candidate to choose. Expected at least one that is not a baseline, for "
            "register.baselines_may_win is false. Received: only families that serve as a measure. Add a candidate to "
            "params.yaml, or set register.baselines_may_win: true."
        )
    sign = primary_called(select_by).sign
    ranking = tuple(sorted(entries, key=lambda entry: (-sign * entry.score, entry.parameters, entry.name)))
    best, *others = ranking
    tied = [entry.name for entry in others if entry.score == best.score]
    reason = f"{best.name} has the best {rows_called} {metric_words(select_by)}: {format_value(best.score)}"
    if tied:
        reason += (
            f", like {', '.join(tied)}; fewest parameters ({best.parameters:,}), then first name, decides"
        )
    elif others:
        reason += f" (next: {others[0].name}, {format_value(others[0].score)})"
    return Choice(best.name, select_by, reason + ".", ranking)


def choose_by_validation(
    val: Mapping[str, Mapping[str, float]],
    parameters: Mapping[str, int],
    select_by: str,
    anomalies: int | None = None,
    *,
    rows_called: str = "validation",
) -> Choice:
    """Return the choice; where validation cannot tell detectors apart, by how well normal windows come back.

    Validation often holds no labelled anomaly, or so few that finding one is luck, or some that all candidates
    miss or all find. That says nothing of them, and neither does the size of a network.

    Args:
        val: Candidate to its metrics on validation.
        parameters: Candidate to the weights of its model.
        select_by: The metric asked for.
        anomalies: Labelled ones in validation; None where the task is another.
        rows_called: What the rows that chose are called.

    Raises:
        DataRefused: The metric does not exist for this data, or there is nobody to choose from.
    """
    known = [name for name in val if select_by in val[name]]
    detectors = all(RECONSTRUCTION in own for own in val.values())
    metric, why = select_by, ""
    if len(known) < len(val):
        if not detectors:
            raise DataRefused(
                f"evaluate.select_by={select_by} does not exist for this data (metrics of two classes need "
                f"exactly two). Received: known for {known}. Choose one of "
                f"{sorted(set.intersection(*(set(own) for own in val.values())))}."
            )
        metric, why = RECONSTRUCTION, "Validation has no labelled anomaly"
    elif detectors and anomalies is not None and anomalies < FEWEST_ANOMALIES:
        few = f"{anomalies} labelled {'anomaly' if anomalies == 1 else 'anomalies'}"
        metric, why = RECONSTRUCTION, f"Validation has {few}, fewer than {FEWEST_ANOMALIES}"
    elif detectors and len(val) > 1 and len({own[select_by] for own in val.values()}) == 1:
        metric, why = RECONSTRUCTION, "On validation all candidates are equal"
    entries = [Entry(name, val[name][metric], parameters[name]) for name in val]
    choice = choose(entries, metric, rows_called=rows_called)
    return because(choice, f"{why}, so {select_by} could not choose.") if why else choice


def choice_from(content: Mapping[str, Any]) -> Choice:
    """Return the choice that was written down, see `Choice.as_json`."""
    ranking = tuple(
        Entry(entry["candidate"], entry["score"], entry["parameters"]) for entry in content["ranking"]
    )
    return Choice(content["chosen"], content["select_by"], content["reason"], ranking)


def because(choice: Choice, why: str) -> Choice:
    """Return the choice with a sentence before its reason: why this metric chose and not the one asked for."""
    return replace(choice, reason=f"{why} {choice.reason}")


# --- Candidates judged on validation and on test.


@dataclass(frozen=True)
class Candidate:
    """A tuned candidate as its folder tells, and its scores on validation.

    Attributes:
        name: As in params.yaml.
        family: Name of its family.
        folder: Where its files lie.
        metrics: Content of metrics.json.
        history: Content of history.json.
        trials: Content of trials.json.
        val: Name of a metric to its value on validation; those that do not exist there are left out.
        point: What its answers on validation taught about using it, see `pipeline.evaluation.measures`.
        refit: How it was trained again with the rows of validation; None where it was not.
        temperature: What its logits are divided by, inside the model; None for nothing.
        members: Of an ensemble the candidates that are averaged; else ().
    """

    name: str
    family: str
    folder: Path
    metrics: dict[str, Any]
    history: dict[str, Any]
    trials: list[dict[str, Any]]
    val: dict[str, float]
    point: OperatingPoint
    refit: dict[str, Any] | None = None
    temperature: float | None = None
    members: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Return how many weights the model has."""
        return int(self.metrics["parameters"])


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made.

    Attributes:
        resamples: How many.
        confidence: Share inside, (0.5, 1).
        seed: Of the resamples.
    """

    resamples: int
    confidence: float
    seed: int

    def over(self, blocks: DrawnTogether | None) -> dict[str, Any]:
        """Return how `pipeline.metrics.intervals` draws, by the names of its arguments.

        One group alone says nothing of others: there its rows are drawn, and the interval is about that group.

        Args:
            blocks: What is drawn together; None: each row alone.
        """
        if isinstance(blocks, Groups) and len(blocks) == 1:
            blocks = None
        if isinstance(blocks, Groups):
            # A class of one or two groups is missed by many resamples; the interval is about those that have it.
            blocks = replace(blocks, largest_undefined_share=LARGEST_UNDEFINED_SHARE_OF_GROUPS)
        return {
            "resamples": self.resamples,
            "confidence": self.confidence,
            "seed": self.seed,
            "blocks": blocks,
        }


@dataclass(frozen=True)
class Evaluation:
    """Everything the reports show, once the test set was opened.

    Attributes:
        choice: Which candidate, by validation alone; or the baseline that stands for it, see `stages.evaluate`.
        primary: The metric that decides on test.
        candidates: By name, in the order of params.yaml.
        baselines: Names of those that serve as a measure; the chosen one may be among them.
        spec: What was asked of the models.
        rows: The test rows.
        measures: What answers for them are measured by.
        predictions: Candidate to its predictions on test, as `prediction.answers` gives them.
        test: Candidate to its test metrics.
        per_class: Classification: `precision`, `recall` and `f1` of the chosen candidate per class, of several labels
            `average_precision` too; None where undefined.
        reach: Regression and forecasts: how far the chosen candidate's values may be off; None for other tasks, and
            where too few rows chose to say so.
    """

    choice: Choice
    primary: Primary
    candidates: dict[str, Candidate]
    baselines: tuple[str, ...]
    spec: OutputSpec
    rows: EvaluationRows
    measures: Measures
    predictions: dict[str, Predictions]
    test: dict[str, dict[str, Interval]]
    per_class: dict[str, list[Interval | None]]
    reach: Reach | None = None

    @property
    def chosen(self) -> Candidate:
        """Return the chosen candidate."""
        return self.candidates[self.choice.chosen]

    @property
    def answers(self) -> Predictions:
        """Return the chosen candidate's predictions on test."""
        return self.predictions[self.choice.chosen]

    @property
    def y_true(self) -> npt.NDArray[Any]:
        """Return what is true of each test row."""
        return self.measures.y_true

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return self.spec.classes

    def scored(self, name: str) -> npt.NDArray[np.floating]:
        """Return a candidate's predictions as the metrics take them."""
        return self.measures.scored(self.predictions[name], self.candidates[name].point)

    def labels_said(self) -> npt.NDArray[np.bool_]:
        """Return which labels the chosen candidate says of each test row; multilabel."""
        return labels_decided(self.answers, measures_of_labels(self).thresholds(self.chosen.point))

    def threshold(self, name: str) -> Threshold | None:
        """Return from where on a candidate says the positive one of two classes; None for other tasks and classes."""
        return threshold_of(self.classes, self.candidates[name].point)

    def said(self) -> IntArray:
        """Return the index of the class that the chosen candidate says of each test row; classification."""
        return said_at(self.classes, self.answers, self.chosen.point)

    def mistakes(self) -> npt.NDArray[np.intp]:
        """Return the positions of wrongly classified test rows, those first whose said class was most probable."""
        said = self.said()
        wrong = np.flatnonzero(said != self.y_true)
        sure = self.answers[wrong, said[wrong]]
        return wrong[np.argsort(-sure, kind="stable")]


def read_candidate(
    name: str,
    family: str,
    folder: Path,
    measures: Measures,
    predictions: Predictions,
    *,
    before_temperature: Predictions,
    blind: bool = False,
) -> Candidate:
    """Return a candidate with its scores on the rows that chose, computed anew from its stored predictions.

    Args:
        name: As in params.yaml.
        family: Name of its family.
        folder: What `refit` left of it.
        measures: Of the rows that chose.
        predictions: What it answered for them before it was fitted on them.
        before_temperature: What a temperature is laid on, see `pipeline.metrics.calibration.tempered`: the same, but of
            an ensemble the answers of its members.
        blind: Whether it answers without looking at what it is asked about.

    Raises:
        FileNotFoundError: A file is missing; says which stage makes it.
        ValueError: Predictions are not finite, or do not belong to these rows.
    """
    files = {stem: read_json(folder / f"{stem}.json", "refit") for stem in ("metrics", "history", "trials")}
    settings = read_json(folder / "settings.json", "refit")
    temperature = settings.get("temperature")
    try:
        if temperature is not None:
            measures.scored(predictions, {})
            several = isinstance(measures, LabelMeasures)
            predictions = tempered(before_temperature, temperature, several=several).astype(np.float32)
        point = point_of(measures, predictions, blind=blind)
        val = measures.values(predictions, point)
    except ValueError as error:
        raise ValueError(
            f"The answers of {name} that choose: {error} Run `dvc repro --force tune@{name} folds@{name}`."
        ) from error
    told: dict[str, Any] = {name: settings.get(name) for name in ("refit", "temperature")}
    members = tuple(settings.get("members", ()))
    return Candidate(name, family, folder, **files, **told, val=val, point=point, members=members)


def metrics_with_intervals(
    measures: Measures,
    predictions: Mapping[str, Predictions],
    points: Mapping[str, OperatingPoint],
    bootstrap: Bootstrap,
) -> dict[str, dict[str, Interval]]:
    """Return every candidate's test metrics with intervals; all are judged on the same resamples.

    A metric that does not exist for a candidate (the precision of alarms where none was raised) is left out.

    Args:
        measures: Of the test rows.
        predictions: Candidate to its predictions for them.
        points: Candidate to its operating point.
        bootstrap: How intervals are made.

    Raises:
        DataRefused: A metric exists on these rows, but not on too many of their resamples.
    """
    answer = {}
    for name, given in predictions.items():
        existing = measures.values(given, points[name])
        metrics = {key: metric for key, metric in measures.metrics(points[name]).items() if key in existing}
        scored = measures.scored(given, points[name])
        try:
            answer[name] = metric_intervals(
                metrics, measures.y_true, scored, trials=measures.trials, **bootstrap.over(measures.blocks)
            )
        except ValueError as error:
            raise DataRefused(
                f"The test set is too small to say how sure a metric is: {error} Where samples name groups, "
                "more groups with every class are needed."
            ) from error
    return answer


def class_metrics_with_intervals(
    y_true: IntArray,
    probabilities: Predictions,
    bootstrap: Bootstrap,
    blocks: DrawnTogether | None = None,
    at: Threshold | None = None,
) -> dict[str, list[Interval | None]]:
    """Return precision, recall and F1 of one candidate at its threshold, each a list with an interval per class."""
    num_classes = probabilities.shape[1]
    true = np.bincount(y_true, minlength=num_classes)
    said = np.bincount(decided(probabilities, at), minlength=num_classes)
    metrics = {
        "precision": (precision_per_class, said),
        "recall": (recall_per_class, true),
        "f1": (f1_per_class, true),
    }
    return {
        name: class_intervals(
            partial(metric, at=at),
            y_true,
            probabilities,
            counts,
            exact=name != "f1",
            **bootstrap.over(blocks),
        )
        for name, (metric, counts) in metrics.items()
    }


def label_metrics_with_intervals(
    measures: LabelMeasures, probabilities: Predictions, point: OperatingPoint, bootstrap: Bootstrap
) -> dict[str, list[Interval | None]]:
    """Return precision, recall, F1 and average precision of one candidate, each a list with an interval per label."""
    true = measures.y_true.sum(axis=0, dtype=np.int64)
    said = labels_decided(probabilities, measures.thresholds(point)).sum(axis=0)
    return {
        name: class_intervals(
            metric,
            measures.y_true,
            probabilities,
            said if name == "precision" else true,
            exact=name in ("precision", "recall"),
            **bootstrap.over(measures.blocks),
        )
        for name, metric in measures.per_label(point).items()
    }


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


def series_results(evaluation: Evaluation, candidate: str) -> list[SeriesResult]:
    """Return what a candidate did in each series that has test windows."""
    measures = measures_of_anomalies(evaluation)
    timeline, events = measures.timeline, measures.events(evaluation.scored(candidate))
    thresholds = evaluation.candidates[candidate].point["thresholds"]
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


def measures_of_labels(evaluation: Evaluation) -> LabelMeasures:
    """Return the measures as what they are for this task.

    Raises:
        TypeError: The task is another.
    """
    if not isinstance(evaluation.measures, LabelMeasures):
        raise TypeError(f"Expected an evaluation of several labels. Received: task={evaluation.spec.task}.")
    return evaluation.measures


def measures_of_anomalies(evaluation: Evaluation) -> AnomalyMeasures:
    """Return the measures as what they are for this task.

    Raises:
        TypeError: The task is another.
    """
    if not isinstance(evaluation.measures, AnomalyMeasures):
        raise TypeError(f"Expected an evaluation of anomalies. Received: task={evaluation.spec.task}.")
    return evaluation.measures
