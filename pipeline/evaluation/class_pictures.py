"""Pictures of a classification: confusions, classes, calibration, mistakes, and the codes of an autoencoder."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.evaluation.class_measures import ClassMeasures
from pipeline.evaluation.judgement import Judgement
from pipeline.evaluation.shown_samples import shown_samples
from pipeline.metrics.classification import confidence_bins
from pipeline.reports import charts, samples
from pipeline.reports.style import save

if TYPE_CHECKING:  # it imports Keras, which nothing here needs
    from pipeline.evaluation.codes import CodesComparison

NUM_MISTAKES = 18


def draw_classes(folder: Path, judgement: Judgement) -> None:
    """Draw confusion.png, per_class.png, reliability.png and mistakes.png of the chosen candidate."""
    chosen, num_classes = judgement.choice.chosen, len(judgement.classes)
    predicted = judgement.answers.argmax(axis=1)
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts, (judgement.y_true, predicted), 1)
    save(charts.confusion_matrix(counts, judgement.classes), folder / "confusion.png")

    f1 = dict(zip(judgement.classes, judgement.per_class["f1"], strict=True))
    figure = charts.class_bars(f1, f"{chosen} on test, class by class", "F1, with interval")
    save(figure, folder / "per_class.png")
    _draw_calibration(folder, judgement)

    shown = judgement.mistakes()[:NUM_MISTAKES]
    figure = samples.mistakes(
        shown_samples(judgement.rows.rows[shown]),
        said=[judgement.classes[predicted[row]] for row in shown],
        actual=[judgement.classes[judgement.y_true[row]] for row in shown],
        sure=[float(judgement.answers[row].max()) for row in shown],
    )
    save(figure, folder / "mistakes.png")


def draw_codes(folder: Path, judgement: Judgement, codes: "CodesComparison") -> None:
    """Draw reconstructions.png and codes.png."""
    rows = {"input": list(codes.reconstructions["input"])}
    for name, label in (("autoencoder", "autoencoder"), ("pca", "PCA")):
        rows[f"{label}\n{codes.errors[name]:.4f}"] = list(codes.reconstructions[name])
    title = f"{codes.codes} codes: mean squared error"
    save(samples.reconstructions(rows, title), folder / "reconstructions.png")
    y_shown = judgement.y_true[codes.plane_rows]
    figure = samples.codes_map(
        codes.plane, y_shown, judgement.classes, "Codes of test images, 2-D view (principal axes)"
    )
    save(figure, folder / "codes.png")


def _draw_calibration(folder: Path, judgement: Judgement) -> None:
    num_bins = judgement.measures.num_bins if isinstance(judgement.measures, ClassMeasures) else 1
    confidence = judgement.answers.max(axis=1).astype(np.float64)
    error = judgement.test[judgement.choice.chosen]["expected_calibration_error"].value
    correct = judgement.answers.argmax(axis=1) == judgement.y_true
    bins = confidence_bins(confidence, num_bins)
    save(charts.reliability_diagram(confidence, correct, bins, num_bins, error), folder / "reliability.png")
