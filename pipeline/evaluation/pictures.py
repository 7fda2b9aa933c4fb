"""Pictures of a search for anomalies."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.data.samples import read_sample_rows
from pipeline.data.windows import Timeline
from pipeline.evaluation.judgement import Evaluation, measures_of_anomalies, series_results
from pipeline.evaluation.measures import ClassMeasures
from pipeline.metrics.classification import FloatArray, confidence_bins
from pipeline.metrics.values import by_target, errors_by_step
from pipeline.reports import charts, samples
from pipeline.reports.samples import Sample, Story, anomaly_timelines
from pipeline.reports.style import save_figure
from pipeline.runtime import paths
from pipeline.runtime.files import read_json

if TYPE_CHECKING:
    from pipeline.evaluation.codes import CodesComparison


MOST_SERIES = 12
"""In one picture; those with the most to tell."""


def draw_anomalies(folder: Path, judgement: Evaluation) -> None:
    """Draw timelines.png: scores, alarms and labelled anomalies of the chosen candidate, series by series."""
    chosen = judgement.choice.chosen
    results = series_results(judgement, chosen)
    ranked = sorted(results, key=lambda item: -(item.anomalies + item.false_alarms))[:MOST_SERIES]
    names = {item.series for item in ranked}
    stories = [story for story in _stories(judgement) if story.name in names]
    save_figure(anomaly_timelines(stories, f"{chosen} on test"), folder / "timelines.png")


def _stories(judgement: Evaluation) -> list[Story]:
    measures = measures_of_anomalies(judgement)
    timeline, scores = measures.timeline, judgement.judged(judgement.choice.chosen)
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


NUM_MISTAKES = 18


def draw_classes(folder: Path, judgement: Evaluation) -> None:
    """Draw confusion.png, per_class.png, reliability.png and mistakes.png of the chosen candidate."""
    chosen, num_classes = judgement.choice.chosen, len(judgement.classes)
    predicted = judgement.answers.argmax(axis=1)
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts, (judgement.y_true, predicted), 1)
    save_figure(charts.confusion_matrix(counts, judgement.classes), folder / "confusion.png")

    f1 = dict(zip(judgement.classes, judgement.per_class["f1"], strict=True))
    figure = charts.class_bars(f1, f"{chosen} on test, class by class", "F1, with interval")
    save_figure(figure, folder / "per_class.png")
    _draw_calibration(folder, judgement)

    shown = judgement.mistakes()[:NUM_MISTAKES]
    figure = samples.mistakes(
        shown_samples(judgement.rows.rows[shown]),
        said=[judgement.classes[predicted[row]] for row in shown],
        actual=[judgement.classes[judgement.y_true[row]] for row in shown],
        sure=[float(judgement.answers[row].max()) for row in shown],
    )
    save_figure(figure, folder / "mistakes.png")


def draw_codes(folder: Path, judgement: Evaluation, codes: "CodesComparison") -> None:
    """Draw reconstructions.png and codes.png."""
    rows = {"input": list(codes.reconstructions["input"])}
    for name, label in (("autoencoder", "autoencoder"), ("pca", "PCA")):
        rows[f"{label}\n{codes.errors[name]:.4f}"] = list(codes.reconstructions[name])
    title = f"{codes.codes} codes: mean squared error"
    save_figure(samples.reconstructions(rows, title), folder / "reconstructions.png")
    y_shown = judgement.y_true[codes.plane_rows]
    figure = samples.codes_map(
        codes.plane, y_shown, judgement.classes, "Codes of test images, 2-D view (principal axes)"
    )
    save_figure(figure, folder / "codes.png")


def _draw_calibration(folder: Path, judgement: Evaluation) -> None:
    num_bins = judgement.measures.num_bins if isinstance(judgement.measures, ClassMeasures) else 1
    confidence = judgement.answers.max(axis=1).astype(np.float64)
    error = judgement.test[judgement.choice.chosen]["expected_calibration_error"].value
    correct = judgement.answers.argmax(axis=1) == judgement.y_true
    bins = confidence_bins(confidence, num_bins)
    save_figure(
        charts.reliability_diagram(confidence, correct, bins, num_bins, error), folder / "reliability.png"
    )


STRETCH_STEPS = 240
"""Steps of a picture of one-step forecasts: ten days of hours."""
SEVERAL = 3
"""Forecasts of one candidate that a picture of long horizons shows."""


def draw_values(folder: Path, judgement: Evaluation) -> None:
    """Draw predicted.png and residuals.png; of windows stretch.png; of several steps error_by_step.png."""
    truth, answers = by_target(judgement.y_true), by_target(judgement.answers.astype(float))
    targets = judgement.spec.targets
    flat = truth.reshape(-1, len(targets)), answers.reshape(-1, len(targets))
    save_figure(samples.predicted_against_true(*flat, targets), folder / "predicted.png")
    save_figure(samples.residuals(*flat, targets), folder / "residuals.png")
    timeline = judgement.rows.timeline
    if timeline is not None:
        _draw_stretch(folder, judgement, timeline, truth[..., 0])
    if judgement.spec.horizon > 1:
        scale = judgement.spec.target_standard_deviation
        errors = {
            name: errors_by_step(judgement.y_true, given, scale)
            for name, given in judgement.predictions.items()
        }
        save_figure(samples.error_by_step(errors, judgement.choice.chosen), folder / "error_by_step.png")


def _draw_stretch(folder: Path, judgement: Evaluation, timeline: Timeline, truth: FloatArray) -> None:
    """Draw the first target over a stretch in the middle of the test windows of the longest series."""
    windows = _stretch_windows(timeline, judgement.spec.horizon)
    steps = (timeline.starts[windows][:, None] + np.arange(judgement.spec.horizon)).ravel()
    said = {
        name: by_target(given.astype(float))[windows, :, 0].ravel()
        for name, given in judgement.predictions.items()
    }
    chosen, target = judgement.choice.chosen, judgement.spec.targets[0]
    series = timeline.names[timeline.series[windows[0]]]
    figure = samples.stretch(
        steps,
        truth[windows].ravel(),
        said[chosen],
        title=f"{chosen} on {series}",
        ylabel=target,
        others={name: values for name, values in said.items() if name in judgement.baselines},
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


TASK_PICTURES = {
    "classification": draw_classes,
    "regression": draw_values,
    "forecasting": draw_values,
    "anomaly": draw_anomalies,
}


def draw_pictures(folder: Path, judgement: Evaluation, codes: "CodesComparison | None") -> None:
    """Draw all pictures of an evaluation as PNG files.

    Args:
        folder: Where.
        judgement: What to show.
        codes: The comparison with PCA; without an autoencoder there are no reconstructions and no map of codes.
    """
    histories = {name: item.history["epochs"] for name, item in judgement.candidates.items()}
    trained = {name: epochs for name, epochs in histories.items() if epochs}
    save_figure(charts.learning_curves(trained, judgement.choice.chosen), folder / "learning_curves.png")
    _draw_candidates(folder, judgement)
    TASK_PICTURES[judgement.spec.task](folder, judgement)
    if codes is not None:
        draw_codes(folder, judgement, codes)


def _draw_candidates(folder: Path, judgement: Evaluation) -> None:
    metric = judgement.primary.name
    figure = charts.candidates(
        {name: metrics[metric] for name, metrics in judgement.test.items()},
        {name: item.val[metric] for name, item in judgement.candidates.items() if metric in item.val},
        judgement.choice.chosen,
        judgement.baselines,
        judgement.primary.words,
        higher_is_better=judgement.primary.higher_is_better,
    )
    save_figure(figure, folder / "candidates.png")
