"""Which pictures the evaluation draws: those of every task here, the others by what was asked."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.data.samples import read_sample_rows
from pipeline.data.windows import Timeline
from pipeline.evaluation.measures import ClassMeasures
from pipeline.evaluation.results import Evaluation, measures_of_anomalies, measures_of_labels, series_results
from pipeline.metrics.classification import FloatArray, confidence_bins
from pipeline.metrics.decisions import decided
from pipeline.metrics.names import metrics_of, said_from
from pipeline.metrics.values import by_target, errors_by_step
from pipeline.reports import charts, samples
from pipeline.reports.samples import Sample, Story, anomaly_timelines
from pipeline.reports.style import save_figure
from pipeline.runtime import paths
from pipeline.runtime.files import read_json

if TYPE_CHECKING:
    from pipeline.evaluation.codes import CodesComparison


# --- Pictures of a search for anomalies.

MOST_SERIES = 12
"""In one picture; those with the most to tell."""


def draw_anomalies(folder: Path, evaluation: Evaluation) -> None:
    """Draw timelines.png: scores, alarms and labelled anomalies of the chosen candidate, series by series."""
    chosen = evaluation.choice.chosen
    results = series_results(evaluation, chosen)
    ranked = sorted(results, key=lambda item: -(item.anomalies + item.false_alarms))[:MOST_SERIES]
    names = {item.series for item in ranked}
    stories = [story for story in _stories(evaluation) if story.name in names]
    save_figure(anomaly_timelines(stories, f"{chosen} on test"), folder / "timelines.png")


def _stories(evaluation: Evaluation) -> list[Story]:
    measures = measures_of_anomalies(evaluation)
    timeline, scores = measures.timeline, evaluation.scored(evaluation.choice.chosen)
    events = measures.events(scores)
    ends = timeline.starts[events.raised[:, 1]] + timeline.length
    spans = list(zip(timeline.starts[events.raised[:, 0]].tolist(), ends.tolist(), strict=True))
    of_event = timeline.series[events.raised[:, 0]]
    payload, samples = np.load(paths.PAYLOAD_NPY, mmap_mode="r"), read_sample_rows()
    stories = []
    for series in np.unique(timeline.series):
        own = timeline.windows_of(int(series))
        first, end = int(timeline.starts[own][0]), int(timeline.starts[own][-1]) + timeline.length
        start = samples.starts[series]
        raised = [
            (span, bool(false))
            for span, false, at in zip(spans, events.false, of_event, strict=True)
            if at == series
        ]
        stories.append(
            Story(
                name=timeline.names[series],
                steps=timeline.starts[own],
                scores=scores[own],
                values=np.asarray(payload[start + first : start + end, 0]),
                first_step=first,
                labelled=[item[1:] for item, _ in timeline.touched() if item[0] == series],
                hits=[span for span, false in raised if not false],
                false_alarms=[span for span, false in raised if false],
            )
        )
    return stories


# --- Samples as people look at them: pictures, texts, series.


def shown_samples(rows: npt.NDArray[np.integer]) -> list[Sample]:
    """Return samples as they came, undecorated: uint8 images NHWC, texts, or series (steps, channels).

    Args:
        rows: Of data/interim/samples.parquet.
    """
    payload = np.load(paths.PAYLOAD_NPY, mmap_mode="r")
    kind = read_json(paths.FEATURES_STATE, "features").get("payload", "image")
    if kind == "image":
        return [np.asarray(payload[row]) for row in rows]
    samples = read_sample_rows()
    parts = [payload[samples.starts[row] : samples.starts[row] + samples.lengths[row]] for row in rows]
    if kind == "text":
        return [part.tobytes().decode() for part in parts]
    return [np.asarray(part[:, : len(samples.channels)]) for part in parts]


# --- Pictures of a classification: confusions, classes, calibration, mistakes, and the codes of an autoencoder.

NUM_MISTAKES = 18


def draw_classes(folder: Path, evaluation: Evaluation) -> None:
    """Draw confusion.png, per_class.png, reliability.png and mistakes.png of the chosen candidate."""
    chosen, num_classes = evaluation.choice.chosen, len(evaluation.classes)
    threshold = said_from(evaluation.chosen.point)
    predicted = evaluation.said()
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts, (evaluation.y_true, predicted), 1)
    save_figure(charts.confusion_matrix(counts, evaluation.classes, threshold), folder / "confusion.png")

    f1 = dict(zip(evaluation.classes, evaluation.per_class["f1"], strict=True))
    title = f"{chosen} on test, class by class" + (f"\n{threshold}" if threshold else "")
    figure = charts.class_bars(f1, title, "F1, with interval")
    save_figure(figure, folder / "per_class.png")
    _draw_calibration(folder, evaluation)

    shown = evaluation.mistakes()[:NUM_MISTAKES]
    figure = samples.mistakes(
        shown_samples(evaluation.rows.rows[shown]),
        said=[evaluation.classes[predicted[row]] for row in shown],
        actual=[evaluation.classes[evaluation.y_true[row]] for row in shown],
        sure=[float(evaluation.answers[row, predicted[row]]) for row in shown],
        said_from=threshold,
    )
    save_figure(figure, folder / "mistakes.png")


def draw_labels(folder: Path, evaluation: Evaluation) -> None:
    """Draw per_label.png and reliability.png of the chosen candidate, the latter over all labels together."""
    f1 = dict(zip(evaluation.classes, evaluation.per_class["f1"], strict=True))
    title = f"{evaluation.choice.chosen} on test, label by label\n{said_from(evaluation.chosen.point)}"
    figure = charts.class_bars(f1, title, "F1, with interval")
    save_figure(figure, folder / "per_label.png")
    num_bins = measures_of_labels(evaluation).num_bins
    probabilities, truth = (
        evaluation.answers.astype(np.float64).ravel(),
        evaluation.y_true.astype(bool).ravel(),
    )
    error = evaluation.test[evaluation.choice.chosen]["expected_calibration_error"].value
    bins = confidence_bins(probabilities, num_bins)
    figure = charts.reliability_diagram(probabilities, truth, bins, num_bins, error)
    save_figure(figure, folder / "reliability.png")


def draw_codes(folder: Path, evaluation: Evaluation, codes: "CodesComparison") -> None:
    """Draw reconstructions.png and codes.png."""
    rows = {"input": list(codes.reconstructions["input"])}
    for name, label in (("autoencoder", "autoencoder"), ("pca", "PCA")):
        rows[f"{label}\n{codes.errors[name]:.4f}"] = list(codes.reconstructions[name])
    title = f"{codes.codes} codes: mean squared error"
    save_figure(samples.reconstructions(rows, title), folder / "reconstructions.png")
    y_shown = evaluation.y_true[codes.plane_rows]
    figure = samples.codes_map(
        codes.plane, y_shown, evaluation.classes, "Codes of test images, 2-D view (principal axes)"
    )
    save_figure(figure, folder / "codes.png")


def _draw_calibration(folder: Path, evaluation: Evaluation) -> None:
    num_bins = evaluation.measures.num_bins if isinstance(evaluation.measures, ClassMeasures) else 1
    confidence = evaluation.answers.max(axis=1).astype(np.float64)
    error = evaluation.test[evaluation.choice.chosen]["expected_calibration_error"].value
    correct = decided(evaluation.answers) == evaluation.y_true
    bins = confidence_bins(confidence, num_bins)
    argmax = evaluation.threshold(evaluation.choice.chosen) is not None
    figure = charts.reliability_diagram(confidence, correct, bins, num_bins, error, argmax=argmax)
    save_figure(figure, folder / "reliability.png")


# --- Pictures of a regression or a forecast.

STRETCH_STEPS = 240
"""Steps of a picture of one-step forecasts: ten days of hours."""
SEVERAL = 3
"""Forecasts of one candidate that a picture of long horizons shows."""


def draw_values(folder: Path, evaluation: Evaluation) -> None:
    """Draw predicted.png and residuals.png; of windows stretch.png; of several steps error_by_step.png."""
    truth, answers = by_target(evaluation.y_true), by_target(evaluation.answers.astype(float))
    targets = evaluation.spec.targets
    flat = truth.reshape(-1, len(targets)), answers.reshape(-1, len(targets))
    save_figure(samples.predicted_against_true(*flat, targets), folder / "predicted.png")
    save_figure(samples.residuals(*flat, targets), folder / "residuals.png")
    timeline = evaluation.rows.timeline
    if timeline is not None:
        _draw_stretch(folder, evaluation, timeline, truth[..., 0])
    if evaluation.spec.horizon > 1:
        scale = evaluation.spec.target_standard_deviation
        errors = {
            name: errors_by_step(evaluation.y_true, given, scale)
            for name, given in evaluation.predictions.items()
        }
        save_figure(samples.error_by_step(errors, evaluation.choice.chosen), folder / "error_by_step.png")


def _draw_stretch(folder: Path, evaluation: Evaluation, timeline: Timeline, truth: FloatArray) -> None:
    """Draw the first target over a stretch in the middle of the test windows of the longest series."""
    windows = _stretch_windows(timeline, evaluation.spec.horizon)
    steps = (timeline.starts[windows][:, None] + np.arange(evaluation.spec.horizon)).ravel()
    said = {
        name: by_target(given.astype(float))[windows, :, 0].ravel()
        for name, given in evaluation.predictions.items()
    }
    chosen, target = evaluation.choice.chosen, evaluation.spec.targets[0]
    series = timeline.names[timeline.series[windows[0]]]
    figure = samples.stretch(
        steps,
        truth[windows].ravel(),
        said[chosen],
        title=f"{chosen} on {series}",
        ylabel=target,
        others={
            name: values
            for name, values in said.items()
            if name in evaluation.baselines and name != evaluation.choice.chosen
        },
    )
    save_figure(figure, folder / "stretch.png")


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


# --- Which pictures the evaluation draws.

TASK_PICTURES = {
    "classification": draw_classes,
    "multilabel": draw_labels,
    "regression": draw_values,
    "forecasting": draw_values,
    "anomaly": draw_anomalies,
}


def draw_pictures(folder: Path, evaluation: Evaluation, codes: "CodesComparison | None") -> None:
    """Draw all pictures of an evaluation as PNG files.

    Args:
        folder: Where.
        evaluation: What to show.
        codes: The comparison with PCA; without an autoencoder there are no reconstructions and no map of codes.
    """
    histories = {name: item.history["epochs"] for name, item in evaluation.candidates.items()}
    trained = {name: epochs for name, epochs in histories.items() if epochs}
    chosen = evaluation.choice.chosen
    argmax = evaluation.threshold(chosen) is not None
    save_figure(charts.learning_curves(trained, chosen, argmax=argmax), folder / "learning_curves.png")
    _draw_candidates(folder, evaluation)
    TASK_PICTURES[evaluation.spec.task](folder, evaluation)
    if codes is not None:
        draw_codes(folder, evaluation, codes)


def _thresholds(evaluation: Evaluation) -> dict[str, str] | None:
    """Return the threshold of every candidate in words, where the primary metric depends on it."""
    settings = {item.name: item.settings for item in metrics_of(evaluation.spec.task)}
    if not {"at", "threshold"} & set(settings.get(evaluation.primary.name, ())):
        return None
    return {name: said_from(item.point) for name, item in evaluation.candidates.items()}


def _draw_candidates(folder: Path, evaluation: Evaluation) -> None:
    metric = evaluation.primary.name
    figure = charts.candidates(
        {name: metrics[metric] for name, metrics in evaluation.test.items()},
        {name: item.val[metric] for name, item in evaluation.candidates.items() if metric in item.val},
        evaluation.choice.chosen,
        evaluation.baselines,
        evaluation.primary.words,
        higher_is_better=evaluation.primary.higher_is_better,
        said_from=_thresholds(evaluation),
    )
    save_figure(figure, folder / "candidates.png")
